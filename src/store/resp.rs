//! Replies out of a connection's bytes (RESP2 and RESP3), sizes bounded before memory is taken.
//!
//! What lookups are answered with (bulk strings, null, integers, statuses, errors) is read by hand, a bulk
//! string without a copy if it is whole in the input. For anything else, and for what comes in pieces, a scan finds
//! the end and keeps the bytes as long as they are within their limit; the rest is then the `redis` crate's.

#![forbid(unsafe_code)]

mod scan;

use std::borrow::Cow;
use std::fmt;

use redis::Value;

use self::scan::Scan;
use super::server_error::ServerError;

/// Of a reply that is too large so many bytes are read over: what stands behind it waits no longer than for a new connection.
pub const MOST_READ_OVER: u64 = 1 << 20;

/// What a field of a hash takes of a reply at least: its name and its value, both empty.
pub const SHORTEST_FIELD: u64 = 12;

/// Reads the replies of one connection.
#[derive(Debug)]
pub struct Reader {
    limits: Limits,
    state: State,
}

/// How large replies may get, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of a bulk string: `max_size`; at most 512 MB.
    pub bulk: usize,
    /// Of any other reply, all its parts and their headers together; a line may always have 4 KB.
    pub other: usize,
}

/// A reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply<'b> {
    /// A bulk string; borrowed from the input if it came in one piece.
    Bulk(Cow<'b, [u8]>),
    /// Null in any of its forms.
    Null,
    /// An integer.
    Int(i64),
    /// A simple string: `+OK`, `+PONG`.
    Status,
    /// A refusal.
    Error(ServerError),
    /// A reply over its limit, of this many bytes, or of more if it is not a string: it was read over, and the connection goes on.
    /// One over [`MOST_READ_OVER`] is not: the connection ends with [`ProtocolError::Unread`].
    TooLarge(u64),
    /// Out of band data (RESP3): the answer to no command.
    Push(Value),
    /// Any other reply.
    Other(Value),
}

/// What came is not RESP, or is more than a server sends. The connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolError {
    /// Arrays nested too deep.
    Depth,
    /// A line end is missing where one must be, or stands where none may be.
    LineEnd,
    /// A line over 4096 bytes.
    LongLine,
    /// Out of band data within a reply.
    NestedPush,
    /// A length or integer that is none, or is negative or too large to be one.
    Number,
    /// Out of band data over the limit.
    PushSize,
    /// A reply over 512 MB.
    Size,
    /// The rest of a reply that is far too large, on which no time is spent.
    Unread,
    /// A reply that begins with this byte; typically the port speaks another protocol.
    Type(u8),
    /// A reply of the right form that the `redis` crate does not take: text that is not UTF-8, a boolean that is none.
    Value,
}

#[derive(Debug)]
enum State {
    /// Between two replies.
    Idle,
    /// Within a reply.
    Within(Partial),
    /// An error has been reported; the bytes behind it mean nothing.
    Broken(ProtocolError),
}

#[derive(Debug)]
struct Partial {
    scan: Scan,
    /// The bytes so far, none if they are too many.
    held: Vec<u8>,
}

impl Reader {
    /// A reader at the beginning of a connection.
    pub fn new(limits: Limits) -> Self {
        let limits = Limits { bulk: limits.bulk.min(scan::LONGEST as usize), ..limits };
        Self { limits, state: State::Idle }
    }

