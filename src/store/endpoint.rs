//! Where a store is: the url of a `server` line, or of `session_redis` itself.
//!
//! No error repeats a part of the url that may be a password, wherever it was put.

#![forbid(unsafe_code)]

use std::fmt;
use std::net::Ipv6Addr;

use super::dialect::Dialect;
use crate::config::ConfigError;

/// Where Redis listens unless told otherwise.
pub const DEFAULT_PORT: u16 = 6379;

/// The longest path of a Unix socket in bytes (`sun_path` without its final NUL).
const LONGEST_PATH: usize = 107;

/// The longest host name in bytes (RFC 1035, section 2.3.4).
const LONGEST_HOST: usize = 255;

const SCHEMES: &str =
    "known: redis://[user@]host[:port][/db], rediss://… (TLS), redis+unix:///path[?db=n], \
                       memcached://host[:port], memcached+unix:///path";

/// A store's address and what else its url says. Equal urls are one store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// What is spoken there.
    pub dialect: Dialect,
    /// Where it listens.
    pub address: Address,
    /// Whether it is spoken to over TLS: `rediss://`.
    pub tls: bool,
    /// The ACL user, decoded.
    pub username: Option<String>,
    /// The database, if the url names one.
    pub database: Option<u32>,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A server, or an `upstream` block, which is named without a port.
    Host {
        /// A name in lower case, an IPv4 address, or an IPv6 address without brackets.
        host: String,
        /// Never 0; without one [`Dialect::default_port`] unless it is an `upstream` block.
        port: Option<u16>,
    },
    /// The absolute path of a Unix socket.
    Unix(String),
}

/// Whether a directive's argument is meant as a url, right or wrong, rather than a store's name.
pub fn is_url(argument: &str) -> bool {
    argument.contains("://")
}

impl Address {
    /// Of `host`, `host:port` or `[IPv6 address]:port`.
    pub fn parse(text: &str) -> Option<Self> {
        parse_host(text).ok()
    }
}

impl Endpoint {
    /// Of `redis://[user@]host[:port][/db]`, `rediss://…`, `redis+unix:///path[?db=n]` or the same of memcached, which has
    /// neither users in a url nor databases nor TLS; user and path percent-decoded (RFC 3986).
    pub fn parse(url: &str) -> Result<Self, ConfigError> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(ConfigError::new("not a store url").hint(SCHEMES));
        };
        let known = |known: &str| scheme.eq_ignore_ascii_case(known);
        let is_unix = known("redis+unix") || known("memcached+unix");
        if !(is_unix && rest.starts_with('/')) {
            refuse_password(scheme, rest)?;
        }
        if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(ConfigError::new("space or control character in a store url"));
        }
        let endpoint = match is_unix {
            true => Self::parse_unix(rest)?,
            false if known("redis") || known("rediss") || known("memcached") => {
                Self::parse_tcp(scheme, rest)?
            }
            false => {
                return Err(ConfigError::new(format!("unknown scheme \"{scheme}\" in a store url"))
                    .hint(SCHEMES))
            }
        };
        match known("memcached") || known("memcached+unix") {
            true => endpoint.of_memcached(),
            false => Ok(Self { tls: known("rediss"), ..endpoint }),
        }
    }

    fn of_memcached(self) -> Result<Self, ConfigError> {
        if self.username.is_some() {
            return Err(ConfigError::new("a memcached:// store url takes no user")
                .hint("write \"username\" and \"password_file\" beside \"server\""));
        }
        Dialect::Memcached.check(None, false, self.database.is_some())?;
        Ok(Self { dialect: Dialect::Memcached, ..self })
    }

    fn parse_tcp(scheme: &str, rest: &str) -> Result<Self, ConfigError> {
        if rest.contains(['?', '#']) {
            let scheme = scheme.to_ascii_lowercase();
            return Err(ConfigError::new(format!(
                "a {scheme}:// store url takes no \"?\" and no \"#\""
            ))
            .hint("write the database as \"/n\" behind the host"));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (username, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(parse_user(user)?), host),
            None => (None, authority),
        };
        let database = match path {
            "" => None,
            number => Some(parse_database(number)?),
        };
        let address = parse_host(host)?;
        Ok(Self { dialect: Dialect::Redis, address, tls: false, username, database })
    }

    fn parse_unix(rest: &str) -> Result<Self, ConfigError> {
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let database = match query.map(|query| query.strip_prefix("db=")) {
            None => None,
            Some(Some(number)) => Some(parse_database(number)?),
            Some(None) => {
                return Err(
                    ConfigError::new("unknown parameter in a store url").hint("known: ?db=n")
                )
            }
        };
        let address = Address::Unix(parse_path(path)?);
        Ok(Self { dialect: Dialect::Redis, address, tls: false, username: None, database })
    }
}

