//! The tokens of PHP's `serialize` (`ext/standard/var_unserializer.re`), and how to walk over values.

#![forbid(unsafe_code)]

use std::ops::Range;

use crate::format::{Reason, MAX_DEPTH};

/// The next token of a value; of arrays and objects their beginning, up to `{`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token<'r> {
    Null,
    Bool(bool),
    Int(i64),
    /// INF, -INF and NAN among them.
    Float(f64),
    Text(&'r [u8]),
    /// With the number of its elements.
    Array(usize),
    /// With the number of its properties; its class is left out.
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
pub(super) enum Key<'r> {
    Int(i64),
    Text(&'r [u8]),
}

/// Where the values lie that references can name, in order; slot 1 is the first.
pub(super) type Slots = Vec<Range<usize>>;

/// A place in the bytes of a session.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'r> {
    raw: &'r [u8],
    at: usize,
    /// How many slots the values before have taken: what a reference may name.
    slots: usize,
}

impl<'r> Lexer<'r> {
    pub(super) fn new(raw: &'r [u8]) -> Self {
        Self { raw, at: 0, slots: 0 }
    }

    /// The same bytes from a place that was walked over before, its references checked.
    pub(super) fn back_at(&self, at: usize) -> Self {
        Self { raw: self.raw, at, slots: usize::MAX }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn is_done(&self) -> bool {
        self.at >= self.raw.len()
    }

    pub(super) fn raw(&self) -> &'r [u8] {
        self.raw
    }

    pub(super) fn byte(&mut self) -> Result<u8, Reason> {
        let byte = *self.raw.get(self.at).ok_or(Reason::Malformed)?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'r [u8], Reason> {
        let end = self.at.checked_add(length).ok_or(Reason::Malformed)?;
        let taken = self.raw.get(self.at..end).ok_or(Reason::Malformed)?;
        self.at = end;
        Ok(taken)
    }

