//! The tokens of PHP's `serialize` (`ext/standard/var_unserializer.re`), and how to walk over values.
//!
//! Wanted or not, all of the grammar is checked on the way. The small functions are inlined always, since they
//! are one loop together, which walks over most of a session: what they hand each other stays in registers.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::ops::Range;

use super::convention::unmarked;
use crate::format::budget::Budget;
use crate::format::{Reason, Wanted, MAX_DEPTH};

/// The next token of a value; of arrays and objects their beginning, up to `{`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token<'r> {
    Null,
    Bool(bool),
    Int(i64),
    /// As it is written, INF, -INF and NAN among them.
    Float(&'r [u8]),
    Text(&'r [u8]),
    /// With the number of its elements.
    Array(usize),
    /// With the number of its properties; [`Lexer::class_at`] tells its class.
    Object(usize),
    /// What an object of a class with its own format holds; its class is left out.
    Opaque(&'r [u8]),
    /// A case of an enumeration, `Class:Case`.
    Case(&'r [u8]),
    /// The value in this slot: `R:` where both are one variable, `r:` where both are one object.
    Reference {
        slot: usize,
        takes_slot: bool,
    },
}

/// The key of an element, or a property's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::format) enum Key<'r> {
    /// Of an array.
    Int(i64),
    /// Bytes, mostly UTF-8.
    Text(&'r [u8]),
}

impl<'r> Key<'r> {
    /// The name of a member in JSON.
    pub(super) fn name(self, budget: &Budget) -> Result<String, Reason> {
        match self {
            Self::Int(key) => Ok(key.to_string()),
            Self::Text(key) => budget.text(key),
        }
    }

    /// The name as bytes, before [`text`].
    pub(in crate::format) fn bytes(self) -> Cow<'r, [u8]> {
        match self {
            Self::Int(key) => Cow::Owned(key.to_string().into_bytes()),
            Self::Text(key) => Cow::Borrowed(key),
        }
    }

    /// What is wanted of the member with this key.
    #[inline(always)]
    fn wanted(self, wanted: &Wanted) -> &Wanted {
        match self {
            Self::Text(key) => wanted.member(key),
            Self::Int(key) if matches!(wanted, Wanted::Some(_)) => {
                wanted.member(itoa::Buffer::new().format(key).as_bytes())
            }
            Self::Int(_) => wanted,
        }
    }

    /// [`unmarked`], of a property's name.
    #[inline(always)]
    pub(in crate::format) fn unmarked(self) -> Self {
        match self {
            Self::Text(name) => Self::Text(unmarked(name)),
            Self::Int(_) => self,
        }
    }
}

/// Where the values lie that references can name, in order; slot 1 is the first. They end where slots are counted no
/// more.
pub(super) type Slots = Vec<Range<usize>>;

/// A place in the bytes of a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lexer<'r> {
    raw: &'r [u8],
    rest: &'r [u8],
    /// How many slots the values before have taken: what a reference may name. [`UNCOUNTED`] behind an object
    /// of a class with its own format: what it holds takes slots, too, and how many is for its class to know.
    slots: usize,
}

/// As many slots as anybody may name.
const UNCOUNTED: usize = usize::MAX;

impl<'r> Lexer<'r> {
    pub(super) fn new(raw: &'r [u8]) -> Self {
        Self { raw, rest: raw, slots: 0 }
    }

    /// The same bytes from a place that was walked over before, its references checked.
    pub(super) fn back_at(&self, at: usize) -> Self {
        Self { raw: self.raw, rest: self.raw.get(at..).unwrap_or_default(), slots: UNCOUNTED }
    }

    #[inline(always)]
    pub(super) fn position(&self) -> usize {
        self.raw.len() - self.rest.len()
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    #[inline(always)]
    pub(super) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn raw(&self) -> &'r [u8] {
        self.raw
    }

    pub(super) fn byte(&mut self) -> Result<u8, Reason> {
        self.walked(self.rest.split_first()).copied()
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'r [u8], Reason> {
        self.walked(self.rest.split_at_checked(length))
    }

    /// What stands before the next `delimiter`, which is passed over.
    #[inline(always)]
    pub(super) fn until(&mut self, delimiter: u8) -> Result<&'r [u8], Reason> {
        self.walked(until(self.rest, delimiter))
    }

    /// What ends an array or object.
    #[inline(always)]
    pub(super) fn end(&mut self) -> Result<(), Reason> {
        self.walked(byte(self.rest, b'}').map(|rest| ((), rest)))
    }

    pub(super) fn token(&mut self) -> Result<Token<'r>, Reason> {
        self.walked(token(self.rest))
    }

    /// The token with which a value begins; its reference names a value that began before. Not inlined: a
    /// reader's frames are many, and should be small.
    pub(super) fn value(&mut self) -> Result<Token<'r>, Reason> {
        self.next_value()
    }

    /// The class of the object at a place that was walked over before.
    pub(super) fn class_at(&self, at: usize) -> Result<&'r [u8], Reason> {
        let mut there = self.back_at(at);
        there.take(b"O:".len())?;
        there.walked(quoted(there.rest, b':'))
    }

    pub(super) fn key(&mut self) -> Result<Key<'r>, Reason> {
        self.walked(key(self.rest))
    }

    /// Walks over members, of which each begins with its `key`, up to the value of one that is wanted; gives
    /// its key and what is wanted of it. They stand below `depth` arrays and objects.
    #[inline(always)]
    pub(super) fn find<'w>(
        &mut self,
        wanted: &'w Wanted,
        depth: usize,
        mut key: impl FnMut(&mut Self) -> Result<Option<Key<'r>>, Reason>,
    ) -> Result<Option<(Key<'r>, &'w Wanted)>, Reason> {
        // A copy can be in registers.
        let mut lexer = *self;
        while let Some(key) = key(&mut lexer)? {
            let part = key.wanted(wanted);
            if !matches!(part, Wanted::Nothing) {
                *self = lexer;
                return Ok(Some((key, part)));
            }
            if let Token::Array(count) | Token::Object(count) = lexer.next_value()? {
                *self = lexer;
                self.skip_items(count, depth)?;
                lexer = *self;
            }
        }
        *self = lexer;
        Ok(None)
    }

    /// Walks over a value that stands below `depth` arrays and objects.
    pub(super) fn skip(&mut self, depth: usize) -> Result<(), Reason> {
        match self.value()? {
            Token::Array(count) | Token::Object(count) => self.skip_items(count, depth),
            _ => Ok(()),
        }
    }

    /// Walks over what is in an array or object that stands below `depth` others, and over its end.
    fn skip_items(&mut self, count: usize, depth: usize) -> Result<(), Reason> {
        if depth >= MAX_DEPTH {
            return Err(Reason::TooDeep);
        }
        let mut left = count;
        let key = |lexer: &mut Self| lexer.next_key(&mut left);
        self.find(&Wanted::Nothing, depth + 1, key)?;
        self.end()
    }

    /// Walks over a value that stands below `depth` arrays and objects, noting where each slot's value lies.
    pub(super) fn note(
        &mut self,
        depth: usize,
        slots: &mut Slots,
        budget: &Budget,
    ) -> Result<(), Reason> {
        let start = self.position();
        let counted = self.slots != UNCOUNTED;
        let token = self.value()?;
        let slot = slots.len();
        if counted && !matches!(token, Token::Reference { takes_slot: false, .. }) {
            budget.push(slots, start..self.position())?;
        }
        if let Token::Array(count) | Token::Object(count) = token {
            if depth >= MAX_DEPTH {
                return Err(Reason::TooDeep);
            }
            for _ in 0..count {
                self.key()?;
                self.note(depth + 1, slots, budget)?;
            }
            self.end()?;
            if let Some(range) = slots.get_mut(slot) {
                range.end = self.position();
            }
        }
        Ok(())
    }

    /// The key of the next of so many members that are `left`.
    #[inline(always)]
    pub(super) fn next_key(&mut self, left: &mut usize) -> Result<Option<Key<'r>>, Reason> {
        let Some(fewer) = left.checked_sub(1) else { return Ok(None) };
        *left = fewer;
        self.walked(key(self.rest)).map(Some)
    }

    #[inline(always)]
    fn next_value(&mut self) -> Result<Token<'r>, Reason> {
        let token = self.walked(token(self.rest))?;
        match token {
            Token::Reference { slot, takes_slot } => {
                if slot == 0 || slot > self.slots {
                    return Err(Reason::Malformed);
                }
                self.slots = self.slots.saturating_add(takes_slot.into());
            }
            Token::Opaque(_) => self.slots = UNCOUNTED,
            _ => self.slots = self.slots.saturating_add(1),
        }
        Ok(token)
    }

    /// Goes on behind what was read.
    #[inline(always)]
    fn walked<T>(&mut self, read: Option<(T, &'r [u8])>) -> Result<T, Reason> {
        let (read, rest) = read.ok_or(Reason::Malformed)?;
        self.rest = rest;
        Ok(read)
    }
}