/// A password is masked wherever it could end: in one that holds `/` or `@`, only the last `@` is before the host.
fn refuse_password(scheme: &str, rest: &str) -> Result<(), ConfigError> {
    let Some((userinfo, host)) = rest.rsplit_once('@') else {
        return Ok(());
    };
    let Some((user, _)) = userinfo.split_once(':') else {
        return Ok(());
    };
    let host = host.split(['?', '#']).next().unwrap_or_default();
    Err(ConfigError::new("password in a store url would show in \"nginx -T\"")
        .hint(format!("move it to \"password_file\" (url was {scheme}://{user}:***@{host})")))
}

fn parse_user(user: &str) -> Result<String, ConfigError> {
    let decoded = percent_decoded(user).filter(|user| {
        !user.is_empty() && !user.chars().any(|c| c.is_whitespace() || c.is_control())
    });
    match decoded {
        Some(decoded) if !user.contains('@') => Ok(decoded),
        _ => Err(ConfigError::new("invalid user name in a store url")
            .hint("write redis://user@host, with other than letters, digits and \"-._~\" as %XX")),
    }
}

fn parse_host(authority: &str) -> Result<Address, ConfigError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (host, port) = bracketed
                .split_once(']')
                .filter(|(host, _)| host.parse::<Ipv6Addr>().is_ok())
                .ok_or_else(|| ConfigError::new("invalid IPv6 address in a store url"))?;
            (host, port)
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    if port.matches(':').count() > 1 {
        return Err(ConfigError::new("invalid host in a store url")
            .hint("an IPv6 address stands in brackets: redis://[::1]:6379"));
    }
    if host.is_empty() {
        return Err(ConfigError::new("no host in a store url").hint(SCHEMES));
    }
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if host.len() > LONGEST_HOST || !(authority.starts_with('[') || host.bytes().all(is_name)) {
        return Err(ConfigError::new("invalid host in a store url"));
    }
    let port = match port.strip_prefix(':') {
        Some(number) => Some(parse_port(number)?),
        None if port.is_empty() => None,
        None => return Err(ConfigError::new("invalid host in a store url")),
    };
    Ok(Address::Host { host: host.to_ascii_lowercase(), port })
}

fn parse_port(number: &str) -> Result<u16, ConfigError> {
    digits(number)
        .filter(|&port| port != 0)
        .ok_or_else(|| ConfigError::new("port in a store url must be a number from 1 to 65535"))
}

fn parse_database(number: &str) -> Result<u32, ConfigError> {
    digits(number).ok_or_else(|| {
        ConfigError::new("database in a store url must be a number, as in redis://host/1")
    })
}

/// Digits and nothing else: no sign.
fn digits<N: std::str::FromStr>(number: &str) -> Option<N> {
    number.bytes().all(|b| b.is_ascii_digit()).then(|| number.parse().ok()).flatten()
}

fn parse_path(path: &str) -> Result<String, ConfigError> {
    if !path.starts_with('/') || path.ends_with('/') {
        return Err(ConfigError::new("a Unix socket needs an absolute path")
            .hint("write redis+unix:///run/redis/redis.sock"));
    }
    let path = percent_decoded(path)
        .filter(|path| !path.contains('\0'))
        .ok_or_else(|| ConfigError::new("invalid %XX in a store url"))?;
    match path.len() {
        ..=LONGEST_PATH => Ok(path),
        _ => Err(ConfigError::new(format!("path of a Unix socket is over {LONGEST_PATH} bytes"))),
    }
}

