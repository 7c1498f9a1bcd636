//! Zstandard frames (RFC 8878), as phpredis and django-redis store them.

#![forbid(unsafe_code)]

use std::io::Read;

use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::decoding::StreamingDecoder;

use super::super::budget::Budget;
use super::super::cursor::Cursor;
use super::super::Reason;
use super::{read, Plain};

const MAGIC: &[u8] = b"\x28\xb5\x2f\xfd";

/// The magic of a frame.
pub(super) fn begins(raw: &[u8]) -> bool {
    raw.starts_with(MAGIC)
}

/// What one frame holds, without a dictionary.
pub(super) fn decompress(raw: &[u8], budget: &Budget) -> Result<Vec<u8>, Reason> {
    /// What the decoder takes beside its window.
    const STATE: usize = 160 * 1024;
    let Frame { head, window, blocks } = Frame::read(raw, budget.unpackable())?;
    pay(blocks, budget)?;
    budget.draw(window.saturating_add(STATE))?;
    let plain = Plain::of(raw.len(), budget)?;
    let mut rest = blocks;
    let input = head.as_slice().chain(&mut rest);
    let most = u64::try_from(window).unwrap_or(u64::MAX);
    let mut decoder =
        StreamingDecoder::new_with_max_window_size(input, most).map_err(|error| match error {
            FrameDecoderError::WindowSizeTooBig { .. } => Reason::TooLarge,
            _ => Reason::Malformed,
        })?;
    let plain = read(&mut decoder, plain)?;
    let frame = decoder.into_frame_decoder();
    let told = frame.content_size();
    let is_whole = rest.is_empty() && (told == 0 || Ok(told) == u64::try_from(plain.len()));
    let checksum = frame.get_checksum_from_data();
    if is_whole && (checksum.is_none() || checksum == frame.get_calculated_checksum()) {
        budget.restore(window.saturating_add(STATE));
        Ok(plain)
    } else {
        Err(Reason::Malformed)
    }
}

/// A frame in its parts (RFC 8878, section 3.1.1).
struct Frame<'r> {
    /// Its header, which may ask for a smaller window than it did.
    head: Vec<u8>,
    /// The room that the decoder takes before any of it is filled, in bytes.
    window: usize,
    blocks: &'r [u8],
}

impl<'r> Frame<'r> {
    /// Reads the header. A writer that does not know how much is to come asks for a window of some megabytes; a frame
    /// that holds no more than `most` does not need more either.
    fn read(raw: &'r [u8], most: usize) -> Result<Self, Reason> {
        const SINGLE_SEGMENT: u8 = 0x20;
        const LEAST_WINDOW: usize = 1024;
        let mut rest = Cursor::new(raw);
        rest.take(MAGIC.len())?;
        let descriptor = rest.byte()?;
        let single = descriptor & SINGLE_SEGMENT != 0;
        let mut window = 0;
        let mut asked = 0;
        if !single {
            let largest = (most.next_power_of_two().max(LEAST_WINDOW) / LEAST_WINDOW).ilog2();
            asked = rest.byte()?.min(u8::try_from(largest << 3).unwrap_or(u8::MAX));
            let base = LEAST_WINDOW << (asked >> 3);
            window = base + base / 8 * usize::from(asked & 7);
        }
        rest.take([0, 1, 2, 4][usize::from(descriptor & 3)])?;
        let size = match (descriptor >> 6, single) {
            (0, single) => rest.little(usize::from(single))?,
            (1, _) => rest.little(2)? + 256,
            (2, _) => rest.little(4)?,
            _ => rest.little(8)?,
        };
        if single {
            window = usize::try_from(size).map_err(|_| Reason::TooLarge)?;
        }
        if window > most.next_power_of_two().max(LEAST_WINDOW) {
            return Err(Reason::TooLarge);
        }
        let (head, blocks) = raw.split_at(raw.len() - rest.left());
        let mut head = head.to_vec();
        if let (false, Some(descriptor)) = (single, head.get_mut(MAGIC.len() + 1)) {
            *descriptor = asked;
        }
        Ok(Self { head, window, blocks })
    }
}

