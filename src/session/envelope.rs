//! Laravel's envelopes: what `Illuminate\Encryption\Encrypter` makes of cookies and, if asked to, of sessions.

#![forbid(unsafe_code)]

use std::fmt;

use aes::cipher::KeyInit;
use aes::{Aes128, Aes256};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use base64::Engine;
use hmac::{Hmac, Mac};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::cipher::{cbc, gcm};
use super::key::hex;
use super::secrets::{hmac, Secrets, BASE64};
use crate::config::ConfigError;

/// Opens envelopes by any of the keys, the newest first.
#[derive(Clone)]
pub struct Encrypter(Vec<Key>);

/// A cipher that `Encrypter` takes. The application's configuration chooses it: an envelope never does, or whoever
/// makes one could have a key used as it was never meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cipher {
    /// As `config/app.php` has it.
    pub name: &'static str,
    /// The bytes of its keys.
    length: usize,
    /// The mode: GCM, or CBC.
    gcm: bool,
}

impl Cipher {
    /// Those of each mode, CBC first: Laravel's default.
    pub const ALL: [Self; 4] = [
        Self { name: "AES-128-CBC", length: 16, gcm: false },
        Self { name: "AES-256-CBC", length: 32, gcm: false },
        Self { name: "AES-128-GCM", length: 16, gcm: true },
        Self { name: "AES-256-GCM", length: 32, gcm: true },
    ];

    /// The one of a key where none is configured.
    fn of(key: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|cipher| cipher.length == key.len())
    }
}

#[derive(Clone)]
struct Key {
    bytes: Vec<u8>,
    cipher: &'static str,
    /// Of envelopes.
    mac: Hmac<Sha256>,
    /// Of the names of cookies.
    name_mac: Hmac<Sha1>,
    aes: Aes,
}

/// A cipher with a key.
#[derive(Clone)]
enum Aes {
    Cbc128(Box<Aes128>),
    Cbc256(Box<Aes256>),
    Gcm128(Box<Aes128Gcm>),
    Gcm256(Box<Aes256Gcm>),
}

/// An envelope that has been taken apart, but not verified.
struct Envelope<'j> {
    /// In base64, as the MAC covers it.
    iv_text: &'j str,
    /// As well.
    value_text: &'j str,
    /// In hexadecimal; empty with GCM.
    mac: &'j str,
    iv: Vec<u8>,
    value: Vec<u8>,
    /// Empty with CBC.
    tag: Vec<u8>,
}

/// The texts of an envelope's JSON. Whatever else stands there is walked over: nothing of it is verified yet.
#[derive(Debug, Default)]
struct Members {
    iv: Option<String>,
    value: Option<String>,
    mac: Option<String>,
    tag: Option<String>,
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OfMembers)
    }
}

struct OfMembers;

impl<'de> Visitor<'de> for OfMembers {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an envelope")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Members::default();
        while let Some(name) = map.next_key::<String>()? {
            let member = match name.as_str() {
                "iv" => &mut members.iv,
                "value" => &mut members.value,
                "mac" => &mut members.mac,
                "tag" => &mut members.tag,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *member = map.next_value::<Text>()?.0;
        }
        Ok(members)
    }
}

/// A text; none where something else stands.
struct Text(Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfText)
    }
}

struct OfText;

impl<'de> Visitor<'de> for OfText {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text(Some(text.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Text, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }

    /// Also of numbers, whose digits serde_json hands on so.
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Text, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }
}