    /// The next reply, taken off the front of `input`. `None`: there is no whole reply; all of `input` was taken, the
    /// reader keeps what it needs, and the caller's buffer is free for the next read.
    #[inline]
    pub fn next<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<Reply<'b>>, ProtocolError> {
        if let State::Idle = self.state {
            if let Some((value, rest)) = bulk(input, self.limits.bulk) {
                *input = rest;
                return Ok(Some(Reply::Bulk(Cow::Borrowed(value))));
            }
            if let Some(rest) = null(input) {
                *input = rest;
                return Ok(Some(Reply::Null));
            }
        }
        self.next_other(input)
    }

    /// Whether the connection stands between two replies: closing it then cuts none in two.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Anything but a bulk string or null that is whole in `input`.
    fn next_other<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<Reply<'b>>, ProtocolError> {
        if let State::Idle = self.state {
            if let Some((reply, rest)) = line_reply(input) {
                *input = rest;
                return Ok(Some(reply));
            }
            if input.is_empty() {
                return Ok(None);
            }
        }
        self.advance(input).inspect_err(|error| self.state = State::Broken(*error))
    }

    fn advance<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<Reply<'b>>, ProtocolError> {
        let mut partial = match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => Partial { scan: Scan::new(self.limits), held: Vec::new() },
            State::Within(partial) => partial,
            State::Broken(error) => return Err(error),
        };
        let taken = match partial.scan.advance(input) {
            Ok(taken) => taken,
            // Was so before the fault, which may have come with the same bytes or later.
            Err(_) if partial.loses_push() => return Err(ProtocolError::PushSize),
            Err(error) => return Err(error),
        };
        let (part, rest) = input.split_at_checked(taken).unwrap_or((input, &[]));
        *input = rest;
        partial.keep(part)?;
        if partial.scan.is_done() {
            return partial.finish().map(Some);
        }
        if partial.scan.gives_up() {
            self.state = State::Broken(ProtocolError::Unread);
            return Ok(Some(Reply::TooLarge(partial.scan.size())));
        }
        self.state = State::Within(partial);
        Ok(None)
    }
}

impl Partial {
    /// Whether what is too large cannot be skipped: an invalidation would be lost.
    fn loses_push(&self) -> bool {
        self.scan.kind() == b'>' && self.scan.is_too_large()
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), ProtocolError> {
        if !self.scan.is_too_large() {
            self.held.extend_from_slice(part);
        } else if self.loses_push() {
            return Err(ProtocolError::PushSize);
        } else {
            self.held = Vec::new();
        }
        Ok(())
    }

    fn finish<'b>(self) -> Result<Reply<'b>, ProtocolError> {
        if self.scan.is_too_large() {
            return Ok(Reply::TooLarge(self.scan.size()));
        }
        match self.scan.kind() {
            _ if null(&self.held).is_some() => Ok(Reply::Null),
            b'$' => Ok(Reply::Bulk(Cow::Owned(body(self.held, self.scan.size())))),
            b'+' | b'-' | b':' => match line_reply(&self.held) {
                Some((reply, _)) => Ok(reply),
                // Its form is a line's, so that its digits are at fault.
                None => Err(ProtocolError::Number),
            },
            _ => match redis::parse_redis_value(&self.held) {
                Ok(value) => Ok(value.into()),
                Err(_) => Err(ProtocolError::Value),
            },
        }
    }
}

/// Type and line end of a line.
const LINE_FRAME: usize = 3;

/// The string of a whole bulk string: the `length` bytes before its line end.
fn body(mut held: Vec<u8>, length: u64) -> Vec<u8> {
    held.truncate(held.len().saturating_sub(2));
    held.drain(..held.len().saturating_sub(length as usize));
    held
}

/// The bulk string at the front of `input` and what follows it, if it is whole, without fault and not over `longest`.
#[inline]
fn bulk(input: &[u8], longest: usize) -> Option<(&[u8], &[u8])> {
    let mut rest = input.strip_prefix(b"$")?;
    let mut length: u64 = 0;
    let body = loop {
        let (&byte, next) = rest.split_first()?;
        match byte {
            b'0'..=b'9' if input.len() - rest.len() <= scan::MOST_DIGITS => {
                length = length * 10 + u64::from(byte - b'0')
            }
            b'\r' if rest.len() + 1 < input.len() => break next.strip_prefix(b"\n")?,
            _ => return None,
        }
        if length > longest as u64 {
            return None;
        }
        rest = next;
    };
    let (value, rest) = body.split_at_checked(length as usize)?;
    Some((value, rest.strip_prefix(b"\r\n")?))
}

/// What follows the null at the front of `input`.
#[inline]
fn null(input: &[u8]) -> Option<&[u8]> {
    input.strip_prefix(b"$-1\r\n").or_else(|| input.strip_prefix(b"_\r\n"))
}

