//! What is made of values whose meaning is known, without running anything of their classes.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use time::{Date, Month};

use super::reader::long;
use crate::format::budget::Budget;
use crate::format::calendar::{date, moment};
use crate::format::cursor::Cursor;
use crate::format::graph::{Graph, Id, Leaf, Member, Node};
use crate::format::{number, text, Reason};

/// How far a decimal's point may lie from its digits for it to be written without an exponent.
const FAR: i64 = 100;

/// A float from its text, as `Float#to_s` or a shorter way has it.
pub(super) fn float(written: &[u8], budget: &Budget) -> Result<Leaf, Reason> {
    let written = std::str::from_utf8(written).map_err(|_| Reason::Malformed)?;
    // Rust reads these words, too, and others besides.
    match written {
        "inf" | "-inf" | "nan" => {}
        _ if written.bytes().all(|byte| byte.is_ascii_digit() || b"+-.e".contains(&byte)) => {}
        _ => return Err(Reason::Malformed),
    }
    Ok(number::float(number::parse(written, budget)?).into())
}

/// A regular expression as `Regexp#to_s` has it: `(?i-mx:a.b)`.
pub(super) fn regexp(source: &[u8], options: u8) -> Vec<u8> {
    let all = [(4, b'm'), (1, b'i'), (2, b'x')];
    let letters = |on: bool| {
        let some = all.iter().filter(move |(bit, _)| (options & bit != 0) == on);
        some.map(|(_, letter)| *letter).collect::<Vec<u8>>()
    };
    let off = letters(false);
    let dash: &[u8] = if off.is_empty() { b"" } else { b"-" };
    [b"(?", letters(true).as_slice(), dash, &off, b":", source, b")"].concat()
}

/// The name of the member of a hash with this key: a text, a symbol or a scalar itself; as `inspect` does
/// where it would not end, what holds others is `[...]` or `{...}`, and an object is its class.
pub(super) fn name<'r>(graph: &Graph<'r>, key: Id) -> Cow<'r, [u8]> {
    let node = match graph.get(key) {
        Node::Same(other) => graph.get(*other),
        node => node,
    };
    match node {
        Node::Text(bytes) => bytes.clone(),
        Node::Leaf(Leaf::String(text)) => Cow::Owned(text.clone().into_bytes()),
        Node::Leaf(Leaf::Null) => Cow::Borrowed(b""),
        Node::Leaf(scalar) => Cow::Owned(scalar.to_string().into_bytes()),
        Node::List(_) => Cow::Borrowed(b"[...]"),
        Node::Map(_) | Node::Same(_) => Cow::Borrowed(b"{...}"),
        Node::Object(object) => Cow::Owned([b"#<", object.class.as_ref(), b">"].concat()),
    }
}

/// An object by its instance variables. A set is its elements, a range of scalars `1..5`.
pub(super) fn object<'r>(
    graph: &Graph<'r>,
    class: Cow<'r, [u8]>,
    variables: Vec<Member<'r>>,
) -> Node<'r> {
    let known = match class.as_ref() {
        b"Set" => variable(&variables, b"@hash").map(Node::Same),
        b"Range" => range(graph, &variables).map(text_node),
        _ => None,
    };
    let fields = variables.into_iter().map(|(name, value)| (without_at(name), value));
    known.unwrap_or_else(|| Node::object(class, fields.collect()))
}

/// An object by the data that it gave of itself. A day and a moment are ISO 8601, others that data.
pub(super) fn data<'r>(graph: &Graph<'r>, class: &[u8], data: Id) -> Node<'r> {
    let text = match (class, graph.get(data)) {
        (b"Date", Node::List(parts)) => civil(graph, parts, false),
        (b"DateTime", Node::List(parts)) => civil(graph, parts, true),
        // The moment in UTC, the name of the zone, the moment there.
        (b"ActiveSupport::TimeWithZone", Node::List(parts)) => {
            parts.first().and_then(|utc| match graph.get(*utc) {
                Node::Leaf(Leaf::String(text)) => Some(text.clone()),
                _ => None,
            })
        }
        _ => None,
    };
    text.map_or(Node::Same(data), text_node)
}

/// An object by the bytes that it gave of itself, and variables of these.
pub(super) fn dumped<'r>(
    graph: &Graph<'r>,
    class: &[u8],
    bytes: &'r [u8],
    variables: &[Member<'r>],
) -> Node<'r> {
    let text = match class {
        b"Time" => time(bytes, |name| integer(graph, variable(variables, name)?)),
        b"BigDecimal" => decimal(bytes),
        _ => None,
    };
    text.map_or(Node::Text(Cow::Borrowed(bytes)), text_node)
}

fn text_node<'r>(text: String) -> Node<'r> {
    Node::Leaf(Leaf::String(text))
}

fn without_at(name: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    match name {
        Cow::Borrowed([b'@', name @ ..]) => Cow::Borrowed(name),
        Cow::Owned(mut name) if name.starts_with(b"@") => Cow::Owned(name.split_off(1)),
        name => name,
    }
}

