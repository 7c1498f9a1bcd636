//! Replies out of a connection's bytes, sizes bounded before memory is taken.
//!
//! An item that is whole in the input is not copied. Of one that is too large nothing is kept: it is read over.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;

use super::error;
use crate::store::resp::MOST_READ_OVER;
use crate::store::server_error::ServerError;

/// The largest item that a server can be made to take (`-I`).
const LARGEST: u64 = 1024 * 1024 * 1024;

/// The longest line, with its end: longer than that of an item with the longest key, and than any error's.
const LONGEST_LINE: usize = 2048;

/// What follows an item's value: its line end, and the end of what one `get` is answered with.
const TAIL: &[u8] = b"\r\nEND\r\n";

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply<'b> {
    /// An item that was asked for; borrowed from the input if it came in one piece.
    Item {
        /// Whose value it is.
        key: Cow<'b, [u8]>,
        /// What its writer noted about it.
        flags: u32,
        /// The value.
        value: Cow<'b, [u8]>,
    },
    /// An item over its limit: it was read over, and the connection goes on. One over [`MOST_READ_OVER`] is not: the connection
    /// ends with [`ProtocolError::Unread`].
    TooLarge {
        /// Whose value it is.
        key: Cow<'b, [u8]>,
        /// How many bytes it has.
        bytes: u64,
    },
    /// The life left to an item.
    Life {
        /// Whose life it is.
        key: Cow<'b, [u8]>,
        /// In seconds; `None`: it has no end.
        seconds: Option<u64>,
    },
    /// A line of one word.
    Word(Word),
    /// A refusal.
    Error(ServerError),
}

/// A reply that is a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// `DELETED`.
    Deleted,
    /// `END`: a `get` found nothing.
    End,
    /// `EN`: an `mg` found nothing.
    Miss,
    /// `NOT_FOUND`: nothing to `delete` or `touch`.
    NotFound,
    /// `STORED`: the user is let in.
    Stored,
    /// `TOUCHED`.
    Touched,
}

/// What came is no reply of memcached's. The connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolError {
    /// A reply that begins with this byte; typically the port speaks another protocol.
    Start(u8),
    /// An HTTP response.
    Http,
    /// A line that is no reply.
    Line,
    /// A line over 2048 bytes, or without its end.
    LongLine,
    /// A number that is none, or is negative or too large to be one.
    Number,
    /// An item over 1 GB.
    Size,
    /// The rest of an item that is far too large, on which no time is spent.
    Unread,
    /// An item's value is not followed by its line end and `END`.
    Tail,
}

/// Reads the replies of one connection.
#[derive(Debug)]
pub struct Reader {
    largest: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Between two replies, or within a line of which so much has come.
    Line(Vec<u8>),
    /// Behind the line of an item.
    Value(Partial),
    /// An error has been reported; the bytes behind it mean nothing.
    Broken(ProtocolError),
}

#[derive(Debug, Default)]
struct Partial {
    key: Vec<u8>,
    flags: u32,
    length: u64,
    /// Bytes of the value seen, and of the tail.
    seen: u64,
    tail: usize,
    /// The value so far; nothing of one that is too large.
    held: Vec<u8>,
}

/// The line before an item's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head<'b> {
    key: &'b [u8],
    flags: u32,
    length: u64,
}