/// `None` if a `%` is not followed by two hex digits, or if the result is not text.
fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, next)) = rest.split_first() {
        rest = next;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (hex, next) = rest.split_at_checked(2)?;
        let value = hex
            .iter()
            .try_fold(0, |value, &digit| Some(value * 16 + char::from(digit).to_digit(16)?))?;
        decoded.push(value as u8);
        rest = next;
    }
    String::from_utf8(decoded).ok()
}

/// The url, as [`Endpoint::parse`] reads it.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.dialect.scheme();
        match &self.address {
            Address::Unix(path) => {
                write!(f, "{scheme}+unix://{}", PercentEncoded { text: path, also_kept: b"/" })?;
                self.database.map_or(Ok(()), |database| write!(f, "?db={database}"))
            }
            host => {
                write!(f, "{scheme}{}://", if self.tls { "s" } else { "" })?;
                if let Some(user) = &self.username {
                    write!(f, "{}@", PercentEncoded { text: user, also_kept: b"" })?;
                }
                write!(f, "{host}")?;
                self.database.map_or(Ok(()), |database| write!(f, "/{database}"))
            }
        }
    }
}

/// As nginx writes addresses: `10.0.0.5:6379`, `[::1]:6379`, `unix:/run/redis.sock`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{path}"),
            Self::Host { host, port } => {
                match host.contains(':') {
                    true => write!(f, "[{host}]")?,
                    false => f.write_str(host)?,
                }
                port.map_or(Ok(()), |port| write!(f, ":{port}"))
            }
        }
    }
}

struct PercentEncoded<'a> {
    text: &'a str,
    also_kept: &'a [u8],
}

