//! Why a lookup failed, and what may be done about it.

#![forbid(unsafe_code)]

use std::{fmt, io};

use super::memcached::reader::ProtocolError as MemcachedError;
use super::resp::ProtocolError;
use super::server_error::{Code, ServerError};
use super::tls::TlsFailure;

/// Why the store did not answer a command, as the log says it.
///
/// After pingora's model a failure says itself whether another try is safe and whose fault it was, so that these
/// decisions stand in one place. Two stay with the caller: whether the connection was a reused one, and whether
/// a command that is not idempotent may be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The connection broke: `errno` of `recv()` or `send()`.
    Broken(i32),
    /// The server closed the connection before it answered.
    Closed,
    /// `errno` of `connect()`.
    Connect(i32),
    /// No connection within `connect_timeout`, its handshake included.
    ConnectTimeout,
    /// The store is known to be down; nobody was asked.
    Down,
    /// A fresh connection was refused what it needs before it can serve.
    Handshake {
        /// What was refused.
        step: Step,
        /// With which words.
        error: ServerError,
    },
    /// The server closed a fresh connection when it was sent this: it does not know the command.
    HungUp(Step),
    /// What came is not memcached's protocol.
    Memcached(MemcachedError),
    /// No Sentinel names the master.
    NoMaster,
    /// What was asked as a Sentinel is none.
    NoSentinel,
    /// What another lookup asked for is so large that the connection was ended over it.
    LargeReply,
    /// Every server that is not down has been tried.
    NoServer,
    /// What came is not RESP.
    Protocol(ProtocolError),
    /// `max_pending` lookups are in flight.
    QueueFull,
    /// The server must be the master, and is a replica.
    Replica,
    /// The server refused the command.
    Server(ServerError),
    /// The one server that has the key is known to be down; it was not asked.
    ServerDown,
    /// No answer within `timeout`.
    Timeout,
    /// No server of the cluster serves the key's slot.
    Uncovered,
    /// TLS did not come about, or broke.
    Tls(TlsFailure),
    /// A fresh connection without TLS was ended before a single byte came: `errno`, 0 where the server closed it.
    Unanswered(i32),
    /// A reply of a type that the command never has: replies and commands no longer belong together.
    Unexpected,
    /// The server's name has no address.
    Unresolved,
    /// A user name is configured, the server (before Redis 6) knows passwords only.
    UsersUnknown,
}

/// A command of the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// `AUTH`.
    Auth,
    /// The `GET` of a probe.
    Probe,
    /// `ROLE`.
    Role,
    /// `SELECT`.
    Select,
}

impl Failure {
    /// Whether the same server may be asked again over a fresh connection, provided that the one that failed was a
    /// reused one: it may have been closed as idle while the command was under way.
    pub fn is_retryable_on_fresh_connection(&self) -> bool {
        match self {
            Self::Broken(_) | Self::Closed | Self::LargeReply => true,
            Self::Tls(failure) => failure.is_break(),
            _ => false,
        }
    }

    /// Whether another server of the store may be asked: this one cannot serve now, and the deadline has not passed.
    pub fn is_retryable_on_other_server(&self) -> bool {
        self.counts_against_server() && !matches!(self, Self::Timeout)
    }

    /// Whether it is a failure of the server, as opposed to our own limits and to a command refused by a server that
    /// is well. Not asked for a failure that is retried on a fresh connection: the retry decides.
    pub fn counts_against_server(&self) -> bool {
        match self {
            Self::Broken(_)
            | Self::Closed
            | Self::Connect(_)
            | Self::ConnectTimeout
            | Self::Handshake { .. }
            | Self::HungUp(_)
            | Self::Memcached(_)
            | Self::NoSentinel
            | Self::Protocol(_)
            | Self::Replica
            | Self::Timeout
            | Self::Tls(_)
            | Self::Unanswered(_)
            | Self::Unexpected
            | Self::Unresolved
            | Self::UsersUnknown => true,
            Self::Down
            | Self::LargeReply
            | Self::NoMaster
            | Self::NoServer
            | Self::QueueFull
            | Self::ServerDown
            | Self::Uncovered => false,
            Self::Server(error) => serves_nobody(error.code()),
        }
    }

