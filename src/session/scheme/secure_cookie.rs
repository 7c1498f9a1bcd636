//! Go's `gorilla/securecookie`, in which redistore keeps ids.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;

use aes::cipher::consts::U16;
use aes::cipher::{BlockCipherEncrypt, BlockSizeUser, InnerIvInit, KeyInit, StreamCipherCore};
use aes::{Aes128, Aes192, Aes256};
use base64::alphabet::URL_SAFE;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use base64::Engine;
use ctr::flavors::Ctr128BE;
use ctr::CtrCore;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::{Carried, Open};
use crate::config::ConfigError;
use crate::session::id::Invalid;
use crate::session::secrets::{hmac, Secrets};

/// A time, `|`, a payload in base64, `|`, and the HMAC-SHA-256 of these and the cookie's name, all in base64.
pub(super) struct SecureCookie {
    codecs: Vec<Codec>,
    /// In seconds; 0: for ever.
    max_age: u64,
}

/// The keys that `securecookie.New` takes.
struct Codec {
    /// By the hash key.
    hmac: Hmac<Sha256>,
    /// By the block key.
    aes: Option<Aes>,
}

/// What the length of a block key chooses.
enum Aes {
    Aes128(Aes128),
    Aes192(Aes192),
    Aes256(Aes256),
}

/// Go's `URLEncoding`: padded, and of the last character only the bits that count.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

impl SecureCookie {
    /// The secrets are hash keys or, if cookies are `encrypted`, a hash key and a block key by turns, as
    /// `CodecsFromPairs` takes them.
    pub(super) fn new(
        max_age: u64,
        encrypted: bool,
        secrets: Option<&Secrets>,
    ) -> Result<Self, ConfigError> {
        let keys = secrets.into_iter().flat_map(|secrets| secrets.iter().zip(secrets.places()));
        let mut codecs = Vec::new();
        let mut keys = keys.peekable();
        while let Some((hash_key, place)) = keys.next() {
            let aes = match encrypted.then(|| keys.next()) {
                None => None,
                Some(Some((block_key, place))) => Some(Aes::new(block_key, place)?),
                Some(None) => {
                    return Err(ConfigError::new(format!("{place}: no block key follows"))
                        .hint("with \"encrypted=on\" hash keys and block keys stand by turns"));
                }
            };
            codecs.push(Codec { hmac: hmac(hash_key), aes });
        }
        Ok(Self { codecs, max_age })
    }
}

/// Tells nothing of the keys.
impl fmt::Debug for SecureCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecureCookie").field("max_age", &self.max_age).finish_non_exhaustive()
    }
}

impl Open for SecureCookie {
    /// `SecureCookie.Decode` of each codec in turn, as `DecodeMulti` calls it.
    fn open<'v>(&self, value: &'v [u8], carried: &Carried<'_>) -> Result<Cow<'v, [u8]>, Invalid> {
        let value = BASE64.decode(value).map_err(|_| Invalid::Unsigned)?;
        let mut parts = value.splitn(3, |byte| *byte == b'|');
        let (Some(time), Some(payload), Some(mac)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(Invalid::Unsigned);
        };
        let signed = self.codecs.iter().filter(|codec| {
            let hmac = codec.hmac.clone().chain_update(carried.name).chain_update("|");
            let hmac = hmac.chain_update(time).chain_update("|").chain_update(payload);
            hmac.finalize().into_bytes().ct_eq(mac).into()
        });
        let mut signed = signed.peekable();
        signed.peek().ok_or(Invalid::Signature)?;
        if !self.is_young(time, carried.now) {
            return Err(Invalid::Expired);
        }
        let payload = BASE64.decode(payload).map_err(|_| Invalid::Signature)?;
        let id = signed.find_map(|codec| text(codec.decrypt(&payload)?));
        id.map(Cow::Owned).ok_or(Invalid::Signature)
    }
}

