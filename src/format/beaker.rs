//! What Beaker stores: a pickle of one text, the base64 of the session, which is a pickle again or compressed
//! JSON (`beaker/session.py`, `_encrypt_data`; `beaker/ext/redisnm.py`, `set_value`; `beaker/util.py`).
//!
//! One that Beaker encrypts (`session.encrypt_key`) is not read.

#![forbid(unsafe_code)]

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use serde_json::Value;

use super::budget::Budget;
use super::{json, pickle, wrapper, Reason, Wanted};

/// Reads a session, by either of Beaker's serializers.
pub(super) fn decode(raw: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Reason> {
    let text = pickle::decode_text(raw, budget)?;
    budget.draw(text.len())?;
    let session = STANDARD.decode(text).map_err(|_| Reason::Malformed)?;
    match pickle::begins(&session) {
        true => pickle::decode(&session, wanted, budget),
        false => json::decode(&wrapper::inflate(&session, budget)?, wanted, budget),
    }
}

/// Whether `raw` is a pickle that begins with a text or bytes: a session by itself is a dict.
pub(super) fn begins(raw: &[u8]) -> bool {
    /// The codes of texts and bytes, and the one before a length of eight bytes that may come first.
    const TEXTS: &[u8] = b"XUTBC\x8c\x8d\x8e";
    const FRAME: u8 = 0x95;
    let first = match raw {
        [0x80, 4 | 5, FRAME, rest @ ..] => rest.get(8),
        [0x80, _, first, ..] => Some(first),
        _ => None,
    };
    pickle::begins(raw) && first.is_some_and(|first| TEXTS.contains(first))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::format::budget::tests::of;
    use crate::format::tests::{captured, cut_off_is_refused, edited, edits, parts_agree};

    fn decode(raw: &[u8], wanted: &Wanted) -> Result<Value, Reason> {
        super::decode(raw, wanted, &of(raw))
    }

    /// `{"a": 1}`, by the serializers `pickle` and `json`.
    const PICKLED: &str = "gAJ9cQBYAQAAAGFxAUsBcy4=";
    const COMPRESSED: &str = "eJyrVkpUslIwrAUACeUCKQ==";

    fn stored(text: &str) -> Vec<u8> {
        let length = u32::try_from(text.len()).unwrap().to_le_bytes();
        [&b"\x80\x04X"[..], &length, text.as_bytes(), b"\x94."].concat()
    }

    #[test]
    fn sessions_of_both_serializers() {
        for text in [PICKLED, COMPRESSED] {
            let raw = stored(text);
            assert!(begins(&raw));
            assert_eq!(decode(&raw, &Wanted::All), Ok(json!({"a": 1})), "{text}");
        }
        // Python 2 and the pickler in Python frame nothing, and write bytes as they are.
        let bytes = [&b"\x80\x02U\x18"[..], PICKLED.as_bytes(), b"q\x00."].concat();
        assert!(begins(&bytes));
        assert_eq!(decode(&bytes, &Wanted::All), Ok(json!({"a": 1})));
    }

    #[test]
    fn what_is_no_session_is_refused() {
        let encrypted = "bm9uY2Vub25jZQ==c2VjcmV0";
        for raw in
            [&stored(encrypted)[..], &stored("gAI="), &stored(""), b"\x80\x04}.", b"\x80\x04", b""]
        {
            for wanted in [Wanted::All, Wanted::Nothing] {
                assert_eq!(decode(raw, &wanted), Err(Reason::Malformed));
            }
        }
        for other in [&b"\x80\x04\x95\x05\0\0\0\0\0\0\0}."[..], b"\x80\x02}q\x00.", b"{}", b""] {
            assert!(!begins(other), "{other:?}");
        }
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        cut_off_is_refused("beaker", &[PICKLED, COMPRESSED].map(stored));
    }

    fn sessions() -> Vec<Vec<u8>> {
        let captured = captured().into_iter().filter(|session| session.format == "beaker");
        let stored = [PICKLED, COMPRESSED].map(stored);
        captured.map(|session| session.raw).chain(stored).collect()
    }

    proptest! {
        #[test]
        fn parts_of_what_is_spoilt_are_those_of_the_whole(
            session in prop::sample::select(sessions()),
            edits in edits("XAgJa9=."),
        ) {
            parts_agree(decode, &edited(&session, &edits), &["/user_id", "/roles/*", "/a"]);
        }
    }
}
