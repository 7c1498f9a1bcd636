//! The servers of the whole fleet that get no new sessions, as a set in the store names them.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::collections::HashSet;

use redis::Value;

use super::assignment::is_name;
use crate::store::error::Failure;
use crate::store::resp::Reply;

/// At most so many names are kept.
const MOST: usize = 1024;

/// What the set held when it was read last.
#[derive(Debug, Default)]
pub struct Drained(RefCell<HashSet<Box<[u8]>>>);

impl Drained {
    /// Whether it holds nobody.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Whether a server is in it.
    pub fn contains(&self, server: &[u8]) -> bool {
        self.0.borrow().contains(server)
    }

    /// Takes the reply to `SMEMBERS`: RESP2 has an array, RESP3 a set. What no server is called is left out; of a set
    /// that is too large the names known before stay.
    pub fn take(&self, reply: Reply<'_>) -> Result<(), Failure> {
        let members = match reply {
            Reply::Other(Value::Array(members) | Value::Set(members)) => members,
            Reply::Null => Vec::new(),
            Reply::TooLarge(_) => return Ok(()),
            Reply::Error(error) => return Err(Failure::Server(error)),
            _ => return Err(Failure::Unexpected),
        };
        let name = |member| match member {
            Value::BulkString(name) if is_name(&name) => Some(name.into_boxed_slice()),
            _ => None,
        };
        *self.0.borrow_mut() = members.into_iter().filter_map(name).take(MOST).collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::server_error::ServerError;

    fn names(names: &[&str]) -> Vec<Value> {
        names.iter().map(|name| Value::BulkString(name.as_bytes().to_vec())).collect()
    }

    #[test]
    fn the_set_is_what_was_read_last() {
        let drained = Drained::default();
        assert!(drained.is_empty() && !drained.contains(b"a"));
        drained.take(Reply::Other(Value::Array(names(&["a", "b c", ""])))).unwrap();
        assert!(!drained.is_empty());
        assert!(drained.contains(b"a") && !drained.contains(b"b c") && !drained.contains(b""));
        drained.take(Reply::Other(Value::Set(names(&["b"])))).unwrap();
        assert!(drained.contains(b"b") && !drained.contains(b"a"));
        drained.take(Reply::Other(Value::Array(Vec::new()))).unwrap();
        assert!(!drained.contains(b"b"));
    }

    #[test]
    fn what_cannot_be_read_changes_nothing() {
        let drained = Drained::default();
        drained.take(Reply::Other(Value::Array(names(&["a"])))).unwrap();
        let error = ServerError::parse(b"WRONGTYPE Operation against a key");
        assert_eq!(drained.take(Reply::Error(error.clone())), Err(Failure::Server(error)));
        assert_eq!(drained.take(Reply::Int(1)), Err(Failure::Unexpected));
        assert_eq!(drained.take(Reply::TooLarge(1 << 30)), Ok(()));
        assert!(drained.contains(b"a"));
    }

    #[test]
    fn it_is_bounded() {
        let drained = Drained::default();
        let many: Vec<String> = (0..5000).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        drained.take(Reply::Other(Value::Set(names(&many)))).unwrap();
        assert_eq!(drained.0.borrow().len(), MOST);
    }
}
