//! memcached's text protocol: what is sent, what comes back, and what that means for a session.
//!
//! A lookup is `get`, and where the life left matters `mg` beside it (memcached 1.6), which a server that does not
//! know it answers with `ERROR`: the session is then read without its life. The flags of an item say how its client
//! wrote it; they are not needed, since the formats tell that from the value itself.

#![forbid(unsafe_code)]

pub mod dialogue;
pub mod reader;

use super::command::{decimal, DIGITS};
use super::error::Failure;
use super::fetched::{Fetched, Ttl};
use super::server_error::{Code, ServerError};

use reader::{Reply, Word};

/// Where memcached listens unless told otherwise.
pub const DEFAULT_PORT: u16 = 11211;

/// The longest key in bytes (`KEY_MAX_LENGTH`).
pub const LONGEST_KEY: usize = 250;

/// Longer lives are Unix times, in seconds (`REALTIME_MAXDELTA`).
const LONGEST_RELATIVE: u64 = 60 * 60 * 24 * 30;

/// Whether an item may have this key: one with a space or a line end would be more than one word of a command.
pub fn is_key(key: &[u8]) -> bool {
    let ends_word = |byte: &u8| *byte <= b' ' || *byte == 0x7f;
    !key.is_empty() && key.len() <= LONGEST_KEY && !key.iter().any(ends_word)
}

/// `get key`. As all here: of a key that [`is_key`].
pub fn get(out: &mut Vec<u8>, key: &[u8]) {
    line(out, &[b"get", key]);
}

/// `mg key k t`: the life left to an item, and its key, so that the answer shows whose life it is.
pub fn life(out: &mut Vec<u8>, key: &[u8]) {
    line(out, &[b"mg", key, b"k", b"t"]);
}

/// `delete key` for each: as many replies as keys.
pub fn delete(out: &mut Vec<u8>, keys: &[&[u8]]) -> usize {
    keys.iter().for_each(|key| line(out, &[b"delete", key]));
    keys.len()
}

/// `touch key seconds`: sets the life left to an item, shorter or longer, whatever it was. `now` is the time of day
/// in Unix ms, since a life of over 30 days is written as the time of its end. Returns whether anything is written: a
/// life of less than a second is none, as the 0 seconds that it would be mean that the item has no end.
pub fn touch(out: &mut Vec<u8>, key: &[u8], ms: u64, now: u64) -> bool {
    let end = match ms / 1000 {
        0 => return false,
        seconds if seconds <= LONGEST_RELATIVE => seconds,
        seconds => (now / 1000).saturating_add(seconds),
    };
    line(out, &[b"touch", key, decimal(end, &mut [0; DIGITS])]);
    true
}

fn line(out: &mut Vec<u8>, words: &[&[u8]]) {
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
    out.extend_from_slice(b"\r\n");
}

/// What the reply to a `get` of this key means. An item with another key is nobody's session.
pub fn classify_get<'b>(reply: Reply<'b>, key: &[u8]) -> Fetched<'b> {
    match reply {
        Reply::Item { key: of, value, .. } if *of == *key => Fetched::Value(value),
        Reply::TooLarge { key: of, bytes } if *of == *key => Fetched::TooLarge(bytes),
        Reply::Word(Word::End) => Fetched::Missing,
        Reply::Error(error) => Fetched::Failed(Failure::Server(error)),
        _ => Fetched::Failed(Failure::Unexpected),
    }
}

/// What the reply to an `mg` of this key means.
pub fn classify_life(reply: Reply<'_>, key: &[u8]) -> Result<Ttl, Failure> {
    match reply {
        Reply::Life { key: of, seconds } if *of == *key => Ok(match seconds {
            Some(seconds) => Ttl::Left(seconds.saturating_mul(1000)),
            None => Ttl::Endless,
        }),
        Reply::Word(Word::Miss) => Ok(Ttl::Missing),
        Reply::Error(error) => Err(Failure::Server(error)),
        _ => Err(Failure::Unexpected),
    }
}

/// What the reply to a `delete` means: the item is gone, whoever did it.
pub fn classify_delete(reply: Reply<'_>) -> Result<(), Failure> {
    classify_write(reply, Word::Deleted)
}

/// What the reply to a `touch` means; an item that is gone has no life to extend.
pub fn classify_touch(reply: Reply<'_>) -> Result<(), Failure> {
    classify_write(reply, Word::Touched)
}

fn classify_write(reply: Reply<'_>, done: Word) -> Result<(), Failure> {
    match reply {
        Reply::Word(word) if word == done || word == Word::NotFound => Ok(()),
        Reply::Error(error) => Err(Failure::Server(error)),
        _ => Err(Failure::Unexpected),
    }
}