/// Reads a token; gives what is left behind it, as all functions below.
#[inline(always)]
fn token(rest: &[u8]) -> Option<(Token<'_>, &[u8])> {
    Some(match rest {
        [b's', b':', rest @ ..] => {
            let (text, rest) = quoted(rest, b';')?;
            (Token::Text(text), rest)
        }
        [b'i', b':', rest @ ..] => {
            let (number, rest) = integer(rest)?;
            (Token::Int(number), rest)
        }
        [b'N', b';', rest @ ..] => (Token::Null, rest),
        [b'b', b':', truth @ (b'0' | b'1'), b';', rest @ ..] => (Token::Bool(*truth == b'1'), rest),
        [b'a', b':', rest @ ..] => {
            let (count, rest) = count_before_brace(rest)?;
            (Token::Array(count), rest)
        }
        _ => return rarer_token(rest),
    })
}

#[inline(never)]
fn rarer_token(rest: &[u8]) -> Option<(Token<'_>, &[u8])> {
    Some(match rest {
        [b'd', b':', rest @ ..] => {
            let (number, rest) = until(rest, b';')?;
            (is_float(number).then_some(Token::Float(number))?, rest)
        }
        [b'O', b':', rest @ ..] => {
            let (_, rest) = quoted(rest, b':')?;
            let (count, rest) = count_before_brace(rest)?;
            (Token::Object(count), rest)
        }
        [b'C', b':', rest @ ..] => {
            let (_, rest) = quoted(rest, b':')?;
            let (length, rest) = count_before_brace(rest)?;
            let (content, rest) = rest.split_at_checked(length)?;
            (Token::Opaque(content), byte(rest, b'}')?)
        }
        [b'E', b':', rest @ ..] => {
            let (case, rest) = quoted(rest, b';')?;
            (Token::Case(case), rest)
        }
        [kind @ (b'R' | b'r'), b':', rest @ ..] => {
            let (slot, rest) = count(rest, b';')?;
            (Token::Reference { slot, takes_slot: *kind == b'r' }, rest)
        }
        _ => return None,
    })
}