impl Encrypter {
    /// Takes the keys of the cipher; where none is configured, those of AES-128-CBC and AES-256-CBC.
    pub fn new(secrets: &Secrets, cipher: Option<Cipher>) -> Result<Self, ConfigError> {
        let keys = secrets.iter().zip(secrets.places()).map(|(bytes, place)| {
            let of_key = cipher.or(Cipher::of(bytes));
            let made = of_key.and_then(|cipher| Some((cipher.name, Aes::new(cipher, bytes)?)));
            let (name, aes) = made.ok_or_else(|| {
                ConfigError::new(match cipher {
                    Some(Cipher { name, length, .. }) => {
                        format!("{place}: APP_KEY must be {length} bytes for cipher {name}")
                    }
                    None => format!("{place}: APP_KEY must be 16 or 32 bytes after \"base64:\""),
                })
            })?;
            let (mac, name_mac) = (hmac(bytes), hmac(bytes));
            Ok(Key { bytes: bytes.to_vec(), cipher: name, mac, name_mac, aes })
        });
        keys.collect::<Result<_, _>>().map(Self)
    }

    /// What is in an envelope, base64 of the JSON `{iv, value, mac, tag}`; `None` where no key made it.
    ///
    /// With CBC a MAC is verified first, and there is no tag; GCM needs one.
    pub fn open(&self, envelope: &[u8]) -> Option<Vec<u8>> {
        let json = BASE64.decode(envelope).ok()?;
        let members: Members = serde_json::from_slice(&json).ok()?;
        let envelope = Envelope::of(&members)?;
        self.0.iter().find_map(|key| key.open(&envelope))
    }

    /// What is in the envelope that is the value of the cookie called `name`, behind the prefix by which one
    /// cookie's value is of no use in another (`Illuminate\Cookie\CookieValuePrefix`).
    pub fn open_cookie(&self, name: &str, envelope: &[u8]) -> Option<Vec<u8>> {
        let plain = self.open(envelope)?;
        self.0.iter().find_map(|key| {
            let mac = key.name_mac.clone().chain_update(name).chain_update("v2").finalize();
            let prefix = hex(&mac.into_bytes()) + "|";
            let (start, value) = plain.split_at_checked(prefix.len())?;
            bool::from(prefix.as_bytes().ct_eq(start)).then(|| value.to_vec())
        })
    }
}

/// Two that open the same.
impl PartialEq for Encrypter {
    fn eq(&self, other: &Self) -> bool {
        let of = |key: &Key| (key.bytes.clone(), key.cipher);
        self.0.iter().map(of).eq(other.0.iter().map(of))
    }
}

impl Eq for Encrypter {}

/// Tells how many keys there are, and nothing else.
impl fmt::Debug for Encrypter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encrypter({})", self.0.len())
    }
}

impl<'j> Envelope<'j> {
    fn of(json: &'j Members) -> Option<Self> {
        let (iv_text, value_text) = (json.iv.as_deref()?, json.value.as_deref()?);
        // Older versions write no tag.
        let tag = json.tag.as_deref().unwrap_or_default();
        Some(Self {
            iv: BASE64.decode(iv_text).ok()?,
            value: BASE64.decode(value_text).ok()?,
            tag: BASE64.decode(tag).ok()?,
            mac: json.mac.as_deref()?,
            iv_text,
            value_text,
        })
    }
}

impl Key {
    fn open(&self, envelope: &Envelope<'_>) -> Option<Vec<u8>> {
        let Envelope { iv, value, tag, .. } = envelope;
        match &self.aes {
            Aes::Gcm128(aes) => gcm(aes.as_ref(), iv, tag, value),
            Aes::Gcm256(aes) => gcm(aes.as_ref(), iv, tag, value),
            _ if !tag.is_empty() || !self.signs(envelope) => None,
            Aes::Cbc128(aes) => cbc(aes.as_ref(), iv, value),
            Aes::Cbc256(aes) => cbc(aes.as_ref(), iv, value),
        }
    }

    fn signs(&self, envelope: &Envelope<'_>) -> bool {
        let mac = self.mac.clone().chain_update(envelope.iv_text);
        let mac = hex(&mac.chain_update(envelope.value_text).finalize().into_bytes());
        mac.as_bytes().ct_eq(envelope.mac.as_bytes()).into()
    }
}

