//! LZ4 in its two layouts: the frames of the format's own specification, which django-redis stores, and a
//! block behind phpredis' own header.

#![forbid(unsafe_code)]

use twox_hash::XxHash32;

use super::super::budget::Budget;
use super::super::Reason;
use super::Plain;

const MAGIC: &[u8] = b"\x04\x22\x4d\x18";

/// Whether a value is a frame or has phpredis' header.
pub(super) fn begins(raw: &[u8]) -> bool {
    raw.starts_with(MAGIC) || phpredis(raw).is_some()
}

/// What a frame or a block holds.
pub(super) fn decompress(raw: &[u8], budget: &Budget) -> Result<Vec<u8>, Reason> {
    let mut plain = Plain::of(raw.len(), budget)?;
    if let Some(rest) = raw.strip_prefix(MAGIC) {
        frame(rest, &mut plain)?;
    } else {
        let (length, compressed) = phpredis(raw).ok_or(Reason::Malformed)?;
        block(compressed, &mut plain, 0)?;
        if plain.bytes.len() != length {
            return Err(Reason::Malformed);
        }
    }
    Ok(plain.bytes)
}

/// The length and the block behind phpredis' header: a checksum of the length, the length (`redis_compress`
/// in `library.c`; as its machine writes it, of which no big-endian one is in use). A length that the block
/// cannot have is none.
fn phpredis(raw: &[u8]) -> Option<(usize, &[u8])> {
    /// As many bytes a compressed one stands for at most.
    const MOST_TIMES: usize = 255;
    let ([checksum, length @ ..], compressed) = raw.split_first_chunk::<5>()?;
    let told = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let is_length = told > 0 && told / MOST_TIMES <= raw.len() && crc8(*length) == *checksum;
    is_length.then_some((told, compressed))
}

/// CRC-8 with the polynomial 0x31, beginning at 0xff.
fn crc8(bytes: [u8; 4]) -> u8 {
    bytes.iter().fold(0xff, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| match crc & 0x80 {
            0 => crc << 1,
            _ => crc << 1 ^ 0x31,
        })
    })
}

/// What follows the magic in the LZ4 frame format: a descriptor, blocks, an end mark, a checksum of all.
fn frame(raw: &[u8], plain: &mut Plain<'_>) -> Result<(), Reason> {
    let mut rest = raw;
    let descriptor = Descriptor::read(&mut rest)?;
    loop {
        let size = u32::from_le_bytes(chunk(&mut rest)?);
        if size == 0 {
            break;
        }
        /// In a block's size: what follows stands as it is.
        const STORED: u32 = 1 << 31;
        let length = usize::try_from(size & !STORED).map_err(|_| Reason::Malformed)?;
        let data = rest.split_off(..length).ok_or(Reason::Malformed)?;
        if descriptor.block_checksums {
            check(data, &mut rest)?;
        }
        let floor = if descriptor.linked { 0 } else { plain.bytes.len() };
        match size & STORED {
            0 => block(data, plain, floor)?,
            _ => plain.append(data)?,
        }
    }
    if descriptor.content_checksum {
        check(&plain.bytes, &mut rest)?;
    }
    let told = descriptor.content_size;
    let is_whole = told.is_none_or(|told| Ok(told) == u64::try_from(plain.bytes.len()));
    (is_whole && rest.is_empty()).then_some(()).ok_or(Reason::Malformed)
}

/// What the head of a frame says.
struct Descriptor {
    /// Whether a block may repeat what stands in those before it.
    linked: bool,
    block_checksums: bool,
    content_checksum: bool,
    content_size: Option<u64>,
}

impl Descriptor {
    fn read(rest: &mut &[u8]) -> Result<Self, Reason> {
        let whole = *rest;
        let [flags, _block_size] = chunk(rest)?;
        let has = |bit: u8| flags >> bit & 1 == 1;
        // Of the version that there is, and without a dictionary.
        if flags >> 6 != 1 || has(0) {
            return Err(Reason::Malformed);
        }
        let content_size = if has(3) { Some(u64::from_le_bytes(chunk(rest)?)) } else { None };
        let read = whole.len() - rest.len();
        let descriptor = whole.get(..read).unwrap_or_default();
        let [checksum] = chunk(rest)?;
        if xxh32(descriptor).to_be_bytes()[2] != checksum {
            return Err(Reason::Malformed);
        }
        Ok(Self {
            linked: !has(5),
            block_checksums: has(4),
            content_checksum: has(2),
            content_size,
        })
    }
}

