//! From a session id to the key that it is stored under, and to the name that it has in logs.

#![forbid(unsafe_code)]

use std::fmt;
use std::rc::Rc;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;
use hmac::{Hmac, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use smallvec::SmallVec;

use super::id::SessionId;
use super::secrets::hmac;
use crate::config::{unknown, ConfigError};

/// A framework's key: what stands before the id, the id or a digest of it, what stands after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyForm {
    /// What stands before the id.
    pub prefix: String,
    /// In what form the id stands in it.
    pub id: IdForm,
    /// What stands after the id.
    pub suffix: &'static str,
}

/// As it is shown: without the id.
impl fmt::Display for KeyForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = match self.id {
            IdForm::Itself => "***",
            IdForm::Sha256Hex => "(SHA-256 of the id, hexadecimal)",
            IdForm::Sha256Base64Url => "(SHA-256 of the id, base64url)",
        };
        write!(f, "{}{id}{}", self.prefix, self.suffix)
    }
}

/// In what form an id stands in a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdForm {
    /// As it is.
    Itself,
    /// Its SHA-256 in hexadecimal, so that whoever sees the keys has no id.
    Sha256Hex,
    /// Its SHA-256 in base64url without padding.
    Sha256Base64Url,
}

impl KeyForm {
    /// The prefix and the id itself.
    pub fn prefixed(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), id: IdForm::Itself, suffix: "" }
    }

    /// The key of an id.
    pub fn key(&self, id: &SessionId) -> Rc<[u8]> {
        let digest;
        let id = match self.id {
            IdForm::Itself => id.as_bytes(),
            IdForm::Sha256Hex => {
                digest = Digest::Sha256.hex(id.as_bytes());
                digest.as_bytes()
            }
            IdForm::Sha256Base64Url => {
                digest = URL_SAFE_NO_PAD.encode(Sha256::digest(id.as_bytes()));
                digest.as_bytes()
            }
        };
        // On the stack first: this is done for every request.
        let mut key = SmallVec::<[u8; 128]>::new();
        for part in [self.prefix.as_bytes(), id, self.suffix.as_bytes()] {
            key.extend_from_slice(part);
        }
        Rc::from(key.as_slice())
    }
}

/// A digest by its name in `session_redis_key` and `session_redis_key_digest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// RFC 1321.
    Md5,
    /// FIPS 180-4.
    Sha1,
    /// FIPS 180-4.
    Sha256,
}

impl Digest {
    /// Reads a name.
    pub fn parse(name: &str) -> Result<Self, ConfigError> {
        match name {
            "md5" => Ok(Self::Md5),
            "sha1" => Ok(Self::Sha1),
            "sha256" => Ok(Self::Sha256),
            _ => Err(unknown("digest", name, &["md5", "sha1", "sha256"])),
        }
    }

    /// The digest in lower-case hexadecimal: 32, 40 or 64 characters.
    pub fn hex(self, bytes: &[u8]) -> String {
        match self {
            Self::Md5 => hex(&Md5::digest(bytes)),
            Self::Sha1 => hex(&Sha1::digest(bytes)),
            Self::Sha256 => hex(&Sha256::digest(bytes)),
        }
    }
}

/// The digest of the parts, one after another, or with `json` of what PHP's `json_encode([…])` makes of
/// them. `None`: a part is not UTF-8, of which `json_encode` makes nothing.
pub fn key_digest(digest: Digest, json: bool, parts: &[&[u8]]) -> Option<String> {
    if !json {
        return Some(digest.hex(&parts.concat()));
    }
    let mut text = String::from("[");
    for part in parts {
        if text.len() > 1 {
            text.push(',');
        }
        push_json(&mut text, std::str::from_utf8(part).ok()?);
    }
    text.push(']');
    Some(digest.hex(text.as_bytes()))
}

/// Names ids in logs, so that nobody who reads one can become their session.
#[derive(Clone)]
pub struct IdHash(Hmac<Sha256>);

impl IdHash {
    /// `key` is as secret as the ids: without it, a log would tell a guessed id from others.
    pub fn new(key: &[u8]) -> Self {
        Self(hmac(key))
    }

