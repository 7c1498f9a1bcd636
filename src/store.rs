//! The store's side of a lookup without its sockets: bytes and times in, values and failures out.
//!
//! An [`endpoint`] says where a store is, [`servers`] which of its servers to ask now, a [`dialogue`] what a
//! fresh connection says first; a [`command`] is written, [`resp`] reads its reply, [`fetched`] says what the
//! reply means, and [`error`] what may be done when it means a failure. A [`dialect`] is all of that for Redis or for
//! [`memcached`]; a Redis Cluster is in [`cluster`], and what Sentinels say of a master in [`sentinel`].

#![forbid(unsafe_code)]

pub mod ability;
pub mod breaker;
pub mod cluster;
pub mod command;
pub mod dialect;
pub mod dialogue;
pub mod endpoint;
pub mod error;
pub mod fetched;
pub mod memcached;
pub mod oversized;
pub mod resp;
pub mod role;
pub mod sentinel;
pub mod server_error;
pub mod servers;
pub mod tls;