/// The LZ4 block format: a byte with the lengths of what follows, literals, and a distance at which to
/// repeat, until literals end it. Nothing before `floor` is repeated.
fn block(raw: &[u8], plain: &mut Plain<'_>, floor: usize) -> Result<(), Reason> {
    const LEAST_REPEATED: usize = 4;
    let mut rest = raw;
    loop {
        let [token] = chunk(&mut rest)?;
        let literals = length(token >> 4, &mut rest)?;
        plain.append(rest.split_off(..literals).ok_or(Reason::Malformed)?)?;
        if rest.is_empty() {
            return Ok(());
        }
        let distance = usize::from(u16::from_le_bytes(chunk(&mut rest)?));
        let repeated = length(token & 15, &mut rest)?.saturating_add(LEAST_REPEATED);
        plain.repeat(distance, repeated, floor)?;
    }
}

/// A length of four bits, of which 15 goes on in the next bytes, up to one that is not 255.
fn length(bits: u8, rest: &mut &[u8]) -> Result<usize, Reason> {
    let mut length = usize::from(bits);
    let mut more = bits == 15;
    while more {
        let [byte] = chunk(rest)?;
        length = length.saturating_add(usize::from(byte));
        more = byte == 255;
    }
    Ok(length)
}

/// Checks data against the checksum that comes next.
fn check(data: &[u8], rest: &mut &[u8]) -> Result<(), Reason> {
    match u32::from_le_bytes(chunk(rest)?) == xxh32(data) {
        true => Ok(()),
        false => Err(Reason::Malformed),
    }
}

fn xxh32(data: &[u8]) -> u32 {
    XxHash32::oneshot(0, data)
}