enum Line<'b> {
    Reply(Reply<'b>),
    Head(Head<'b>),
}

impl Reader {
    /// A reader at the beginning of a connection, of values up to `largest` bytes.
    pub fn new(largest: usize) -> Self {
        Self { largest, state: State::Line(Vec::new()) }
    }

    /// The next reply, taken off the front of `input`. `None`: there is no whole reply; all of `input` was taken, the
    /// reader keeps what it needs, and the caller's buffer is free for the next read.
    pub fn next<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<Reply<'b>>, ProtocolError> {
        self.advance(input).inspect_err(|error| self.state = State::Broken(*error))
    }

    fn advance<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<Reply<'b>>, ProtocolError> {
        let largest = self.largest;
        let reply = match &mut self.state {
            State::Broken(error) => return Err(*error),
            State::Line(held) => {
                let Some(line) = take_line(held, input)? else { return Ok(None) };
                let parsed = match line {
                    Cow::Borrowed(line) => match parse(line)? {
                        Line::Reply(reply) => return Ok(Some(reply)),
                        Line::Head(head) => match whole(head, input, largest)? {
                            Some(reply) => return Ok(Some(reply)),
                            None => Partial::new(head),
                        },
                    },
                    Cow::Owned(line) => match parse(&line)? {
                        Line::Reply(reply) => return Ok(Some(owned(reply))),
                        Line::Head(head) => Partial::new(head),
                    },
                };
                if parsed.is_too_large(largest) && parsed.length > MOST_READ_OVER {
                    self.state = State::Broken(ProtocolError::Unread);
                    return Ok(Some(parsed.finish(largest)));
                }
                self.state = State::Value(parsed);
                return self.advance(input);
            }
            State::Value(partial) => {
                partial.keep(input, largest)?;
                match partial.tail == TAIL.len() {
                    true => std::mem::take(partial).finish(largest),
                    false => return Ok(None),
                }
            }
        };
        self.state = State::Line(Vec::new());
        Ok(Some(reply))
    }
}

/// The line at the front of what is held and what came, without its end; borrowed if all of it is in the input.
fn take_line<'b>(
    held: &mut Vec<u8>,
    input: &mut &'b [u8],
) -> Result<Option<Cow<'b, [u8]>>, ProtocolError> {
    // No reply begins otherwise, and what does may never have a line end.
    match held.first().or(input.first()) {
        Some(first) if !first.is_ascii_uppercase() => return Err(ProtocolError::Start(*first)),
        _ => {}
    }
    let room = LONGEST_LINE.saturating_sub(held.len());
    let end = input.iter().take(room).position(|&byte| byte == b'\n');
    let Some((line, rest)) = end.and_then(|end| input.split_at_checked(end + 1)) else {
        if input.len() >= room {
            return Err(ProtocolError::LongLine);
        }
        held.extend_from_slice(input);
        *input = &[];
        return Ok(None);
    };
    *input = rest;
    let line = match held.is_empty() {
        true => Cow::Borrowed(line),
        false => {
            held.extend_from_slice(line);
            Cow::Owned(std::mem::take(held))
        }
    };
    let without_end = |line: &[u8]| line.strip_suffix(b"\r\n").map(<[u8]>::len);
    let length = without_end(&line).ok_or(ProtocolError::Line)?;
    Ok(Some(match line {
        Cow::Borrowed(line) => Cow::Borrowed(line.get(..length).unwrap_or_default()),
        Cow::Owned(mut line) => {
            line.truncate(length);
            Cow::Owned(line)
        }
    }))
}

fn parse(line: &[u8]) -> Result<Line<'_>, ProtocolError> {
    let mut words = line.split(|&byte| byte == b' ');
    let word = match words.next().unwrap_or_default() {
        b"VALUE" => return head(words).map(Line::Head),
        // Before memcached 1.6.13 an `mg` without a value was answered with "OK".
        b"HD" | b"OK" => return life(words).map(Line::Reply),
        b"ERROR" | b"CLIENT_ERROR" | b"SERVER_ERROR" => {
            return Ok(Line::Reply(Reply::Error(error(line))))
        }
        b"DELETED" => Word::Deleted,
        b"END" => Word::End,
        // Some repeat the key behind it.
        b"EN" => return Ok(Line::Reply(Reply::Word(Word::Miss))),
        b"NOT_FOUND" => Word::NotFound,
        b"STORED" => Word::Stored,
        b"TOUCHED" => Word::Touched,
        word if word.starts_with(b"HTTP/") => return Err(ProtocolError::Http),
        _ => return Err(ProtocolError::Line),
    };
    match words.next() {
        None => Ok(Line::Reply(Reply::Word(word))),
        Some(_) => Err(ProtocolError::Line),
    }
}

