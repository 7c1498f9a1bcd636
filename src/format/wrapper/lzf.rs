//! LZF as phpredis stores it: what `lzf_compress` of liblzf made, without a header or a length.

#![forbid(unsafe_code)]

use super::super::budget::Budget;
use super::super::Reason;
use super::Plain;

/// What a value is made of, one after the other.
pub(super) enum Step<'r> {
    Literals(&'r [u8]),
    /// Bytes that stand so far back, again.
    Repeat {
        distance: usize,
        length: usize,
    },
}

/// Whether all of a value is LZF, which has no magic.
pub(super) fn fits(raw: &[u8]) -> bool {
    let (mut rest, mut length) = (raw, 0_usize);
    while !rest.is_empty() {
        length = match step(&mut rest) {
            Some(Step::Literals(literals)) => length.saturating_add(literals.len()),
            Some(Step::Repeat { distance, length: more }) if distance <= length => {
                length.saturating_add(more)
            }
            _ => return false,
        };
    }
    true
}

/// What was compressed.
pub(super) fn decompress(raw: &[u8], budget: &Budget) -> Result<Vec<u8>, Reason> {
    let mut plain = Plain::of(raw.len(), budget)?;
    let mut rest = raw;
    while !rest.is_empty() {
        match step(&mut rest).ok_or(Reason::Malformed)? {
            Step::Literals(literals) => plain.append(literals)?,
            Step::Repeat { distance, length } => plain.repeat(distance, length, 0)?,
        }
    }
    Ok(plain.bytes)
}

/// The layout of liblzf's `lzf_d.c`: a byte below 32 counts literals; else its three upper bits are the
/// length of a repetition, of which 7 goes on in the next byte, its five lower ones begin the distance.
pub(super) fn step<'r>(rest: &mut &'r [u8]) -> Option<Step<'r>> {
    let control = usize::from(*rest.split_off_first()?);
    if control < 32 {
        return rest.split_off(..control + 1).map(Step::Literals);
    }
    let more = match control >> 5 {
        7 => usize::from(*rest.split_off_first()?),
        _ => 0,
    };
    let low = usize::from(*rest.split_off_first()?);
    let distance = ((control & 0x1f) << 8 | low) + 1;
    Some(Step::Repeat { distance, length: (control >> 5) + more + 2 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::budget::tests::of;

    fn decompress(raw: &[u8]) -> Result<Vec<u8>, Reason> {
        super::decompress(raw, &of(raw))
    }

    /// Compresses in the first way that comes to mind: three bytes or more that stood before are repeated.
    fn compress(plain: &[u8]) -> Vec<u8> {
        let (mut raw, mut at, mut literals) = (Vec::new(), 0, Vec::new());
        let flush = |raw: &mut Vec<u8>, literals: &mut Vec<u8>| {
            for run in literals.chunks(32) {
                raw.push(u8::try_from(run.len() - 1).unwrap());
                raw.extend_from_slice(run);
            }
            literals.clear();
        };
        while at < plain.len() {
            let common = |from: usize| {
                plain[at..].iter().zip(&plain[from..]).take(264).take_while(|(a, b)| a == b).count()
            };
            let best = (at.saturating_sub(8192)..at).map(|from| (common(from), from)).max();
            let Some((length, from)) = best.filter(|(length, _)| *length >= 3) else {
                literals.push(plain[at]);
                at += 1;
                continue;
            };
            flush(&mut raw, &mut literals);
            let [high, low] = u16::try_from(at - from - 1).unwrap().to_be_bytes();
            match u8::try_from(length - 2).unwrap() {
                short @ ..7 => raw.extend([short << 5 | high, low]),
                long => raw.extend([7 << 5 | high, long - 7, low]),
            }
            at += length;
        }
        flush(&mut raw, &mut literals);
        raw
    }

    #[test]
    fn literals_and_repetitions() {
        for (raw, plain) in [
            (&b""[..], &b""[..]),
            (b"\x02abc", b"abc"),
            (b"\x02abc\x20\x02", b"abcabc"),
            (b"\x00a\x60\x00", b"aaaaaa"),
            (b"\x01ab\xe0\x00\x01\x00c", b"abababababac"),
        ] {
            assert!(fits(raw), "{raw:?}");
            assert_eq!(decompress(raw).as_deref(), Ok(plain), "{raw:?}");
        }
    }

    #[test]
    fn what_is_cut_off_or_repeats_nothing_is_malformed() {
        for raw in
            [&b"\x02ab"[..], b"\x20", b"\x20\x00", b"\x00a\x20\x01", b"\x00a\xe0\x00", b"uid|i:7;"]
        {
            assert!(!fits(raw), "{raw:?}");
            assert_eq!(decompress(raw), Err(Reason::Malformed), "{raw:?}");
        }
    }

    #[test]
    fn expansion_is_bounded() {
        let bomb = [&b"\x00a"[..], &b"\xe0\xff\x00".repeat(4096)].concat();
        assert!(fits(&bomb));
        assert_eq!(decompress(&bomb), Err(Reason::TooLarge));
    }

    proptest! {
        #[test]
        fn what_was_compressed_is_read(parts in proptest::collection::vec("[a-c]{1,9}", 0..60)) {
            let plain = parts.concat().into_bytes();
            let raw = compress(&plain);
            prop_assert!(fits(&raw));
            prop_assert_eq!(decompress(&raw), Ok(plain));
        }

        #[test]
        fn what_fits_is_read(raw in proptest::collection::vec(prop_oneof![0..40_u8, any::<u8>()], 0..40)) {
            prop_assert_eq!(fits(&raw), decompress(&raw).is_ok());
        }
    }
}