impl SecureCookie {
    /// Whether the time that a cookie was made at, in Unix seconds, is as late as it must be by `now`. One
    /// that is still to come is no matter.
    fn is_young(&self, time: &[u8], now: u64) -> bool {
        let time = std::str::from_utf8(time).ok().and_then(|time| time.parse::<i64>().ok());
        let earliest = i64::try_from(now.saturating_sub(self.max_age)).unwrap_or(i64::MAX);
        time.is_some_and(|time| self.max_age == 0 || time >= earliest)
    }
}

impl Codec {
    /// The serialised value in a payload.
    fn decrypt<'p>(&self, payload: &'p [u8]) -> Option<Cow<'p, [u8]>> {
        match &self.aes {
            None => Some(Cow::Borrowed(payload)),
            Some(Aes::Aes128(aes)) => counter(aes, payload).map(Cow::Owned),
            Some(Aes::Aes192(aes)) => counter(aes, payload).map(Cow::Owned),
            Some(Aes::Aes256(aes)) => counter(aes, payload).map(Cow::Owned),
        }
    }
}

impl Aes {
    fn new(key: &[u8], place: &str) -> Result<Self, ConfigError> {
        let aes = match key.len() {
            16 => Aes128::new_from_slice(key).map(Self::Aes128),
            24 => Aes192::new_from_slice(key).map(Self::Aes192),
            _ => Aes256::new_from_slice(key).map(Self::Aes256),
        };
        aes.map_err(|_| {
            ConfigError::new(format!("{place}: a block key must have 16, 24 or 32 bytes"))
        })
    }
}

/// An IV, then what CTR made of a value, which is not empty.
fn counter<C>(cipher: &C, sealed: &[u8]) -> Option<Vec<u8>>
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>,
{
    let (iv, sealed) = sealed.split_first_chunk::<16>()?;
    let mut value = sealed.to_vec();
    let stream = CtrCore::<&C, Ctr128BE>::inner_iv_init(cipher, iv.into());
    stream.apply_keystream_partial(value.as_mut_slice().into());
    (!value.is_empty()).then_some(value)
}

/// A serialised text: by `GobEncoder` or, as can be told, by `JSONEncoder`.
fn text(serialised: Cow<'_, [u8]>) -> Option<Vec<u8>> {
    match gob_text(&serialised) {
        Some(text) => Some(text.to_vec()),
        None => serde_json::from_slice::<String>(&serialised).ok().map(String::into_bytes),
    }
}

/// A gob of one string: the length of the message, the type's number (6, doubled since it is not negative),
/// 0 since no struct goes around it, the length of the text, the text.
fn gob_text(gob: &[u8]) -> Option<&[u8]> {
    let (length, message) = gob_length(gob)?;
    let (text_length, text) = gob_length(message.strip_prefix(b"\x0c\0")?)?;
    (length == message.len() && text_length == text.len()).then_some(text)
}

