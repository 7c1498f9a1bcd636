//! What Laravel stores with `session.encrypt`: an envelope in a PHP string, of another PHP string.

#![forbid(unsafe_code)]

use super::super::budget::Budget;
use super::super::Reason;
use crate::session::envelope::Encrypter;

/// What is in the envelope. Laravel's cache serialises the envelope, `Encrypter::encrypt` what goes into it,
/// both of them strings already: the marks of these strings are taken off, where there are any.
pub(super) fn open(
    raw: &[u8],
    encrypter: Option<&Encrypter>,
    budget: &Budget,
) -> Result<Vec<u8>, Reason> {
    // The envelope out of base64, its parts out of base64, and what they hold.
    budget.draw(3 * raw.len())?;
    let envelope = php_string(raw).unwrap_or(raw);
    let plain =
        encrypter.and_then(|encrypter| encrypter.open(envelope)).ok_or(Reason::Malformed)?;
    Ok(php_string(&plain).map(<[u8]>::to_vec).unwrap_or(plain))
}

/// What stands in the one string that PHP's `serialize` wrote.
fn php_string(raw: &[u8]) -> Option<&[u8]> {
    let rest = raw.strip_prefix(b"s:")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (length, rest) = rest.split_at_checked(digits)?;
    let text = rest.strip_prefix(b":\"")?.strip_suffix(b"\";")?;
    let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
    (text.len() == length).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_php_string() {
        assert_eq!(php_string(b"s:3:\"a\"b\";"), Some(&b"a\"b"[..]));
        assert_eq!(php_string(b"s:0:\"\";"), Some(&b""[..]));
        for raw in [
            &b"s:3:\"ab\";"[..],
            b"s:1:\"ab\";",
            b"s:2:\"ab\"",
            b"s::\"\";",
            b"s:-1:\"\";",
            b"i:1;",
            b"",
            b"s:99999999999999999999999:\"a\";",
        ] {
            assert_eq!(php_string(raw), None, "{raw:?}");
        }
    }
}