#[inline(always)]
fn key(rest: &[u8]) -> Option<(Key<'_>, &[u8])> {
    Some(match rest {
        [b's', b':', rest @ ..] => {
            let (text, rest) = quoted(rest, b';')?;
            (Key::Text(text), rest)
        }
        [b'i', b':', rest @ ..] => {
            let (number, rest) = integer(rest)?;
            (Key::Int(number), rest)
        }
        _ => return None,
    })
}

/// `LENGTH:"BYTES"` and what must follow it; the bytes are not escaped.
#[inline(always)]
fn quoted(rest: &[u8], end: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = count(rest, b':')?;
    let (bytes, rest) = byte(rest, b'"')?.split_at_checked(length)?;
    Some((bytes, byte(byte(rest, b'"')?, end)?))
}

/// `-7;`.
#[inline(always)]
fn integer(rest: &[u8]) -> Option<(i64, &[u8])> {
    let (number, rest) = match rest {
        [b'-', rest @ ..] => {
            let (magnitude, rest) = natural(rest)?;
            (0_i64.checked_sub_unsigned(magnitude)?, rest)
        }
        _ => {
            let (magnitude, rest) = natural(rest)?;
            (i64::try_from(magnitude).ok()?, rest)
        }
    };
    Some((number, byte(rest, b';')?))
}

/// `COUNT:{`.
#[inline(always)]
fn count_before_brace(rest: &[u8]) -> Option<(usize, &[u8])> {
    let (count, rest) = count(rest, b':')?;
    Some((count, byte(rest, b'{')?))
}

/// A length, a count or a slot, and what ends it.
#[inline(always)]
fn count(rest: &[u8], end: u8) -> Option<(usize, &[u8])> {
    let (number, rest) = natural(rest)?;
    Some((usize::try_from(number).ok()?, byte(rest, end)?))
}

/// Digits, one at least.
#[inline(always)]
fn natural(rest: &[u8]) -> Option<(u64, &[u8])> {
    /// What can take one digit more, whichever.
    const GREATEST: u64 = (u64::MAX - 9) / 10;
    let [digit @ b'0'..=b'9', rest @ ..] = rest else { return None };
    let (mut number, mut rest) = (u64::from(digit - b'0'), rest);
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        if number > GREATEST {
            return None;
        }
        number = 10 * number + u64::from(digit - b'0');
        rest = after;
    }
    Some((number, rest))
}

/// What is left behind this byte.
#[inline(always)]
fn byte(rest: &[u8], expected: u8) -> Option<&[u8]> {
    match rest {
        [byte, rest @ ..] if *byte == expected => Some(rest),
        _ => None,
    }
}

/// What stands before the next `delimiter`.
#[inline(always)]
fn until(rest: &[u8], delimiter: u8) -> Option<(&[u8], &[u8])> {
    let length = rest.iter().position(|b| *b == delimiter)?;
    Some((rest.get(..length)?, rest.get(length + 1..)?))
}

/// Whether a text is a number as Rust reads it, or one of PHP's words for what is none; Rust's own words PHP does not
/// write.
fn is_float(text: &[u8]) -> bool {
    if matches!(text, b"INF" | b"-INF" | b"NAN") {
        return true;
    }
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    let (whole, rest) = number.split_at(digits(number));
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => rest.split_at(digits(rest)),
        _ => (&[][..], rest),
    };
    let power = match rest {
        [] => true,
        [b'e' | b'E', b'+' | b'-', power @ ..] | [b'e' | b'E', power @ ..] => {
            !power.is_empty() && digits(power) == power.len()
        }
        _ => false,
    };
    power && !(whole.is_empty() && fraction.is_empty())
}
