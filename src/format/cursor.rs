//! A place in the bytes of a binary format.

#![forbid(unsafe_code)]

use super::Reason;

/// What is left of a value. Reading beyond its end is [`Reason::Malformed`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'r> {
    rest: &'r [u8],
}

impl<'r> Cursor<'r> {
    /// At the beginning of `raw`.
    pub(super) fn new(raw: &'r [u8]) -> Self {
        Self { rest: raw }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next byte, which stays.
    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> Result<u8, Reason> {
        let (byte, rest) = self.rest.split_first().ok_or(Reason::Malformed)?;
        self.rest = rest;
        Ok(*byte)
    }

    /// The next so many bytes.
    pub(super) fn take(&mut self, length: usize) -> Result<&'r [u8], Reason> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Reason::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A number of so many bytes, eight at most, the highest first.
    pub(super) fn number(&mut self, width: usize) -> Result<u64, Reason> {
        let bytes = self.take(width)?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// As many bytes as a number of `width` bytes before them says.
    pub(super) fn counted(&mut self, width: usize) -> Result<&'r [u8], Reason> {
        let length = self.number(width)?;
        self.take(usize::try_from(length).map_err(|_| Reason::Malformed)?)
    }

    /// As [`number`](Self::number), the lowest byte first.
    pub(super) fn little(&mut self, width: usize) -> Result<u64, Reason> {
        let bytes = self.take(width)?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// As [`counted`](Self::counted), the lowest byte of the number first.
    pub(super) fn counted_little(&mut self, width: usize) -> Result<&'r [u8], Reason> {
        let length = self.little(width)?;
        self.take(usize::try_from(length).map_err(|_| Reason::Malformed)?)
    }

    /// What stands before the next line feed, which is passed over.
    pub(super) fn line(&mut self) -> Result<&'r [u8], Reason> {
        let end = memchr::memchr(b'\n', self.rest).ok_or(Reason::Malformed)?;
        let line = self.take(end)?;
        self.byte()?;
        Ok(line)
    }
}
