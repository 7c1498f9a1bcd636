//! A Redis Cluster without its sockets: which node serves a key, which nodes are down, what is asked of one.
//!
//! A [`slot`] is what a key hashes to, a [`map`] says who serves which slots, [`nodes`] whom to ask now and what to
//! do about those that are down, a [`batch`] holds what is asked of one node at once, [`waiting`] what is asked next, and a
//! [`redirect`] is how a node says that a key is elsewhere.

#![forbid(unsafe_code)]

pub mod batch;
pub mod map;
pub mod nodes;
pub mod redirect;
pub mod slot;
pub mod waiting;

use std::fmt;

use super::endpoint::{Address, Endpoint, DEFAULT_PORT};
use super::error::Failure;
use super::server_error::Code;
use crate::config::ConfigError;

/// Where a node listens, as the cluster announces it: nodes are told apart by it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeAddress {
    /// A host name, or an address of either family without brackets.
    pub host: Box<str>,
    /// Never 0.
    pub port: u16,
}

/// As [`NodeAddress::parse`] of a redirect reads it, but for the brackets of an IPv6 address.
impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        match host.contains(':') {
            true => write!(f, "[{host}]:{port}"),
            false => write!(f, "{host}:{port}"),
        }
    }
}

/// The longest host name in bytes (RFC 1035, section 2.3.4).
const LONGEST_HOST: usize = 255;

impl NodeAddress {
    /// An address out of bytes that a server sent; none where it cannot be one.
    pub fn new(host: &[u8], port: i64) -> Option<Self> {
        let port = u16::try_from(port).ok().filter(|&port| port != 0)?;
        let is_fit = |b: &u8| b.is_ascii_alphanumeric() || b".-_:%".contains(b);
        let is_host = (1..=LONGEST_HOST).contains(&host.len()) && host.iter().all(is_fit);
        let host = str::from_utf8(host).ok().filter(|_| is_host)?;
        Some(Self { host: host.into(), port })
    }

    /// `host[:port]` of a `cluster` line.
    pub fn seed(text: &str) -> Result<Self, ConfigError> {
        let hint = "write \"cluster host[:port] …\", with some of the cluster's nodes";
        if text.contains("://") || text.contains('@') || text.contains('/') {
            return Err(ConfigError::new("\"cluster\" takes hosts, not urls").hint(hint));
        }
        match Endpoint::parse(&format!("redis://{text}")).map(|endpoint| endpoint.address) {
            Ok(Address::Host { host, port }) => {
                Ok(Self { host: host.into(), port: port.unwrap_or(DEFAULT_PORT) })
            }
            _ => Err(ConfigError::new(format!("\"{text}\" is not host[:port]"))
                .hint("an IPv6 address stands in brackets: [::1]:6379")),
        }
    }

    /// Of `host:port` as in a redirect; without a host, the node that said it is meant.
    pub fn parse(text: &str, asked: &Self) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port: u16 = port.parse().ok()?;
        match host.trim_start_matches('[').trim_end_matches(']') {
            "" => Self::new(asked.host.as_bytes(), port.into()),
            host => Self::new(host.as_bytes(), port.into()),
        }
    }
}

/// Whether the node itself is down, as opposed to a command that it refused, or to a slot that nobody serves.
pub fn is_node_down(failure: &Failure) -> bool {
    match failure {
        Failure::Server(error) if error.code() == Code::ClusterDown => !error.is_about_slot(),
        _ => failure.counts_against_server(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::server_error::ServerError;

    fn address(host: &str, port: u16) -> NodeAddress {
        NodeAddress { host: host.into(), port }
    }

    #[test]
    fn seeds_are_hosts_with_or_without_a_port() {
        let cases = [
            ("10.0.0.1", Some(address("10.0.0.1", 6379))),
            ("10.0.0.1:7000", Some(address("10.0.0.1", 7000))),
            ("Node-1.example", Some(address("node-1.example", 6379))),
            ("[::1]:7000", Some(address("::1", 7000))),
            ("::1", None),
            ("redis://10.0.0.1", None),
            ("user@10.0.0.1", None),
            ("10.0.0.1/1", None),
            ("10.0.0.1:0", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(NodeAddress::seed(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn an_address_shows_as_it_is_written() {
        for text in ["10.0.0.1:7000", "[::1]:7000", "node-1.example:6379"] {
            assert_eq!(NodeAddress::seed(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_redirect_may_leave_out_the_host() {
        let asked = address("10.0.0.1", 7000);
        let cases = [
            ("10.0.0.2:7001", Some(address("10.0.0.2", 7001))),
            ("::1:7001", Some(address("::1", 7001))),
            ("[::1]:7001", Some(address("::1", 7001))),
            (":7001", Some(address("10.0.0.1", 7001))),
            ("node.example:7001", Some(address("node.example", 7001))),
            ("no host:7001", None),
            ("10.0.0.2", None),
            ("10.0.0.2:0", None),
            ("10.0.0.2:70000", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(NodeAddress::parse(text, &asked), expected, "{text}");
        }
    }

    #[test]
    fn a_node_whose_slot_nobody_serves_is_well() {
        let server = |text: &str| Failure::Server(ServerError::parse(text.as_bytes()));
        let cases = [
            (server("CLUSTERDOWN The cluster is down"), true),
            (server("CLUSTERDOWN Hash slot not served"), false),
            (server("LOADING Redis is loading the dataset in memory"), true),
            (server("MOVED 1 10.0.0.1:7000"), false),
            (server("WRONGTYPE Operation"), false),
            (Failure::Closed, true),
            (Failure::Timeout, true),
        ];
        for (failure, expected) in cases {
            assert_eq!(is_node_down(&failure), expected, "{failure}");
        }
    }
}