/// The reply at the front of `input` and what follows it, if it is a line, whole and without fault.
fn line_reply(input: &[u8]) -> Option<(Reply<'static>, &[u8])> {
    let (kind, rest) = input.split_first()?;
    match kind {
        b'+' => line(rest).map(|(_, rest)| (Reply::Status, rest)),
        b':' => {
            let (digits, rest) = line(rest)?;
            Some((Reply::Int(integer(digits)?), rest))
        }
        b'-' => {
            let (text, rest) = line(rest)?;
            Some((Reply::Error(ServerError::parse(text)), rest))
        }
        _ => None,
    }
}

fn line(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let end =
        (input.iter().take(scan::LONGEST_LINE + 1)).position(|&b| matches!(b, b'\r' | b'\n'))?;
    let (line, rest) = input.split_at_checked(end)?;
    Some((line, rest.strip_prefix(b"\r\n")?))
}

/// Digits, perhaps with a minus.
fn integer(line: &[u8]) -> Option<i64> {
    let (digits, sign) = match line.strip_prefix(b"-") {
        Some(digits) => (digits, -1),
        None => (line, 1),
    };
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_i64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(sign * digit)
    })
}

impl Reply<'_> {
    /// The same, with its bytes copied out of the input.
    pub fn into_owned(self) -> Reply<'static> {
        match self {
            Self::Bulk(value) => Reply::Bulk(Cow::Owned(value.into_owned())),
            Self::Null => Reply::Null,
            Self::Int(value) => Reply::Int(value),
            Self::Status => Reply::Status,
            Self::Error(error) => Reply::Error(error),
            Self::TooLarge(bytes) => Reply::TooLarge(bytes),
            Self::Push(value) => Reply::Push(value),
            Self::Other(value) => Reply::Other(value),
        }
    }
}

impl From<Value> for Reply<'_> {
    fn from(value: Value) -> Self {
        match value {
            Value::Nil => Self::Null,
            Value::Int(value) => Self::Int(value),
            Value::BulkString(value) => Self::Bulk(Cow::Owned(value)),
            Value::Okay | Value::SimpleString(_) => Self::Status,
            Value::ServerError(error) => {
                let text = format!("{} {}", error.code(), error.details().unwrap_or_default());
                Self::Error(ServerError::parse(text.as_bytes()))
            }
            // What a reply is annotated with is nothing to a lookup.
            Value::Attribute { data, .. } => Self::from(*data),
            value @ Value::Push { .. } => Self::Push(value),
            value => Self::Other(value),
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Depth => f.write_str("arrays are nested too deep"),
            Self::LineEnd => f.write_str("line end is missing or misplaced"),
            Self::LongLine => f.write_str("line is too long"),
            Self::NestedPush => f.write_str("out of band data within a reply"),
            Self::Number => f.write_str("invalid number"),
            Self::PushSize => f.write_str("out of band data is too large"),
            Self::Size => f.write_str("reply is over 512 MB"),
            Self::Unread => f.write_str("reply is too large to be read over"),
            // ERROR and CLIENT_ERROR.
            Self::Type(byte @ (b'C' | b'E')) => {
                write!(f, "it begins with \"{}\", is it a memcached server?", char::from(*byte))
            }
            Self::Type(byte @ b'!'..=b'~') => {
                write!(f, "it begins with \"{}\", is it a Redis server?", char::from(*byte))
            }
            Self::Type(byte) => {
                write!(f, "it begins with byte 0x{byte:02x}, is it a Redis server?")
            }
            Self::Value => f.write_str("invalid text, boolean or double"),
        }
    }
}

