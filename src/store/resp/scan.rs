//! Where a reply ends, and how large it is going to be, byte by byte and without memory.
//!
//! The scan reads no more than types, lengths and line ends. It knows from a header what the reply holds at
//! least, so that what is too large is known before any of it is kept.

#![forbid(unsafe_code)]

use super::{Limits, ProtocolError, LINE_FRAME, MOST_READ_OVER};

/// The longest bulk string that a server stores (`proto-max-bulk-len`), and the longest reply taken at all.
pub(super) const LONGEST: u64 = 512 * 1024 * 1024;

/// The longest line: simple strings, errors, numbers.
pub(super) const LONGEST_LINE: usize = 4096;

/// The digits of a length: those of `u64::MAX`.
pub(super) const MOST_DIGITS: usize = 20;

/// Aggregates within aggregates; what Redis itself answers has 4.
const DEEPEST: usize = 8;

/// The shortest element there is: `_\r\n`.
const SHORTEST_ELEMENT: u64 = 3;

/// The scan of one reply.
#[derive(Debug)]
pub(super) struct Scan {
    limits: Limits,
    at: At,
    /// The first byte of the reply.
    kind: u8,
    /// The length of the bulk string that the reply is.
    bulk: u64,
    /// Bytes seen.
    seen: u64,
    /// The least that the reply will have, as far as its headers say.
    least: u64,
    /// Elements still to come in each aggregate that is open.
    open: [u64; DEEPEST],
    depth: usize,
}

#[derive(Debug, Clone, Copy)]
enum At {
    Type,
    Length {
        kind: u8,
        number: Number,
    },
    LengthEnd {
        kind: u8,
        length: Option<u64>,
    },
    Line {
        length: usize,
    },
    LineEnd,
    /// In a string; its line end counts as part of it.
    Blob {
        left: u64,
    },
    Done,
}

#[derive(Debug, Clone, Copy, Default)]
struct Number {
    negative: bool,
    digits: usize,
    value: u64,
}

impl Scan {
    /// At the first byte of a reply.
    pub(super) fn new(limits: Limits) -> Self {
        let open = [0; DEEPEST];
        Self { limits, at: At::Type, kind: 0, bulk: 0, seen: 0, least: 0, open, depth: 0 }
    }

    /// Reads on, up to the end of the reply or to where the scan gives up. Returns how many bytes of `input` belong to it.
    pub(super) fn advance(&mut self, input: &[u8]) -> Result<usize, ProtocolError> {
        let mut taken = 0;
        while let Some(rest) = input.get(taken..).filter(|rest| !rest.is_empty()) {
            if self.is_done() || self.gives_up() {
                break;
            }
            let step = self.step(rest)?;
            taken += step;
            self.seen += step as u64;
            self.promise(0)?;
        }
        Ok(taken)
    }

