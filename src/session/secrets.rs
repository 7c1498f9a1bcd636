//! What sessions are signed or encrypted with: the newest secret first, older ones still accepted.

#![forbid(unsafe_code)]

use std::fmt;

use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::Engine;
use hmac::digest::common::Key;
use hmac::digest::Digest;
use hmac::{EagerHash, Hmac, KeyInit};
use sha2::Sha256;

use crate::config::ConfigError;

/// RFC 4648's standard alphabet, with or without `=` at the end.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Secrets, newest first; at least one.
#[derive(Clone)]
pub struct Secrets(Vec<Secret>);

#[derive(Clone)]
struct Secret {
    bytes: Vec<u8>,
    hmac: Hmac<Sha256>,
    /// Where it is written, for errors.
    place: String,
}

impl Secrets {
    /// Reads a file of one secret a line; the end of the line is none of it, blanks are.
    ///
    /// `what` names the file in errors, which tell the line and never what stands in it. An empty line is
    /// refused, since everyone could sign with an empty secret.
    pub fn parse_file(content: &[u8], what: &str) -> Result<Self, ConfigError> {
        if content.is_empty() {
            return Err(
                ConfigError::new(format!("{what} is empty")).hint("write one secret a line")
            );
        }
        let content = content.strip_suffix(b"\n").unwrap_or(content);
        let lines = content.split(|byte| *byte == b'\n').zip(1_usize..);
        let secrets = lines.map(|(line, number)| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            Secret::parse(line, format!("{what} line {number}"))
        });
        secrets.collect::<Result<_, _>>().map(Self)
    }

    /// Reads a directive's arguments, one secret each.
    pub fn parse_args(args: &[&str]) -> Result<Self, ConfigError> {
        let secrets = args
            .iter()
            .zip(1_usize..)
            .map(|(secret, number)| Secret::parse(secret.as_bytes(), format!("secret {number}")));
        secrets.collect::<Result<_, _>>().map(Self)
    }

    /// The bytes of each secret, newest first.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|secret| secret.bytes.as_slice())
    }

    /// HMAC-SHA-256 under each secret, newest first, with the key already taken in.
    pub(super) fn hmacs(&self) -> impl Iterator<Item = Hmac<Sha256>> + '_ {
        self.0.iter().map(|secret| secret.hmac.clone())
    }

    /// The places where the secrets are written, newest first, for errors.
    pub(super) fn places(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|secret| secret.place.as_str())
    }
}

/// Tells how many there are, and nothing else.
/// Where they are written is no matter.
impl PartialEq for Secrets {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

/// HMAC (RFC 2104) that has taken in `key`, of any length: half of the work for a short message.
pub(super) fn hmac<D: EagerHash + Digest>(key: &[u8]) -> Hmac<D> {
    let mut block = Key::<Hmac<D>>::default();
    let digest;
    let key = if key.len() > block.len() {
        digest = D::digest(key);
        digest.as_slice()
    } else {
        key
    };
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    Hmac::new(&block)
}

impl Secret {
    fn parse(text: &[u8], place: String) -> Result<Self, ConfigError> {
        match decode(text) {
            Ok(bytes) => Ok(Self { hmac: hmac(&bytes), bytes, place }),
            Err(reason) => Err(ConfigError::new(format!("{place}: {reason}"))),
        }
    }
}

/// A secret as it is written: as it stands, or after `base64:` or `hex:`.
fn decode(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    if text.starts_with(b"\xef\xbb\xbf") {
        return Err("begins with a byte order mark, which would be part of the secret");
    }
    let secret = if let Some(encoded) = text.strip_prefix(b"base64:") {
        BASE64.decode(encoded).map_err(|_| "not base64 after \"base64:\"")?
    } else if let Some(encoded) = text.strip_prefix(b"hex:") {
        unhex(encoded).ok_or("not hexadecimal after \"hex:\"")?
    } else {
        text.to_vec()
    };
    if secret.is_empty() {
        return Err("the secret is empty");
    }
    Ok(secret)
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, odd) = text.as_chunks::<2>();
    let bytes =
        pairs.iter().map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok());
    bytes.collect::<Option<_>>().filter(|_| odd.is_empty())
}

