//! Modified UTF-8, in which a stream has its texts and names.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use crate::format::Reason;

/// The UTF-8 of what `DataOutput.writeUTF` wrote: NUL is two bytes there, and a character beyond U+FFFF its
/// two surrogates, of three bytes each. A lone surrogate becomes U+FFFD.
pub(super) fn utf8(modified: &[u8]) -> Result<Cow<'_, [u8]>, Reason> {
    if std::str::from_utf8(modified).is_ok() {
        return Ok(Cow::Borrowed(modified));
    }
    let (mut units, mut rest) = (Vec::with_capacity(modified.len()), modified);
    while !rest.is_empty() {
        let unit;
        (unit, rest) = first_unit(rest).ok_or(Reason::Malformed)?;
        units.push(unit);
    }
    Ok(Cow::Owned(utf16(units)))
}

/// The UTF-8 of UTF-16, as `char[]` has it. A lone surrogate becomes U+FFFD.
pub(super) fn utf16(units: impl IntoIterator<Item = u16>) -> Vec<u8> {
    let chars = char::decode_utf16(units);
    let text: String = chars.map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    text.into_bytes()
}

/// The first UTF-16 unit, and the bytes behind it.
fn first_unit(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let tail = |byte: u8| u16::from(byte & 0x3f);
    match *bytes {
        [one @ 0..=0x7f, ref rest @ ..] => Some((u16::from(one), rest)),
        [one @ 0xc0..=0xdf, two @ 0x80..=0xbf, ref rest @ ..] => {
            Some((u16::from(one & 0x1f) << 6 | tail(two), rest))
        }
        [one @ 0xe0..=0xef, two @ 0x80..=0xbf, three @ 0x80..=0xbf, ref rest @ ..] => {
            Some((u16::from(one & 0x0f) << 12 | tail(two) << 6 | tail(three), rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What `writeUTF` makes of these units.
    fn modified(units: impl IntoIterator<Item = u16>) -> Vec<u8> {
        let low = |bits: u16| 0x80 | u8::try_from(bits & 0x3f).unwrap();
        let high = |mark: u8, bits: u16| mark | u8::try_from(bits).unwrap();
        let bytes = units.into_iter().flat_map(|unit| match unit {
            1..=0x7f => vec![high(0, unit)],
            0..=0x7ff => vec![high(0xc0, unit >> 6), low(unit)],
            _ => vec![high(0xe0, unit >> 12), low(unit >> 6), low(unit)],
        });
        bytes.collect()
    }

    #[test]
    fn what_differs_from_utf8() {
        let of = |bytes: &[u8]| String::from_utf8(utf8(bytes).unwrap().into_owned()).unwrap();
        assert_eq!(of(b"a\xc0\x80b"), "a\0b");
        assert_eq!(of(b"\xed\xa0\xbd\xed\xba\x80"), "\u{1f680}");
        assert_eq!(of(b"\xed\xa0\xbdx\xed\xba\x80"), "\u{fffd}x\u{fffd}");
        assert!(matches!(utf8("é".as_bytes()), Ok(Cow::Borrowed(_))));
        for broken in
            [&b"\x80"[..], b"\xc0", b"\xc0a", b"\xe0\x80", b"\xed\xa0", b"\xff", b"\xe0\x80a"]
        {
            assert_eq!(utf8(broken), Err(Reason::Malformed), "{broken:?}");
        }
    }

    proptest! {
        #[test]
        fn each_text_reads_back(text in any::<String>()) {
            let read = modified(text.encode_utf16());
            prop_assert_eq!(utf8(&read), Ok(Cow::Borrowed(text.as_bytes())));
        }
    }
}
