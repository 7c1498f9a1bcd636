//! What the reply to a command means for a session.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::rc::Rc;

use redis::{PushKind, Value};

use super::error::Failure;
use super::resp::Reply;
use super::server_error::Code;
use crate::stored::{Fields, KeptSession, Stored};

/// What a `GET` or `HGETALL` brought.
#[derive(Debug, Clone, PartialEq)]
pub enum Fetched<'b> {
    /// The session as it is stored; borrowed from the read buffer if it came in one piece.
    Value(Cow<'b, [u8]>),
    /// The fields and values of a hash.
    Hash(Fields),
    /// No such key.
    Missing,
    /// The key holds something else than what was asked for.
    WrongType,
    /// The session has this many bytes, more than `max_size`.
    TooLarge(u64),
    /// The store did not answer.
    Failed(Failure),
}

/// What became of a lookup, as it is kept and shared.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The session.
    Found(Rc<KeptSession>),
    /// No such key.
    Missing,
    /// The key holds something else than what was asked for.
    WrongType,
    /// The session has this many bytes, more than `max_size`.
    TooLarge(u64),
    /// The store did not answer.
    Failed(Failure),
}

impl Outcome {
    fn found(stored: Stored) -> Self {
        Self::Found(Rc::new(KeptSession::new(stored)))
    }
}

impl From<Fetched<'_>> for Outcome {
    fn from(fetched: Fetched<'_>) -> Self {
        match fetched {
            Fetched::Value(value) => Self::found(Stored::Text(value.into_owned())),
            Fetched::Hash(fields) => Self::found(Stored::Hash(fields)),
            Fetched::Missing => Self::Missing,
            Fetched::WrongType => Self::WrongType,
            Fetched::TooLarge(bytes) => Self::TooLarge(bytes),
            Fetched::Failed(failure) => Self::Failed(failure),
        }
    }
}

/// The life left to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// No such key.
    Missing,
    /// The key has no end.
    Endless,
    /// Milliseconds.
    Left(u64),
}

