//! Zstandard frames (RFC 8878), as phpredis and django-redis store them.

#![forbid(unsafe_code)]

use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::decoding::StreamingDecoder;

use super::super::Reason;
use super::{limit, read};

/// What each decoder is to support (RFC 8878, section 3.1.1.1.2). The room is taken before any of it is
/// filled.
const MAX_WINDOW: u64 = 8 * 1024 * 1024;

/// The magic of a frame.
pub(super) fn begins(raw: &[u8]) -> bool {
    raw.starts_with(b"\x28\xb5\x2f\xfd")
}

/// What one frame holds, without a dictionary.
pub(super) fn decompress(raw: &[u8]) -> Result<Vec<u8>, Reason> {
    let mut rest = raw;
    let mut decoder =
        StreamingDecoder::new_with_max_window_size(&mut rest, MAX_WINDOW).map_err(|error| {
            match error {
                FrameDecoderError::WindowSizeTooBig { .. } => Reason::TooLarge,
                _ => Reason::Malformed,
            }
        })?;
    let plain = read(&mut decoder, limit(raw.len()))?;
    let frame = decoder.into_frame_decoder();
    let told = frame.content_size();
    let is_whole = rest.is_empty() && (told == 0 || Ok(told) == u64::try_from(plain.len()));
    let checksum = frame.get_checksum_from_data();
    if is_whole && (checksum.is_none() || checksum == frame.get_calculated_checksum()) {
        Ok(plain)
    } else {
        Err(Reason::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(decompress(&repeated(0x58, 8)).map(|plain| plain.len()), Ok(1024 * 1024));
        assert_eq!(decompress(&repeated(0x58, 9)), Err(Reason::TooLarge));
        assert_eq!(
            decompress(&repeated(0x58, 100_000)).map(|plain| plain.len()),
            Err(Reason::TooLarge)
        );
    }

    #[test]
    fn the_room_that_a_frame_takes_is_bounded() {
        // 8 MiB, the next that can be told, and 2 TiB.
        assert_eq!(decompress(&repeated(0x68, 1)).map(|plain| plain.len()), Ok(128 * 1024));
        for window in [0x69, 0xf8] {
            assert_eq!(decompress(&repeated(window, 1)), Err(Reason::TooLarge));
        }
        // One segment, of a size in eight bytes.
        let segment = [&b"\x28\xb5\x2f\xfd\xe0"[..], &[0xff; 7], &[0x0f]].concat();
        assert_eq!(decompress(&segment), Err(Reason::TooLarge));
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