    /// HMAC-SHA-256 of the id, its first 16 hexadecimal characters.
    pub fn of(&self, id: &[u8]) -> String {
        let mut name = hex(&self.0.clone().chain_update(id).finalize().into_bytes());
        name.truncate(16);
        name
    }
}

/// Writes a string as PHP's `json_encode` does without flags (`ext/json/json_encoder.c`): everything outside
/// ASCII as UTF-16, and `/`, too, behind a backslash.
fn push_json(json: &mut String, text: &str) {
    json.push('"');
    for c in text.chars() {
        let escaped = match c {
            '"' | '\\' | '/' => c,
            '\u{8}' => 'b',
            '\u{c}' => 'f',
            '\n' => 'n',
            '\r' => 'r',
            '\t' => 't',
            ' '..='\u{7f}' => {
                json.push(c);
                continue;
            }
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    json.push_str("\\u");
                    push_hex(json, &unit.to_be_bytes());
                }
                continue;
            }
        };
        json.push('\\');
        json.push(escaped);
    }
    json.push('"');
}

/// In lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    push_hex(&mut text, bytes);
    text
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    text.extend(hex_digits(bytes).map(char::from));
}

/// Two lower-case digits for each byte.
pub(crate) fn hex_digits(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> String {
        let mut json = String::new();
        push_json(&mut json, text);
        json
    }

    #[test]
    fn digests() {
        let of = |name| Digest::parse(name).unwrap().hex(b"abc");
        assert_eq!(of("md5"), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(of("sha1"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            of("sha256"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            Digest::parse("sha265").unwrap_err().to_string(),
            "unknown digest \"sha265\"; did you mean \"sha256\"? known: sha256, sha1, md5"
        );
    }

    #[test]
    fn parts_stand_one_after_another() {
        let digest = |parts: &[&[u8]]| key_digest(Digest::Md5, false, parts).unwrap();
        assert_eq!(digest(&[b"a", b"", b"bc"]), Digest::Md5.hex(b"abc"));
        assert_eq!(digest(&[b"\xff"]), Digest::Md5.hex(b"\xff"));
    }

    #[test]
    fn the_captured_key_of_a_php_handler() {
        let parts: [&[u8]; 2] = [b"App\\Http\\SessionStore", b"9n17qb99p1klo90j3pkom8io3p"];
        let digest = key_digest(Digest::Md5, true, &parts);
        assert_eq!(digest.unwrap(), "ae461b720abd7d72e68d393087097ab2");
    }

    #[test]
    fn json_is_that_of_php() {
        assert_eq!(json("a/b\\c\"d"), r#""a\/b\\c\"d""#);
        assert_eq!(
            json("\u{8}\u{c}\n\r\t\0\u{1f}\u{7f}"),
            "\"\\b\\f\\n\\r\\t\\u0000\\u001f\u{7f}\""
        );
        assert_eq!(json("é小😀\u{2028}"), r#""\u00e9\u5c0f\ud83d\ude00\u2028""#);
        assert_eq!(json("'<>& 7"), "\"'<>& 7\"");
        for (parts, text) in
            [(&[][..], "[]"), (&[&b"1"[..]][..], r#"["1"]"#), (&[&b""[..], b""][..], r#"["",""]"#)]
        {
            assert_eq!(
                key_digest(Digest::Sha1, true, parts),
                Some(Digest::Sha1.hex(text.as_bytes()))
            );
        }
        assert_eq!(key_digest(Digest::Md5, true, &[b"ok", b"\xff"]), None);
    }

    #[test]
    fn an_id_hash_is_keyed_and_short() {
        let hash = IdHash::new(b"Jefe").of(b"what do ya want for nothing?");
        assert_eq!(hash, "5bdcc146bf60754e");
        assert_ne!(IdHash::new(b"jefe").of(b"what do ya want for nothing?"), hash);
    }

    proptest! {
        #[test]
        fn json_reads_back(text in any::<String>()) {
            let written = json(&text);
            prop_assert!(written.is_ascii());
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        }
    }
}
