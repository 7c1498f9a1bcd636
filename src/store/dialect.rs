//! What a server speaks: all that a connection, which only moves bytes, has to know of Redis or memcached.

#![forbid(unsafe_code)]

use super::ability::Feature;
use super::command;
use super::dialogue::{self, Login};
use super::error::{Failure, Step};
use super::fetched::{
    classify_count, classify_get, classify_hgetall, classify_pttl, classify_push, Changed, Fetched,
    Ttl,
};
use super::memcached;
use super::resp;
use crate::config::ConfigError;

/// The protocol of a store's servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// RESP, of Redis and what is compatible with it.
    #[default]
    Redis,
    /// memcached's text protocol.
    Memcached,
}

/// The handshake of a fresh connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dialogue {
    /// With a Redis.
    Redis(dialogue::Dialogue),
    /// With a memcached.
    Memcached(memcached::dialogue::Dialogue),
}

/// Reads the replies of one connection.
#[derive(Debug)]
pub enum Reader {
    /// A Redis'.
    Redis(resp::Reader),
    /// A memcached's.
    Memcached(memcached::reader::Reader),
}

/// A reply, which means something only beside the command that it answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply<'b> {
    /// A Redis'.
    Redis(resp::Reply<'b>),
    /// A memcached's.
    Memcached(memcached::reader::Reply<'b>),
}

impl Dialect {
    /// As the log and messages call such a server.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "Redis",
            Self::Memcached => "memcached",
        }
    }

    /// The scheme of its urls.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Memcached => "memcached",
        }
    }

    /// Where such a server listens unless told otherwise.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Redis => super::endpoint::DEFAULT_PORT,
            Self::Memcached => memcached::DEFAULT_PORT,
        }
    }

    /// Whether a key is one at all.
    pub fn is_key(self, key: &[u8]) -> bool {
        match self {
            Self::Redis => true,
            Self::Memcached => memcached::is_key(key),
        }
    }

    /// Whether a server has several databases.
    pub fn has_databases(self) -> bool {
        self == Self::Redis
    }

    /// Whether sessions that are hashes can be there.
    pub fn has_hashes(self) -> bool {
        self == Self::Redis
    }

    /// Whether a life can be set so that it is never shortened.
    pub fn has_longer(self) -> bool {
        self == Self::Redis
    }

    /// Whether such servers are spoken to over TLS.
    pub fn has_tls(self) -> bool {
        self == Self::Redis
    }

    /// Whether there are servers that cannot tell the life left to a key.
    pub fn may_lack_lives(self) -> bool {
        self == Self::Memcached
    }

    /// Refuses what such a server does not have: the one place for it.
    pub fn check(
        self,
        username: Option<&str>,
        has_password: bool,
        has_database: bool,
    ) -> Result<(), ConfigError> {
        if self == Self::Redis {
            return Ok(());
        }
        if has_database {
            return Err(ConfigError::new("memcached has no databases"));
        }
        if username.is_some() != has_password {
            return Err(ConfigError::new("memcached knows users with a password only")
                .hint("write both \"username\" and \"password_file\", as in its file of \"-Y\""));
        }
        let ends_user = |byte: u8| byte <= b' ' || byte == b':';
        if username.is_some_and(|user| user.is_empty() || user.bytes().any(ends_user)) {
            return Err(ConfigError::new(
                "no user of memcached has an empty name, or one with spaces or \":\"",
            ));
        }
        Ok(())
    }

    /// Begins the handshake of a fresh connection: writes its commands to `out`.
    pub fn greet(self, login: &Login, probe: bool, out: &mut Vec<u8>) -> Dialogue {
        match self {
            Self::Redis => Dialogue::Redis(dialogue::Dialogue::begin(login, probe, out)),
            Self::Memcached => {
                Dialogue::Memcached(memcached::dialogue::Dialogue::begin(login, probe, out))
            }
        }
    }

    /// A reader at the beginning of a connection.
    pub fn reader(self, limits: resp::Limits) -> Reader {
        match self {
            Self::Redis => Reader::Redis(resp::Reader::new(limits)),
            Self::Memcached => Reader::Memcached(memcached::reader::Reader::new(limits.bulk)),
        }
    }

    /// Asks for the session of a key: one reply, for [`Reply::fetched`].
    pub fn fetch(self, out: &mut Vec<u8>, key: &[u8], hash: bool) {
        match (self, hash) {
            (Self::Redis, true) => command::hgetall(out, key),
            (Self::Redis, false) => command::get(out, key),
            (Self::Memcached, _) => memcached::get(out, key),
        }
    }

    /// Asks how long the session of a key is: one reply, for [`Reply::excess`]. Whether that can be asked.
    pub fn length(self, out: &mut Vec<u8>, key: &[u8], hash: bool) -> bool {
        if self == Self::Redis {
            command::length(out, key, hash);
        }
        self == Self::Redis
    }

    /// Asks for the life left to a key: one reply, for [`Reply::ttl`].
    pub fn life(self, out: &mut Vec<u8>, key: &[u8]) {
        match self {
            Self::Redis => command::pttl(out, key),
            Self::Memcached => memcached::life(out, key),
        }
    }

    /// Deletes keys. Returns how many replies there will be, each for [`Reply::deleted`].
    pub fn delete(self, out: &mut Vec<u8>, keys: &[&[u8]]) -> usize {
        match self {
            Self::Redis => {
                command::del(out, keys);
                keys.len().min(1)
            }
            Self::Memcached => memcached::delete(out, keys),
        }
    }

    /// Extends the life of a key, with `longer` in the form that never shortens it. `now`: the time of day in Unix
    /// ms. Returns whether there will be a reply, for [`Reply::touched`].
    pub fn touch(self, out: &mut Vec<u8>, key: &[u8], ms: u64, longer: bool, now: u64) -> bool {
        match (self, longer) {
            (Self::Redis, true) => command::pexpire_longer(out, key, ms),
            (Self::Redis, false) => command::pexpire(out, key, ms),
            (Self::Memcached, _) => return memcached::touch(out, key, ms, now),
        }
        true
    }
}