/// A refusal: `ERROR` to an unknown command, `CLIENT_ERROR` and `SERVER_ERROR` with a text, which of a proxy is its
/// own. (`memcached.c`, `proto_text.c`)
fn error(line: &[u8]) -> ServerError {
    let code = match line {
        b"ERROR" => Code::Err,
        b"CLIENT_ERROR unauthenticated" => Code::NoAuth,
        b"CLIENT_ERROR authentication failure" => Code::WrongPass,
        _ if line.to_ascii_lowercase().starts_with(b"error too many open connections") => {
            Code::MaxClients
        }
        _ if line.starts_with(b"SERVER_ERROR out of memory") => Code::Oom,
        _ => Code::Other,
    };
    ServerError::new(code, line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn item(key: &[u8]) -> Reply<'_> {
        Reply::Item { key: key.into(), flags: 0, value: b"x".into() }
    }

    #[test]
    fn commands_are_lines() {
        assert_eq!(written(|out| get(out, b"sess:a")), "get sess:a\r\n");
        assert_eq!(written(|out| life(out, b"sess:a")), "mg sess:a k t\r\n");
        assert_eq!(
            written(|out| assert_eq!(delete(out, &[b"lock.a", b"a"]), 2)),
            "delete lock.a\r\ndelete a\r\n"
        );
        assert_eq!(written(|out| assert_eq!(delete(out, &[]), 0)), "");
    }

    #[test]
    fn a_life_is_in_seconds_and_never_without_an_end() {
        const NOW: u64 = 1_795_219_200_000;
        let touched = |ms| written(|out| assert_eq!(touch(out, b"a", ms, NOW), ms >= 1000));
        for ms in [0, 1, 999] {
            assert_eq!(touched(ms), "");
        }
        assert_eq!(touched(1999), "touch a 1\r\n");
        assert_eq!(touched(1_440_000), "touch a 1440\r\n");
        assert_eq!(touched(2_592_000_999), "touch a 2592000\r\n");
        assert_eq!(touched(2_592_001_000), "touch a 1797811201\r\n");
        assert!(touched(u64::MAX).len() < 40);
    }

    #[test]
    fn keys_are_one_short_word() {
        let longest = vec![b'k'; LONGEST_KEY];
        let longer = vec![b'k'; LONGEST_KEY + 1];
        for key in [&b"a"[..], b":1:django.contrib.sessions.cachea", &longest, "\u{fc}".as_bytes()]
        {
            assert!(is_key(key));
        }
        for key in [&b""[..], b"a b", b"a\r\nget b", b"a\n", b"a\0", b"\x7f", b"a\t", &longer] {
            assert!(!is_key(key), "{}", key.escape_ascii());
        }
    }

    #[test]
    fn an_item_is_that_of_its_key_alone() {
        let unexpected = || Fetched::Failed(Failure::Unexpected);
        assert_eq!(classify_get(item(b"a"), b"a"), Fetched::Value(b"x".into()));
        assert_eq!(classify_get(item(b"ab"), b"a"), unexpected());
        let large = |key: &'static [u8]| Reply::TooLarge { key: key.into(), bytes: 70_000 };
        assert_eq!(classify_get(large(b"a"), b"a"), Fetched::TooLarge(70_000));
        assert_eq!(classify_get(large(b"b"), b"a"), unexpected());
        assert_eq!(classify_get(Reply::Word(Word::End), b"a"), Fetched::Missing);
        for word in [Word::Miss, Word::NotFound, Word::Deleted, Word::Touched, Word::Stored] {
            assert_eq!(classify_get(Reply::Word(word), b"a"), unexpected());
        }
        let refused = error(b"SERVER_ERROR Connection refused");
        assert_eq!(
            classify_get(Reply::Error(refused.clone()), b"a"),
            Fetched::Failed(Failure::Server(refused))
        );
    }

    #[test]
    fn a_life_is_missing_endless_or_left() {
        let life = |key: &'static [u8], seconds| Reply::Life { key: key.into(), seconds };
        assert_eq!(classify_life(life(b"a", Some(1440)), b"a"), Ok(Ttl::Left(1_440_000)));
        assert_eq!(classify_life(life(b"a", None), b"a"), Ok(Ttl::Endless));
        assert_eq!(classify_life(Reply::Word(Word::Miss), b"a"), Ok(Ttl::Missing));
        assert_eq!(classify_life(life(b"b", Some(1440)), b"a"), Err(Failure::Unexpected));
        assert_eq!(classify_life(Reply::Word(Word::End), b"a"), Err(Failure::Unexpected));
        let unknown = classify_life(Reply::Error(error(b"ERROR")), b"a").unwrap_err();
        assert!(!unknown.closes_connection() && !unknown.counts_against_server());
    }

    #[test]
    fn writes_are_done_or_had_nothing_to_do() {
        assert_eq!(classify_delete(Reply::Word(Word::Deleted)), Ok(()));
        assert_eq!(classify_delete(Reply::Word(Word::NotFound)), Ok(()));
        assert_eq!(classify_delete(Reply::Word(Word::Touched)), Err(Failure::Unexpected));
        assert_eq!(classify_touch(Reply::Word(Word::Touched)), Ok(()));
        assert_eq!(classify_touch(Reply::Word(Word::NotFound)), Ok(()));
        assert_eq!(classify_touch(Reply::Word(Word::End)), Err(Failure::Unexpected));
        assert_eq!(classify_touch(item(b"a")), Err(Failure::Unexpected));
    }

    #[test]
    fn refusals_say_what_may_be_done() {
        for (line, code) in [
            ("ERROR", Code::Err),
            ("ERROR Too many open connections", Code::MaxClients),
            ("CLIENT_ERROR unauthenticated", Code::NoAuth),
            ("CLIENT_ERROR authentication failure", Code::WrongPass),
            ("CLIENT_ERROR bad command line format", Code::Other),
            ("SERVER_ERROR out of memory writing get response", Code::Oom),
            ("SERVER_ERROR Connection refused", Code::Other),
        ] {
            let error = error(line.as_bytes());
            assert_eq!((error.code(), error.to_string()), (code, line.to_owned()));
        }
    }
}