/// An unsigned number, up to what a cookie can hold: itself below 128, else the negated count of its bytes
/// and these, most significant first.
fn gob_length(gob: &[u8]) -> Option<(usize, &[u8])> {
    match gob {
        [small @ 0..=127, rest @ ..] | [0xff, small, rest @ ..] => Some(((*small).into(), rest)),
        [0xfe, high, low, rest @ ..] => Some((u16::from_be_bytes([*high, *low]).into(), rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: &str = "session-name";
    const HASH_KEY: &str = "gorilla-hash-key-0123456789abcdef";
    const BLOCK_KEY: &str = "0123456789abcdef";
    /// When the cookies were made.
    const MADE: u64 = 1_795_220_081;
    const DAY: u64 = 86_400;

    const SIGNED: &str = "MTc5NTIyMDA4MXxOd3dBTkROWU5GTktRbEpPTkZrMU1rWlVTMEZaV0ZRMlV6WlhRVVpIVEZGRFdrYzFOazlXVkRORVdEWkhTVkZMUjA4ME4wNUhORUU9fJIisfjePvuQS5hwwgEqHiSJ2J8dASKrgvZcWIj1aR-4";
    const ENCRYPTED: &str = "MTc5NTIyMDA4MXxzeHc0OEVYT2Nub2Vvb3h0OEx6N1NNTmxaRThMNDVrU2daVHc3RDhRbWY2NzNrRjFFaW9ldXpKZkV2al9UcWViTXlvU19XX1Bwa05iMWpLSUZXdDFWMkVDNndSWVZlSjl881xn7I4SnCKS2DUA4ZR0UX2RJ80eIC3tDT9VllvEau8=";

    fn cookie(encrypted: bool, secrets: &[&str]) -> Result<SecureCookie, ConfigError> {
        SecureCookie::new(30 * DAY, encrypted, Some(&Secrets::parse_args(secrets).unwrap()))
    }

    fn carried(name: &str, now: u64) -> Carried<'_> {
        Carried { name, beside: None, now }
    }

    fn open(cookie: &SecureCookie, value: &str, carried: &Carried<'_>) -> Result<String, Invalid> {
        Ok(String::from_utf8(cookie.open(value.as_bytes(), carried)?.into_owned()).unwrap())
    }

    /// A value as `SecureCookie.Encode` makes it of a serialised value, without a block key.
    fn seal(serialised: &[u8], time: &str) -> String {
        let payload = BASE64.encode(serialised);
        let hmac = hmac::<Sha256>(HASH_KEY.as_bytes());
        let mac = hmac.chain_update(format!("{NAME}|{time}|{payload}")).finalize().into_bytes();
        BASE64.encode([format!("{time}|{payload}|").as_bytes(), &mac].concat())
    }

    #[test]
    fn captured_cookies() {
        let now = carried(NAME, MADE + 1);
        let id = "3X4SJBRN4Y52FTKAYXT6S6WAFGLQCZG56OVT3DX6GIQKGO47NG4A";
        for secrets in [&[HASH_KEY][..], &["newer", HASH_KEY]] {
            assert_eq!(open(&cookie(false, secrets).unwrap(), SIGNED, &now).unwrap(), id);
        }
        let id = "CRGQJQ4EBJZHQW6HEPJ4WAKRBSXWKS2XBKGYYPPB7MKPHU7FW3GQ";
        let newer_block_key = "a block key with 24 byte";
        for secrets in [
            &[HASH_KEY, BLOCK_KEY][..],
            &["newer", newer_block_key, HASH_KEY, BLOCK_KEY],
            &[HASH_KEY, newer_block_key, HASH_KEY, BLOCK_KEY],
        ] {
            assert_eq!(open(&cookie(true, secrets).unwrap(), ENCRYPTED, &now).unwrap(), id);
        }
    }

    #[test]
    fn of_another_key_or_cookie() {
        let now = carried(NAME, MADE);
        let signed = cookie(false, &[HASH_KEY]).unwrap();
        for (cookie, value, carried) in [
            (&cookie(false, &["another"]).unwrap(), SIGNED, now),
            (&SecureCookie::new(0, false, None).unwrap(), SIGNED, now),
            (&signed, SIGNED, carried("other", MADE)),
            (&signed, SIGNED, carried("", MADE)),
            // Encrypted though not so expected, and the other way round.
            (&signed, ENCRYPTED, now),
            (&cookie(true, &[HASH_KEY, BLOCK_KEY]).unwrap(), SIGNED, now),
            (&cookie(true, &[HASH_KEY, "another block ky"]).unwrap(), ENCRYPTED, now),
        ] {
            assert_eq!(open(cookie, value, &carried), Err(Invalid::Signature));
        }
        for value in ["", "3X4SJBRN4Y52FTKAYXT6S6WAFGLQCZG56OVT3DX6GIQKGO47NG4A", "YXxi", "fHw"] {
            assert_eq!(open(&signed, value, &now), Err(Invalid::Unsigned), "{value}");
        }
        assert_eq!(open(&signed, "fHw=", &now), Err(Invalid::Signature));
    }

    #[test]
    fn a_cookie_has_its_age() {
        let signed = cookie(false, &[HASH_KEY]).unwrap();
        let at = |now| open(&signed, SIGNED, &carried(NAME, now)).err();
        assert_eq!(at(MADE + 30 * DAY), None);
        assert_eq!(at(MADE + 30 * DAY + 1), Some(Invalid::Expired));
        assert_eq!(at(0), None, "made after now");
        let secrets = Secrets::parse_args(&[HASH_KEY]).unwrap();
        let for_ever = SecureCookie::new(0, false, Some(&secrets)).unwrap();
        assert!(open(&for_ever, SIGNED, &carried(NAME, u64::MAX)).is_ok());
        let odd = seal(b"\x05\x0c\0\x02ab", "now");
        assert_eq!(open(&for_ever, &odd, &carried(NAME, MADE)), Err(Invalid::Expired));
    }

    #[test]
    fn serialised_texts() {
        let signed = cookie(false, &[HASH_KEY]).unwrap();
        let of = |serialised: &[u8]| {
            open(&signed, &seal(serialised, &MADE.to_string()), &carried(NAME, MADE))
        };
        assert_eq!(of(b"\x05\x0c\0\x02ab").unwrap(), "ab");
        assert_eq!(of(b"\"ab\"\n").unwrap(), "ab");
        let long = "x".repeat(200);
        let gob = [b"\xff\xcc\x0c\0\xff\xc8", long.as_bytes()].concat();
        assert_eq!(of(&gob).unwrap(), long);
        let gob = [b"\xfe\x01\x31\x0c\0\xfe\x01\x2c", "y".repeat(300).as_bytes()].concat();
        assert_eq!(of(&gob).unwrap().len(), 300);
        // Cut off, with more behind, another type, a struct's field, and no text at all.
        for serialised in [
            &b"\x05\x0c\0\x02a"[..],
            b"\x05\x0c\0\x02abc",
            b"\x06\x0c\0\x02abc",
            b"\x05\x04\0\x02ab",
            b"\x05\x0c\x01\x02ab",
            b"\xfd\0\0\x05\x0c\0\x02ab",
            b"",
            b"7",
            b"\"ab",
        ] {
            assert_eq!(of(serialised), Err(Invalid::Signature), "{serialised:?}");
        }
    }

    #[test]
    fn mistakes_in_keys() {
        let refused = |secrets| cookie(true, secrets).unwrap_err().to_string();
        assert_eq!(
            refused(&[HASH_KEY]),
            "secret 1: no block key follows; with \"encrypted=on\" hash keys and block keys stand by turns"
        );
        assert_eq!(
            refused(&[HASH_KEY, BLOCK_KEY, "older", "s3cret"]),
            "secret 4: a block key must have 16, 24 or 32 bytes"
        );
        assert!(!format!("{:?}", cookie(false, &[HASH_KEY]).unwrap()).contains("hash"));
    }

    proptest! {
        #[test]
        fn only_what_was_signed_opens(change in any::<(prop::sample::Index, u8)>(), encrypted: bool) {
            let (value, secrets) = match encrypted {
                true => (ENCRYPTED, &[HASH_KEY, BLOCK_KEY][..]),
                false => (SIGNED, &[HASH_KEY][..]),
            };
            let cookie = cookie(encrypted, secrets).unwrap();
            let mut sealed = BASE64.decode(value).unwrap();
            let at = change.0.index(sealed.len());
            prop_assume!(change.1 != 0);
            sealed[at] ^= change.1;
            prop_assert!(open(&cookie, &BASE64.encode(sealed), &carried(NAME, MADE)).is_err());
        }
    }
}