/// Pays for blocks, also for such as hold hardly anything: those that are compressed may have tables to be built.
fn pay(blocks: &[u8], budget: &Budget) -> Result<(), Reason> {
    const BLOCK: usize = 64;
    const COMPRESSED: usize = 16 * 1024;
    let mut rest = Cursor::new(blocks);
    loop {
        let header = rest.little(3)?;
        let size = usize::try_from(header >> 3).map_err(|_| Reason::Malformed)?;
        let (cost, length) = match header >> 1 & 3 {
            0 => (BLOCK, size),
            1 => (BLOCK, 1),
            2 => (COMPRESSED, size),
            _ => return Err(Reason::Malformed),
        };
        budget.draw(cost)?;
        rest.take(length)?;
        if header & 1 == 1 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::budget::tests::of;

    fn decompress(raw: &[u8]) -> Result<Vec<u8>, Reason> {
        super::decompress(raw, &of(raw))
    }

    /// A frame that says what room it takes, and repeats one byte in so many blocks of 128 KiB.
    fn repeated(window: u8, blocks: usize) -> Vec<u8> {
        const LENGTH: u32 = 128 * 1024;
        let mut raw = b"\x28\xb5\x2f\xfd\x00".to_vec();
        raw.push(window);
        for block in 1..=blocks {
            let header = LENGTH << 3 | 1 << 1 | u32::from(block == blocks);
            raw.extend_from_slice(&header.to_le_bytes()[..3]);
            raw.push(b'a');
        }
        raw
    }

    #[test]
    fn expansion_is_bounded() {
        assert_eq!(decompress(&repeated(0x58, 2)).map(|plain| plain.len()), Ok(256 * 1024));
        assert_eq!(decompress(&repeated(0x58, 3)), Err(Reason::TooLarge));
        assert_eq!(
            decompress(&repeated(0x58, 100_000)).map(|plain| plain.len()),
            Err(Reason::TooLarge)
        );
    }

    #[test]
    fn the_room_that_a_frame_takes_is_bounded() {
        // 8 MiB, the next that can be told, and 2 TiB: no more is taken than a session may become.
        for window in [0x68, 0x69, 0xf8] {
            let raw = repeated(window, 1);
            assert_eq!(decompress(&raw).map(|plain| plain.len()), Ok(128 * 1024));
            let most = of(&raw).unpackable();
            assert_eq!(
                Frame::read(&raw, most).map(|frame| frame.window),
                Ok(most.next_power_of_two())
            );
        }
        // One segment, of a size in eight bytes.
        let segment = [&b"\x28\xb5\x2f\xfd\xe0"[..], &[0xff; 7], &[0x0f]].concat();
        assert_eq!(decompress(&segment), Err(Reason::TooLarge));
    }

    #[test]
    fn blocks_are_paid_for_though_they_hold_nothing() {
        // Raw ones without a byte, and such as are compressed by tables of their own.
        let blocks = |block: &[u8], count: usize| {
            let last = [block[0] | 1, block[1], block[2]];
            [&block.repeat(count)[..], &last, &block[3..]].concat()
        };
        for (block, few, many) in [(&b"\0\0\0"[..], 1000, 40_000), (b"\x0c\0\0x", 20, 1000)] {
            let paid = |count| pay(&blocks(block, count), &Budget::of(0, 0));
            assert_eq!((paid(few), paid(many)), (Ok(()), Err(Reason::TooLarge)));
        }
    }

    #[test]
    fn a_size_that_is_told_is_right() {
        // A raw block of one byte, told to be of one and of two.
        let told = |size: u8| [&b"\x28\xb5\x2f\xfd\x20"[..], &[size], b"\x09\x00\x00a"].concat();
        assert_eq!(decompress(&told(1)).as_deref(), Ok(&b"a"[..]));
        assert_eq!(decompress(&told(2)), Err(Reason::Malformed));
    }

    #[test]
    fn a_dictionary_is_not_at_hand() {
        let raw = b"\x28\xb5\x2f\xfd\x21\x07\x01\x09\x00\x00a";
        assert_eq!(decompress(raw), Err(Reason::Malformed));
    }
}
