//! Whose session a request belongs to: from its cookies to the store's key.

#![forbid(unsafe_code)]

pub mod cookie;
pub mod id;
pub mod identity;
pub mod key;
pub mod secrets;
pub mod signature;
pub mod source;
