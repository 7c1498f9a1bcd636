//! Whose session a request belongs to: from what it carries, a cookie as a rule, to the store's key.
//!
//! [`source`] and [`cookie`] find the bytes, [`identity`] makes a [`id::SessionId`] of them as the framework
//! would that set them ([`scheme`], [`secrets`]), [`key`] digests where a key is not plain prefix and id.

#![forbid(unsafe_code)]

pub mod candidates;
mod cipher;
pub mod cookie;
pub mod envelope;
pub mod id;
pub mod identity;
pub mod key;
pub mod log_context;
pub mod scheme;
pub mod secrets;
pub mod source;
