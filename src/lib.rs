//! A session fetched from Redis, in the backend's request headers.

#![deny(unsafe_code)]

pub mod config;
pub mod store;