    /// What stands before the next `delimiter`, which is passed over.
    pub(super) fn until(&mut self, delimiter: u8) -> Result<&'r [u8], Reason> {
        let rest = self.raw.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|b| *b == delimiter).ok_or(Reason::Malformed)?;
        let taken = self.take(length)?;
        self.at += 1;
        Ok(taken)
    }

    pub(super) fn eat(&mut self, bytes: &[u8]) -> Result<(), Reason> {
        if self.take(bytes.len())? == bytes {
            Ok(())
        } else {
            Err(Reason::Malformed)
        }
    }

    /// The token with which a value begins; its reference names a value that began before.
    pub(super) fn value(&mut self) -> Result<Token<'r>, Reason> {
        let token = self.token()?;
        if let Token::Reference { slot, takes_slot } = token {
            if slot == 0 || slot > self.slots {
                return Err(Reason::Malformed);
            }
            self.slots = self.slots.saturating_add(takes_slot.into());
        } else {
            self.slots = self.slots.saturating_add(1);
        }
        Ok(token)
    }

    pub(super) fn token(&mut self) -> Result<Token<'r>, Reason> {
        let kind = self.byte()?;
        if kind == b'N' {
            self.eat(b";")?;
            return Ok(Token::Null);
        }
        self.eat(b":")?;
        Ok(match kind {
            b'b' => match self.take(2)? {
                b"0;" => Token::Bool(false),
                b"1;" => Token::Bool(true),
                _ => return Err(Reason::Malformed),
            },
            b'i' => Token::Int(self.integer()?),
            b'd' => Token::Float(float(self.until(b';')?)?),
            b's' => Token::Text(self.quoted(b";")?),
            b'a' => Token::Array(self.count_before_brace()?),
            b'O' => {
                self.quoted(b":")?;
                Token::Object(self.count_before_brace()?)
            }
            b'C' => {
                self.quoted(b":")?;
                let length = self.count_before_brace()?;
                let content = self.take(length)?;
                self.eat(b"}")?;
                Token::Opaque(content)
            }
            b'E' => Token::Case(self.quoted(b";")?),
            b'R' => Token::Reference { slot: self.count(b';')?, takes_slot: false },
            b'r' => Token::Reference { slot: self.count(b';')?, takes_slot: true },
            _ => return Err(Reason::Malformed),
        })
    }

    pub(super) fn key(&mut self) -> Result<Key<'r>, Reason> {
        match self.token()? {
            Token::Int(key) => Ok(Key::Int(key)),
            Token::Text(key) => Ok(Key::Text(key)),
            _ => Err(Reason::Malformed),
        }
    }

    /// Walks over a value that stands below `depth` others, noting where each slot's value lies.
    pub(super) fn skip(
        &mut self,
        depth: usize,
        mut slots: Option<&mut Slots>,
    ) -> Result<(), Reason> {
        let start = self.at;
        let token = self.value()?;
        let slot = slots.as_ref().map_or(0, |slots| slots.len());
        if !matches!(token, Token::Reference { takes_slot: false, .. }) {
            if let Some(slots) = slots.as_deref_mut() {
                slots.push(start..self.at);
            }
        }
        if let Token::Array(count) | Token::Object(count) = token {
            if depth >= MAX_DEPTH {
                return Err(Reason::TooDeep);
            }
            for _ in 0..count {
                self.key()?;
                self.skip(depth + 1, slots.as_deref_mut())?;
            }
            self.eat(b"}")?;
            if let Some(range) = slots.and_then(|slots| slots.get_mut(slot)) {
                range.end = self.at;
            }
        }
        Ok(())
    }

    /// `LENGTH:"BYTES"` and what must follow it; the bytes are not escaped.
    fn quoted(&mut self, after: &[u8]) -> Result<&'r [u8], Reason> {
        let length = self.count(b':')?;
        self.eat(b"\"")?;
        let bytes = self.take(length)?;
        self.eat(b"\"")?;
        self.eat(after)?;
        Ok(bytes)
    }

    /// `-7;`.
    fn integer(&mut self) -> Result<i64, Reason> {
        let negative = self.raw.get(self.at) == Some(&b'-');
        self.at += usize::from(negative);
        let magnitude = i128::from(self.natural(b';')?);
        i64::try_from(if negative { -magnitude } else { magnitude }).map_err(|_| Reason::Malformed)
    }

    /// A length, a count or a slot, and what ends it.
    fn count(&mut self, end: u8) -> Result<usize, Reason> {
        usize::try_from(self.natural(end)?).map_err(|_| Reason::Malformed)
    }

    /// Digits, and what ends them.
    fn natural(&mut self, end: u8) -> Result<u64, Reason> {
        let mut number = digit(self.byte()?)?;
        loop {
            let byte = self.byte()?;
            if byte == end {
                return Ok(number);
            }
            let longer =
                number.checked_mul(10).and_then(|number| number.checked_add(digit(byte).ok()?));
            number = longer.ok_or(Reason::Malformed)?;
        }
    }

    /// `COUNT:{`.
    fn count_before_brace(&mut self) -> Result<usize, Reason> {
        let count = self.count(b':')?;
        self.eat(b"{")?;
        Ok(count)
    }
}

fn digit(byte: u8) -> Result<u64, Reason> {
    if byte.is_ascii_digit() {
        Ok(u64::from(byte - b'0'))
    } else {
        Err(Reason::Malformed)
    }
}

fn float(text: &[u8]) -> Result<f64, Reason> {
    match text {
        b"INF" => Ok(f64::INFINITY),
        b"-INF" => Ok(f64::NEG_INFINITY),
        b"NAN" => Ok(f64::NAN),
        // Rust also reads words such as "infinity", which PHP does not write.
        _ if text.iter().any(|b| b.is_ascii_alphabetic() && !b"eE".contains(b)) => {
            Err(Reason::Malformed)
        }
        _ => std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or(Reason::Malformed),
    }
}
