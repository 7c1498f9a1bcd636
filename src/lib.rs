//! A session fetched from Redis, in the backend's request headers.

#![deny(unsafe_code)]

pub mod config;
pub mod format;
pub mod inject;
pub mod login;
pub mod pointer;
pub mod policy;
pub mod require;
pub mod value;
