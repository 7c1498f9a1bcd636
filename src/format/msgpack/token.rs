//! The tokens of MessagePack.

#![forbid(unsafe_code)]

use serde_json::Value;

use crate::format::calendar::moment;
use crate::format::cursor::Cursor;
use crate::format::{number, text, Reason};

/// The byte that is nil.
pub(super) const NIL: u8 = 0xc0;

/// A value; of lists and maps their beginning.
#[derive(Debug, PartialEq)]
pub(super) enum Token<'r> {
    /// A text, or bytes that are none.
    Text(&'r [u8]),
    /// Null, a boolean, a number, a moment, or the bytes of another extension as text.
    Scalar(Value),
    /// With the number of its elements.
    List(usize),
    /// With the number of its members.
    Map(usize),
}

/// What follows a first byte.
enum Kind {
    Nil,
    Bool(bool),
    /// An integer that is in the byte itself.
    Small(i8),
    /// A signed integer of so many bytes.
    Signed(usize),
    /// An unsigned integer of so many bytes.
    Unsigned(usize),
    /// A float of so many bytes.
    Float(usize),
    /// So many bytes.
    Text(usize),
    /// The type of an extension and so many bytes of it.
    Extension(usize),
    List(usize),
    Map(usize),
}

/// Reads the next token.
pub(super) fn token<'r>(input: &mut Cursor<'r>) -> Result<Token<'r>, Reason> {
    Ok(match kind(input)? {
        Kind::Nil => Token::Scalar(Value::Null),
        Kind::Bool(truth) => Token::Scalar(Value::Bool(truth)),
        Kind::Small(number) => Token::Scalar(Value::from(number)),
        Kind::Signed(width) => {
            let above = 64 - 8 * width;
            Token::Scalar(Value::from((input.number(width)? << above).cast_signed() >> above))
        }
        Kind::Unsigned(width) => Token::Scalar(Value::from(input.number(width)?)),
        Kind::Float(4) => {
            let bits = u32::try_from(input.number(4)?).unwrap_or_default();
            Token::Scalar(number::float(f64::from(f32::from_bits(bits))))
        }
        Kind::Float(width) => Token::Scalar(number::float(f64::from_bits(input.number(width)?))),
        Kind::Text(length) => Token::Text(input.take(length)?),
        Kind::Extension(length) => {
            let kind = input.byte()?;
            Token::Scalar(Value::String(extension(kind, input.take(length)?)))
        }
        Kind::List(count) => Token::List(count),
        Kind::Map(count) => Token::Map(count),
    })
}

/// Walks over the next token. For a list or map, how many values are in it.
#[inline]
pub(super) fn skip(input: &mut Cursor<'_>) -> Result<Option<usize>, Reason> {
    match input.peek() {
        // Values that are whole in their first byte, as the most costly sessions repeat them.
        Some(0x00..=0x7f | 0xe0..=0xff | NIL | 0xc2 | 0xc3) => input.byte().map(|_| None),
        Some(first @ 0x90..=0x9f) => input.byte().map(|_| Some(usize::from(first & 0x0f))),
        Some(first @ 0x80..=0x8f) => input.byte().map(|_| Some(usize::from(first & 0x0f) * 2)),
        Some(first @ 0xa0..=0xbf) => input.take(usize::from(first & 0x1f) + 1).map(|_| None),
        _ => skip_long(input),
    }
}

fn skip_long(input: &mut Cursor<'_>) -> Result<Option<usize>, Reason> {
    let length = match kind(input)? {
        Kind::Nil | Kind::Bool(_) | Kind::Small(_) => 0,
        Kind::Signed(width) | Kind::Unsigned(width) | Kind::Float(width) => width,
        Kind::Text(length) => length,
        Kind::Extension(length) => length.saturating_add(1),
        Kind::List(count) => return Ok(Some(count)),
        Kind::Map(count) => return Ok(Some(count.saturating_mul(2))),
    };
    input.take(length).map(|_| None)
}

fn kind(input: &mut Cursor<'_>) -> Result<Kind, Reason> {
    let first = input.byte()?;
    let mut length = |width| usize::try_from(input.number(width)?).map_err(|_| Reason::Malformed);
    Ok(match first {
        0x00..=0x7f | 0xe0..=0xff => Kind::Small(first.cast_signed()),
        0x80..=0x8f => Kind::Map(usize::from(first & 0x0f)),
        0x90..=0x9f => Kind::List(usize::from(first & 0x0f)),
        0xa0..=0xbf => Kind::Text(usize::from(first & 0x1f)),
        NIL => Kind::Nil,
        0xc1 => return Err(Reason::Malformed),
        0xc2 => Kind::Bool(false),
        0xc3 => Kind::Bool(true),
        0xc4 | 0xd9 => Kind::Text(length(1)?),
        0xc5 | 0xda => Kind::Text(length(2)?),
        0xc6 | 0xdb => Kind::Text(length(4)?),
        0xc7 => Kind::Extension(length(1)?),
        0xc8 => Kind::Extension(length(2)?),
        0xc9 => Kind::Extension(length(4)?),
        0xca => Kind::Float(4),
        0xcb => Kind::Float(8),
        0xcc..=0xcf => Kind::Unsigned(1 << (first - 0xcc)),
        0xd0..=0xd3 => Kind::Signed(1 << (first - 0xd0)),
        0xd4..=0xd8 => Kind::Extension(1 << (first - 0xd4)),
        0xdc => Kind::List(length(2)?),
        0xdd => Kind::List(length(4)?),
        0xde => Kind::Map(length(2)?),
        0xdf => Kind::Map(length(4)?),
    })
}

/// A timestamp in UTC, or the bytes of another extension as text.
fn extension(kind: u8, bytes: &[u8]) -> String {
    const TIMESTAMP: u8 = 0xff;
    let moment = if kind == TIMESTAMP { timestamp(bytes) } else { None };
    moment.unwrap_or_else(|| text(bytes).into_owned())
}

/// A moment in one of its three forms, with no digits of a second, six or nine, as it needs.
fn timestamp(bytes: &[u8]) -> Option<String> {
    let mut input = Cursor::new(bytes);
    let (nanos, seconds) = match bytes.len() {
        4 => (0, input.number(4).ok()?),
        8 => {
            let both = input.number(8).ok()?;
            (both >> 34, both & ((1 << 34) - 1))
        }
        12 => (input.number(4).ok()?, input.number(8).ok()?),
        _ => return None,
    };
    let digits = match nanos {
        0 => 0,
        _ if nanos % 1000 == 0 => 6,
        _ => 9,
    };
    moment(seconds.cast_signed(), u32::try_from(nanos).ok()?, digits, None)
}