impl Aes {
    /// `None`: the key has another length.
    fn new(cipher: Cipher, key: &[u8]) -> Option<Self> {
        fn boxed<C: KeyInit>(key: &[u8]) -> Option<Box<C>> {
            C::new_from_slice(key).ok().map(Box::new)
        }
        match (cipher.length, cipher.gcm) {
            (16, false) => boxed(key).map(Self::Cbc128),
            (16, true) => boxed(key).map(Self::Gcm128),
            (_, false) => boxed(key).map(Self::Cbc256),
            (_, true) => boxed(key).map(Self::Gcm256),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use serde_json::Value;

    use super::*;

    /// 32 bytes from 0 on, and 16 from 100 on.
    const KEY_256: &str = "base64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const KEY_128: &str = "base64:ZGVmZ2hpamtsbW5vcHFycw==";

    /// Made by PHP's `openssl_encrypt`, `hash_hmac` and `json_encode` as `Encrypter::encrypt` calls them; what
    /// is in each.
    const ENVELOPES: [(&str, &str, &str); 9] = [
        (KEY_128, "id of aes-128-cbc, more than a block of it", "eyJpdiI6IkJwM21xdWNlT2NvdTk4SDc4aTFsL1E9PSIsInZhbHVlIjoicThHMW5LZ2tPR3FLanJGc0RNZkY2OVI5NEZTSE9Bc0k1T0VsS2lrRlIxVGxIaVY3Q25uOW9DclNHYTBiZzZBNyIsIm1hYyI6IjQ1NjY1MmRlNGM5OTk1MmJkNGI0NTY0ZDQ0NTk0N2EyOThkZDBkZjdiM2U5N2MxY2MzMGNlN2Q2YWY0YjU1MjAiLCJ0YWciOiIifQ=="),
        (KEY_128, "", "eyJpdiI6IkJwM21xdWNlT2NvdTk4SDc4aTFsL1E9PSIsInZhbHVlIjoiRFlNSGhJM3E4Z0p6ZEUwSndmK1NxQT09IiwibWFjIjoiMzlkZDAyYTAzMjAzMmZmNDNkYjkzODYzZmE1OTVmYzgyNTI5OTQyOGM1NWFiZDU2YzM1OGJlMWE2ZmMxYjdhYiIsInRhZyI6IiJ9"),
        (KEY_256, "id of aes-256-cbc, more than a block of it", "eyJpdiI6IkQ2YW1LanVoQzFuRHNOdVBoeGVxM0E9PSIsInZhbHVlIjoieThZOXF1bngzNVE2WXFFbU5mMG1td2wzWHNpN0tMNC9vTXpSMlRtWElqcHo1YTZ6dW44R3pVQW1RUmw1dVBOciIsIm1hYyI6IjQzNTFiZGMwMGExNjE0NGNiNmRhYjYzOTJjNjMxNTlmOTJhNjhjYWVkNmEzNjlkMWIzNzdhNzFjNzQ0YThmZjQiLCJ0YWciOiIifQ=="),
        (KEY_256, "", "eyJpdiI6IkQ2YW1LanVoQzFuRHNOdVBoeGVxM0E9PSIsInZhbHVlIjoiRmo5d3pDcEs5V1JiQnJEU3d5UEdtQT09IiwibWFjIjoiODQyYWQwNWMyYWUzNmY1ZjRlMzg0OTQ5YjEyNWNmY2RkNWY1ZWM5MjhlYTMyZDNhODVmMWRhOWM1NzU4ZjQ1MiIsInRhZyI6IiJ9"),
        (KEY_128, "id of aes-128-gcm, more than a block of it", "eyJpdiI6IlVyWnUrYWFtR3pHRzdaUXkiLCJ2YWx1ZSI6Ik9hU2FFNlRhOHpZcW1NZ0VyeTVCTW9jS2M0SnEzdnE3aWNuWHIzRUpIQjIrQ24vQy9qSi9SUU1CIiwibWFjIjoiIiwidGFnIjoiMlJZMXNyWWlhb2RrOVI0ZzR6RC9VZz09In0="),
        (KEY_128, "", "eyJpdiI6IlVyWnUrYWFtR3pHRzdaUXkiLCJ2YWx1ZSI6IiIsIm1hYyI6IiIsInRhZyI6InE2YUpsalFEVHZEN1NhOXZCSWdacmc9PSJ9"),
        (KEY_256, "id of aes-256-gcm, more than a block of it", "eyJpdiI6IlAwc0cxT1hHQm9KNnY4WnUiLCJ2YWx1ZSI6IjFNd2FGTjNJQ1d6ODVJSzJmRFhpUjRnZGVnc000clZSa1dBNzI0UUdlTW96UC9xa25QR2Z3cjZNIiwibWFjIjoiIiwidGFnIjoidHlqRkh3RnBUUjg1YTBmbmxReUlrQT09In0="),
        (KEY_256, "", "eyJpdiI6IlAwc0cxT1hHQm9KNnY4WnUiLCJ2YWx1ZSI6IiIsIm1hYyI6IiIsInRhZyI6Ii92S3UyZjFVRm85c3pyVkF1L0hpd0E9PSJ9"),
        // As older versions do: without a tag, with slashes escaped.
        (KEY_256, "an older Laravel", "eyJpdiI6InRBZmd1M085YXJ6a04wRzRxV3pQUkE9PSIsInZhbHVlIjoiVUJ6YXA3QlVEVnR6eHRMXC94M040RUowODc0OWJjZGoreE5uSElWMEl0bjQ9IiwibWFjIjoiMjIwZGYzZjQxMmEwM2YyMGM2YmM3MzUzMDA1ZWM3YTc1YmYzY2E1MjJkMTdlOWFkZTQ5MzdmNGVjMTk5MzkyYSJ9"),
    ];

    fn encrypter(keys: &[&str]) -> Encrypter {
        Encrypter::new(&Secrets::parse_args(keys).unwrap(), None).unwrap()
    }

    fn cipher(name: &str) -> Cipher {
        Cipher::ALL.into_iter().find(|cipher| cipher.name == name).unwrap()
    }

    /// With the one cipher that the envelope was made by.
    fn encrypter_of(key: &str, envelope: &str) -> Encrypter {
        let gcm = json(envelope)["mac"] == "";
        let name = match (key == KEY_128, gcm) {
            (true, false) => "AES-128-CBC",
            (true, true) => "AES-128-GCM",
            (false, false) => "AES-256-CBC",
            (false, true) => "AES-256-GCM",
        };
        Encrypter::new(&Secrets::parse_args(&[key]).unwrap(), Some(cipher(name))).unwrap()
    }

    fn json(envelope: &str) -> Value {
        serde_json::from_slice(&BASE64.decode(envelope).unwrap()).unwrap()
    }

    fn open_json(encrypter: &Encrypter, json: &Value) -> Option<Vec<u8>> {
        encrypter.open(BASE64.encode(json.to_string()).as_bytes())
    }

    #[test]
    fn envelopes_of_all_ciphers_are_opened() {
        for (key, plain, envelope) in ENVELOPES {
            let encrypter = encrypter_of(key, envelope);
            let opened = encrypter.open(envelope.as_bytes());
            assert_eq!(opened.as_deref(), Some(plain.as_bytes()), "{plain}");
            let unpadded = envelope.trim_end_matches('=');
            assert_eq!(encrypter.open(unpadded.as_bytes()), opened, "{plain}");
        }
    }

    #[test]
    fn no_envelope_chooses_the_cipher() {
        for (key, plain, envelope) in ENVELOPES {
            let secrets = Secrets::parse_args(&[key]).unwrap();
            let right = encrypter_of(key, envelope);
            for cipher in Cipher::ALL {
                let Ok(other) = Encrypter::new(&secrets, Some(cipher)) else { continue };
                let opened = other.open(envelope.as_bytes());
                assert_eq!(opened.is_some(), other == right, "{} {plain}", cipher.name);
            }
            let gcm = json(envelope)["mac"] == "";
            assert_eq!(encrypter(&[key]).open(envelope.as_bytes()).is_none(), gcm, "{plain}");
        }
        // Laravel refuses a tag where the cipher has none.
        let (key, _, envelope) = ENVELOPES[2];
        let mut tagged = json(envelope);
        tagged["tag"] = Value::from("AAAAAAAAAAAAAAAAAAAAAA==");
        assert_eq!(open_json(&encrypter(&[key]), &tagged), None);
    }

    #[test]
    fn previous_keys_are_tried_in_turn() {
        let another = "x".repeat(32);
        let all = encrypter(&[&another, KEY_256, "hex:00112233445566778899aabbccddeeff", KEY_128]);
        let cbc = ENVELOPES.into_iter().filter(|(_, _, envelope)| json(envelope)["mac"] != "");
        for (_, plain, envelope) in cbc {
            assert_eq!(all.open(envelope.as_bytes()).as_deref(), Some(plain.as_bytes()), "{plain}");
            assert_eq!(encrypter(&[&another, &another[..16]]).open(envelope.as_bytes()), None);
        }
    }

    #[test]
    fn each_spoilt_character_is_noticed() {
        for (key, plain, envelope) in ENVELOPES {
            let (encrypter, whole) = (encrypter_of(key, envelope), json(envelope));
            for name in ["iv", "value", "mac", "tag"] {
                let text = whole[name].as_str().unwrap_or_default();
                for at in 0..text.len() {
                    let mut spoilt = whole.clone();
                    let other = if text[at..].starts_with('b') { "c" } else { "b" };
                    spoilt[name] = Value::from([&text[..at], other, &text[at + 1..]].concat());
                    assert_eq!(open_json(&encrypter, &spoilt), None, "{name} {at} {plain}");
                }
            }
        }
    }

    #[test]
    fn what_lacks_a_part_is_not_opened() {
        for (key, plain, envelope) in ENVELOPES {
            let (encrypter, whole) = (encrypter_of(key, envelope), json(envelope));
            // With CBC nothing depends on the tag.
            let aead = whole["mac"] == "";
            for name in
                ["iv", "value", "mac", "tag"].into_iter().filter(|name| aead || *name != "tag")
            {
                for odd in [Value::Null, Value::from(7)] {
                    let mut less = whole.clone();
                    less[name] = odd;
                    assert_eq!(open_json(&encrypter, &less), None, "{name} {plain}");
                }
            }
        }
        for odd in ["", "e30=", "W10=", "bnVsbA==", "eyJpdiI6", "?"] {
            assert_eq!(encrypter(&[KEY_256]).open(odd.as_bytes()), None, "{odd}");
        }
    }

    #[test]
    fn a_tag_has_all_of_its_bytes() {
        for (key, _, envelope) in ENVELOPES {
            let (mut cut, encrypter) = (json(envelope), encrypter_of(key, envelope));
            let tag = BASE64.decode(cut["tag"].as_str().unwrap_or_default()).unwrap();
            for length in 1..tag.len() {
                cut["tag"] = Value::from(BASE64.encode(&tag[..length]));
                assert_eq!(open_json(&encrypter, &cut), None, "{length}");
            }
        }
    }

    #[test]
    fn a_captured_cookie_is_an_id_under_its_own_name() {
        for file in ["laravel-redis", "laravel-redis-predis", "laravel13-redis-json"] {
            let path = format!("{}/t/data/{file}.json", env!("CARGO_MANIFEST_DIR"));
            let told: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            let encrypter = encrypter(&[told["secret"]["app_key"].as_str().unwrap()]);
            let name = told["cookie_name"].as_str().unwrap();
            let open = |name, value: &Value| {
                let value = value.as_str().unwrap().replace("%3D", "=");
                encrypter.open_cookie(name, value.as_bytes())
            };
            let id = told["session_id"].as_str().unwrap().as_bytes();
            assert_eq!(open(name, &told["cookie_value"]).as_deref(), Some(id), "{file}");
            assert_eq!(open("XSRF-TOKEN", &told["cookie_value"]), None, "{file}");
            for value in told["rejected_cookie_values"].as_array().unwrap() {
                assert_eq!(open(name, value), None, "{file}");
            }
        }
    }

    #[test]
    fn a_cookie_of_aes_gcm_and_of_a_previous_key() {
        const COOKIE: &[u8] = b"eyJpdiI6ImFGTmJpZktGblEwNDBYZ2oiLCJ2YWx1ZSI6IkVYcTF3c1lERmtSU1MycFZOajFWeGxuTkdnZS95SHRJVGEwRTk2NHk0SzZSTEpwbVB4RGhEYy80cFNxemIxcndJTzVFMXlkbjY5a3hMYVBsYkhQR1MzTy9ObGpDaWlYbjJndmt2UmVxeGViRSIsIm1hYyI6IiIsInRhZyI6Im5tZGRZK3RTYjB2c0FRTVo3K2E4enc9PSJ9";
        let another = "x".repeat(32);
        let secrets = Secrets::parse_args(&[&another, KEY_256]).unwrap();
        let both = Encrypter::new(&secrets, Some(cipher("AES-256-GCM"))).unwrap();
        let id = &b"ZusYFbwCdasvwstaz0khogTIAlwGE2pseHAhl1gq"[..];
        assert_eq!(both.open_cookie("shop_session", COOKIE).as_deref(), Some(id));
        assert_eq!(both.open_cookie("shop", COOKIE), None);
        let (_, _, no_prefix) = ENVELOPES[7];
        assert_eq!(both.open_cookie("shop_session", no_prefix.as_bytes()), None);
    }

    #[test]
    fn a_key_of_another_length_is_named_by_its_place() {
        let refused = |content: &[u8]| {
            let secrets = Secrets::parse_file(content, "laravel.key").unwrap();
            Encrypter::new(&secrets, None).unwrap_err().to_string()
        };
        assert_eq!(
            refused(b"base64:c2VjcmV0"),
            "laravel.key line 1: APP_KEY must be 16 or 32 bytes after \"base64:\""
        );
        let second = [KEY_256, "\n", &"x".repeat(24)].concat();
        assert!(refused(second.as_bytes()).starts_with("laravel.key line 2: APP_KEY must be"));
    }

    #[test]
    fn encrypters_are_equal_by_their_keys_and_show_none() {
        assert_eq!(encrypter(&[KEY_256, KEY_128]), encrypter(&[KEY_256, KEY_128]));
        assert_ne!(encrypter(&[KEY_256, KEY_128]), encrypter(&[KEY_256]));
        let secrets = Secrets::parse_args(&[KEY_256]).unwrap();
        let gcm = Encrypter::new(&secrets, Some(cipher("AES-256-GCM"))).unwrap();
        assert_ne!(encrypter(&[KEY_256]), gcm);
        assert_eq!(format!("{:?}", encrypter(&[KEY_256, KEY_128])), "Encrypter(2)");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_not_opened(
            texts in proptest::collection::vec("[A-Za-z0-9+/]{0,24}={0,2}", 4),
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let all = encrypter(&[KEY_256, KEY_128]);
            prop_assert_eq!(all.open(&bytes), None);
            let names = ["iv", "value", "mac", "tag"].map(str::to_owned);
            let json = names.into_iter().zip(texts.into_iter().map(Value::from)).collect();
            prop_assert_eq!(open_json(&all, &json), None);
        }
    }
}
