//! What Django's signing writes (`django/core/signing.py`, `dumps`), which its sessions in a database and those
//! of django-redis-sessions are: `[.]base64url:time:signature`, the time in base 62. Behind a point the payload
//! is compressed by zlib; it is JSON, or by Django's PickleSerializer a pickle.
//!
//! The signature is not verified here: the value comes from the store, not from a client.

#![forbid(unsafe_code)]

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;
use serde_json::Value;

use super::budget::Budget;
use super::{json, pickle, wrapper, Reason, Wanted};

/// Reads the payload of a signed text.
pub(super) fn decode(raw: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Reason> {
    let payload = payload(raw).ok_or(Reason::Malformed)?;
    budget.draw(payload.len())?;
    let unbase64 = |text| URL_SAFE_NO_PAD.decode(text).map_err(|_| Reason::Malformed);
    let session = match payload.strip_prefix(b".") {
        Some(compressed) => wrapper::inflate(&unbase64(compressed)?, budget)?,
        None => unbase64(payload)?,
    };
    match pickle::begins(&session) {
        true => pickle::decode(&session, wanted, budget),
        false => json::decode(&session, wanted, budget),
    }
}

/// Whether `raw` ends with a time and a signature.
pub(super) fn begins(raw: &[u8]) -> bool {
    payload(raw).is_some()
}

/// What is before the time and the signature, which is an HMAC of SHA-1 or SHA-256.
fn payload(raw: &[u8]) -> Option<&[u8]> {
    /// How many digits a time has: 11 are as many as fit into 64 bits.
    const TIME: std::ops::RangeInclusive<usize> = 1..=11;
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let (rest, signature) =
        split_last(raw, 43).filter(|(_, last)| matches!(last.len(), 27 | 43))?;
    let (payload, time) = split_last(rest, 11).filter(|(_, last)| TIME.contains(&last.len()))?;
    let well_formed = signature.iter().all(is_base64) && time.iter().all(u8::is_ascii_alphanumeric);
    well_formed.then_some(payload)
}

/// What is before the last `:` and after it; that is no longer than `most`.
fn split_last(text: &[u8], most: usize) -> Option<(&[u8], &[u8])> {
    let start = text.len().saturating_sub(most.saturating_add(1));
    let colon = memchr::memrchr(b':', text.get(start..)?)?.saturating_add(start);
    Some((text.get(..colon)?, text.get(colon.saturating_add(1)..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::format::budget::tests::of;
    use crate::format::tests::{captured, edited, edits, parts_agree};

    fn decode(raw: &[u8], wanted: &Wanted) -> Result<Value, Reason> {
        super::decode(raw, wanted, &of(raw))
    }

    /// A time and a signature.
    const SIGNED: &str = ":1QaUZC:YIye-ze3TTx7gtSv422nZA4sgmk";

    fn read(payload: &str) -> Result<Value, Reason> {
        decode(format!("{payload}{SIGNED}").as_bytes(), &Wanted::All)
    }

    #[test]
    fn payloads_of_each_kind() {
        // What `signing.dumps` gives for its documentation's examples.
        assert_eq!(read("ImhlbGxvIg"), Ok(json!("hello")));
        let compressed = ".eJwFwcERACAIwLCF-rCiILN47r-GyZVJsNgkxaFxoDgxcOHGxMKD_T7vhAml";
        assert_eq!(read(compressed), Ok((1..20).collect()));
        assert_eq!(read("gAJ9cQBYAQAAAGFxAUsBcy4"), Ok(json!({"a": 1})));
    }

    #[test]
    fn what_is_not_signed_is_no_such_text() {
        for text in [
            "",
            "::",
            "ImhlbGxvIg",
            ":YIye-ze3TTx7gtSv422nZA4sgmk",
            "ImhlbGxvIg:YIye-ze3TTx7gtSv422nZA4sgmk",
            "ImhlbGxvIg::YIye-ze3TTx7gtSv422nZA4sgmk",
            "ImhlbGxvIg:1Qa-ZC:YIye-ze3TTx7gtSv422nZA4sgmk",
            "ImhlbGxvIg:123456789012:YIye-ze3TTx7gtSv422nZA4sgmk",
            "ImhlbGxvIg:1QaUZC:YIye-ze3TTx7gtSv422nZA4sgm",
            "ImhlbGxvIg:1QaUZC:YIye+ze3TTx7gtSv422nZA4sgmk",
        ] {
            assert!(!begins(text.as_bytes()), "{text}");
            assert_eq!(decode(text.as_bytes(), &Wanted::All), Err(Reason::Malformed), "{text}");
        }
        for payload in
            ["", ".", "Imh!", "ImhlbGxvIg==", ".ImhlbGxvIg", "ImhlbGxv", "eJwFwcERACAIwLCF"]
        {
            assert!(begins(format!("{payload}{SIGNED}").as_bytes()), "{payload}");
            assert_eq!(read(payload), Err(Reason::Malformed), "{payload}");
        }
    }

    fn sessions() -> Vec<Vec<u8>> {
        let captured = captured().into_iter().filter(|session| session.format == "django_signed");
        captured.map(|session| session.raw).collect()
    }

    proptest! {
        #[test]
        fn parts_of_what_is_spoilt_are_those_of_the_whole(
            session in prop::sample::select(sessions()),
            edits in edits(".:-_AeJ0"),
        ) {
            parts_agree(decode, &edited(&session, &edits), &["/_auth_user_id", "/roles/*"]);
        }
    }
}
