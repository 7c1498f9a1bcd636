//! Where a store is: the url of a `server` line or of `session_redis` itself.
#![forbid(unsafe_code)]

use crate::config::ConfigError;

/// A store's place and what its url says besides.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// `redis://user@…`: an ACL user.
    pub username: Option<String>,
    /// `/db` or `?db=`.
    pub database: Option<u32>,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A name, an IPv4 or an IPv6 address (without its brackets), or an `upstream` block, which has no port.
    Host {
        /// In lower case.
        host: String,
        /// 1 to 65535.
        port: Option<u16>,
    },
    /// The absolute path of a Unix socket.
    Unix(String),
}

/// Whether a directive's argument is a url rather than a name.
pub fn is_url(argument: &str) -> bool {
    argument.contains("://")
}

impl Endpoint {
    /// Of `redis://[user@]host[:port][/db]` or `redis+unix:///path[?db=n]`.
    pub fn parse(url: &str) -> Result<Self, ConfigError> {
        Err(ConfigError::new(url))
    }
}