    /// Whether the reply is whole.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.at, At::Done)
    }

    /// Whether the reply is over its limit.
    pub(super) fn is_too_large(&self) -> bool {
        let limit = match self.kind {
            b'$' => self.limits.bulk,
            _ => self.limits.other.max(LONGEST_LINE + LINE_FRAME),
        };
        self.size() > limit as u64
    }

    /// Whether the reply is so much over its limit that it is not worth reading to its end.
    pub(super) fn gives_up(&self) -> bool {
        self.size() > MOST_READ_OVER && self.is_too_large()
    }

    /// The first byte of the reply, which is its type.
    pub(super) fn kind(&self) -> u8 {
        self.kind
    }

    /// How large the reply is, as far as is known: of a bulk string its length, of any other the bytes that it has
    /// at least. Never shrinks.
    pub(super) fn size(&self) -> u64 {
        match self.kind {
            b'$' => self.bulk,
            _ => self.least,
        }
    }

    /// Takes one byte, or as much of a string as there is. `rest` is not empty.
    fn step(&mut self, rest: &[u8]) -> Result<usize, ProtocolError> {
        if let At::Blob { left } = self.at {
            if left > 2 {
                let step = (left - 2).min(rest.len() as u64);
                self.at = At::Blob { left: left - step };
                return Ok(step as usize);
            }
        }
        match rest.first() {
            Some(&byte) => self.byte(byte).map(|()| 1),
            None => Ok(0),
        }
    }

    fn byte(&mut self, byte: u8) -> Result<(), ProtocolError> {
        self.at = match (self.at, byte) {
            (At::Type, kind) => self.begin(kind)?,
            (At::Length { kind, number }, b'\r') => {
                At::LengthEnd { kind, length: number.length(kind)? }
            }
            (At::Length { kind, number }, digit) => {
                At::Length { kind, number: number.push(digit)? }
            }
            (At::LengthEnd { kind, length }, b'\n') => return self.enter(kind, length),
            (At::Line { .. }, b'\r') => At::LineEnd,
            (At::Line { length: LONGEST_LINE }, _) => return Err(ProtocolError::LongLine),
            (At::Line { length }, byte) if byte != b'\n' => At::Line { length: length + 1 },
            (At::Blob { left: 2 }, b'\r') => At::Blob { left: 1 },
            (At::LineEnd | At::Blob { left: 1 }, b'\n') => return self.close(),
            (At::Done, _) => At::Done,
            _ => return Err(ProtocolError::LineEnd),
        };
        Ok(())
    }

    fn begin(&mut self, kind: u8) -> Result<At, ProtocolError> {
        let is_first = self.seen == 0;
        if is_first {
            self.kind = kind;
        }
        match kind {
            b'$' | b'*' | b'%' | b'~' | b'|' | b'!' | b'=' => {
                Ok(At::Length { kind, number: Number::default() })
            }
            b'>' if is_first => Ok(At::Length { kind, number: Number::default() }),
            b'>' => Err(ProtocolError::NestedPush),
            b'+' | b'-' | b':' | b',' | b'#' | b'(' => Ok(At::Line { length: 0 }),
            // Nothing but its line end, like an empty string.
            b'_' => Ok(At::Blob { left: 2 }),
            _ => Err(ProtocolError::Type(kind)),
        }
    }

    /// A header has been read; `None` is the null of RESP2.
    fn enter(&mut self, kind: u8, length: Option<u64>) -> Result<(), ProtocolError> {
        let Some(length) = length else {
            return self.close();
        };
        let elements = match kind {
            b'$' | b'!' | b'=' => return self.enter_blob(length),
            b'%' => length.saturating_mul(2),
            b'|' => length.saturating_mul(2).saturating_add(1),
            _ => length,
        };
        self.promise(elements.saturating_mul(SHORTEST_ELEMENT))?;
        if elements == 0 {
            return self.close();
        }
        let open = self.open.get_mut(self.depth).ok_or(ProtocolError::Depth)?;
        *open = elements;
        self.depth += 1;
        self.at = At::Type;
        Ok(())
    }

    fn enter_blob(&mut self, length: u64) -> Result<(), ProtocolError> {
        if length > LONGEST {
            return Err(ProtocolError::Size);
        }
        self.promise(length)?;
        if self.depth == 0 {
            self.bulk = length;
        }
        self.at = At::Blob { left: length + 2 };
        Ok(())
    }

    /// An element is whole, and with it perhaps the aggregates that it ends.
    fn close(&mut self) -> Result<(), ProtocolError> {
        self.at = At::Type;
        while let Some(left) = self.depth.checked_sub(1).and_then(|top| self.open.get_mut(top)) {
            *left -= 1;
            if *left > 0 {
                return Ok(());
            }
            self.depth -= 1;
        }
        self.at = At::Done;
        Ok(())
    }

    /// The reply has so many bytes more than those seen.
    fn promise(&mut self, bytes: u64) -> Result<(), ProtocolError> {
        self.least = self.least.max(self.seen.saturating_add(bytes));
        match self.least > LONGEST + LONGEST_LINE as u64 {
            true => Err(ProtocolError::Size),
            false => Ok(()),
        }
    }
}

impl Number {
    fn push(mut self, byte: u8) -> Result<Self, ProtocolError> {
        if byte == b'-' && self.digits == 0 && !self.negative {
            self.negative = true;
            return Ok(self);
        }
        if !byte.is_ascii_digit() {
            return Err(ProtocolError::Number);
        }
        self.digits += 1;
        if self.digits > MOST_DIGITS {
            return Err(ProtocolError::Number);
        }
        self.value = (self.value.checked_mul(10))
            .and_then(|value| value.checked_add(u64::from(byte - b'0')))
            .ok_or(ProtocolError::Number)?;
        Ok(self)
    }

    /// `None` is `-1`, the null of bulk strings and arrays.
    fn length(self, kind: u8) -> Result<Option<u64>, ProtocolError> {
        match self {
            Self { digits: 0, .. } => Err(ProtocolError::Number),
            Self { negative: false, value, .. } => Ok(Some(value)),
            Self { digits: 1, value: 1, .. } if matches!(kind, b'$' | b'*') => Ok(None),
            _ => Err(ProtocolError::Number),
        }
    }
}
