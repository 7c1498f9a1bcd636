//! A session fetched from Redis, in the backend's request headers: an nginx module.
//!
//! The way of a request, from top to bottom: `module::handler` strips the headers that only the module
//! may set; [`session`] finds the id among the cookies and derives the key as the [`framework`] would;
//! `module::client` asks the [`store`] without ever blocking the worker; [`format`] decodes what comes
//! back; [`policy`] decides by the one table; [`inject`] makes the headers that the backend gets.
//!
//! All modules but the last are plain Rust: no nginx, no sockets, no clock, no `unsafe`.

#![deny(unsafe_code)]

pub mod cache;
pub mod config;
pub mod explain;
pub mod format;
pub mod framework;
pub mod inject;
pub mod login;
pub mod logout;
pub mod pointer;
pub mod policy;
pub mod require;
pub mod route;
pub mod secret_file;
pub mod session;
pub mod sticky;
pub mod store;
pub mod stored;
pub mod value;

#[cfg(feature = "module")]
mod module;
