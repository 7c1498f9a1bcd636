//! Whether a logout is asked for by the site itself: another site's page must not end a visitor's session, nor one of
//! another host of the same site.

#![forbid(unsafe_code)]

use std::fmt;

use crate::config::ConfigError;

/// The origin of a page: scheme, host and port (RFC 6454), in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: Vec<u8>,
    host: Vec<u8>,
    /// None: the scheme's own.
    port: Option<u16>,
}

/// The headers by which a browser tells whose page sends a request, each as often as it came.
#[derive(Debug, Clone, Default)]
pub struct Sender<'r> {
    /// `Origin`
    pub origins: Vec<&'r [u8]>,
    /// `Sec-Fetch-Site` (W3C Fetch Metadata)
    pub fetch_sites: Vec<&'r [u8]>,
    /// `Host`, or HTTP/2's `:authority`.
    pub host: &'r [u8],
    /// Whether the client's connection is under TLS here. Where it is not, a proxy before nginx may have ended it.
    pub is_https: bool,
}

/// Why a logout is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Its `Sec-Fetch-Site` is neither `same-origin` nor `none`.
    Site,
    /// Its `Origin` is not that of the host.
    Origin,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Site => "its \"Sec-Fetch-Site\" tells of another origin",
            Self::Origin => "its \"Origin\" is not that of the request's host",
        })
    }
}

impl Origin {
    /// Reads an argument `origin=`.
    pub fn parse_argument(text: &str) -> Result<Self, ConfigError> {
        Self::parse(text.as_bytes()).ok_or_else(|| {
            ConfigError::new(format!("\"{text}\" is not an origin")).hint(
                "write scheme://host or scheme://host:port, as in \"https://app.example.com\"",
            )
        })
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let at = text.windows(3).position(|three| three == b"://")?;
        let (scheme, rest) = text.split_at(at);
        let is_scheme = |b: &u8| b.is_ascii_alphanumeric() || b"+-.".contains(b);
        if scheme.is_empty() || !scheme.iter().all(is_scheme) {
            return None;
        }
        let (host, port) = split_port(rest.get(3..)?)?;
        let port = port.filter(|port| default_port(scheme) != Some(*port));
        Some(Self { scheme: scheme.to_vec(), host, port })
    }

    /// Whether a page of this origin is one of the host that the request is for.
    fn is_of(&self, sender: &Sender<'_>) -> bool {
        let scheme_fits = match sender.is_https {
            true => self.scheme == b"https",
            false => self.scheme == b"https" || self.scheme == b"http",
        };
        let Some((host, port)) = split_port(&sender.host.to_ascii_lowercase()) else {
            return false;
        };
        // Without a port `Host` stands for that of a scheme which only the browser knows for sure.
        let port_fits = match port {
            None => self.port.is_none(),
            Some(port) => self.port.or(default_port(&self.scheme)) == Some(port),
        };
        scheme_fits && host == self.host && port_fits
    }
}

impl Sender<'_> {
    /// Whether the request may log out. `allowed`: other origins whose pages may.
    ///
    /// What sends neither header is no browser of today, or a navigation over plain HTTP, and may. An `Origin` of `null`,
    /// which browsers make of their own under `Referrer-Policy: no-referrer`, counts as none where the other header
    /// is there.
    pub fn may_log_out(&self, allowed: &[Origin]) -> Result<(), Refusal> {
        let origins: Vec<_> = self.origins.iter().map(|text| Origin::parse(text)).collect();
        let is_allowed = |origin: &Option<Origin>| {
            origin.as_ref().is_some_and(|origin| allowed.contains(origin))
        };
        if !origins.is_empty() && origins.iter().all(is_allowed) {
            return Ok(());
        }
        let is_own = |site: &&[u8]| {
            site.eq_ignore_ascii_case(b"same-origin") || site.eq_ignore_ascii_case(b"none")
        };
        if !self.fetch_sites.iter().all(is_own) {
            return Err(Refusal::Site);
        }
        let is_known = !self.fetch_sites.is_empty();
        let fits = |(text, origin): (&&[u8], &Option<Origin>)| match origin {
            Some(origin) => allowed.contains(origin) || origin.is_of(self),
            None => is_known && **text == *b"null",
        };
        match self.origins.iter().zip(&origins).all(fits) {
            true => Ok(()),
            false => Err(Refusal::Origin),
        }
    }
}

fn default_port(scheme: &[u8]) -> Option<u16> {
    match scheme {
        b"http" => Some(80),
        b"https" => Some(443),
        _ => None,
    }
}