fn variable(variables: &[Member<'_>], name: &[u8]) -> Option<Id> {
    variables.iter().find(|(known, _)| **known == *name).map(|(_, value)| *value)
}

/// A whole number that is not too great to be one here.
fn integer(graph: &Graph<'_>, id: Id) -> Option<i64> {
    graph.get(id).number()?.as_i64()
}

fn range(graph: &Graph<'_>, variables: &[Member<'_>]) -> Option<String> {
    let variable = |name| Some(graph.get(variable(variables, name)?));
    let end = |node: &Node<'_>| match node {
        Node::Leaf(Leaf::Null) => Some(String::new()),
        Node::Leaf(Leaf::String(text)) => Some(text.clone()),
        Node::Leaf(scalar) => Some(scalar.to_string()),
        Node::Text(bytes) => Some(text(bytes).into_owned()),
        _ => None,
    };
    let dots = match variable(b"excl")? {
        Node::Leaf(Leaf::Bool(true)) => "...",
        _ => "..",
    };
    Some([&end(variable(b"begin")?)?, dots, &end(variable(b"end")?)?].concat())
}

/// A day or moment of `date_core.c`: how many great periods it lies away, day of Julian's count in UTC, second
/// of it, nanosecond, seconds that the clock is ahead, day on which the calendar was reformed.
fn civil(graph: &Graph<'_>, parts: &[Id], with_time: bool) -> Option<String> {
    let [period, day, second, nanos, offset, _] = parts else { return None };
    let part = |id: &Id| integer(graph, *id);
    let (0, day) = (part(period)?, i32::try_from(part(day)?).ok()?) else { return None };
    let day = Date::from_julian_day(day).ok()?;
    if !with_time {
        return Some(date(day));
    }
    let nanos = u32::try_from(part(nanos)?).ok()?;
    let offset = i32::try_from(part(offset)?).ok()?;
    moment(midnight(day).checked_add(part(second)?)?, nanos, 9, Some(offset))
}

/// A moment of `time.c`: in 64 bits, the lowest byte first, and for years that these have no room for more.
fn time(bytes: &[u8], variable: impl Fn(&[u8]) -> Option<i64>) -> Option<String> {
    const UTC: u64 = 1 << 30;
    const CIVIL: u64 = 1 << 31;
    let (packed, more) = bytes.split_first_chunk()?;
    let packed = u64::from_le_bytes(*packed);
    let bits = |from: u32, count: u32| i64::try_from(packed >> from & ((1 << count) - 1)).ok();
    let (seconds, micros) = if packed & CIVIL == 0 {
        (bits(0, 32)?, bits(32, 32)?)
    } else {
        let month = u8::try_from(bits(10, 4)? + 1).ok()?;
        let day = u8::try_from(bits(5, 5)?).ok()?;
        let year = year(i32::try_from(bits(14, 16)?).ok()?, more)?;
        let day = Date::from_calendar_date(year, Month::try_from(month).ok()?, day).ok()?;
        let of_day = bits(0, 5)? * 3600 + bits(58, 6)? * 60 + bits(52, 6)?;
        (midnight(day) + of_day, bits(32, 20)?)
    };
    let below = match (variable(b"nano_num"), variable(b"nano_den")) {
        (Some(count), Some(of)) => count.checked_div(of)?,
        _ => 0,
    };
    let nanos = u32::try_from((micros * 1000).checked_add(below)?).ok()?;
    let offset = match packed & UTC {
        0 => variable(b"offset").and_then(|offset| i32::try_from(offset).ok()),
        _ => None,
    };
    moment(seconds, nanos, 9, offset)
}

/// When a day begins in UTC, in seconds after 1970.
fn midnight(day: Date) -> i64 {
    day.midnight().assume_utc().unix_timestamp()
}

/// The year that is so many after 1900; of those before that, or too far after, the rest of the way follows.
fn year(after_1900: i32, more: &[u8]) -> Option<i32> {
    let mut more = Cursor::new(more);
    let further = match more.left() {
        0 => 0,
        _ => {
            let width = usize::try_from(long(&mut more).ok()?).ok()?;
            let bytes = more.take(width).ok().filter(|bytes| bytes.len() <= 3)?;
            bytes.iter().rev().fold(0, |number: i32, byte| number << 8 | i32::from(*byte))
        }
    };
    Some(1900 + after_1900 + if after_1900 == 0 { -further } else { further })
}

/// A decimal of `bigdecimal.c`, `18:0.199e2`, as Rails writes one: `19.9`.
fn decimal(bytes: &[u8]) -> Option<String> {
    let (_, written) = std::str::from_utf8(bytes).ok()?.split_once(':')?;
    let Some((fraction, exponent)) = written.split_once('e') else {
        return matches!(written, "NaN" | "Infinity" | "-Infinity" | "0.0" | "-0.0")
            .then(|| written.to_owned());
    };
    let (sign, fraction) = match fraction.strip_prefix('-') {
        Some(fraction) => ("-", fraction),
        None => ("", fraction),
    };
    let digits = fraction.strip_prefix("0.")?;
    let exponent: i64 = exponent.parse().ok()?;
    let length = i64::try_from(digits.len()).ok()?;
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    if exponent < -FAR || exponent > length + FAR {
        return Some(written.to_owned());
    }
    let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or_default());
    let point = usize::try_from(exponent).unwrap_or_default();
    Some(match digits.split_at_checked(point) {
        _ if exponent <= 0 => format!("{sign}0.{}{digits}", zeros(-exponent)),
        Some((whole, "")) => format!("{sign}{whole}.0"),
        Some((whole, rest)) => format!("{sign}{whole}.{rest}"),
        None => format!("{sign}{digits}{}.0", zeros(exponent - length)),
    })
}
