//! What TLS has to be told, and what it says: who a server must prove to be, and why it did not.
//!
//! The protocol itself is OpenSSL's, which nginx links; here its words are read.

#![forbid(unsafe_code)]

use std::ffi::{CStr, CString};
use std::fmt;
use std::net::IpAddr;

use crate::config::{unknown, ConfigError};

/// Why TLS did not come about with a server, or broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFailure {
    /// It broke on a connection that had served, for this reason.
    Broken(Box<str>),
    /// The server closed the connection in mid-handshake.
    Closed,
    /// No agreement, for this reason.
    Handshake(Box<str>),
    /// The server showed no certificate.
    NoCertificate,
    /// The certificate is that of others than of this name.
    NotNamed(Box<str>),
    /// No handshake within `connect_timeout`.
    Timeout,
    /// The certificate is not to be trusted: OpenSSL's number and words for it.
    Untrusted {
        /// `X509_V_ERR_…`
        code: i64,
        /// What it says.
        reason: Box<str>,
    },
}

impl TlsFailure {
    /// Whether it is a connection that broke, rather than one that did not come about.
    pub fn is_break(&self) -> bool {
        matches!(self, Self::Broken(_))
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(reason) => write!(f, "TLS connection broke ({reason})"),
            Self::Closed => f.write_str("server closed the connection in the TLS handshake"),
            Self::Handshake(reason) => {
                write!(f, "TLS handshake failed ({reason})")?;
                f.write_str(if speaks_no_tls(reason) { NO_TLS } else { "" })
            }
            Self::NoCertificate => f.write_str("TLS server shows no certificate"),
            Self::NotNamed(name) => write!(f, "TLS certificate does not match \"{name}\""),
            // A Redis without TLS takes the client's first words for a command that is not over yet.
            Self::Timeout => write!(f, "TLS handshake timed out{NO_TLS}"),
            Self::Untrusted { code, reason } => {
                write!(f, "TLS certificate verify failed ({code}: {reason})")?;
                f.write_str(match code {
                    // A chain that ends, or a single certificate that is, at nobody we know.
                    18..=21 => ", is its CA in \"ssl_trusted_certificate\"?",
                    22 => ", is \"ssl_verify_depth\" enough?",
                    _ => "",
                })
            }
        }
    }
}

/// What an answer without TLS is taken for.
const NO_TLS: &str = ", is it a TLS port?";

fn speaks_no_tls(reason: &str) -> bool {
    ["wrong version number", "packet length too long", "http request"].contains(&reason)
}

/// What nginx logs a failure of OpenSSL with: `… failed (SSL: error:0A00010B:SSL routines::wrong version number)`.
const ERRORS: &str = "(SSL: error:";

/// The reason in a line that nginx wrote to a log, if OpenSSL gave one.
pub fn reason(line: &str) -> Option<&str> {
    let (_, errors) = line.split_once(ERRORS)?;
    let first = errors.split(" error:").next()?;
    // Number, library, function, reason, and what nginx adds to some.
    let reason = first.split(':').nth(3)?.trim_end();
    // The last one has the parenthesis that closes them all.
    let reason = reason.strip_suffix(')').unwrap_or(reason);
    (!reason.is_empty()).then_some(reason)
}

/// What a line of a log says, behind time, level and process: `2026/11/26 13:50:33 [emerg] 12#12: `.
pub fn message(line: &str) -> &str {
    let said = line.split_once("] ").map_or(line, |(_, said)| said);
    let is_process = |word: &str| word.bytes().all(|b| b.is_ascii_digit() || b == b'#');
    match said.split_once(": ") {
        Some((process, said)) if is_process(process) => said.trim_end(),
        _ => said.trim_end(),
    }
}

/// Who a server must prove to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerName {
    /// A host name, without a dot at its end.
    Host(CString),
    /// An address, as text.
    Address(CString),
}

impl ServerName {
    /// Of a host name or an IP address, which may stand in brackets. None where nobody can have that name.
    pub fn new(name: &str) -> Option<Self> {
        let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let bare = bare.unwrap_or(name);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return CString::new(address.to_string()).ok().map(Self::Address);
        }
        let host = name.strip_suffix('.').unwrap_or(name);
        if host.is_empty() {
            return None;
        }
        CString::new(host).ok().map(Self::Host)
    }

    /// Of a server as the log names it, with its port: `10.0.0.5:6379`, `[::1]:6379`, `redis.example.com:6379`.
    pub fn of_server(server: &str) -> Option<Self> {
        Self::new(server.rsplit_once(':').map_or(server, |(host, _)| host))
    }

    /// What the server is told of the name; addresses are not (RFC 6066, section 3).
    pub fn sni(&self) -> Option<&CStr> {
        match self {
            Self::Host(name) => Some(name),
            Self::Address(_) => None,
        }
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Host(name) | Self::Address(name)) = self;
        f.write_str(&name.to_string_lossy())
    }
}

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TLS 1.0
    Tls1,
    /// TLS 1.1
    Tls1_1,
    /// TLS 1.2
    Tls1_2,
    /// TLS 1.3
    Tls1_3,
}

impl Protocol {
    /// Those spoken where nothing else is written.
    pub const DEFAULT: [Self; 2] = [Self::Tls1_2, Self::Tls1_3];

