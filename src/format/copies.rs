//! How much of a session may stand several times in the JSON that is made of it.

#![forbid(unsafe_code)]

use super::Reason;

/// What is left of it.
///
/// Where a format writes a text once and then a number for it, a hostile session can have one long text stand
/// everywhere. Honest ones repeat the short names of a table's columns in each of its rows.
#[derive(Debug)]
pub(super) struct Copies {
    left: usize,
}

impl Copies {
    /// How many bytes each byte of a session may stand for, and how many are free.
    const PER_BYTE: usize = 16;
    const FREE: usize = 256 * 1024;

    /// Of this session.
    pub(super) fn of(raw: &[u8]) -> Self {
        Self { left: raw.len().saturating_mul(Self::PER_BYTE).saturating_add(Self::FREE) }
    }

    /// Has `text` stand once more; [`Reason::TooLarge`] where that is too much.
    pub(super) fn add(&mut self, text: &[u8]) -> Result<(), Reason> {
        self.left = self.left.checked_sub(text.len()).ok_or(Reason::TooLarge)?;
        Ok(())
    }
}