impl Dialogue {
    /// Whether the next reply is one to the handshake.
    pub fn awaits_reply(&self) -> bool {
        match self {
            Self::Redis(dialogue) => dialogue.awaits_reply(),
            Self::Memcached(dialogue) => !dialogue.is_done(),
        }
    }

    /// Whether the connection may serve: every reply that matters has come and none was a refusal.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Redis(dialogue) => dialogue.is_done(),
            Self::Memcached(dialogue) => dialogue.is_done(),
        }
    }

    /// What the next reply is about, if the connection can do without.
    pub fn awaited_feature(&self) -> Option<Feature> {
        match self {
            Self::Redis(dialogue) => dialogue.awaited_feature(),
            Self::Memcached(_) => None,
        }
    }

    /// Whether the server says when what was read changes.
    pub fn tracks(&self) -> bool {
        matches!(self, Self::Redis(dialogue) if dialogue.tracks())
    }

    /// The command whose reply is next, if the connection cannot serve without it.
    pub fn awaited_step(&self) -> Option<Step> {
        match self {
            Self::Redis(dialogue) => dialogue.awaited_step(),
            Self::Memcached(dialogue) => dialogue.awaited_step(),
        }
    }

    /// Takes the next reply. After a failure the connection is to be closed.
    pub fn take(&mut self, reply: Reply<'_>) -> Result<(), Failure> {
        match (self, reply) {
            (Self::Redis(dialogue), Reply::Redis(reply)) => dialogue.take(reply),
            (Self::Memcached(dialogue), Reply::Memcached(reply)) => dialogue.take(reply),
            _ => Err(Failure::Unexpected),
        }
    }
}

impl Reader {
    /// The next reply, taken off the front of `input`; see [`resp::Reader::next`].
    #[inline]
    pub fn next<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<Reply<'b>>, Failure> {
        Ok(match self {
            Self::Redis(reader) => reader.next(input)?.map(Reply::Redis),
            Self::Memcached(reader) => reader.next(input)?.map(Reply::Memcached),
        })
    }
}

