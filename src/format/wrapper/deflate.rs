//! DEFLATE (RFC 1951) in zlib's wrapper (RFC 1950) and in gzip's (RFC 1952).

#![forbid(unsafe_code)]

use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_PARSE_ZLIB_HEADER, TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY,
    TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{decompress, DecompressorOxide};
use miniz_oxide::inflate::TINFLStatus;

use super::super::budget::Budget;
use super::super::cursor::Cursor;
use super::super::Reason;
use super::Plain;

/// The header of RFC 1950, without a preset dictionary.
pub(super) fn is_zlib(raw: &[u8]) -> bool {
    match raw {
        [method, flags, ..] => {
            method & 0x0f == 8
                && method >> 4 <= 7
                && flags & 0x20 == 0
                && u16::from_be_bytes([*method, *flags]) % 31 == 0
        }
        _ => false,
    }
}

/// zlib, to its end and not beyond.
pub(in crate::format) fn inflate(raw: &[u8], budget: &Budget) -> Result<Vec<u8>, Reason> {
    if !is_zlib(raw) {
        return Err(Reason::Malformed);
    }
    let (plain, rest) = blocks(raw, TINFL_FLAG_PARSE_ZLIB_HEADER, budget)?;
    rest.is_empty().then_some(plain).ok_or(Reason::Malformed)
}

/// The magic of RFC 1952, and its one method.
pub(super) fn is_gzip(raw: &[u8]) -> bool {
    raw.starts_with(b"\x1f\x8b\x08")
}

/// gzip, one member.
pub(super) fn gunzip(raw: &[u8], budget: &Budget) -> Result<Vec<u8>, Reason> {
    let (plain, rest) = blocks(behind_header(raw)?, 0, budget)?;
    let mut trailer = Cursor::new(rest);
    let (checksum, length) = (trailer.little(4)?, trailer.little(4)?);
    let is_right = u64::from(crc32fast::hash(&plain)) == checksum
        && u64::try_from(plain.len()) == Ok(length)
        && trailer.left() == 0;
    is_right.then_some(plain).ok_or(Reason::Malformed)
}

/// What follows the header of a member (RFC 1952, section 2.3).
fn behind_header(raw: &[u8]) -> Result<&[u8], Reason> {
    const CHECKED: u8 = 0x02;
    const EXTRA: u8 = 0x04;
    const NAME: u8 = 0x08;
    const COMMENT: u8 = 0x10;
    const RESERVED: u8 = 0xe0;
    let mut header = Cursor::new(raw);
    if !is_gzip(header.take(3)?) {
        return Err(Reason::Malformed);
    }
    let flags = header.byte()?;
    let _time_and_system = header.take(6)?;
    if flags & RESERVED != 0 {
        return Err(Reason::Malformed);
    }
    if flags & EXTRA != 0 {
        header.counted_little(2)?;
    }
    for text in [NAME, COMMENT] {
        while flags & text != 0 && header.byte()? != 0 {}
    }
    if flags & CHECKED != 0 {
        let read = raw.get(..raw.len() - header.left()).unwrap_or_default();
        if u64::from(crc32fast::hash(read) & 0xffff) != header.little(2)? {
            return Err(Reason::Malformed);
        }
    }
    header.take(header.left())
}

/// What blocks hold, and what is behind the last. Each block is paid for, also one that holds nothing: it has tables
/// to be built.
fn blocks<'r>(raw: &'r [u8], flags: u32, budget: &Budget) -> Result<(Vec<u8>, &'r [u8]), Reason> {
    const BLOCK: usize = 8 * 1024;
    const SOME: usize = 1024;
    let flags =
        flags | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY;
    budget.draw(size_of::<DecompressorOxide>())?;
    let mut inflater = Box::new(DecompressorOxide::new());
    let mut plain = Plain::of(raw.len(), budget)?.bytes;
    plain.resize(plain.capacity(), 0);
    let (mut rest, mut length) = (raw, 0);
    loop {
        let (status, taken, made) = decompress(&mut inflater, rest, &mut plain, length, flags);
        budget.unpack(made)?;
        length += made;
        rest = rest.get(taken..).unwrap_or_default();
        match status {
            TINFLStatus::Done => {
                plain.truncate(length);
                return Ok((plain, rest));
            }
            TINFLStatus::BlockBoundary => budget.draw(BLOCK)?,
            TINFLStatus::HasMoreOutput => {
                budget.reserve(&mut plain, SOME)?;
                plain.resize(plain.capacity(), 0);
            }
            _ => return Err(Reason::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::budget::tests::of;

    /// Bits, the lowest of each byte first.
    fn bits(written: &str) -> Vec<u8> {
        let bits: Vec<u8> =
            written.bytes().filter(|bit| *bit != b' ').map(|bit| bit - b'0').collect();
        bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |all, bit| all << 1 | bit)).collect()
    }

    #[test]
    fn blocks_are_paid_for_though_they_hold_nothing() {
        // By the fixed tables: not the last, of that kind, its end; and the last.
        let empty = |count: usize| {
            let blocks = bits(&("0 10 0000000 ".repeat(count) + "1 10 0000000"));
            [&b"\x78\x9c"[..], &blocks, &1_u32.to_be_bytes()].concat()
        };
        let read = |count| {
            let raw = empty(count);
            inflate(&raw, &of(&raw))
        };
        assert_eq!(read(100), Ok(Vec::new()));
        assert_eq!(read(50_000), Err(Reason::TooLarge));
    }

    #[test]
    fn headers_of_gzip() {
        let trailer = b"\x03\x00\0\0\0\0\0\0\0\0";
        let read = |header: &[u8]| {
            let raw = [b"\x1f\x8b\x08", header, trailer].concat();
            gunzip(&raw, &of(&raw))
        };
        let whole = b"\x1f\x8b\x08\x02\0\0\0\0\0\xff";
        let sum = (crc32fast::hash(whole) & 0xffff) as u16;
        for header in [
            &b"\0\0\0\0\0\0\xff"[..],
            b"\x1c\0\0\0\0\0\xff\x02\0xyname\0a comment\0",
            &[&whole[3..], &sum.to_le_bytes()].concat(),
        ] {
            assert_eq!(read(header), Ok(Vec::new()), "{header:?}");
        }
        for header in [
            &b"\x80\0\0\0\0\0\xff"[..],
            b"\x04\0\0\0\0\0\xff\xff\xff",
            &[&whole[3..], &(!sum).to_le_bytes()].concat(),
        ] {
            assert_eq!(read(header), Err(Reason::Malformed), "{header:?}");
        }
    }
}
