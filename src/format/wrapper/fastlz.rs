//! What php-memcached's compression makes of a string: its length in four bytes, the lowest first, and what FastLZ or
//! zlib made of it. Laravel's and Symfony's sessions in memcached are so once they are longer than 2000 bytes; PHP's own
//! session handler compresses nothing.

#![forbid(unsafe_code)]

use super::super::budget::Budget;
use super::super::Reason;
use super::deflate::is_zlib;
use super::lzf::{self, Step};
use super::{inflate, Plain};

/// Repetitions that begin further back than this tell the distance beyond it in two bytes more (level 2).
const FAR: usize = 8191;

/// Whether all of a value is so, which has no magic: its length is told twice.
pub(super) fn fits(raw: &[u8]) -> bool {
    let Some((length, rest)) = parts(raw) else { return false };
    if is_zlib(rest) {
        return true;
    }
    let (mut steps, mut plain) = (Steps::of(rest), 0_usize);
    while let Some(step) = steps.next() {
        plain = match step {
            Ok(Step::Literals(literals)) => plain.saturating_add(literals.len()),
            Ok(Step::Repeat { distance, length }) if distance <= plain => {
                plain.saturating_add(length)
            }
            _ => return false,
        };
    }
    plain == length
}

/// What was compressed.
pub(super) fn decompress(raw: &[u8], budget: &Budget) -> Result<Vec<u8>, Reason> {
    let (length, rest) = parts(raw).ok_or(Reason::Malformed)?;
    let plain = match is_zlib(rest) {
        true => inflate(rest, budget)?,
        false => {
            let mut plain = Plain::of(rest.len(), budget)?;
            let mut steps = Steps::of(rest);
            while let Some(step) = steps.next() {
                match step? {
                    Step::Literals(literals) => plain.append(literals)?,
                    Step::Repeat { distance, length } => plain.repeat(distance, length, 0)?,
                }
            }
            plain.bytes
        }
    };
    match plain.len() == length {
        true => Ok(plain),
        false => Err(Reason::Malformed),
    }
}

/// The length, and what follows it; where it is not larger, or more than FastLZ and zlib can make of it, nothing was
/// compressed.
fn parts(raw: &[u8]) -> Option<(usize, &[u8])> {
    const MOST_TIMES: usize = 1032;
    let (length, rest) = raw.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    (length > rest.len() && !rest.is_empty() && length / MOST_TIMES <= rest.len())
        .then_some((length, rest))
}

/// What a value is made of, one after the other. The first byte, which counts literals, also tells the level.
struct Steps<'r> {
    rest: &'r [u8],
    level: u8,
    begun: bool,
}

impl<'r> Steps<'r> {
    fn of(rest: &'r [u8]) -> Self {
        Self { rest, level: rest.first().map_or(0, |first| first >> 5), begun: false }
    }

    fn next(&mut self) -> Option<Result<Step<'r>, Reason>> {
        if self.rest.is_empty() {
            return None;
        }
        let step = match (std::mem::replace(&mut self.begun, true), self.level) {
            (false, 0 | 1) => literals(&mut self.rest),
            // Level 1 is LZF.
            (true, 0) => lzf::step(&mut self.rest),
            (true, 1) => level_2(&mut self.rest),
            _ => None,
        };
        Some(step.ok_or(Reason::Malformed))
    }
}

fn literals<'r>(rest: &mut &'r [u8]) -> Option<Step<'r>> {
    let control = usize::from(*rest.split_off_first()? & 0x1f);
    rest.split_off(..control + 1).map(Step::Literals)
}

/// `fastlz2_decompress`: a length of 7 goes on in as many bytes as are 255 and one more; the largest distance that a
/// control byte and the one behind it can tell goes on in two.
fn level_2<'r>(rest: &mut &'r [u8]) -> Option<Step<'r>> {
    let control = usize::from(*rest.first()?);
    if control < 32 {
        return literals(rest);
    }
    rest.split_off_first()?;
    let mut length = (control >> 5) + 2;
    if control >> 5 == 7 {
        loop {
            let more = *rest.split_off_first()?;
            length = length.saturating_add(usize::from(more));
            if more != 255 {
                break;
            }
        }
    }
    let near = (control & 0x1f) << 8 | usize::from(*rest.split_off_first()?);
    let distance = match near == FAR {
        true => {
            let (far, behind) = rest.split_first_chunk()?;
            *rest = behind;
            usize::from(u16::from_be_bytes(*far)) + FAR
        }
        false => near,
    };
    Some(Step::Repeat { distance: distance + 1, length })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::budget::tests::of;

    fn decompress(raw: &[u8]) -> Result<Vec<u8>, Reason> {
        super::decompress(raw, &of(raw))
    }

    fn with_length(length: u32, rest: &[u8]) -> Vec<u8> {
        [&length.to_le_bytes()[..], rest].concat()
    }

    #[test]
    fn literals_and_repetitions() {
        let far = "x".repeat(8192);
        let long = "a".repeat(600);
        for (rest, plain) in [
            (&b"\x02abc\x80\x02"[..], "abcabcabc"),
            (b"\x00a\xc0\x00", "aaaaaaaaa"),
            (b"\x01ab\xe0\x00\x01\x00c", "abababababac"),
            (b"\x22abc\x80\x02", "abcabcabc"),
            (b"\x20a\xe0\xff\xff\x50\x00", &long),
        ] {
            let raw = with_length(u32::try_from(plain.len()).unwrap(), rest);
            assert!(fits(&raw), "{raw:?}");
            assert_eq!(decompress(&raw).as_deref(), Ok(plain.as_bytes()), "{raw:?}");
        }
        // 8192 times "x", a "y", and three from 8192 + 1 before.
        let run = far.len() - 1 - 9;
        let mut rest = vec![0x20, b'x', 0xe0];
        rest.extend(vec![255; run / 255]);
        rest.push(u8::try_from(run % 255).unwrap());
        rest.extend(b"\x00\x00y\x3f\xff\x00\x01");
        let raw = with_length(8196, &rest);
        assert_eq!(decompress(&raw), Ok([far.as_bytes(), b"yxxx"].concat()));
    }

    #[test]
    fn the_length_must_be_right() {
        let rest = b"\x02abc\x80\x02";
        for length in [0, 8, 10, u32::MAX] {
            let raw = with_length(length, rest);
            assert!(!fits(&raw));
            assert_eq!(decompress(&raw), Err(Reason::Malformed), "{length}");
        }
        for rest in
            [&b"\x02ab"[..], b"\x20\x01a\x20\x01", b"\x40abc\x20\x02", b"", b"\x20a\xe0\xff"]
        {
            let raw = with_length(9, rest);
            assert!(!fits(&raw), "{raw:?}");
            assert_eq!(decompress(&raw), Err(Reason::Malformed), "{raw:?}");
        }
    }

    #[test]
    fn expansion_is_bounded() {
        let bomb = [&b"\x20a\xe0"[..], &[255; 8000], b"\x00\x00"].concat();
        let length = 1 + 9 + 255 * 8000;
        for told in [length, 1 << 20] {
            assert_eq!(decompress(&with_length(told, &bomb)), Err(Reason::TooLarge));
        }
    }

    proptest! {
        #[test]
        fn what_fits_is_read(
            length in 0..200_u32,
            rest in proptest::collection::vec(prop_oneof![0..40_u8, any::<u8>()], 0..40),
        ) {
            let raw = with_length(length, &rest);
            prop_assert!(!fits(&raw) || is_zlib(&rest) || decompress(&raw).is_ok());
        }
    }
}
