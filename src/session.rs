//! Whose session a request belongs to: from what it carries, a cookie as a rule, to the store's key.
//!
//! [`source`] and [`cookie`] find the bytes, [`identity`] makes a [`id::SessionId`] of them as the framework
//! would that set them ([`signature`], [`secrets`]), [`key`] digests where a key is not plain prefix and id.

#![forbid(unsafe_code)]

pub mod cookie;
pub mod id;
pub mod identity;
pub mod key;
pub mod secrets;
pub mod signature;
pub mod source;