/// `key flags bytes [cas]`
fn head<'b>(mut words: impl Iterator<Item = &'b [u8]>) -> Result<Head<'b>, ProtocolError> {
    let key = words.next().filter(|key| !key.is_empty()).ok_or(ProtocolError::Line)?;
    let flags = number(words.next().ok_or(ProtocolError::Line)?)?;
    let flags = u32::try_from(flags).map_err(|_| ProtocolError::Number)?;
    let length = number(words.next().ok_or(ProtocolError::Line)?)?;
    if words.nth(1).is_some() {
        return Err(ProtocolError::Line);
    }
    match length > LARGEST {
        true => Err(ProtocolError::Size),
        false => Ok(Head { key, flags, length }),
    }
}

/// `kkey tseconds`, and what else a server may tell.
fn life<'b>(words: impl Iterator<Item = &'b [u8]>) -> Result<Reply<'b>, ProtocolError> {
    let (mut key, mut left) = (None, None);
    for word in words {
        match word.split_first() {
            Some((b'k', of)) => key = Some(of),
            Some((b't', b"-1")) => left = Some(None),
            Some((b't', seconds)) => left = Some(Some(number(seconds)?)),
            _ => {}
        }
    }
    match (key, left) {
        (Some(key), Some(seconds)) => Ok(Reply::Life { key: key.into(), seconds }),
        _ => Err(ProtocolError::Line),
    }
}

/// Digits and nothing else.
fn number(digits: &[u8]) -> Result<u64, ProtocolError> {
    if digits.is_empty() {
        return Err(ProtocolError::Number);
    }
    let push = |value: u64, digit: &u8| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    };
    digits.iter().try_fold(0, push).ok_or(ProtocolError::Number)
}

/// The item whose value and tail are whole in the input, and not too large.
fn whole<'b>(
    head: Head<'b>,
    input: &mut &'b [u8],
    largest: usize,
) -> Result<Option<Reply<'b>>, ProtocolError> {
    let length = usize::try_from(head.length).ok().filter(|length| *length <= largest);
    let Some((value, rest)) = length.and_then(|length| input.split_at_checked(length)) else {
        return Ok(None);
    };
    let Some(tail) = rest.get(..TAIL.len()) else { return Ok(None) };
    if tail != TAIL {
        return Err(ProtocolError::Tail);
    }
    *input = rest.get(TAIL.len()..).unwrap_or_default();
    Ok(Some(Reply::Item { key: head.key.into(), flags: head.flags, value: value.into() }))
}

impl Partial {
    fn new(head: Head<'_>) -> Self {
        Self { key: head.key.to_vec(), flags: head.flags, length: head.length, ..Self::default() }
    }

    fn is_too_large(&self, largest: usize) -> bool {
        self.length > largest as u64
    }

    /// Takes what belongs to the item off the front of `input`.
    fn keep(&mut self, input: &mut &[u8], largest: usize) -> Result<(), ProtocolError> {
        let left = usize::try_from(self.length - self.seen).unwrap_or(usize::MAX);
        let (part, rest) = input.split_at_checked(left).unwrap_or((input, &[]));
        self.seen += part.len() as u64;
        if !self.is_too_large(largest) {
            self.held.extend_from_slice(part);
        }
        *input = rest;
        while self.seen == self.length && self.tail < TAIL.len() {
            let Some((byte, rest)) = input.split_first() else { break };
            if TAIL.get(self.tail) != Some(byte) {
                return Err(ProtocolError::Tail);
            }
            self.tail += 1;
            *input = rest;
        }
        Ok(())
    }

    fn finish(self, largest: usize) -> Reply<'static> {
        match self.is_too_large(largest) {
            true => Reply::TooLarge { key: self.key.into(), bytes: self.length },
            false => {
                Reply::Item { key: self.key.into(), flags: self.flags, value: self.held.into() }
            }
        }
    }
}