/// What the reply to `GET` means.
pub fn classify_get(reply: Reply<'_>) -> Fetched<'_> {
    match reply {
        Reply::Bulk(value) => Fetched::Value(value),
        Reply::Null => Fetched::Missing,
        Reply::TooLarge(bytes) => Fetched::TooLarge(bytes),
        Reply::Error(error) if error.code() == Code::WrongType => Fetched::WrongType,
        Reply::Error(error) => Fetched::Failed(Failure::Server(error)),
        Reply::Int(_) | Reply::Status | Reply::Push(_) | Reply::Other(_) => {
            Fetched::Failed(Failure::Unexpected)
        }
    }
}

/// What the reply to `HGETALL` means: RESP2 has pairs in an array, RESP3 a map; a missing key has none.
pub fn classify_hgetall(reply: Reply<'_>) -> Fetched<'_> {
    match reply {
        Reply::Other(Value::Map(pairs)) => {
            let parts = pairs.into_iter().flat_map(|(name, value)| [name, value]).collect();
            classify_hgetall(Reply::Other(Value::Array(parts)))
        }
        Reply::Other(Value::Array(parts)) if parts.is_empty() => Fetched::Missing,
        Reply::Other(Value::Array(parts)) => match pairs(parts) {
            Some(fields) => Fetched::Hash(fields),
            None => Fetched::Failed(Failure::Unexpected),
        },
        // An array cannot be meant for a `GET`, nor a string for this.
        Reply::Bulk(_) => Fetched::Failed(Failure::Unexpected),
        other => classify_get(other),
    }
}

fn pairs(parts: Vec<Value>) -> Option<Fields> {
    let mut fields = Vec::with_capacity(parts.len() / 2);
    let mut parts = parts.into_iter();
    while let Some(name) = parts.next() {
        match (name, parts.next()?) {
            (Value::BulkString(name), Value::BulkString(value)) => fields.push((name, value)),
            _ => return None,
        }
    }
    Some(fields)
}

/// What a server says unasked of keys that it was asked for (`CLIENT TRACKING`).
#[derive(Debug, Clone, PartialEq)]
pub enum Changed {
    /// These have changed, or are gone.
    Keys(Vec<Vec<u8>>),
    /// All may have.
    All,
}

/// What out of band data means; `None`: nothing to us.
pub fn classify_push(push: Value) -> Option<Changed> {
    let Value::Push { kind: PushKind::Invalidate, data } = push else { return None };
    match data.into_iter().next() {
        Some(Value::Array(keys)) => {
            let key = |key| match key {
                Value::BulkString(key) => Some(key),
                _ => None,
            };
            // One that cannot be understood may be any.
            Some(
                keys.into_iter()
                    .map(key)
                    .collect::<Option<_>>()
                    .map_or(Changed::All, Changed::Keys),
            )
        }
        _ => Some(Changed::All),
    }
}

/// What the reply to `PTTL` means.
pub fn classify_pttl(reply: Reply<'_>) -> Result<Ttl, Failure> {
    match classify_count(reply)? {
        -2 => Ok(Ttl::Missing),
        -1 => Ok(Ttl::Endless),
        left => u64::try_from(left).map(Ttl::Left).map_err(|_| Failure::Unexpected),
    }
}

/// The number that `PEXPIRE` or `DEL` answers: how many keys it changed.
pub fn classify_count(reply: Reply<'_>) -> Result<i64, Failure> {
    match reply {
        Reply::Int(count) => Ok(count),
        Reply::Error(error) => Err(Failure::Server(error)),
        _ => Err(Failure::Unexpected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::server_error::ServerError;

    fn error(text: &str) -> ServerError {
        ServerError::parse(text.as_bytes())
    }

    #[test]
    fn a_get_brings_a_session_or_says_why_not() {
        let loading = error("LOADING Redis is loading the dataset in memory");
        let cases = [
            (Reply::Bulk(Cow::Borrowed(b"")), Fetched::Value(Cow::Borrowed(b""))),
            (Reply::Bulk(Cow::Borrowed(b"x")), Fetched::Value(Cow::Borrowed(b"x"))),
            (Reply::Null, Fetched::Missing),
            (Reply::TooLarge(70_000), Fetched::TooLarge(70_000)),
            (Reply::Error(error("WRONGTYPE Operation against a key")), Fetched::WrongType),
            (Reply::Error(loading.clone()), Fetched::Failed(Failure::Server(loading))),
            (Reply::Int(1), Fetched::Failed(Failure::Unexpected)),
            (Reply::Status, Fetched::Failed(Failure::Unexpected)),
            (Reply::Other(redis::Value::Array(vec![])), Fetched::Failed(Failure::Unexpected)),
        ];
        for (reply, fetched) in cases {
            assert_eq!(classify_get(reply), fetched);
        }
    }

    #[test]
    fn a_hash_comes_in_pairs() {
        let bulk = |text: &str| Value::BulkString(text.into());
        let array = |parts: &[Value]| classify_hgetall(Reply::Other(Value::Array(parts.to_vec())));
        assert_eq!(array(&[]), Fetched::Missing);
        let fields = vec![(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"".to_vec())];
        let pairs = [bulk("a"), bulk("1"), bulk("b"), bulk("")];
        assert_eq!(array(&pairs), Fetched::Hash(fields));
        let unexpected = Fetched::Failed(Failure::Unexpected);
        assert_eq!(array(&pairs[..3]), unexpected);
        assert_eq!(array(&[bulk("a"), Value::Int(1)]), unexpected);
        assert_eq!(classify_hgetall(Reply::Bulk(Cow::Borrowed(b"x"))), unexpected);
        let wrong = Reply::Error(error("WRONGTYPE Operation against a key"));
        assert_eq!(classify_hgetall(wrong), Fetched::WrongType);
        assert_eq!(classify_hgetall(Reply::TooLarge(9)), Fetched::TooLarge(9));
    }

    #[test]
    fn a_hash_of_resp3_is_a_map() {
        let text = |text: &str| Value::BulkString(text.into());
        let hash = Value::Map(vec![(text("a"), text("1")), (text("b"), text(""))]);
        let fields = vec![(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), Vec::new())];
        assert_eq!(classify_hgetall(Reply::Other(hash)), Fetched::Hash(fields));
        assert_eq!(classify_hgetall(Reply::Other(Value::Map(Vec::new()))), Fetched::Missing);
    }

    #[test]
    fn a_push_tells_what_has_changed() {
        let push = |kind, data| classify_push(Value::Push { kind, data });
        let key = |key: &str| Value::BulkString(key.into());
        let keys = Value::Array(vec![key("a"), key("b")]);
        let changed = Changed::Keys(vec![b"a".to_vec(), b"b".to_vec()]);
        assert_eq!(push(PushKind::Invalidate, vec![keys.clone()]), Some(changed));
        assert_eq!(push(PushKind::Invalidate, vec![Value::Nil]), Some(Changed::All));
        assert_eq!(push(PushKind::Invalidate, vec![]), Some(Changed::All));
        let odd = Value::Array(vec![key("a"), Value::Int(1)]);
        assert_eq!(push(PushKind::Invalidate, vec![odd]), Some(Changed::All));
        assert_eq!(push(PushKind::Message, vec![keys]), None);
        assert_eq!(classify_push(Value::Nil), None);
    }

    #[test]
    fn a_life_is_missing_endless_or_left() {
        assert_eq!(classify_pttl(Reply::Int(-2)), Ok(Ttl::Missing));
        assert_eq!(classify_pttl(Reply::Int(-1)), Ok(Ttl::Endless));
        assert_eq!(classify_pttl(Reply::Int(0)), Ok(Ttl::Left(0)));
        assert_eq!(classify_pttl(Reply::Int(1_440_000)), Ok(Ttl::Left(1_440_000)));
        assert_eq!(classify_pttl(Reply::Int(-3)), Err(Failure::Unexpected));
        assert_eq!(classify_pttl(Reply::Null), Err(Failure::Unexpected));
        let error = error("NOPERM this user has no permissions");
        assert_eq!(classify_pttl(Reply::Error(error.clone())), Err(Failure::Server(error)));
    }
}
