//! What a server is: the reply to `ROLE`.

#![forbid(unsafe_code)]

use redis::Value;

use super::error::Failure;
use super::resp::Reply;

/// What a server says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// It takes reads and writes.
    Master,
    /// It follows a master, or is about to.
    Replica,
    /// It watches masters, and holds no data.
    Sentinel {
        /// The name of the master, if it watches one only.
        master: Option<String>,
    },
}

/// What the reply to `ROLE` means.
pub fn classify_role(reply: Reply<'_>) -> Result<Role, Failure> {
    match reply {
        Reply::Other(Value::Array(parts)) => role(&parts).ok_or(Failure::Unexpected),
        Reply::Error(error) => Err(Failure::Server(error)),
        _ => Err(Failure::Unexpected),
    }
}

fn role(parts: &[Value]) -> Option<Role> {
    let Some(Value::BulkString(name)) = parts.first() else { return None };
    match &name[..] {
        b"master" => Some(Role::Master),
        b"slave" => Some(Role::Replica),
        b"sentinel" => Some(Role::Sentinel { master: only_master(parts.get(1)) }),
        _ => None,
    }
}

fn only_master(names: Option<&Value>) -> Option<String> {
    let Some(Value::Array(names)) = names else { return None };
    match &names[..] {
        [Value::BulkString(name)] if name.iter().all(u8::is_ascii_graphic) => {
            String::from_utf8(name.clone()).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::server_error::ServerError;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn classify(parts: &[Value]) -> Result<Role, Failure> {
        classify_role(Reply::Other(Value::Array(parts.to_vec())))
    }

    #[test]
    fn the_first_word_says_it() {
        assert_eq!(
            classify(&[bulk("master"), Value::Int(419), Value::Array(vec![])]),
            Ok(Role::Master)
        );
        let replica =
            [bulk("slave"), bulk("127.0.0.1"), Value::Int(6379), bulk("connected"), Value::Int(1)];
        assert_eq!(classify(&replica), Ok(Role::Replica));
        let sentinel = |names: &[&str], master: Option<&str>| {
            let names = Value::Array(names.iter().map(|name| bulk(name)).collect());
            let expected = Role::Sentinel { master: master.map(str::to_owned) };
            assert_eq!(classify(&[bulk("sentinel"), names]), Ok(expected));
        };
        sentinel(&["mymaster"], Some("mymaster"));
        sentinel(&["a", "b"], None);
        sentinel(&["a b"], None);
        sentinel(&[], None);
    }

    #[test]
    fn anything_else_is_no_role() {
        for parts in [vec![], vec![bulk("other")], vec![Value::Int(1)]] {
            assert_eq!(classify(&parts), Err(Failure::Unexpected));
        }
        assert_eq!(classify_role(Reply::Null), Err(Failure::Unexpected));
        let error = ServerError::parse(b"NOPERM this user has no permissions");
        assert_eq!(classify_role(Reply::Error(error.clone())), Err(Failure::Server(error)));
    }
}