    /// Whether the connection must not be used any further. A late reply to a command that timed out is still
    /// taken from the connection and dropped, so that a timeout alone does not end it.
    pub fn closes_connection(&self) -> bool {
        match self {
            Self::Broken(_)
            | Self::Closed
            | Self::Connect(_)
            | Self::ConnectTimeout
            | Self::Handshake { .. }
            | Self::HungUp(_)
            | Self::LargeReply
            | Self::Memcached(_)
            | Self::NoSentinel
            | Self::Protocol(_)
            | Self::Replica
            | Self::Tls(_)
            | Self::Unanswered(_)
            | Self::Unexpected
            | Self::UsersUnknown => true,
            Self::Down
            | Self::NoMaster
            | Self::NoServer
            | Self::QueueFull
            | Self::ServerDown
            | Self::Timeout
            | Self::Uncovered
            | Self::Unresolved => false,
            Self::Server(error) => {
                matches!(
                    error.code(),
                    Code::Denied | Code::MaxClients | Code::NoAuth | Code::WrongPass
                )
            }
        }
    }

    /// Whether the server is a replica that takes no writes.
    pub fn is_read_only(&self) -> bool {
        matches!(self, Self::Server(error) if error.code() == Code::ReadOnly)
    }

    /// Whether the server does not know the command: it may be another kind of server.
    pub fn is_unknown_command(&self) -> bool {
        matches!(self, Self::Server(error) if error.is_unknown_command())
    }

    /// Whether the server did not take the password, so that the password file may have a newer one.
    pub fn is_about_password(&self) -> bool {
        match self {
            Self::Handshake { error, .. } | Self::Server(error) => {
                matches!(error.code(), Code::NoAuth | Code::WrongPass)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(errno) => write!(f, "connection broke ({})", Errno(*errno)),
            Self::Closed => f.write_str("server closed the connection"),
            // Not the system's refusal, then, but nginx's.
            Self::Connect(0) => {
                f.write_str("no connection left, worker_connections are not enough")
            }
            Self::Connect(errno) => write!(f, "connect() failed ({})", Errno(*errno)),
            Self::ConnectTimeout => f.write_str("connecting timed out"),
            Self::Down => f.write_str("store is down"),
            Self::Handshake { step, error } => write!(f, "server answered \"{error}\" to {step}"),
            Self::LargeReply => f.write_str("connection ended over a reply that is too large"),
            Self::NoMaster => f.write_str("no Sentinel names its master"),
            Self::NoSentinel => f.write_str("server is not a Sentinel"),
            Self::NoServer => f.write_str("no live servers"),
            Self::HungUp(step) => write!(f, "server closed the connection when sent {step}"),
            Self::Memcached(error) => write!(f, "server sent an invalid reply: {error}"),
            Self::Protocol(error) => write!(f, "server sent an invalid reply: {error}"),
            Self::QueueFull => f.write_str("too many lookups in flight"),
            Self::Replica => f.write_str("server is a replica, not the master"),
            Self::Server(error) => write!(f, "server answered \"{error}\""),
            Self::ServerDown => f.write_str("the server that has the key is down"),
            Self::Timeout => f.write_str("server timed out"),
            Self::Uncovered => f.write_str("no server of the cluster serves the key's slot"),
            Self::Tls(failure) => failure.fmt(f),
            // What a server that expects TLS does to a client without it.
            Self::Unanswered(0) => {
                f.write_str("server closed the connection without a word, is it a TLS port?")
            }
            Self::Unanswered(errno) => {
                write!(f, "connection broke ({}) before a word, is it a TLS port?", Errno(*errno))
            }
            Self::Unexpected => f.write_str("server sent a reply of an unexpected type"),
            Self::Unresolved => f.write_str("server name could not be resolved"),
            Self::UsersUnknown => {
                f.write_str("server knows no user names (Redis before 6), only a password")
            }
        }
    }
}

impl std::error::Error for Failure {}

impl From<ProtocolError> for Failure {
    fn from(error: ProtocolError) -> Self {
        match error {
            ProtocolError::Unread => Self::LargeReply,
            error => Self::Protocol(error),
        }
    }
}

impl From<MemcachedError> for Failure {
    fn from(error: MemcachedError) -> Self {
        match error {
            MemcachedError::Unread => Self::LargeReply,
            error => Self::Memcached(error),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auth => "AUTH",
            Self::Probe => "GET",
            Self::Role => "ROLE",
            Self::Select => "SELECT",
        })
    }
}

/// Whether a server that answers so would answer every other command so as well.
pub(super) fn serves_nobody(code: Code) -> bool {
    match code {
        Code::Busy
        | Code::ClusterDown
        | Code::Denied
        | Code::Loading
        | Code::MasterDown
        | Code::MaxClients
        | Code::NoAuth
        | Code::WrongPass => true,
        Code::Ask
        | Code::Err
        | Code::Misconf
        | Code::Moved
        | Code::NoPerm
        | Code::NoReplicas
        | Code::Oom
        | Code::ReadOnly
        | Code::TryAgain
        | Code::WrongType
        | Code::Other => false,
    }
}

