//! What pickles write as text: the numbers and strings of protocol 0, and the characters of the others.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use serde_json::Value;

use crate::format::budget::Budget;
use crate::format::{number, Reason};

/// INT, in which Python 2 also wrote its booleans.
pub(super) fn int(line: &[u8]) -> Option<Value> {
    match line {
        b"00" => Some(Value::Bool(false)),
        b"01" => Some(Value::Bool(true)),
        _ => integer(line),
    }
}

/// LONG, with or without an `L` at its end.
pub(super) fn long(line: &[u8]) -> Option<Value> {
    integer(line.strip_suffix(b"L").unwrap_or(line))
}

/// FLOAT.
pub(super) fn float(line: &[u8], budget: &Budget) -> Result<f64, Reason> {
    number::parse(std::str::from_utf8(line).map_err(|_| Reason::Malformed)?, budget)
}

/// A number that is not negative.
pub(super) fn natural(line: &[u8]) -> Option<u64> {
    let digits = line.iter().all(u8::is_ascii_digit).then_some(line)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Characters in UTF-8, as it came, in which Python writes surrogates, too; those that stand alone become
/// U+FFFD, as in JSON.
pub(super) fn unicode(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    if std::str::from_utf8(bytes).is_ok() {
        return Some(Cow::Borrowed(bytes));
    }
    let (mut units, mut rest) = (Vec::new(), bytes);
    loop {
        let valid = std::str::from_utf8(rest).map_or_else(|error| error.valid_up_to(), str::len);
        let (text, after) = rest.split_at_checked(valid)?;
        units.extend(std::str::from_utf8(text).ok()?.encode_utf16());
        match *after {
            [] => break,
            [0xed, middle @ 0xa0..=0xbf, low @ 0x80..=0xbf, ..] => {
                units.push(0xd000 | u16::from(middle & 0x3f) << 6 | u16::from(low & 0x3f));
                rest = after.get(3..)?;
            }
            _ => return None,
        }
    }
    Some(utf8(&units))
}

/// UNICODE: a byte for each character up to U+00FF, `\u` and four digits or `\U` and eight for others.
pub(super) fn escaped_unicode(line: &[u8]) -> Option<Cow<'_, [u8]>> {
    if line.is_ascii() && !line.contains(&b'\\') {
        return Some(Cow::Borrowed(line));
    }
    let (mut units, mut rest) = (Vec::with_capacity(line.len()), line);
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let digits = match (byte, after.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            (b'\\', Some(other)) => {
                units.extend([u16::from(*byte), u16::from(*other)]);
                rest = after.get(1..)?;
                continue;
            }
            _ => {
                units.push(u16::from(*byte));
                continue;
            }
        };
        let number = hexadecimal(after.get(1..=digits)?)?;
        rest = after.get(digits + 1..)?;
        match u16::try_from(number) {
            Ok(unit) => units.push(unit),
            Err(_) => units.extend(char::from_u32(number)?.encode_utf16(&mut [0; 2]).iter()),
        }
    }
    Some(utf8(&units))
}

/// STRING: what Python 2's `repr` writes of a string.
pub(super) fn quoted(line: &[u8]) -> Option<Cow<'_, [u8]>> {
    let [quote @ (b'\'' | b'"'), inner @ ..] = line else { return None };
    let inner = inner.strip_suffix(&[*quote])?;
    if !inner.contains(&b'\\') {
        return Some(Cow::Borrowed(inner));
    }
    let mut string = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        string.push(match byte {
            b'\\' => match bytes.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => {
                    let (digits, rest) = bytes.as_slice().split_at_checked(2)?;
                    bytes = rest.iter();
                    u8::try_from(hexadecimal(digits)?).ok()?
                }
                mark @ (b'\\' | b'\'' | b'"') => *mark,
                _ => return None,
            },
            byte => *byte,
        });
    }
    Some(Cow::Owned(string))
}

/// An integer in digits; null where it has more than is taken, as [`number`](crate::format::number) has it.
fn integer(line: &[u8]) -> Option<Value> {
    /// How many an integer of 2048 bits may have.
    const MOST_DIGITS: usize = 617;
    let (sign, digits) = match line.strip_prefix(b"-") {
        Some(digits) => ("-", digits),
        None => ("", line),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = std::str::from_utf8(digits).ok()?.trim_start_matches('0');
    Some(match digits.len() {
        0 => Value::from(0),
        1..=MOST_DIGITS => format!("{sign}{digits}").parse().map_or(Value::Null, Value::Number),
        _ => Value::Null,
    })
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn utf8(units: &[u16]) -> Cow<'static, [u8]> {
    Cow::Owned(String::from_utf16_lossy(units).into_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn integers_and_booleans() {
        assert_eq!(int(b"01"), Some(json!(true)));
        assert_eq!(long(b"01"), Some(json!(1)));
        assert_eq!(int(b"-00"), Some(json!(0)));
        assert_eq!(int(b"7L"), None);
        assert_eq!(long(b"-7L"), Some(json!(-7)));
        assert_eq!(natural(b"7"), Some(7));
        assert_eq!(natural(b"+7"), None);
    }

    #[test]
    fn surrogates_are_pairs_or_replaced() {
        for (bytes, expected) in [
            (&b"a\xc3\xa9"[..], Some("aé")),
            (b"\xed\xa0\xbd\xed\xba\x80!", Some("🚀!")),
            (b"x\xed\xa0\xbdy\xc3\xa9\xed\xba\x80", Some("x\u{fffd}yé\u{fffd}")),
            (b"\xed\x9f\xbf", Some("\u{d7ff}")),
            (b"a\xff", None),
            (b"\xed\xa0", None),
            (b"\xed\xa0\xbd\xc3", None),
        ] {
            assert_eq!(unicode(bytes).as_deref(), expected.map(str::as_bytes), "{bytes:?}");
        }
    }

    #[test]
    fn escapes_in_unicode() {
        for (line, expected) in [
            (&b"plain"[..], Some("plain")),
            (b"\xe9\\u738b\\U0001f680", Some("é王🚀")),
            (b"\\ud83d\\ude80\\ud800", Some("🚀\u{fffd}")),
            (b"\\u005cn\\n\\\\u0041\\", Some("\\n\\n\\\\u0041\\")),
            (b"\\u12", None),
            (b"\\u+123", None),
            (b"\\U00110000", None),
        ] {
            assert_eq!(escaped_unicode(line).as_deref(), expected.map(str::as_bytes), "{line:?}");
        }
    }

    #[test]
    fn escapes_in_strings() {
        for (line, expected) in [
            (&b"'plain'"[..], Some(&b"plain"[..])),
            (b"\"it's\"", Some(b"it's")),
            (b"'\\x00\\xff\\n\\r\\t\\\\\\'\\\"'", Some(b"\0\xff\n\r\t\\'\"")),
            (b"''", Some(b"")),
            (b"'", None),
            (b"'a\"", None),
            (b"plain", None),
            (b"'\\'", None),
            (b"'\\x1'", None),
            (b"'\\a'", None),
        ] {
            assert_eq!(quoted(line).as_deref(), expected, "{line:?}");
        }
    }
}
