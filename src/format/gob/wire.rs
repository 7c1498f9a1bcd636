//! The bytes of gob's values: numbers, texts, the fields of structs (`encoding/gob/doc.go`, "Encoding Details").

#![forbid(unsafe_code)]

use crate::format::cursor::Cursor;
use crate::format::Reason;

/// What is left of a stream.
#[derive(Debug)]
pub(super) struct Wire<'r> {
    input: Cursor<'r>,
}

impl<'r> Wire<'r> {
    pub(super) fn new(raw: &'r [u8]) -> Self {
        Self { input: Cursor::new(raw) }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.input.left()
    }

    pub(super) fn is_done(&self) -> bool {
        self.input.left() == 0
    }

    /// An unsigned number: a byte below 128, or how many bytes it takes, negated, and these.
    pub(super) fn uint(&mut self) -> Result<u64, Reason> {
        match self.input.byte()? {
            small @ ..0x80 => Ok(small.into()),
            0x80..0xf8 => Err(Reason::Malformed),
            width => self.input.number(usize::from(width.wrapping_neg())),
        }
    }

    /// A signed number: an unsigned one, whose lowest bit says whether the others are complemented.
    pub(super) fn int(&mut self) -> Result<i64, Reason> {
        let number = self.uint()?;
        let magnitude = (number >> 1).cast_signed();
        Ok(if number & 1 == 0 { magnitude } else { !magnitude })
    }

    /// A float: an unsigned number whose bytes are those of the IEEE 754 double, the lowest first.
    pub(super) fn float(&mut self) -> Result<f64, Reason> {
        Ok(f64::from_bits(self.uint()?.swap_bytes()))
    }

    /// How many elements or bytes follow.
    pub(super) fn count(&mut self) -> Result<usize, Reason> {
        usize::try_from(self.uint()?).map_err(|_| Reason::Malformed)
    }

    /// How many bytes a message takes. What stands in it may go on in the one behind it.
    pub(super) fn message(&mut self) -> Result<(), Reason> {
        if self.count()? > self.input.left() {
            return Err(Reason::Malformed);
        }
        Ok(())
    }

    /// Bytes, and how many before them.
    pub(super) fn bytes(&mut self) -> Result<&'r [u8], Reason> {
        let length = self.count()?;
        self.input.take(length)
    }

    /// The number of a struct's next field, which is `next` or greater; `None` at its end.
    pub(super) fn field(&mut self, next: &mut usize) -> Result<Option<usize>, Reason> {
        let Some(skipped) = self.count()?.checked_sub(1) else { return Ok(None) };
        let number = next.checked_add(skipped).ok_or(Reason::Malformed)?;
        *next = number.checked_add(1).ok_or(Reason::Malformed)?;
        Ok(Some(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let uint = |bytes: &[u8]| Wire::new(bytes).uint();
        assert_eq!(uint(b"\x7f"), Ok(127));
        assert_eq!(uint(b"\xff\x80"), Ok(128));
        assert_eq!(uint(b"\xfe\x01\x00"), Ok(256));
        assert_eq!(uint(&[0xf8, 255, 255, 255, 255, 255, 255, 255, 255]), Ok(u64::MAX));
        for bytes in [&b""[..], b"\xff", b"\xfe\x01", b"\x80", b"\xf7\0\0\0\0\0\0\0\0\0"] {
            assert_eq!(uint(bytes), Err(Reason::Malformed), "{bytes:?}");
        }
        let int = |bytes: &[u8]| Wire::new(bytes).int();
        assert_eq!(int(b"\xfe\x01\x01"), Ok(-129));
        assert_eq!(int(&[0xf8, 255, 255, 255, 255, 255, 255, 255, 255]), Ok(i64::MIN));
        assert_eq!(int(&[0xf8, 255, 255, 255, 255, 255, 255, 255, 254]), Ok(i64::MAX));
        assert_eq!(Wire::new(b"\xfe\x31\x40").float(), Ok(17.0));
    }

    #[test]
    fn fields_are_numbered_by_their_distances() {
        let mut wire = Wire::new(b"\x01\x03\x00\xf8\xff\xff\xff\xff\xff\xff\xff\xff\x02");
        let mut next = 0;
        assert_eq!(wire.field(&mut next), Ok(Some(0)));
        assert_eq!(wire.field(&mut next), Ok(Some(3)));
        assert_eq!(wire.field(&mut next), Ok(None));
        assert_eq!(wire.field(&mut next), Err(Reason::Malformed));
        assert_eq!(wire.field(&mut next), Ok(Some(5)));
        assert!(wire.is_done());
    }
}