/// The same, of its own bytes.
fn owned(reply: Reply<'_>) -> Reply<'static> {
    let own = |bytes: Cow<'_, [u8]>| Cow::Owned(bytes.into_owned());
    match reply {
        Reply::Item { key, flags, value } => {
            Reply::Item { key: own(key), flags, value: own(value) }
        }
        Reply::TooLarge { key, bytes } => Reply::TooLarge { key: own(key), bytes },
        Reply::Life { key, seconds } => Reply::Life { key: own(key), seconds },
        Reply::Word(word) => Reply::Word(word),
        Reply::Error(error) => Reply::Error(error),
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(byte @ (b'+' | b'-' | b':' | b'$' | b'*')) => {
                write!(f, "it begins with \"{}\", is it a Redis server?", char::from(*byte))
            }
            Self::Start(byte @ b'!'..=b'~') => {
                write!(f, "it begins with \"{}\", is it a memcached server?", char::from(*byte))
            }
            Self::Start(byte) => {
                write!(f, "it begins with byte 0x{byte:02x}, is it a memcached server?")
            }
            Self::Http => f.write_str("it is an HTTP response, is it a memcached server?"),
            Self::Line => f.write_str("line of an unknown form, is it a memcached server?"),
            Self::LongLine => f.write_str("line is too long"),
            Self::Number => f.write_str("invalid number"),
            Self::Size => f.write_str("item is over 1 GB"),
            Self::Unread => f.write_str("item is too large to be read over"),
            Self::Tail => f.write_str("value is not followed by END"),
        }
    }
}

