//! How to walk over JSON (RFC 8259): each function takes what is left of a session, and gives what is left
//! behind what it walked over; `None` where that is malformed or nested too deep.
//!
//! Wanted or not, all of the grammar is checked on the way. That the bytes are UTF-8 is not: whoever begins
//! has seen to it. The small functions are inlined always, since they are one loop together, which walks over
//! most of a session: what they hand each other stays in registers.

#![forbid(unsafe_code)]

use super::text::{self, Text};
use crate::format::budget::Budget;
use crate::format::{Wanted, MAX_DEPTH};

/// A value that holds no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar<'t> {
    Null,
    Bool(bool),
    /// As it is written.
    Number(&'t [u8]),
    Text(Text<'t>),
}

/// What comes next in an array or object, and what is left there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next<'t> {
    /// An element, or a member.
    Item(&'t [u8]),
    /// Nothing: this is behind it.
    End(&'t [u8]),
}

/// What comes next of the wanted members of an object, and what is left there.
pub(super) enum Found<'t, 'w> {
    /// The value of a member with this name, and what is wanted of it.
    Member(Text<'t>, &'w Wanted, &'t [u8]),
    /// Nothing: this is behind the object.
    End(&'t [u8]),
}

/// Walks over members, from the name of one up to the value of one that is wanted. `depth` arrays and objects
/// are open. `None` also where nothing is left of the budget.
pub(super) fn find<'t, 'w>(
    mut rest: &'t [u8],
    wanted: &'w Wanted,
    depth: usize,
    budget: &Budget,
) -> Option<Found<'t, 'w>> {
    loop {
        let (name, value) = name(rest)?;
        let part = name.wanted(wanted, budget)?;
        if !matches!(part, Wanted::Nothing) {
            return Some(Found::Member(name, part, value));
        }
        match next(skip(value, depth)?, b'}')? {
            Next::Item(member) => rest = member,
            Next::End(rest) => return Some(Found::End(rest)),
        }
    }
}

/// Walks over a value. `depth` arrays and objects are open.
#[inline(always)]
pub(super) fn skip(rest: &[u8], depth: usize) -> Option<&[u8]> {
    match space(rest) {
        [b'{', rest @ ..] => skip_items(rest, b'}', depth),
        [b'[', rest @ ..] => skip_items(rest, b']', depth),
        rest => scalar(rest).map(|(_, rest)| rest),
    }
}

/// Walks over what is in an array or object, and over its end. Without recursion, for which brackets are too cheap.
fn skip_items(rest: &[u8], mut end: u8, mut depth: usize) -> Option<&[u8]> {
    // A bit for each that is open around this one, the innermost lowest: whether it is an object. The highest one
    // stands for what is walked over; they are no more than `MAX_DEPTH`.
    let mut around = 1_u128;
    let mut item = first(rest, end, depth)?;
    loop {
        let rest = match item {
            Next::Item(member) => {
                let value = if end == b'}' { name(member)?.1 } else { member };
                match space(value) {
                    [bracket @ (b'{' | b'['), rest @ ..] => {
                        around = around << 1 | u128::from(end == b'}');
                        // In ASCII each bracket's end is two behind it.
                        end = bracket + 2;
                        depth += 1;
                        item = first(rest, end, depth)?;
                        continue;
                    }
                    value => scalar(value)?.1,
                }
            }
            Next::End(rest) => {
                if around == 1 {
                    return Some(rest);
                }
                end = if around & 1 == 1 { b'}' } else { b']' };
                around >>= 1;
                depth -= 1;
                rest
            }
        };
        item = next(rest, end)?;
    }
}

/// Walks from behind the bracket of an array or object up to what comes first in it. `depth` others are open.
#[inline(always)]
pub(super) fn first(rest: &[u8], end: u8, depth: usize) -> Option<Next<'_>> {
    if depth >= MAX_DEPTH {
        return None;
    }
    match space(rest) {
        [byte, rest @ ..] if *byte == end => Some(Next::End(rest)),
        rest => Some(Next::Item(rest)),
    }
}

/// Walks from behind an element or a member up to the next.
#[inline(always)]
pub(super) fn next(rest: &[u8], end: u8) -> Option<Next<'_>> {
    if let [b',', rest @ ..] = rest {
        return Some(Next::Item(rest));
    }
    match space(rest) {
        [b',', rest @ ..] => Some(Next::Item(rest)),
        [byte, rest @ ..] if *byte == end => Some(Next::End(rest)),
        _ => None,
    }
}

/// Walks over a value that is neither array nor object, and reads it; no white space is before it.
#[inline(always)]
pub(super) fn scalar(rest: &[u8]) -> Option<(Scalar<'_>, &[u8])> {
    Some(match rest {
        [b'"', rest @ ..] => {
            let (text, rest) = text::walk(rest)?;
            (Scalar::Text(text), rest)
        }
        [b'n', b'u', b'l', b'l', rest @ ..] => (Scalar::Null, rest),
        [b't', b'r', b'u', b'e', rest @ ..] => (Scalar::Bool(true), rest),
        [b'f', b'a', b'l', b's', b'e', rest @ ..] => (Scalar::Bool(false), rest),
        _ => {
            let after = number(rest)?;
            (Scalar::Number(rest.get(..rest.len() - after.len())?), after)
        }
    })
}

/// Walks over white space.
#[inline(always)]
pub(super) fn space(mut rest: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\n' | b'\r', after @ ..] = rest {
        rest = after;
    }
    rest
}

/// Walks over a member's name and its colon.
#[inline(always)]
fn name(rest: &[u8]) -> Option<(Text<'_>, &[u8])> {
    let (name, rest) = text::walk(token(rest, b'"')?)?;
    Some((name, token(rest, b':')?))
}

/// Walks over a token of one byte. Most who write JSON put no white space before these.
#[inline(always)]
fn token(rest: &[u8], token: u8) -> Option<&[u8]> {
    match rest {
        [first, rest @ ..] if *first == token => Some(rest),
        _ => spaced(rest, token),
    }
}

#[cold]
fn spaced(rest: &[u8], token: u8) -> Option<&[u8]> {
    match space(rest) {
        [first, rest @ ..] if *first == token => Some(rest),
        _ => None,
    }
}

#[inline(always)]
fn number(rest: &[u8]) -> Option<&[u8]> {
    let natural = match rest {
        [b'-', rest @ ..] => rest,
        _ => rest,
    };
    let rest = match natural {
        [b'0', rest @ ..] => rest,
        _ => digits(natural)?,
    };
    match rest {
        [b'.' | b'e' | b'E', ..] => fraction(rest),
        // After a zero.
        [b'0'..=b'9', ..] => None,
        _ => Some(rest),
    }
}

/// What may stand behind the digits of an integer.
#[inline(never)]
fn fraction(rest: &[u8]) -> Option<&[u8]> {
    let rest = match rest {
        [b'.', rest @ ..] => digits(rest)?,
        _ => rest,
    };
    match rest {
        [b'e' | b'E', b'+' | b'-', rest @ ..] | [b'e' | b'E', rest @ ..] => digits(rest),
        _ => Some(rest),
    }
}

/// Walks over one digit at least.
#[inline(always)]
fn digits(rest: &[u8]) -> Option<&[u8]> {
    let [b'0'..=b'9', rest @ ..] = rest else { return None };
    let mut rest = rest;
    while let [b'0'..=b'9', after @ ..] = rest {
        rest = after;
    }
    Some(rest)
}