/// The next bytes, so many as are asked for.
fn chunk<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Reason> {
    let (chunk, after) = rest.split_first_chunk().ok_or(Reason::Malformed)?;
    *rest = after;
    Ok(*chunk)
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    use proptest::prelude::*;

    use super::*;
    use crate::format::budget::tests::of;

    fn decompress(raw: &[u8]) -> Result<Vec<u8>, Reason> {
        super::decompress(raw, &of(raw))
    }

    /// A value as phpredis stores it.
    pub(in crate::format::wrapper) fn phpredis(plain: &[u8]) -> Vec<u8> {
        let length = u32::try_from(plain.len()).unwrap().to_le_bytes();
        let block = lz4_flex::block::compress(plain);
        [&[crc8(length)][..], &length, &block].concat()
    }

    fn framed(plain: &[u8], info: FrameInfo) -> Vec<u8> {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    /// A frame of no options around one block.
    fn around(block: &[u8]) -> Vec<u8> {
        let descriptor = [0x60, 0x40];
        let checksum = xxh32(&descriptor).to_be_bytes()[2];
        let size = u32::try_from(block.len()).unwrap().to_le_bytes();
        [MAGIC, &descriptor, &[checksum], &size, block, &[0; 4]].concat()
    }

    #[test]
    fn the_checksum_of_a_length_is_that_of_phpredis() {
        // The first bytes of what it stored of 724 and of 8 bytes.
        assert_eq!(crc8([0xd4, 2, 0, 0]), 0x7c);
        assert_eq!(crc8([8, 0, 0, 0]), 0xcb);
    }

    #[test]
    fn a_block_of_each_kind() {
        for (block, plain) in [
            (&b"\x00"[..], &b""[..]),
            (b"\x30abc", b"abc"),
            (b"\x31abc\x03\x00\x10d", b"abcabcabd"),
            (b"\x1fa\x01\x00\x00\x10b", b"aaaaaaaaaaaaaaaaaaaab"),
        ] {
            assert_eq!(decompress(&around(block)).as_deref(), Ok(plain), "{block:?}");
        }
    }

    #[test]
    fn what_is_no_block_is_malformed() {
        for block in [
            &b""[..],
            b"\x20a",
            b"\x10a\x01",
            b"\x10a\x00\x00\x10b",
            b"\x10a\x02\x00\x10b",
            b"\x10a\x01\x00",
            b"\xf0",
            b"\xf0\xff",
            b"\x1fa\x01\x00",
        ] {
            if !block.is_empty() {
                assert_eq!(decompress(&around(block)), Err(Reason::Malformed), "{block:?}");
            }
            let budget = of(block);
            let mut plain = Plain::of(block.len(), &budget).unwrap();
            assert_eq!(super::block(block, &mut plain, 0), Err(Reason::Malformed), "{block:?}");
        }
    }

    #[test]
    fn what_is_no_frame_is_malformed() {
        let frame = framed(b"abc", FrameInfo::new());
        assert_eq!(decompress(&frame).as_deref(), Ok(&b"abc"[..]));
        let with = |at: usize, bits: u8| {
            let mut odd = frame.clone();
            odd[at] ^= bits;
            // The checksum of the descriptor is right, so that it is not what is found wrong.
            odd[6] = xxh32(&odd[4..6]).to_be_bytes()[2];
            decompress(&odd)
        };
        assert_eq!(with(4, 0).as_deref(), Ok(&b"abc"[..]));
        // Another version, a dictionary.
        for bits in [0x80, 0x01] {
            assert_eq!(with(4, bits), Err(Reason::Malformed));
        }
        let mut odd = frame.clone();
        odd[6] ^= 1;
        assert_eq!(decompress(&odd), Err(Reason::Malformed));
    }

    #[test]
    fn a_length_that_a_block_does_not_have() {
        let block = lz4_flex::block::compress(b"abc");
        for length in [0_u32, 2, 4, 2_000_000, u32::MAX] {
            let length = length.to_le_bytes();
            let raw = [&[crc8(length)][..], &length, &block].concat();
            assert_eq!(decompress(&raw), Err(Reason::Malformed), "{length:?}");
        }
    }

    #[test]
    fn blocks_may_repeat_what_stands_in_those_before_only_where_they_are_linked() {
        let size = |block: &[u8]| u32::try_from(block.len()).unwrap().to_le_bytes();
        for (flags, expected) in [(0x40, Ok(&b"abcabcabcd"[..])), (0x60, Err(Reason::Malformed))] {
            let checksum = xxh32(&[flags, 0x40]).to_be_bytes()[2];
            let (one, two) = (b"\x30abc", b"\x02\x03\x00\x10d");
            let frame =
                [MAGIC, &[flags, 0x40, checksum], &size(one), one, &size(two), two, &[0; 4]];
            assert_eq!(decompress(&frame.concat()).as_deref().map_err(|error| *error), expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn what_was_compressed_is_read(
            parts in proptest::collection::vec("[a-c]{1,9}", 1..60),
            times in 1..600_usize,
            flags in 0..16_u8,
        ) {
            let plain = parts.concat().repeat(times).into_bytes();
            let info = FrameInfo::new()
                .block_size(BlockSize::Max64KB)
                .block_mode(if flags & 1 == 0 { BlockMode::Independent } else { BlockMode::Linked })
                .block_checksums(flags & 2 != 0)
                .content_checksum(flags & 4 != 0)
                .content_size((flags & 8 != 0).then_some(plain.len() as u64));
            prop_assert_eq!(decompress(&framed(&plain, info)), Ok(plain.clone()));
            prop_assert_eq!(decompress(&phpredis(&plain)), Ok(plain));
        }

        #[test]
        fn blocks_are_read_as_by_lz4_flex(
            compressed in proptest::collection::vec(prop_oneof![0..40_u8, any::<u8>()], 1..40),
        ) {
            let budget = of(&compressed);
            let mut plain = Plain::of(compressed.len(), &budget).unwrap();
            if block(&compressed, &mut plain, 0).is_ok() {
                let by_crate = lz4_flex::block::decompress(&compressed, plain.bytes.len());
                prop_assert_eq!(by_crate.ok(), Some(plain.bytes));
            }
        }
    }
}