impl std::error::Error for ProtocolError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { bulk: 64, other: 5000 };

    type Read = (Vec<Reply<'static>>, Result<(), ProtocolError>);

    /// What comes of `bytes` that arrive in pieces of `size`.
    fn read_in_pieces(bytes: &[u8], size: usize) -> Read {
        let mut reader = Reader::new(LIMITS);
        let mut replies = Vec::new();
        for mut piece in bytes.chunks(size) {
            loop {
                match reader.next(&mut piece) {
                    Ok(Some(reply)) => replies.push(owned(reply)),
                    Ok(None) => break,
                    Err(error) => return (replies, Err(error)),
                }
            }
            assert_eq!(piece, b"", "an unfinished reply leaves nothing in the caller's buffer");
        }
        (replies, Ok(()))
    }

    fn owned(reply: Reply<'_>) -> Reply<'static> {
        match reply {
            Reply::Bulk(value) => Reply::Bulk(Cow::Owned(value.into_owned())),
            Reply::Null => Reply::Null,
            Reply::Int(value) => Reply::Int(value),
            Reply::Status => Reply::Status,
            Reply::Error(error) => Reply::Error(error),
            Reply::TooLarge(bytes) => Reply::TooLarge(bytes),
            Reply::Push(value) => Reply::Push(value),
            Reply::Other(value) => Reply::Other(value),
        }
    }

    /// The same, whatever the pieces.
    fn read(bytes: &[u8]) -> Read {
        let whole = read_in_pieces(bytes, bytes.len().max(1));
        for size in [1, 2, 3, 7, 64] {
            assert_eq!(read_in_pieces(bytes, size), whole, "in pieces of {size}");
        }
        whole
    }

    fn one(bytes: &[u8]) -> Reply<'static> {
        let (mut replies, end) = read(bytes);
        assert_eq!((replies.len(), end), (1, Ok(())), "{}", bytes.escape_ascii());
        replies.remove(0)
    }

    fn fault(bytes: &[u8]) -> ProtocolError {
        let (replies, end) = read(bytes);
        assert_eq!(replies, [], "{}", bytes.escape_ascii());
        end.expect_err("a fault")
    }

    fn bulk_of(bytes: &[u8]) -> Reply<'static> {
        Reply::Bulk(Cow::Owned(bytes.to_vec()))
    }

    fn error_of(text: &str) -> Reply<'static> {
        Reply::Error(ServerError::parse(text.as_bytes()))
    }

    #[test]
    fn replies_of_lookups_are_read() {
        let cases: [(&[u8], Reply); 17] = [
            (b"$0\r\n\r\n", bulk_of(b"")),
            (b"$5\r\na\r\nb\0\r\n", bulk_of(b"a\r\nb\0")),
            (b"$1\r\n$\r\n", bulk_of(b"$")),
            (b"$003\r\nabc\r\n", bulk_of(b"abc")),
            (b"$00000000000000000001\r\na\r\n", bulk_of(b"a")),
            (b"$-1\r\n", Reply::Null),
            (b"*-1\r\n", Reply::Null),
            (b"_\r\n", Reply::Null),
            (b":0\r\n", Reply::Int(0)),
            (b":-2\r\n", Reply::Int(-2)),
            (b":9223372036854775807\r\n", Reply::Int(i64::MAX)),
            (b":-9223372036854775808\r\n", Reply::Int(i64::MIN)),
            (b"+OK\r\n", Reply::Status),
            (b"+\r\n", Reply::Status),
            (b"-ERR syntax error\r\n", error_of("ERR syntax error")),
            (b"!8\r\nERR\r\n an\r\n", error_of("ERR\r\n an")),
            (b"-\xff\xfe\r\n", error_of("\0")),
        ];
        for (bytes, reply) in cases {
            assert_eq!(one(bytes), reply, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn other_replies_are_the_redis_crates() {
        let cases: [&[u8]; 9] = [
            b"*0\r\n",
            b"*3\r\n$1\r\na\r\n$-1\r\n*2\r\n:1\r\n+x\r\n",
            b"%1\r\n+a\r\n*-1\r\n",
            b"~2\r\n#t\r\n,1.5\r\n",
            b"#f\r\n",
            b",-inf\r\n",
            b"(3492890328409238509324850943850943825024385\r\n",
            b"=5\r\ntxt:a\r\n",
            b"*1\r\n|1\r\n+ttl\r\n:3600\r\n_\r\n",
        ];
        for bytes in cases {
            let value = redis::parse_redis_value(bytes).unwrap();
            assert_eq!(one(bytes), Reply::Other(value), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn an_annotated_reply_is_the_reply() {
        assert_eq!(one(b"|1\r\n+ttl\r\n:3600\r\n$3\r\nabc\r\n"), bulk_of(b"abc"));
        assert_eq!(one(b"|0\r\n_\r\n"), Reply::Null);
        assert_eq!(one(b"|0\r\n-LOADING x\r\n"), error_of("LOADING x"));
    }

    #[test]
    fn a_push_is_told_apart() {
        let bytes = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
        let value = redis::parse_redis_value(bytes).unwrap();
        assert_eq!(one(bytes), Reply::Push(value.clone()));
        let between = [b"$1\r\na\r\n".as_slice(), bytes, b"$1\r\nb\r\n"].concat();
        let (replies, _) = read(&between);
        assert_eq!(replies, [bulk_of(b"a"), Reply::Push(value), bulk_of(b"b")]);
    }

    #[test]
    fn a_string_over_the_limit_is_read_over() {
        let bytes = [b"$65\r\n".as_slice(), &[b'x'; 65], b"\r\n$64\r\n", &[b'y'; 64], b"\r\n"];
        let (replies, end) = read(&bytes.concat());
        assert_eq!(replies, [Reply::TooLarge(65), bulk_of(&[b'y'; 64])]);
        assert_eq!(end, Ok(()));
    }

    #[test]
    fn an_array_over_the_limit_is_read_over() {
        let bytes = [b"*2\r\n$5000\r\n".as_slice(), &[b'x'; 5000], b"\r\n:1\r\n+OK\r\n"];
        let (replies, end) = read(&bytes.concat());
        assert_eq!(replies, [Reply::TooLarge(5017), Reply::Status]);
        assert_eq!(end, Ok(()));

        let many = [b"*2000\r\n".as_slice(), &b"_\r\n".repeat(2000), b"+OK\r\n"];
        let (replies, _) = read(&many.concat());
        assert_eq!(replies, [Reply::TooLarge(6007), Reply::Status]);
    }

    #[test]
    fn what_is_not_resp_is_a_fault() {
        use ProtocolError::{LineEnd, LongLine, NestedPush, Number, PushSize, Size, Type, Value};
        let long_line = [b"+".as_slice(), &[b'x'; 4097], b"\r\n"].concat();
        let cases: [(&[u8], ProtocolError); 41] = [
            (b"HTTP/1.1 400 Bad Request\r\n", Type(b'H')),
            (b"ERROR\r\n", Type(b'E')),
            (b"\x15\x03\x01\x00\x02\x02", Type(0x15)),
            (b"\r\n", Type(b'\r')),
            (b"$\r\n\r\n", Number),
            (b"$-\r\n", Number),
            (b"$--1\r\n", Number),
            (b"$-2\r\n", Number),
            (b"$-0\r\n", Number),
            (b"$-01\r\n", Number),
            (b"$+1\r\na\r\n", Number),
            (b"$ 1\r\na\r\n", Number),
            (b"$1 \r\na\r\n", Number),
            (b"$0x1\r\na\r\n", Number),
            (b"$?\r\n", Number),
            (b"$18446744073709551616\r\n", Number),
            (b"$99999999999999999999999\r\n", Number),
            (b"$000000000000000000001\r\na\r\n", Number),
            (b"*-2\r\n", Number),
            (b"%-1\r\n", Number),
            (b">-1\r\n", Number),
            (b"!-1\r\n", Number),
            (b":\r\n", Number),
            (b":-\r\n", Number),
            (b":+1\r\n", Number),
            (b": 1\r\n", Number),
            (b":9223372036854775808\r\n", Number),
            (b"$1\n\na\r\n", Number),
            (b"$1\r1\r\na\r\n", LineEnd),
            (b"$1\r\nabc\r\n", LineEnd),
            (b"$3\r\nabc\n\n", LineEnd),
            (b"$3\r\nabc\rx", LineEnd),
            (b"+a\nb\r\n", LineEnd),
            (b"+a\rb\r\n", LineEnd),
            (b"_x\r\n", LineEnd),
            (&long_line, LongLine),
            (b"*1\r\n>1\r\n+x\r\n", NestedPush),
            (b">5000\r\n", PushSize),
            (b"$536870913\r\n", Size),
            (b"#x\r\n", Value),
            (b"*1\r\n+\xff\r\n", Value),
        ];
        for (bytes, error) in cases {
            assert_eq!(fault(bytes), error, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn hostile_headers_take_no_memory() {
        use ProtocolError::{Depth, Number, Size};
        let nested = b"*1\r\n".repeat(100_000);
        let cases: [(&[u8], ProtocolError); 9] = [
            (b"*1000000000\r\n", Size),
            (b"*18446744073709551615\r\n", Size),
            (b"%9223372036854775807\r\n", Size),
            (b"|18446744073709551615\r\n", Size),
            (b"~4294967296\r\n", Size),
            (b"*2\r\n$536870913\r\n", Size),
            (b"=18446744073709551615\r\n", Size),
            (b"*99999999999999999999\r\n", Number),
            (&nested, Depth),
        ];
        for (bytes, error) in cases {
            assert_eq!(fault(bytes), error, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn nothing_is_held_of_what_is_too_large() {
        let headers: [&[u8]; 5] = [
            b"$1048576\r\n",
            b"*300000\r\n",
            b"%100000\r\n",
            b"*2\r\n$1000000\r\n",
            b"*9\r\n$6000\r\n",
        ];
        for header in headers {
            let mut reader = Reader::new(LIMITS);
            assert_eq!(reader.next(&mut &*header), Ok(None));
            let State::Within(partial) = &reader.state else {
                panic!("within a reply");
            };
            assert_eq!(partial.held.capacity(), 0, "{}", header.escape_ascii());
        }
    }

    #[test]
    fn what_is_far_too_large_is_known_at_its_head() {
        let heads: [(&[u8], u64); 6] = [
            (b"$1048577\r\n", 1_048_577),
            (b"$314572800\r\n", 314_572_800),
            (b"*1000000\r\n", 3_000_009),
            (b"%9000000\r\n", 54_000_009),
            (b"*2\r\n$1\r\na\r\n$314572800\r\n", 314_572_822),
            (b"%1000000\r\n:1\r\n%200000000\r\n", 6_000_009),
        ];
        for (head, size) in heads {
            let (replies, end) = read(&[b":1\r\n", head, b":2\r\n"].concat());
            assert_eq!(replies, [Reply::Int(1), Reply::TooLarge(size)], "{}", head.escape_ascii());
            assert_eq!(end, Err(ProtocolError::Unread));
        }
        let mut reader = Reader::new(Limits { bulk: 2 << 20, other: 0 });
        assert_eq!(reader.next(&mut b"$2097152\r\n".as_slice()), Ok(None), "within its limit");
    }

    #[test]
    fn lines_are_as_long_as_allowed() {
        let line = |length| [b"-".as_slice(), &vec![b'x'; length], b"\r\n"].concat();
        assert!(matches!(one(&line(4096)), Reply::Error(_)));
        assert_eq!(fault(&line(4097)), ProtocolError::LongLine);
    }

    #[test]
    fn arrays_nest_as_deep_as_allowed() {
        let deep = |depth| [b"*1\r\n".repeat(depth), b":1\r\n".to_vec()].concat();
        assert!(matches!(one(&deep(8)), Reply::Other(_)));
        assert_eq!(fault(&deep(9)), ProtocolError::Depth);
    }

    #[test]
    fn a_fault_stays() {
        let mut reader = Reader::new(LIMITS);
        assert_eq!(reader.next(&mut b"HTTP".as_slice()), Err(ProtocolError::Type(b'H')));
        assert_eq!(reader.next(&mut b"+OK\r\n".as_slice()), Err(ProtocolError::Type(b'H')));
    }

    #[test]
    fn a_whole_string_is_not_copied() {
        let bytes = b"$3\r\nabc\r\n$3\r\nde";
        let mut input = bytes.as_slice();
        let mut reader = Reader::new(LIMITS);
        assert!(matches!(reader.next(&mut input), Ok(Some(Reply::Bulk(Cow::Borrowed(b"abc"))))));
        assert!(reader.is_idle());
        assert_eq!(reader.next(&mut input), Ok(None));
        assert!(!reader.is_idle());
        assert_eq!(reader.next(&mut b"f\r\n".as_slice()), Ok(Some(bulk_of(b"def"))));
    }

    /// Twice the bytes take about twice the steps: a megabyte in single bytes would not end if each were read again.
    #[test]
    fn a_large_string_in_small_pieces_is_linear() {
        let value = vec![b'x'; 1 << 20];
        let mut reader = Reader::new(Limits { bulk: 1 << 20, other: 0 });
        let bytes = [b"$1048576\r\n".as_slice(), &value, b"\r\n"].concat();
        let replies: Vec<_> =
            bytes.chunks(1).filter_map(|mut piece| reader.next(&mut piece).unwrap()).collect();
        assert_eq!(replies, [bulk_of(&value)]);
    }

    /// Any reply that is well formed and within the limits, as bytes.
    fn reply() -> impl Strategy<Value = Vec<u8>> {
        let framed = |kind: char, length: usize, body: Vec<u8>| {
            [format!("{kind}{length}\r\n").into_bytes(), body].concat()
        };
        let leaf = prop_oneof![
            vec(any::<u8>(), 0..64).prop_map(move |mut bytes| {
                let length = bytes.len();
                bytes.extend_from_slice(b"\r\n");
                framed('$', length, bytes)
            }),
            any::<i64>().prop_map(|value| format!(":{value}\r\n").into_bytes()),
            any::<bool>()
                .prop_map(|value| format!("#{}\r\n", if value { 't' } else { 'f' }).into_bytes()),
            "[-+][ -~]{0,40}\r\n".prop_map(String::into_bytes),
            "[(][0-9]{1,40}\r\n".prop_map(String::into_bytes),
            Just(b"$-1\r\n".to_vec()),
            Just(b"*-1\r\n".to_vec()),
            Just(b"_\r\n".to_vec()),
        ];
        leaf.prop_recursive(4, 32, 6, move |element| {
            (vec(element, 0..6), "[*~%|]").prop_map(move |(mut elements, kind)| {
                let kind = kind.chars().next().unwrap_or('*');
                let length = match kind {
                    '%' => elements.len() / 2,
                    '|' => elements.len().saturating_sub(1) / 2,
                    _ => elements.len(),
                };
                match kind {
                    '%' => elements.truncate(length * 2),
                    '|' => elements.resize(length * 2 + 1, b"_\r\n".to_vec()),
                    _ => {}
                }
                framed(kind, length, elements.concat())
            })
        })
    }

    proptest! {
        #[test]
        fn well_formed_replies_are_read_as_the_redis_crate_reads_them(replies in vec(reply(), 1..5)) {
            let (ours, end) = read(&replies.concat());
            let theirs: Vec<Reply> =
                replies.iter().map(|bytes| redis::parse_redis_value(bytes).unwrap().into()).collect();
            prop_assert_eq!(end, Ok(()));
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn any_bytes_are_read_alike_however_they_are_split(bytes: Vec<u8>) {
            let _ = read(&bytes);
        }

        #[test]
        fn bytes_like_resp_are_read_alike_however_they_are_split(
            bytes in "([-+$*%~|>!=:_#,(][-0-9a]{0,3}\r\n|[a-z]{0,3}|\r\n){0,12}",
        ) {
            let _ = read(bytes.as_bytes());
        }

        #[test]
        fn what_we_take_the_redis_crate_takes(
            bytes in "([-+$*%~|>:_#,(][-0-9]{0,2}\r\n){1,6}",
        ) {
            let (replies, _) = read_in_pieces(bytes.as_bytes(), bytes.len());
            if let Some(first) = replies.into_iter().next() {
                let theirs = redis::parse_redis_value(bytes.as_bytes());
                prop_assert_eq!(Ok(first), theirs.map(Reply::from));
            }
        }
    }
}