impl<'b> Reply<'b> {
    /// The reply of a Redis, where no other may come.
    pub fn of_redis(self) -> Result<resp::Reply<'b>, Failure> {
        match self {
            Self::Redis(reply) => Ok(reply),
            Self::Memcached(_) => Err(Failure::Unexpected),
        }
    }

    /// Whether it answers no command.
    pub fn is_push(&self) -> bool {
        matches!(self, Self::Redis(resp::Reply::Push(_)))
    }

    /// What has changed, if that is what it says.
    pub fn changed(self) -> Option<Changed> {
        match self {
            Self::Redis(resp::Reply::Push(push)) => classify_push(push),
            _ => None,
        }
    }

    /// What it means as the answer to a `PING`.
    pub fn pong(self) -> Result<(), Failure> {
        match self {
            Self::Redis(resp::Reply::Status) => Ok(()),
            reply => Err(reply.unasked()),
        }
    }

    /// What it means as the answer to [`Dialect::fetch`].
    pub fn fetched(self, key: &[u8], hash: bool) -> Fetched<'b> {
        match (self, hash) {
            (Self::Redis(reply), true) => classify_hgetall(reply),
            (Self::Redis(reply), false) => classify_get(reply),
            (Self::Memcached(reply), _) => memcached::classify_get(reply, key),
        }
    }

    /// How many bytes, more than is read, the session has at least by the answer to [`Dialect::length`].
    pub fn excess(self, hash: bool, limits: resp::Limits) -> Result<Option<u64>, Failure> {
        let length = match self {
            Self::Redis(reply) => classify_count(reply)?.unsigned_abs(),
            Self::Memcached(_) => return Err(Failure::Unexpected),
        };
        let (bytes, most) = match hash {
            true => (length.saturating_mul(resp::SHORTEST_FIELD), limits.other),
            false => (length, limits.bulk),
        };
        Ok((bytes > most as u64).then_some(bytes))
    }

    /// What it means as the answer to [`Dialect::life`].
    pub fn ttl(self, key: &[u8]) -> Result<Ttl, Failure> {
        match self {
            Self::Redis(reply) => classify_pttl(reply),
            Self::Memcached(reply) => memcached::classify_life(reply, key),
        }
    }

    /// What it means as an answer to [`Dialect::delete`].
    pub fn deleted(self) -> Result<(), Failure> {
        match self {
            Self::Redis(reply) => classify_count(reply).map(|_| ()),
            Self::Memcached(reply) => memcached::classify_delete(reply),
        }
    }

    /// What it means as the answer to [`Dialect::touch`].
    pub fn touched(self) -> Result<(), Failure> {
        match self {
            Self::Redis(reply) => classify_count(reply).map(|_| ()),
            Self::Memcached(reply) => memcached::classify_touch(reply),
        }
    }

    /// What it means where nothing was asked: a server that refuses the connection itself says so.
    pub fn unasked(self) -> Failure {
        use memcached::reader::Reply as Memcached;
        match self {
            Self::Redis(resp::Reply::Error(error)) | Self::Memcached(Memcached::Error(error)) => {
                Failure::Server(error)
            }
            _ => Failure::Unexpected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: resp::Limits = resp::Limits { bulk: 64, other: 64 };

    fn reply<'b>(dialect: Dialect, mut bytes: &'b [u8]) -> Reply<'b> {
        dialect.reader(LIMITS).next(&mut bytes).unwrap().unwrap()
    }

    #[test]
    fn each_speaks_its_own() {
        use Dialect::{Memcached, Redis};
        let said = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert!(said(&|out| Redis.fetch(out, b"a", true)).contains("HGETALL"));
        assert!(said(&|out| Redis.fetch(out, b"a", false)).contains("GET"));
        assert_eq!(said(&|out| Memcached.fetch(out, b"a", false)), "get a\r\n");
        assert!(said(&|out| Redis.life(out, b"a")).contains("PTTL"));
        assert_eq!(said(&|out| Memcached.life(out, b"a")), "mg a k t\r\n");
        assert!(said(&|out| assert!(Redis.touch(out, b"a", 1, true, 0))).contains("GT"));
        assert!(!said(&|out| assert!(Redis.touch(out, b"a", 1, false, 0))).contains("GT"));
        assert_eq!(said(&|out| assert!(!Memcached.touch(out, b"a", 1, false, 0))), "");
        for (keys, replies) in [(&[][..], (0, 0)), (&[&b"a"[..]], (1, 1)), (&[b"a", b"b"], (1, 2))]
        {
            let mut out = Vec::new();
            assert_eq!((Redis.delete(&mut out, keys), Memcached.delete(&mut out, keys)), replies);
        }
    }

    #[test]
    fn replies_mean_alike() {
        for (dialect, found, missing, gone) in [
            (Dialect::Redis, &b"$1\r\nx\r\n"[..], &b"$-1\r\n"[..], &b":0\r\n"[..]),
            (Dialect::Memcached, b"VALUE a 0 1\r\nx\r\nEND\r\n", b"END\r\n", b"NOT_FOUND\r\n"),
        ] {
            assert_eq!(reply(dialect, found).fetched(b"a", false), Fetched::Value(b"x".into()));
            assert_eq!(reply(dialect, missing).fetched(b"a", false), Fetched::Missing);
            assert_eq!(reply(dialect, gone).deleted(), Ok(()));
            assert_eq!(reply(dialect, gone).touched(), Ok(()));
            assert_eq!(reply(dialect, missing).unasked(), Failure::Unexpected);
            assert!(!reply(dialect, found).is_push());
        }
        assert!(reply(Dialect::Redis, b">1\r\n$1\r\na\r\n").is_push());
        assert_eq!(reply(Dialect::Redis, b":1500\r\n").ttl(b"a"), Ok(Ttl::Left(1500)));
        assert_eq!(reply(Dialect::Memcached, b"HD ka t2\r\n").ttl(b"a"), Ok(Ttl::Left(2000)));
        for (dialect, bytes) in [
            (Dialect::Redis, &b"-ERR max number of clients reached\r\n"[..]),
            (Dialect::Memcached, b"ERROR Too many open connections\r\n"),
        ] {
            assert!(reply(dialect, bytes).unasked().closes_connection());
        }
    }

    #[test]
    fn what_is_too_long_is_known_by_its_length() {
        let excess = |bytes, hash| reply(Dialect::Redis, bytes).excess(hash, LIMITS);
        assert_eq!(excess(b":64\r\n", false), Ok(None));
        assert_eq!(excess(b":65\r\n", false), Ok(Some(65)));
        assert_eq!(excess(b":5\r\n", true), Ok(None));
        assert_eq!(excess(b":6\r\n", true), Ok(Some(72)));
        assert!(excess(b"-WRONGTYPE Operation\r\n", false).is_err());
        assert!(excess(b"$1\r\nx\r\n", false).is_err());
        assert!(reply(Dialect::Memcached, b"END\r\n").excess(false, LIMITS).is_err());
        let mut out = Vec::new();
        assert!(
            Dialect::Redis.length(&mut out, b"a", true) && out.ends_with(b"HLEN\r\n$1\r\na\r\n")
        );
        assert!(!Dialect::Memcached.length(&mut Vec::new(), b"a", false));
    }

    #[test]
    fn what_memcached_lacks_is_refused() {
        let check = |user, password, database| {
            let refused = Dialect::Memcached.check(user, password, database);
            assert_eq!(Dialect::Redis.check(user, password, database), Ok(()));
            refused.map_err(|error| error.to_string())
        };
        assert_eq!(check(None, false, false), Ok(()));
        assert_eq!(check(Some("web"), true, false), Ok(()));
        assert!(Dialect::Redis.has_tls() && !Dialect::Memcached.has_tls());
        assert_eq!(check(None, false, true), Err("memcached has no databases".to_owned()));
        let both = "memcached knows users with a password only; write both \"username\" and \
                    \"password_file\", as in its file of \"-Y\"";
        assert_eq!(check(Some("web"), false, false), Err(both.to_owned()));
        assert_eq!(check(None, true, false), Err(both.to_owned()));
        for user in ["", "a b", "a:b", "a\nb"] {
            assert!(check(Some(user), true, false).is_err());
        }
    }
}