impl std::error::Error for ProtocolError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const LARGEST: usize = 64;

    type Read = (Vec<Reply<'static>>, Result<(), ProtocolError>);

    /// What comes of `bytes` that arrive in pieces of these sizes, over and over.
    fn read_in_pieces(bytes: &[u8], sizes: &[usize]) -> Read {
        let mut reader = Reader::new(LARGEST);
        let mut replies = Vec::new();
        let (mut rest, mut sizes) = (bytes, sizes.iter().cycle());
        while !rest.is_empty() {
            let size = sizes.next().map_or(1, |size| (*size).clamp(1, rest.len()));
            let (mut piece, behind) = rest.split_at(size);
            rest = behind;
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

    /// The same, whatever the pieces.
    fn read(bytes: &[u8]) -> Read {
        let whole = read_in_pieces(bytes, &[bytes.len()]);
        for size in [1, 2, 3, 7, 64] {
            assert_eq!(read_in_pieces(bytes, &[size]), whole, "in pieces of {size}");
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

    fn item(key: &str, flags: u32, value: &[u8]) -> Reply<'static> {
        let key = Cow::Owned(key.as_bytes().to_vec());
        Reply::Item { key, flags, value: Cow::Owned(value.to_vec()) }
    }

    fn life(key: &str, seconds: Option<u64>) -> Reply<'static> {
        Reply::Life { key: Cow::Owned(key.as_bytes().to_vec()), seconds }
    }

    #[test]
    fn replies_are_read() {
        let cases: [(&[u8], Reply); 21] = [
            (b"VALUE a 0 1\r\nx\r\nEND\r\n", item("a", 0, b"x")),
            (b"VALUE a 0 0\r\n\r\nEND\r\n", item("a", 0, b"")),
            (b"VALUE sess:a 4294967295 1 77\r\nx\r\nEND\r\n", item("sess:a", u32::MAX, b"x")),
            (b"VALUE a 1 7\r\n\r\nEND\r\n\r\nEND\r\n", item("a", 1, b"\r\nEND\r\n")),
            (b"VALUE a 16 3\r\n\0\xff\n\r\nEND\r\n", item("a", 16, b"\0\xff\n")),
            (b"VALUE END 0 1\r\nx\r\nEND\r\n", item("END", 0, b"x")),
            (b"END\r\n", Reply::Word(Word::End)),
            (b"EN\r\n", Reply::Word(Word::Miss)),
            (b"EN ka\r\n", Reply::Word(Word::Miss)),
            (b"NOT_FOUND\r\n", Reply::Word(Word::NotFound)),
            (b"DELETED\r\n", Reply::Word(Word::Deleted)),
            (b"TOUCHED\r\n", Reply::Word(Word::Touched)),
            (b"STORED\r\n", Reply::Word(Word::Stored)),
            (b"HD ka t1440\r\n", life("a", Some(1440))),
            (b"HD ka t0\r\n", life("a", Some(0))),
            (b"HD t-1 ka\r\n", life("a", None)),
            (b"HD ka t9 W X\r\n", life("a", Some(9))),
            (b"OK ka t1440\r\n", life("a", Some(1440))),
            (b"ERROR\r\n", Reply::Error(error(b"ERROR"))),
            (b"CLIENT_ERROR bad\r\n", Reply::Error(error(b"CLIENT_ERROR bad"))),
            (b"SERVER_ERROR \xff\0\r\n", Reply::Error(error(b"SERVER_ERROR \xff\0"))),
        ];
        for (bytes, reply) in cases {
            assert_eq!(one(bytes), reply, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn many_replies_are_read_in_their_order() {
        let bytes = b"VALUE a 0 1\r\nx\r\nEND\r\nEND\r\nHD ka t5\r\nERROR\r\nVALUE b 0 1\r\ny\r\nEND\r\nEN\r\n";
        let replies = vec![
            item("a", 0, b"x"),
            Reply::Word(Word::End),
            life("a", Some(5)),
            Reply::Error(error(b"ERROR")),
            item("b", 0, b"y"),
            Reply::Word(Word::Miss),
        ];
        assert_eq!(read(bytes), (replies, Ok(())));
    }

    #[test]
    fn what_is_too_large_is_read_over() {
        let value = [b'x'; LARGEST + 1];
        let bytes = [b"VALUE a 0 65\r\n".as_slice(), &value, b"\r\nEND\r\nEND\r\n"].concat();
        let large = Reply::TooLarge { key: Cow::Borrowed(b"a"), bytes: 65 };
        assert_eq!(read(&bytes), (vec![large, Reply::Word(Word::End)], Ok(())));

        let mut reader = Reader::new(LARGEST);
        let mut input = bytes.get(..40).unwrap();
        assert_eq!(reader.next(&mut input), Ok(None));
        let State::Value(partial) = &reader.state else { panic!("within a value") };
        assert_eq!(partial.held.capacity(), 0);
    }

    #[test]
    fn other_bytes_are_faults() {
        use ProtocolError::{Http, Line, LongLine, Number, Size, Start, Tail};
        let long = [b"SERVER_ERROR ".as_slice(), &[b'x'; 2048], b"\r\n"].concat();
        let endless = [b'A'; 4096];
        let cases: [(&[u8], ProtocolError); 32] = [
            (b"$-1\r\n", Start(b'$')),
            (b"-NOAUTH Authentication required.\r\n", Start(b'-')),
            (b"<html>", Start(b'<')),
            (b"\x15\x03\x03\0\x02\x02\x46", Start(0x15)),
            (b"\r\n", Start(b'\r')),
            (b"value a 0 1\r\nx\r\nEND\r\n", Start(b'v')),
            (b"HTTP/1.1 400 Bad Request\r\n", Http),
            (b"VA 1\r\nx\r\n", Line),
            (b"ENDE\r\n", Line),
            (b"END \r\n", Line),
            (b"END x\r\n", Line),
            (b"END\n", Line),
            (b"HD\r\n", Line),
            (b"HD ka\r\n", Line),
            (b"HD t5\r\n", Line),
            (b"VALUE\r\n", Line),
            (b"VALUE a 0\r\n", Line),
            (b"VALUE a 0 1 7 8\r\nx\r\nEND\r\n", Line),
            (b"VALUE  0 1\r\nx\r\nEND\r\n", Line),
            (b"VALUE a 0 -1\r\nx\r\nEND\r\n", Number),
            (b"VALUE a 0 \r\nx\r\nEND\r\n", Number),
            (b"VALUE a 0 1x\r\nx\r\nEND\r\n", Number),
            (b"VALUE a 0 +1\r\nx\r\nEND\r\n", Number),
            (b"VALUE a 4294967296 1\r\nx\r\nEND\r\n", Number),
            (b"VALUE a 0 18446744073709551616\r\n", Number),
            (b"HD ka t-2\r\n", Number),
            (b"VALUE a 0 1073741825\r\n", Size),
            (b"VALUE a 0 1\r\nxy\r\nEND\r\n", Tail),
            (b"VALUE a 0 2\r\nx\r\nEND\r\nEND\r\n", Tail),
            (b"VALUE a 0 1\r\nx\r\nVALUE b 0 1\r\ny\r\nEND\r\n", Tail),
            (&long, LongLine),
            (&endless, LongLine),
        ];
        for (bytes, error) in cases {
            assert_eq!(fault(bytes), error, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_fault_stays() {
        let mut reader = Reader::new(LARGEST);
        assert_eq!(reader.next(&mut b"$".as_slice()), Err(ProtocolError::Start(b'$')));
        assert_eq!(reader.next(&mut b"END\r\n".as_slice()), Err(ProtocolError::Start(b'$')));
    }

    #[test]
    fn a_whole_item_is_not_copied() {
        let mut input = b"VALUE a 0 3\r\nabc\r\nEND\r\nVALUE".as_slice();
        let mut reader = Reader::new(LARGEST);
        let reply = reader.next(&mut input).unwrap();
        let Some(Reply::Item { key: Cow::Borrowed(b"a"), value: Cow::Borrowed(b"abc"), .. }) =
            reply
        else {
            panic!("borrowed: {reply:?}")
        };
        assert_eq!(input, b"VALUE");
    }

    /// A megabyte in single bytes would not end if each were read again.
    #[test]
    fn a_large_value_in_small_pieces_is_linear() {
        let value = vec![b'x'; 1 << 20];
        let mut reader = Reader::new(1 << 20);
        let bytes = [b"VALUE a 0 1048576\r\n".as_slice(), &value, b"\r\nEND\r\n"].concat();
        let replies: Vec<_> =
            bytes.chunks(1).filter_map(|mut piece| reader.next(&mut piece).unwrap()).collect();
        assert_eq!(replies, [item("a", 0, &value)]);
    }

    #[test]
    fn the_log_says_who_answers() {
        for (bytes, text) in [
            (&b"$-1\r\n"[..], "it begins with \"$\", is it a Redis server?"),
            (b"<html>", "it begins with \"<\", is it a memcached server?"),
            (b"\x15", "it begins with byte 0x15, is it a memcached server?"),
        ] {
            assert_eq!(fault(bytes).to_string(), text);
        }
    }

    fn reply() -> impl Strategy<Value = (Vec<u8>, Reply<'static>)> {
        prop_oneof![
            ("[!-~]{1,250}", any::<u32>(), vec(any::<u8>(), 0..LARGEST)).prop_map(
                |(key, flags, value)| {
                    let head = format!("VALUE {key} {flags} {}\r\n", value.len());
                    let bytes = [head.as_bytes(), &value, b"\r\nEND\r\n"].concat();
                    (bytes, item(&key, flags, &value))
                }
            ),
            ("[!-~]{1,250}", 0..u64::from(u32::MAX)).prop_map(|(key, left)| {
                (format!("HD k{key} t{left}\r\n").into_bytes(), life(&key, Some(left)))
            }),
            "(CLIENT|SERVER)_ERROR [ -~]{0,100}".prop_map(|text| {
                (format!("{text}\r\n").into_bytes(), Reply::Error(error(text.as_bytes())))
            }),
            Just((b"END\r\n".to_vec(), Reply::Word(Word::End))),
            Just((b"EN\r\n".to_vec(), Reply::Word(Word::Miss))),
            Just((b"TOUCHED\r\n".to_vec(), Reply::Word(Word::Touched))),
        ]
    }

    proptest! {
        #[test]
        fn well_formed_replies_are_read(replies in vec(reply(), 0..6), sizes in vec(1..99_usize, 1..9)) {
            let (bytes, expected): (Vec<_>, Vec<_>) = replies.into_iter().unzip();
            prop_assert_eq!(read_in_pieces(&bytes.concat(), &sizes), (expected, Ok(())));
        }

        #[test]
        fn any_bytes_are_read_alike_however_they_are_split(bytes: Vec<u8>) {
            let _ = read(&bytes);
        }

        #[test]
        fn bytes_like_replies_are_read_alike_however_they_are_split(
            bytes in "((VALUE|HD|END|EN|ERROR|STORED|x)( [0-9akt-]{0,3}){0,4}(\r\n|\n|)|[a-z]{0,3}\r\nEND\r\n){0,6}",
            sizes in vec(1..20_usize, 1..6),
        ) {
            prop_assert_eq!(read_in_pieces(bytes.as_bytes(), &sizes), read(bytes.as_bytes()));
        }
    }
}