#[cfg(test)]
mod tests {
    use hmac::Mac;

    use super::*;

    fn bytes(secrets: &Secrets) -> Vec<Vec<u8>> {
        secrets.iter().map(<[u8]>::to_vec).collect()
    }

    fn args(secrets: &[&str]) -> Vec<Vec<u8>> {
        bytes(&Secrets::parse_args(secrets).unwrap())
    }

    fn file(content: &str) -> Vec<Vec<u8>> {
        bytes(&Secrets::parse_file(content.as_bytes(), "f").unwrap())
    }

    fn refused(content: &[u8]) -> String {
        Secrets::parse_file(content, "\"session.secret\"").unwrap_err().to_string()
    }

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        let tag = |key: &[u8], message: &[u8]| {
            let tag = hmac::<Sha256>(key).chain_update(message).finalize().into_bytes();
            tag.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        // Test cases 2 and 6.
        assert_eq!(
            tag(b"Jefe", b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            tag(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn one_a_line_newest_first() {
        let both = args(&["keyboard cat", "older"]);
        assert_eq!(both, [&b"keyboard cat"[..], b"older"]);
        for content in ["keyboard cat\nolder", "keyboard cat\nolder\n", "keyboard cat\r\nolder\r\n"]
        {
            assert_eq!(file(content), both);
        }
        assert_ne!(file("keyboard cat "), args(&["keyboard cat"]));
    }

    #[test]
    fn encoded_secrets() {
        for encoded in ["base64:AXNlY3JldP8=", "base64:AXNlY3JldP8", "hex:01736563726574fF"] {
            assert_eq!(args(&[encoded]), [b"\x01secret\xff"], "{encoded}");
        }
    }

    #[test]
    fn mistakes_name_the_line_and_no_secret() {
        for (content, message) in [
            (&b""[..], "\"session.secret\" is empty; write one secret a line"),
            (b"\n", "\"session.secret\" line 1: the secret is empty"),
            (b"a\n\nb\n", "\"session.secret\" line 2: the secret is empty"),
            (b"a\r\n\r\n", "\"session.secret\" line 2: the secret is empty"),
            (b"a\nbase64:", "\"session.secret\" line 2: the secret is empty"),
            (b"base64:?s3cret", "\"session.secret\" line 1: not base64 after \"base64:\""),
            (b"hex:s3cret", "\"session.secret\" line 1: not hexadecimal after \"hex:\""),
            (b"hex:abc", "\"session.secret\" line 1: not hexadecimal after \"hex:\""),
            (
                b"\xef\xbb\xbfa",
                "\"session.secret\" line 1: begins with a byte order mark, which would be part of the secret",
            ),
        ] {
            assert_eq!(refused(content), message);
        }
        let error = Secrets::parse_args(&["a", "hex:s3cret"]).unwrap_err();
        assert_eq!(error.to_string(), "secret 2: not hexadecimal after \"hex:\"");
    }

    #[test]
    fn each_has_its_hmac_and_its_place() {
        let secrets = Secrets::parse_file(b"a\nhex:62", "f").unwrap();
        let tag = |mac: Hmac<Sha256>| mac.chain_update(b"x").finalize().into_bytes();
        let tags: Vec<_> = secrets.hmacs().map(tag).collect();
        assert_eq!(tags, [tag(hmac(b"a")), tag(hmac(b"b"))]);
        assert_eq!(secrets.places().collect::<Vec<_>>(), ["f line 1", "f line 2"]);
    }

    #[test]
    fn secrets_do_not_show_in_a_log() {
        assert_eq!(format!("{:?}", Secrets::parse_args(&["a", "b"]).unwrap()), "Secrets(2)");
    }
}