/// Host and port of `host[:port]` or `[address]:port`.
fn split_port(text: &[u8]) -> Option<(Vec<u8>, Option<u16>)> {
    let (host, port) = match text.iter().rposition(|b| matches!(b, b':' | b']')) {
        Some(at) if text.get(at) == Some(&b':') => {
            let digits = text.get(at + 1..)?;
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let port: u16 = str::from_utf8(digits).ok()?.parse().ok()?;
            (text.get(..at)?, Some(port))
        }
        _ => (text, None),
    };
    let is_host = match host.strip_prefix(b"[") {
        Some(address) => {
            let inner = address.strip_suffix(b"]")?;
            inner.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))
        }
        None => host.iter().all(|b| b.is_ascii_graphic() && !b":/?#@[]\\,".contains(b)),
    };
    (is_host && !host.is_empty()).then(|| (host.to_vec(), port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SITE: Result<(), Refusal> = Err(Refusal::Site);
    const ORIGIN: Result<(), Refusal> = Err(Refusal::Origin);

    fn asked(origin: &str, site: &str, host: &str, is_https: bool) -> Result<(), Refusal> {
        let values = |text: &'_ str| -> Vec<Vec<u8>> {
            text.split('|')
                .filter(|text| !text.is_empty())
                .map(|text| text.as_bytes().to_vec())
                .collect()
        };
        let (origins, sites) = (values(origin), values(site));
        let sender = Sender {
            origins: origins.iter().map(Vec::as_slice).collect(),
            fetch_sites: sites.iter().map(Vec::as_slice).collect(),
            host: host.as_bytes(),
            is_https,
        };
        let allowed = Origin::parse_argument("https://app.example.com:443").unwrap();
        sender.may_log_out(&[allowed])
    }

    #[test]
    fn what_a_browser_says_of_the_site() {
        for (site, expected) in [
            ("", Ok(())),
            ("same-origin", Ok(())),
            ("Same-Origin", Ok(())),
            ("none", Ok(())),
            ("same-site", SITE),
            ("cross-site", SITE),
            ("same-origin|cross-site", SITE),
            ("same-origin, same-origin", SITE),
            ("whatever", SITE),
        ] {
            assert_eq!(asked("", site, "www.example.com", true), expected, "{site}");
            assert_eq!(
                asked("https://www.example.com", site, "www.example.com", true),
                expected,
                "{site}"
            );
        }
        let empty = Sender { fetch_sites: vec![b""], ..Sender::default() };
        assert_eq!(empty.may_log_out(&[]), SITE);
    }

    #[test]
    fn an_origin_is_that_of_the_host() {
        for (origin, host) in [
            ("https://www.example.com", "www.example.com"),
            ("http://www.example.com", "www.example.com"),
            ("HTTPS://WWW.example.com", "www.EXAMPLE.com"),
            ("https://www.example.com", "www.example.com:443"),
            ("https://www.example.com:443", "www.example.com"),
            ("http://www.example.com", "www.example.com:80"),
            ("http://localhost:8080", "localhost:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
            ("https://[2001:DB8::1]", "[2001:db8::1]"),
            ("https://10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(asked(origin, "", host, false), Ok(()), "{origin} {host}");
        }
        for (origin, host) in [
            ("https://evil.example", "www.example.com"),
            ("https://sub.www.example.com", "www.example.com"),
            ("https://example.com", "www.example.com"),
            ("https://www.example.com.evil.example", "www.example.com"),
            ("https://www.example.com:8443", "www.example.com"),
            ("https://www.example.com", "www.example.com:8443"),
            ("http://www.example.com", "www.example.com:443"),
            ("http://[::1]:8080", "[::1]"),
            ("https://www.example.com/", "www.example.com"),
            ("https://www.example.com, https://www.example.com", "www.example.com"),
            ("https://www.example.com https://evil.example", "www.example.com"),
            ("https://www.example.com@evil.example", "www.example.com"),
            ("https://www.example.com:99999", "www.example.com:99999"),
            ("chrome-extension://www.example.com", "www.example.com"),
            ("://www.example.com", "www.example.com"),
            ("www.example.com", "www.example.com"),
            ("https://", ""),
            ("null", "null"),
            ("https://www.example.com|https://evil.example", "www.example.com"),
        ] {
            assert_eq!(asked(origin, "", host, false), ORIGIN, "{origin} {host}");
            assert_eq!(asked(origin, "cross-site", host, false), SITE, "{origin} {host}");
        }
        let empty = Sender { origins: vec![b""], host: b"h", ..Sender::default() };
        assert_eq!(empty.may_log_out(&[]), ORIGIN);
    }

    #[test]
    fn under_tls_the_scheme_is_known() {
        assert_eq!(asked("http://www.example.com", "", "www.example.com", true), ORIGIN);
        assert_eq!(asked("https://www.example.com", "", "www.example.com", true), Ok(()));
    }

    #[test]
    fn an_origin_of_null_is_none_where_the_site_is_known() {
        assert_eq!(asked("null", "same-origin", "www.example.com", true), Ok(()));
        assert_eq!(asked("null", "same-site", "www.example.com", true), SITE);
        assert_eq!(asked("null", "", "www.example.com", true), ORIGIN);
        assert_eq!(asked("https://evil.example", "same-origin", "www.example.com", true), ORIGIN);
    }

    #[test]
    fn other_origins_may_be_allowed() {
        for site in ["", "same-site", "cross-site", "same-origin"] {
            assert_eq!(asked("https://app.example.com", site, "www.example.com", true), Ok(()));
        }
        assert_eq!(asked("http://app.example.com", "", "www.example.com", true), ORIGIN);
        assert_eq!(
            asked("https://app.example.com|https://evil.example", "", "www.example.com", true),
            ORIGIN
        );
        assert_eq!(asked("", "same-site", "www.example.com", true), SITE);
        for wrong in ["app.example.com", "https://app.example.com/", "null", "*", "https://*/"] {
            let error = Origin::parse_argument(wrong).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("\"{wrong}\" is not an origin; write scheme://host")),
                "{error}"
            );
        }
    }

    proptest! {
        /// No text is taken for an origin of this host but what is one.
        #[test]
        fn only_the_host_itself_is_own(text in "(https?://)?[a-z.:/@\\[\\]|0-9-]{0,20}(www\\.example\\.com)?[a-z.:/@|0-9-]{0,8}") {
            if asked(&text, "", "www.example.com", false) == Ok(()) && !text.split('|').all(str::is_empty) {
                for origin in text.split('|').filter(|origin| !origin.is_empty()) {
                    prop_assert!(
                        ["https://www.example.com", "http://www.example.com", "https://www.example.com:443",
                         "http://www.example.com:80", "https://app.example.com"].contains(&origin),
                        "{}", origin
                    );
                }
            }
        }
    }
}
