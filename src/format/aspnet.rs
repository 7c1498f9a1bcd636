//! What ASP.NET Core's `DistributedSession` keeps: the bytes of the field `data`.
//!
//! A version byte, how many entries, the session's own id, then names and values with their lengths. Values
//! have no types: `SetString` writes UTF-8, `SetInt32` four bytes, the highest first; objects are what the
//! application makes of them, JSON mostly, and stay the text that they are.

#![forbid(unsafe_code)]

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use serde_json::Value;

use super::budget::Budget;
use super::cursor::Cursor;
use super::{Reason, Wanted};

/// `DistributedSession.SerializationRevision`.
const VERSION: u8 = 2;

/// Reads a session; its id in there is not that of its key and is left out.
pub(super) fn decode(raw: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Reason> {
    const ID: usize = 16;
    let mut data = Cursor::new(raw);
    if data.byte()? != VERSION {
        return Err(Reason::Malformed);
    }
    let count = data.number(3)?;
    data.take(ID)?;
    let mut session = budget.object(wanted.names());
    for _ in 0..count {
        let name = data.counted(2)?;
        let bytes = data.counted(4)?;
        if *wanted.member(name) != Wanted::Nothing {
            session.insert(budget.text(name)?, value(bytes, budget)?)?;
        }
    }
    match data.left() {
        0 => Ok(session.into_value()),
        _ => Err(Reason::Malformed),
    }
}

/// Whether `raw` is of that version, and its first entry's name lies in it.
pub(super) fn begins(raw: &[u8]) -> bool {
    match raw {
        [VERSION, 0, 0, 0, id @ ..] => id.len() == 16,
        [VERSION, _, _, _, rest @ ..] => {
            rest.get(16..).is_some_and(|rest| Cursor::new(rest).counted(2).is_ok())
        }
        _ => false,
    }
}

/// No text holds a NUL, but most numbers of `SetInt32` do: so they all are read alike, in base64, and not
/// some as a text.
fn value(bytes: &[u8], budget: &Budget) -> Result<Value, Reason> {
    if !bytes.contains(&0) {
        return budget.text(bytes).map(Value::String);
    }
    budget.draw(2 * bytes.len())?;
    Ok(Value::String(format!("base64:{}", STANDARD.encode(bytes))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::format::budget::tests::of;
    use crate::format::tests::{
        captured, cut_off_is_refused, edited, edits, parts_agree, pointers,
    };

    fn decode(raw: &[u8], wanted: &Wanted) -> Result<Value, Reason> {
        super::decode(raw, wanted, &of(raw))
    }

    type Entry = (&'static [u8], &'static [u8]);

    /// A session with these entries.
    fn session(entries: &[Entry]) -> Vec<u8> {
        let mut raw = vec![VERSION, 0, 0, u8::try_from(entries.len()).unwrap()];
        raw.extend([0x5a; 16]);
        for (name, value) in entries {
            raw.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
            raw.extend_from_slice(name);
            raw.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
            raw.extend_from_slice(value);
        }
        raw
    }

    const ENTRIES: [Entry; 4] = [
        (b"User", b"\0\0\x03\xe9"),
        (b"Age", b"\0\0\0A"),
        (b"Name", "é".as_bytes()),
        (b"\xff", b""),
    ];

    #[test]
    fn values_are_texts_or_base64() {
        let expected = json!({
            "User": "base64:AAAD6Q==", "Age": "base64:AAAAQQ==", "Name": "é", "base64:/w==": "",
        });
        assert_eq!(decode(&session(&ENTRIES), &Wanted::All), Ok(expected));
        assert_eq!(decode(&session(&[]), &Wanted::All), Ok(json!({})));
        let twice = session(&[(b"a", b"1"), (b"a", b"2")]);
        assert_eq!(decode(&twice, &Wanted::All), Ok(json!({"a": "2"})));
    }

    #[test]
    fn only_what_is_wanted_is_made() {
        let raw = session(&ENTRIES);
        let part = |pointer: &str| decode(&raw, &Wanted::of(&pointers(&[pointer])));
        assert_eq!(part("/Name"), Ok(json!({"Name": "é"})));
        assert_eq!(part("/base64:~1w=="), Ok(json!({"base64:/w==": ""})));
        assert_eq!(decode(&raw, &Wanted::Nothing), Ok(json!({})));
    }

    #[test]
    fn what_is_cut_off_or_goes_on_is_refused() {
        let raw = session(&ENTRIES);
        cut_off_is_refused("aspnet", std::slice::from_ref(&raw));
        for wanted in [Wanted::All, Wanted::Nothing] {
            let more = [&raw[..], b"\0"].concat();
            assert_eq!(decode(&more, &wanted), Err(Reason::Malformed));
            let another = [b"\x01", &raw[1..]].concat();
            assert_eq!(decode(&another, &wanted), Err(Reason::Malformed));
        }
    }

    #[test]
    fn how_a_session_begins() {
        assert!(begins(&session(&ENTRIES)) && begins(&session(&[])));
        let more = [&session(&[])[..], b"\0"].concat();
        for other in [&b""[..], b"\x02", b"\x02uidi:5;\x04namei:5;xxxx", &more] {
            assert!(!begins(other), "{other:?}");
        }
        for session in captured().iter().filter(|session| session.format != "aspnet") {
            assert!(!begins(&session.raw), "{}", session.name);
        }
    }

    proptest! {
        #[test]
        fn parts_of_what_is_spoilt_are_those_of_the_whole(
            edits in edits("\x02\0\x01User"),
            wanted in proptest::collection::vec("/(User|Name|[a*])", 0..3),
        ) {
            parts_agree(decode, &edited(&session(&ENTRIES), &edits), &wanted);
        }
    }
}