/// A system error as nginx prints it: `111: Connection refused`.
struct Errno(i32);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = io::Error::from_raw_os_error(self.0).to_string();
        let text = text.rsplit_once(" (os error").map_or(text.as_str(), |(text, _)| text);
        write!(f, "{}: {text}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> Failure {
        Failure::Server(ServerError::parse(text.as_bytes()))
    }

    fn handshake(step: Step, text: &str) -> Failure {
        Failure::Handshake { step, error: ServerError::parse(text.as_bytes()) }
    }

    /// failure, on a fresh connection, on another server, counts, closes, password
    fn table() -> Vec<(Failure, [bool; 5])> {
        let (y, n) = (true, false);
        vec![
            (Failure::Broken(104), [y, y, y, y, n]),
            (Failure::Closed, [y, y, y, y, n]),
            (Failure::Connect(111), [n, y, y, y, n]),
            (Failure::ConnectTimeout, [n, y, y, y, n]),
            (Failure::Down, [n, n, n, n, n]),
            (Failure::HungUp(Step::Select), [n, y, y, y, n]),
            (Failure::LargeReply, [y, n, n, y, n]),
            (Failure::Memcached(MemcachedError::Tail), [n, y, y, y, n]),
            (Failure::NoServer, [n, n, n, n, n]),
            (Failure::Protocol(ProtocolError::Number), [n, y, y, y, n]),
            (Failure::QueueFull, [n, n, n, n, n]),
            (Failure::ServerDown, [n, n, n, n, n]),
            (Failure::Timeout, [n, n, y, n, n]),
            (Failure::Uncovered, [n, n, n, n, n]),
            (Failure::Tls(TlsFailure::Broken("bad record mac".into())), [y, y, y, y, n]),
            (Failure::Tls(TlsFailure::Closed), [n, y, y, y, n]),
            (Failure::Tls(TlsFailure::Handshake("no shared cipher".into())), [n, y, y, y, n]),
            (Failure::Tls(TlsFailure::NoCertificate), [n, y, y, y, n]),
            (Failure::Tls(TlsFailure::NotNamed("redis".into())), [n, y, y, y, n]),
            (Failure::Tls(TlsFailure::Timeout), [n, y, y, y, n]),
            (
                Failure::Tls(TlsFailure::Untrusted { code: 10, reason: "expired".into() }),
                [n, y, y, y, n],
            ),
            (Failure::Unanswered(0), [n, y, y, y, n]),
            (Failure::Unexpected, [n, y, y, y, n]),
            (Failure::Unresolved, [n, y, y, n, n]),
            (Failure::UsersUnknown, [n, y, y, y, n]),
            (handshake(Step::Auth, "WRONGPASS invalid"), [n, y, y, y, y]),
            (handshake(Step::Auth, "ERR max number of clients reached"), [n, y, y, y, n]),
            (handshake(Step::Select, "NOAUTH Authentication required."), [n, y, y, y, y]),
            (handshake(Step::Select, "ERR DB index is out of range"), [n, y, y, y, n]),
            (handshake(Step::Probe, "LOADING"), [n, y, y, y, n]),
            (server("BUSY"), [n, y, y, n, n]),
            (server("CLUSTERDOWN"), [n, y, y, n, n]),
            (server("ERR max number of clients reached"), [n, y, y, y, n]),
            (server("LOADING"), [n, y, y, n, n]),
            (server("MASTERDOWN"), [n, y, y, n, n]),
            (server("MISCONF"), [n, n, n, n, n]),
            (server("NOAUTH"), [n, y, y, y, y]),
            (server("NOPERM"), [n, n, n, n, n]),
            (server("OOM"), [n, n, n, n, n]),
            (server("READONLY"), [n, n, n, n, n]),
            (server("TRYAGAIN"), [n, n, n, n, n]),
            (server("WHATEVER"), [n, n, n, n, n]),
        ]
    }

    #[test]
    fn each_failure_says_what_may_be_done() {
        for (failure, expected) in table() {
            let is = [
                failure.is_retryable_on_fresh_connection(),
                failure.is_retryable_on_other_server(),
                failure.counts_against_server(),
                failure.closes_connection(),
                failure.is_about_password(),
            ];
            assert_eq!(is, expected, "{failure}");
        }
    }

    #[test]
    fn the_log_reads_like_nginxs_own() {
        assert_eq!(Failure::Connect(111).to_string(), "connect() failed (111: Connection refused)");
        assert_eq!(
            handshake(Step::Select, "ERR DB index is out of range").to_string(),
            "server answered \"ERR DB index is out of range\" to SELECT"
        );
        assert_eq!(
            server("LOADING Redis is loading the dataset in memory").to_string(),
            "server answered \"LOADING Redis is loading the dataset in memory\""
        );
    }
}