    const NAMES: [(&'static str, Self); 4] = [
        ("TLSv1", Self::Tls1),
        ("TLSv1.1", Self::Tls1_1),
        ("TLSv1.2", Self::Tls1_2),
        ("TLSv1.3", Self::Tls1_3),
    ];

    /// As nginx's `ssl_protocols` names them.
    pub fn parse(name: &str) -> Result<Self, ConfigError> {
        let found = Self::NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|&(_, protocol)| protocol).ok_or_else(|| {
            let known: Vec<&str> = Self::NAMES.iter().map(|&(known, _)| known).collect();
            unknown("protocol", name, &known)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_reason_is_openssls() {
        let cases = [
            (
                "2026/11/26 13:50:33 [crit] 1#1: SSL_do_handshake() failed \
                 (SSL: error:0A00010B:SSL routines::wrong version number)\n",
                Some("wrong version number"),
            ),
            (
                "SSL_do_handshake() failed (SSL: error:1408F10B:SSL routines:ssl3_get_record:wrong version number)",
                Some("wrong version number"),
            ),
            (
                "SSL_read() failed (SSL: error:0A00045C:SSL routines::tlsv13 alert certificate required:SSL alert number 116)",
                Some("tlsv13 alert certificate required"),
            ),
            (
                "x (SSL: error:1:a:b:first reason error:2:c:d:second reason)",
                Some("first reason"),
            ),
            ("x (SSL: error:0A00010B:lib(20)::reason(267))", Some("reason(267)")),
            ("SSL_do_handshake() failed (104: Connection reset by peer)", None),
            ("peer closed connection in SSL handshake", None),
            ("x (SSL: error:", None),
            ("x (SSL: error:1:2:3:)", None),
            ("", None),
        ];
        for (line, expected) in cases {
            assert_eq!(reason(line), expected, "{line}");
        }
    }

    #[test]
    fn a_message_stands_behind_its_process() {
        let cases = [
            ("2026/11/26 13:50:33 [emerg] 12#12: cannot load: x\n", "cannot load: x"),
            ("[emerg] 12#12: *7 cannot load", "*7 cannot load"),
            ("cannot load: x", "cannot load: x"),
            ("", ""),
        ];
        for (line, expected) in cases {
            assert_eq!(message(line), expected);
        }
    }

    #[test]
    fn names_and_addresses_are_told_apart() {
        let cases = [
            ("redis.example.com", Some(("redis.example.com", true))),
            ("redis.example.com.", Some(("redis.example.com", true))),
            ("session_redis", Some(("session_redis", true))),
            ("10.0.0.5", Some(("10.0.0.5", false))),
            ("::1", Some(("::1", false))),
            ("[2001:DB8::1]", Some(("2001:db8::1", false))),
            ("1.2.3", Some(("1.2.3", true))),
            ("", None),
            (".", None),
            ("a\0b", None),
        ];
        for (given, expected) in cases {
            let name = ServerName::new(given);
            let shown = name.as_ref().map(|name| (name.to_string(), name.sni().is_some()));
            let expected = expected.map(|(name, is_sent)| (name.to_owned(), is_sent));
            assert_eq!(shown, expected, "{given:?}");
        }
    }

    #[test]
    fn the_port_is_no_part_of_the_name() {
        for (server, name) in [
            ("10.0.0.5:6379", "10.0.0.5"),
            ("[::1]:6379", "::1"),
            ("redis.example.com:6379", "redis.example.com"),
            ("redis", "redis"),
        ] {
            assert_eq!(ServerName::of_server(server), ServerName::new(name));
        }
    }

    #[test]
    fn protocols_are_named_as_nginx_does() {
        assert_eq!(Protocol::parse("TLSv1.2"), Ok(Protocol::Tls1_2));
        assert_eq!(Protocol::parse("tlsv1"), Ok(Protocol::Tls1));
        assert_eq!(
            Protocol::parse("TLS1.3").unwrap_err().to_string(),
            "unknown protocol \"TLS1.3\"; did you mean \"TLSv1.3\"? known: TLSv1.3, TLSv1.1, TLSv1.2, TLSv1"
        );
        assert!(Protocol::parse("SSLv3").is_err());
    }

    #[test]
    fn the_log_says_what_to_look_at() {
        let cases = [
            (
                TlsFailure::Untrusted { code: 10, reason: "certificate has expired".into() },
                "TLS certificate verify failed (10: certificate has expired)",
            ),
            (
                TlsFailure::Untrusted { code: 18, reason: "self-signed certificate".into() },
                "TLS certificate verify failed (18: self-signed certificate), \
                 is its CA in \"ssl_trusted_certificate\"?",
            ),
            (TlsFailure::NotNamed("redis".into()), "TLS certificate does not match \"redis\""),
            (
                TlsFailure::Handshake("wrong version number".into()),
                "TLS handshake failed (wrong version number), is it a TLS port?",
            ),
            (
                TlsFailure::Handshake("tlsv1 alert protocol version".into()),
                "TLS handshake failed (tlsv1 alert protocol version)",
            ),
            (TlsFailure::Timeout, "TLS handshake timed out, is it a TLS port?"),
        ];
        for (failure, said) in cases {
            assert_eq!(failure.to_string(), said);
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read(line in "\\PC{0,80}") {
            let text = format!("{line}{ERRORS}{line}");
            let _ = (reason(&text), message(&text), reason(&line), message(&line));
            let _ = (ServerName::new(&line), ServerName::of_server(&line));
        }
    }
}
