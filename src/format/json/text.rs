//! The texts of JSON (RFC 8259, section 7): how to walk over them, and what they mean.

#![forbid(unsafe_code)]

use crate::format::budget::Budget;
use crate::format::Wanted;

/// What stands between two quotes, its escapes checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text<'t> {
    pub(super) written: &'t [u8],
    pub(super) escaped: bool,
}

impl Text<'_> {
    /// What is wanted of the member with this name; `None` where that is more than the budget allows to find out.
    #[inline(always)]
    pub(super) fn wanted<'w>(self, wanted: &'w Wanted, budget: &Budget) -> Option<&'w Wanted> {
        if self.escaped && matches!(wanted, Wanted::Some(_)) {
            self.unescaped_wanted(wanted, budget)
        } else {
            Some(wanted.member(self.written))
        }
    }

    #[cold]
    fn unescaped_wanted<'w>(self, wanted: &'w Wanted, budget: &Budget) -> Option<&'w Wanted> {
        /// What it costs to make one.
        const NAME: usize = 64;
        budget.draw(self.written.len() + NAME).ok()?;
        Some(wanted.member(unescaped(&String::from_utf8_lossy(self.written)).as_bytes()))
    }
}

/// Walks over a text behind its quote, and over the quote that ends it; see [`walk`](super::walk).
#[inline(always)]
pub(super) fn walk(text: &[u8]) -> Option<(Text<'_>, &[u8])> {
    let (mut rest, mut escaped) = (text, false);
    loop {
        rest = plain(rest);
        match rest {
            [b'"', after @ ..] => {
                let written = text.get(..text.len() - rest.len())?;
                return Some((Text { written, escaped }, after));
            }
            [b'\\', after @ ..] => {
                rest = escape(after)?;
                escaped = true;
            }
            [] | [..=0x1f, ..] => return None,
            // One of the last, which are too few for `plain`.
            [_, after @ ..] => rest = after,
        }
    }
}

/// Walks over characters that are themselves, no quote, backslash or control character, as long as there are
/// eight bytes to look at.
#[inline(always)]
fn plain(mut rest: &[u8]) -> &[u8] {
    while let Some((eight, after)) = rest.split_first_chunk() {
        let special = special(u64::from_le_bytes(*eight));
        if special != 0 {
            return rest.get(special.trailing_zeros() as usize / 8..).unwrap_or_default();
        }
        rest = after;
    }
    rest
}

/// Of eight bytes the high bit of the first that is special, and bits above it that mean nothing.
///
/// A subtraction sets the high bit of a byte that is less than what is taken from it, unless it was set
/// before; what it borrows spoils only the bytes above. With `^ 2` a quote comes next to the control
/// characters, and stays none of them.
#[inline(always)]
fn special(bytes: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let control_or_quote = (bytes ^ (2 * EACH)).wrapping_sub(0x21 * EACH);
    let backslash = (bytes ^ (u64::from(b'\\') * EACH)).wrapping_sub(EACH);
    (control_or_quote | backslash) & !bytes & (0x80 * EACH)
}

/// Walks over an escape behind its backslash: a letter, or `u` and four hexadecimal digits.
#[cold]
fn escape(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', rest @ ..] => Some(rest),
        [b'u', rest @ ..] => {
            let (digits, rest) = rest.split_first_chunk::<4>()?;
            digits.iter().all(u8::is_ascii_hexdigit).then_some(rest)
        }
        _ => None,
    }
}

/// What a text means. A lone surrogate (`\ud800`) is U+FFFD.
pub(super) fn unescaped(written: &str) -> String {
    let mut text = String::with_capacity(written.len());
    let mut rest = written;
    loop {
        // Where there is one escape, another often follows.
        while let Some(escape) = rest.strip_prefix('\\') {
            let (character, length) = character(escape);
            text.push(character);
            rest = escape.get(length..).unwrap_or_default();
        }
        let Some(at) = rest.find('\\') else { break };
        let (plain, escapes) = rest.split_at(at);
        text.push_str(plain);
        rest = escapes;
    }
    text.push_str(rest);
    text
}

/// What an escape without its backslash means, and its length.
fn character(escape: &str) -> (char, usize) {
    let plain = |character| (character, 1);
    match escape.as_bytes().first() {
        Some(b'u') => surrogates(escape),
        Some(b'b') => plain('\u{8}'),
        Some(b'f') => plain('\u{c}'),
        Some(b'n') => plain('\n'),
        Some(b'r') => plain('\r'),
        Some(b't') => plain('\t'),
        // A quote, a backslash or a slash.
        Some(itself) => plain(char::from(*itself)),
        None => plain(char::REPLACEMENT_CHARACTER),
    }
}

/// What `uXXXX`, or a pair of surrogates `uXXXX\uXXXX`, means, and its length.
fn surrogates(escape: &str) -> (char, usize) {
    let first = unit(escape);
    let second = escape.get(5..).and_then(|rest| rest.strip_prefix('\\')).and_then(unit);
    match char::decode_utf16(first.into_iter().chain(second)).next() {
        Some(Ok(character)) if character.len_utf16() == 2 => (character, 11),
        Some(Ok(character)) => (character, 5),
        _ => (char::REPLACEMENT_CHARACTER, 5),
    }
}

/// The UTF-16 unit of the `uXXXX` at the beginning of `escape`.
fn unit(escape: &str) -> Option<u16> {
    let digits = escape.strip_prefix('u')?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_ends_at_its_quote() {
        // What stands before and behind may be what a special character is told from.
        for fill in
            [b"x", b"!", b"#", b" ", b"[", b"]", b"\x7f", b"\x80", b"\xa2", b"\xdc", b"\xff"]
        {
            for (at, byte) in (0..20).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte))) {
                let mut text = fill.repeat(20);
                text[at] = byte;
                let end = if byte == b'"' { Some(at) } else { Some(20) };
                let end = end.filter(|_| byte != b'\\' && byte >= b' ');
                text.push(b'"');
                let walked = walk(&text).map(|(text, rest)| (text.written.len(), rest.len()));
                assert_eq!(walked, end.map(|end| (end, 20 - end)), "{fill:?} {at} {byte}");
            }
        }
        assert_eq!(walk(b"x"), None);
    }

    #[test]
    fn each_escape() {
        for (written, text) in [
            (r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r"a\u0041\u00e9\u20AC!", "aAé€!"),
            (r"\ud83d\ude80\uD83D\uDE80", "🚀🚀"),
            (r"\ud83dé\ude80", "\u{fffd}é\u{fffd}"),
            (r"\ud83d\n\ud83d", "\u{fffd}\n\u{fffd}"),
            (r"é\\u0041", "é\\u0041"),
        ] {
            let quoted = format!("{written}\"");
            let expected = Text { written: written.as_bytes(), escaped: true };
            assert_eq!(walk(quoted.as_bytes()), Some((expected, &b""[..])), "{written}");
            assert_eq!(unescaped(written), text);
        }
        for malformed in [r"\", r"\x", r"\u", r"\u123", r"\u12g4", r"\U0041", r"\u+123", "\\\n"] {
            assert_eq!(walk(format!("{malformed}\"").as_bytes()), None, "{malformed}");
        }
    }
}