impl fmt::Display for PercentEncoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.bytes().try_for_each(|byte| {
            let is_unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            match is_unreserved || self.also_kept.contains(&byte) {
                true => write!(f, "{}", char::from(byte)),
                false => write!(f, "%{byte:02X}"),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host(host: &str, port: Option<u16>) -> Address {
        Address::Host { host: host.into(), port }
    }

    fn error(url: &str) -> String {
        Endpoint::parse(url).expect_err(url).to_string()
    }

    #[test]
    fn urls_are_read() {
        let cases = [
            ("redis://127.0.0.1:6379", host("127.0.0.1", Some(6379)), None, None),
            ("redis://session_redis/0", host("session_redis", None), None, Some(0)),
            ("redis://Redis.Example.com./", host("redis.example.com.", None), None, None),
            ("REDIS://h:65535/15", host("h", Some(65535)), None, Some(15)),
            ("redis://[::1]:6379/2", host("::1", Some(6379)), None, Some(2)),
            ("redis://[2001:DB8::1]", host("2001:db8::1", None), None, None),
            ("redis://web@h/4294967295", host("h", None), Some("web"), Some(u32::MAX)),
            ("redis://web%40eu%2F1@[::1]", host("::1", None), Some("web@eu/1"), None),
            (
                "rediss://web@redis.example.com:6380/2",
                host("redis.example.com", Some(6380)),
                Some("web"),
                Some(2),
            ),
            ("rediss://[::1]", host("::1", None), None, None),
            ("redis+unix:///run/redis.sock", Address::Unix("/run/redis.sock".into()), None, None),
            ("redis+unix:///a%20b?db=3", Address::Unix("/a b".into()), None, Some(3)),
            ("redis+unix:///run/r:1@x", Address::Unix("/run/r:1@x".into()), None, None),
        ];
        for (url, address, username, database) in cases {
            let username = username.map(str::to_owned);
            let tls = url.starts_with("rediss:");
            let endpoint = Endpoint { dialect: Dialect::Redis, address, tls, username, database };
            assert_eq!(Endpoint::parse(url), Ok(endpoint), "{url}");
        }
    }

    #[test]
    fn urls_of_memcached_are_read() {
        for (url, address) in [
            ("memcached://127.0.0.1", host("127.0.0.1", None)),
            ("Memcached://H:11211/", host("h", Some(11211))),
            ("memcached://[::1]:11211", host("::1", Some(11211))),
            ("memcached+unix:///run/memcached.sock", Address::Unix("/run/memcached.sock".into())),
        ] {
            let dialect = Dialect::Memcached;
            let endpoint =
                Endpoint { dialect, address, tls: false, username: None, database: None };
            assert_eq!(Endpoint::parse(url), Ok(endpoint), "{url}");
        }
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        let masked = |url| {
            format!(
                "password in a store url would show in \"nginx -T\"; \
                 move it to \"password_file\" (url was {url})"
            )
        };
        let cases = [
            ("redis://:s3cret@10.0.0.5/1", "redis://:***@10.0.0.5/1"),
            ("redis://web:s3cret@10.0.0.5:6379", "redis://web:***@10.0.0.5:6379"),
            ("redis://web:@h", "redis://web:***@h"),
            ("redis://:s3/cr@s3cret:et@h/1", "redis://:***@h/1"),
            ("redis://web:s3 cret@h", "redis://web:***@h"),
            ("redis://:s3cret@h?password=s3cret", "redis://:***@h"),
            ("rediss://:s3cret@h", "rediss://:***@h"),
            ("redis+unix://:s3cret@/run/redis.sock", "redis+unix://:***@/run/redis.sock"),
        ];
        for (url, shown) in cases {
            assert_eq!(error(url), masked(shown));
        }
        for url in [
            "redis://h?password=s3cret",
            "redis+unix:///p?password=s3cret",
            "redis://:s3cret",
            "redis://h:s3cret",
        ] {
            assert!(!error(url).contains("s3cret"), "{url}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            ("http://h", "unknown scheme \"http\" in a store url"),
            ("redisss://h", "unknown scheme \"redisss\" in a store url"),
            ("rediss+unix:///h", "unknown scheme \"rediss+unix\" in a store url"),
            ("rediss://h/x", "database in a store url must be a number"),
            ("memcacheds://h", "unknown scheme \"memcacheds\" in a store url"),
            ("memcached://h/0", "memcached has no databases"),
            ("memcached+unix:///a?db=1", "memcached has no databases"),
            ("memcached://web@h", "a memcached:// store url takes no user; write \"username\""),
            ("memcached://h?x", "a memcached:// store url takes no \"?\""),
            ("memcached://", "no host in a store url"),
            ("://h", "unknown scheme \"\" in a store url"),
            ("h:6379", "not a store url"),
            ("", "not a store url"),
            ("redis://", "no host in a store url"),
            ("redis:///1", "no host in a store url"),
            ("redis://:6379", "no host in a store url"),
            ("redis://web@", "no host in a store url"),
            ("redis://h:", "port in a store url must be a number from 1 to 65535"),
            ("redis://h:0", "port in a store url"),
            ("redis://h:65536", "port in a store url"),
            ("redis://h:+1", "port in a store url"),
            ("redis://h:x", "port in a store url"),
            ("redis://h/x", "database in a store url must be a number"),
            ("redis://h/-1", "database in a store url"),
            ("redis://h/+1", "database in a store url"),
            ("redis://h/4294967296", "database in a store url"),
            ("redis://h/1/", "database in a store url"),
            ("redis://h//", "database in a store url"),
            ("redis://h/1?db=2", "a redis:// store url takes no \"?\" and no \"#\""),
            ("redis://h#x", "a redis:// store url takes no"),
            ("redis://h x", "space or control character"),
            ("redis://h/1 ", "space or control character"),
            ("redis://h\n", "space or control character"),
            ("redis://::1:6379", "invalid host in a store url; an IPv6 address stands in brackets"),
            ("redis://fe80::1", "invalid host in a store url; an IPv6 address stands in brackets"),
            ("redis://[::1", "invalid IPv6 address"),
            ("redis://[::1]x", "invalid host in a store url"),
            ("redis://[fe80::1%eth0]", "invalid IPv6 address"),
            ("redis://[h]", "invalid IPv6 address"),
            ("redis://a,b", "invalid host in a store url"),
            ("redis://$host", "invalid host in a store url"),
            ("redis://@h", "invalid user name in a store url"),
            ("redis://a@b@h", "invalid user name"),
            ("redis://%zz@h", "invalid user name"),
            ("redis://%20@h", "invalid user name"),
            ("redis+unix://run/redis.sock", "a Unix socket needs an absolute path"),
            ("redis+unix://", "a Unix socket needs an absolute path"),
            ("redis+unix:///", "a Unix socket needs an absolute path"),
            ("redis+unix:///run/", "a Unix socket needs an absolute path"),
            ("redis+unix:///a%0", "invalid %XX"),
            ("redis+unix:///a%00", "invalid %XX"),
            ("redis+unix:///a%ff", "invalid %XX"),
            ("redis+unix:///a?db=", "database in a store url"),
            ("redis+unix:///a?db=1&x", "database in a store url"),
            ("redis+unix:///a?", "unknown parameter in a store url; known: ?db=n"),
            ("redis+unix:///a?DB=1", "unknown parameter in a store url"),
        ];
        for (url, start) in cases {
            let error = error(url);
            assert!(error.starts_with(start), "{url}: {error}");
        }
    }

    #[test]
    fn paths_and_names_have_their_length() {
        let path = |length: usize| format!("redis+unix:///{}", "p".repeat(length - 1));
        assert!(Endpoint::parse(&path(107)).is_ok());
        assert!(error(&path(108)).starts_with("path of a Unix socket is over 107 bytes"));
        assert!(Endpoint::parse(&format!("redis://{}", "h".repeat(255))).is_ok());
        assert!(error(&format!("redis://{}", "h".repeat(256))).starts_with("invalid host"));
    }

    #[test]
    fn addresses_show_as_nginx_writes_them() {
        let shown = |url| Endpoint::parse(url).unwrap().address.to_string();
        assert_eq!(shown("redis://h/1"), "h");
        assert_eq!(shown("redis://[::1]:6379"), "[::1]:6379");
        assert_eq!(shown("redis+unix:///run/redis.sock"), "unix:/run/redis.sock");
    }

    #[test]
    fn a_url_is_told_from_a_name() {
        assert!(is_url("redis://h"));
        assert!(is_url("http://h"));
        assert!(!is_url("sessions"));
        assert!(!is_url("127.0.0.1:6379"));
    }

    proptest! {
        #[test]
        fn what_shows_is_read_again(
            user in proptest::option::of("[!-~äé]{1,12}"),
            name in "[a-z0-9._-]{1,20}|::1|2001:db8::5",
            port in proptest::option::of(1..=u16::MAX),
            path in "/[ -~]{0,30}[a-z]",
            database: Option<u32>,
            tls: bool,
        ) {
            for (address, username, tls) in
                [(host(&name, port), user, tls), (Address::Unix(path), None, false)]
            {
                let endpoint =
                    Endpoint { dialect: Dialect::Redis, address, tls, username, database };
                // A space is written as %20, so that even such a path is read again.
                prop_assert_eq!(Endpoint::parse(&endpoint.to_string()), Ok(endpoint.clone()));
                let endpoint = Endpoint {
                    dialect: Dialect::Memcached,
                    tls: false,
                    username: None,
                    database: None,
                    ..endpoint
                };
                prop_assert_eq!(Endpoint::parse(&endpoint.to_string()), Ok(endpoint));
            }
        }

        #[test]
        fn no_password_shows(
            user in "[a-z]{0,3}",
            password in "[!-~]{0,8}S3CRET[!-~]{0,8}",
            rest in "[a-z]{0,3}(:[0-9]{0,3})?(/[0-9]{0,2})?([?]x)?",
        ) {
            let url = format!("redis://{user}:{password}@{rest}");
            prop_assert!(!error(&url).contains("S3CRET"));
        }

        #[test]
        fn any_text_is_a_url_or_a_mistake(
            text in "((rediss?|memcached)([+]unix)?)?(://)?[!-~ ä]{0,20}",
        ) {
            let _ = Endpoint::parse(&text);
        }
    }
}
