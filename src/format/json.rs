//! JSON (RFC 8259), as Node's, Python's and others' session stores write it.
//!
//! Most of a session is only walked over, and checked: by [`walk`], written by hand, since what serde_json
//! takes for that is several times as much. The tests hold it against serde_json.

#![forbid(unsafe_code)]

mod text;
mod walk;

use serde_json::{Map, Number, Value};

use self::text::{unescaped, Text};
use self::walk::{find, first, next, scalar, skip, space, Found, Next, Scalar};
use super::budget::{Budget, Object};
use super::{Reason, Wanted, MAX_DEPTH};

/// Reads a value of any kind. Of members with one name the last counts; numbers keep their digits; a lone
/// surrogate (`\ud800`, which JavaScript writes and RFC 8259 leaves open) becomes U+FFFD.
///
/// What is not wanted is checked as the rest is: UTF-8, all of the grammar, nesting.
pub(super) fn decode(raw: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Reason> {
    let text = std::str::from_utf8(raw).map_err(|_| Reason::Malformed)?;
    // All texts and numbers together: none is longer than it is written, and each is written once.
    budget.draw(raw.len())?;
    match (Reader { text, budget }).value(raw, wanted, 0) {
        Some((session, rest)) if space(rest).is_empty() => Ok(session),
        _ if budget.is_spent() => Err(Reason::TooLarge),
        _ if is_too_deep(raw) => Err(Reason::TooDeep),
        _ => Err(Reason::Malformed),
    }
}

/// Whether `raw` begins as an object or array does.
pub(super) fn begins(raw: &[u8]) -> bool {
    match raw.trim_ascii_start() {
        [b'{', rest @ ..] => matches!(rest.trim_ascii_start().first(), Some(b'"' | b'}')),
        [b'[', ..] => true,
        _ => false,
    }
}

/// Whether what could not be read is nested too deep.
#[cold]
fn is_too_deep(raw: &[u8]) -> bool {
    let (mut depth, mut quoted) = (0_usize, false);
    let mut bytes = raw.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => drop(bytes.next()),
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

/// Reads the values of one session. Like [`walk`]'s, its functions take what is left of the session, and
/// also give what is left behind what they read.
struct Reader<'t> {
    text: &'t str,
    /// Where nothing is left of it, they end as if what follows were malformed.
    budget: &'t Budget,
}

impl<'t> Reader<'t> {
    /// Reads the wanted parts of a value; null stands where nothing is wanted. `depth` arrays and objects are
    /// open.
    #[inline]
    fn value(&self, rest: &'t [u8], wanted: &Wanted, depth: usize) -> Option<(Value, &'t [u8])> {
        match (wanted, space(rest)) {
            (Wanted::Nothing, rest) => Some((Value::Null, skip(rest, depth)?)),
            (_, [b'{', rest @ ..]) => self.object(rest, wanted, depth),
            (_, [b'[', rest @ ..]) => self.array(rest, wanted, depth),
            // Pointers go on into what holds no values.
            (Wanted::Some(_), rest) => Some((Value::Null, skip(rest, depth)?)),
            (Wanted::All | Wanted::Described, rest) => {
                let (scalar, rest) = scalar(rest)?;
                Some((self.scalar(scalar)?, rest))
            }
        }
    }

    fn object(&self, rest: &'t [u8], wanted: &Wanted, depth: usize) -> Option<(Value, &'t [u8])> {
        let mut object: Option<Object<'t>> = None;
        let mut item = first(rest, b'}', depth)?;
        loop {
            let found = match item {
                Next::Item(member) => find(member, wanted, depth + 1, self.budget)?,
                Next::End(rest) => Found::End(rest),
            };
            let (name, part, rest) = match found {
                Found::Member(name, part, rest) => (name, part, rest),
                Found::End(rest) => {
                    let object =
                        object.map_or_else(|| Value::Object(Map::new()), Object::into_value);
                    return Some((object, rest));
                }
            };
            let object = match &mut object {
                Some(object) => object,
                none => none.insert(self.budget.object(wanted.names())),
            };
            let (value, rest) = self.value(rest, part, depth + 1)?;
            object.insert(self.string(name)?, value).ok()?;
            item = next(rest, b'}')?;
        }
    }

    fn array(&self, rest: &'t [u8], wanted: &Wanted, depth: usize) -> Option<(Value, &'t [u8])> {
        let mut array = Vec::new();
        let mut item = first(rest, b']', depth)?;
        loop {
            let element = match item {
                Next::Item(element) => element,
                Next::End(rest) => return Some((Value::Array(array), rest)),
            };
            let at = array.len();
            let rest = if wanted.ends_before(at) {
                skip(element, depth + 1)?
            } else {
                let (value, rest) = self.value(element, wanted.element(at), depth + 1)?;
                self.budget.push(&mut array, value).ok()?;
                rest
            };
            item = next(rest, b']')?;
        }
    }

    #[inline]
    fn scalar(&self, scalar: Scalar<'t>) -> Option<Value> {
        Some(match scalar {
            Scalar::Null => Value::Null,
            Scalar::Bool(truth) => Value::Bool(truth),
            Scalar::Number(written) => Value::Number(number(self.part(written)?)?),
            Scalar::Text(text) => Value::String(self.string(text)?),
        })
    }

    #[inline(always)]
    fn string(&self, text: Text<'t>) -> Option<String> {
        let written = self.part(text.written)?;
        self.budget.escapes(written.as_bytes()).ok()?;
        if text.escaped {
            return self.unescaped(written);
        }
        Some(written.to_owned())
    }

    #[inline(never)]
    fn unescaped(&self, written: &str) -> Option<String> {
        // The time that it takes to read escapes.
        self.budget.draw(3 * written.len()).ok()?;
        Some(unescaped(written))
    }

    /// Part of the session's bytes as text, which the whole is.
    #[inline]
    fn part(&self, bytes: &'t [u8]) -> Option<&'t str> {
        let start = bytes.as_ptr().addr().checked_sub(self.text.as_ptr().addr())?;
        self.text.get(start..start.checked_add(bytes.len())?)
    }
}

/// A number as it is written. serde_json reads each; this reads the most frequent ones sooner.
fn number(written: &str) -> Option<Number> {
    match written.parse::<i64>() {
        Ok(number) if written != "-0" => Some(number.into()),
        _ => written.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::format::budget::tests::of;
    use crate::format::tests::{edited, edits, parts_agree, pointers};

    fn decode(raw: &[u8], wanted: &Wanted) -> Result<Value, Reason> {
        super::decode(raw, wanted, &of(raw))
    }

    fn all(text: &str) -> Result<Value, Reason> {
        decode(text.as_bytes(), &Wanted::All)
    }

    fn some(text: &str, pointer: &str) -> Result<Value, Reason> {
        decode(text.as_bytes(), &Wanted::of(&pointers(&[pointer])))
    }

    #[test]
    fn the_last_of_several_names_counts() {
        let text = r#"{"a":{"b":1},"c":0,"a":{"d":2},"c":3}"#;
        assert_eq!(all(text), Ok(json!({"a": {"d": 2}, "c": 3})));
        assert_eq!(some(text, "/c"), Ok(json!({"c": 3})));
        assert_eq!(some(text, "/a/b"), Ok(json!({"a": {}})));
    }

    #[test]
    fn numbers_keep_their_digits() {
        for number in ["18446744073709551616", "-9007199254740993", "0.10", "1e+400", "-0"] {
            let value = some(&format!("{{\"n\":{number},\"m\":1}}"), "/n").unwrap();
            assert_eq!(value.to_string(), format!("{{\"n\":{number}}}"));
        }
    }

    #[test]
    fn a_lone_surrogate_loses_one_character_only() {
        for (text, expected) in [
            (r#"{"a":"x\ud800y"}"#, "x\u{fffd}y"),
            (r#"{"a":"\uDC00"}"#, "\u{fffd}"),
            (r#"{"a":"\ud83d\ud83d\ude80"}"#, "\u{fffd}🚀"),
            (r#"{"a":"\ud800\n\\ud800"}"#, "\u{fffd}\n\\ud800"),
            (r#"{"b":"\ud800","a":"é\ud800\u00e9"}"#, "é\u{fffd}é"),
        ] {
            assert_eq!(all(text).unwrap()["a"], json!(expected), "{text}");
            assert_eq!(some(text, "/a").unwrap()["a"], json!(expected), "{text}");
        }
        for text in
            [r#"{"a":"\ud800"#, r#"{"a":"\ud800\"#, r#"{"a":"\ud8"}"#, r#"{"a":"\ud800","b":"\é"}"#]
        {
            assert_eq!(all(text), Err(Reason::Malformed), "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded_whatever_is_wanted() {
        let nested =
            |depth: usize| format!("{{\"a\":1,\"b\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        let quoted = format!("{{\"a\":1,\"b\":\"{}\"}}", "[\\\"{".repeat(1000));
        let wide = format!("{{\"a\":1,\"b\":[{}0]}}", "[],".repeat(1000));
        for wanted in [Wanted::All, Wanted::Nothing, Wanted::of(&pointers(&["/a"]))] {
            let of = |text: &str| decode(text.as_bytes(), &wanted).map(drop);
            assert_eq!(of(&nested(MAX_DEPTH - 1)), Ok(()));
            assert_eq!(of(&nested(MAX_DEPTH)), Err(Reason::TooDeep));
            assert_eq!(of(&nested(100_000)), Err(Reason::TooDeep));
            assert_eq!(of(&"[".repeat(100_000)), Err(Reason::TooDeep));
            assert_eq!(of(&quoted), Ok(()));
            assert_eq!(of(&wide), Ok(()));
        }
    }

    #[test]
    fn what_is_not_wanted_is_checked_and_left_out() {
        let text =
            r#"{"user":{"id":7,"name":"x","roles":["a",["b"],{"c":1}]},"cart":[1,2],"n":12}"#;
        assert_eq!(some(text, "/user/id"), Ok(json!({"user": {"id": 7}})));
        assert_eq!(some(text, "/user/roles/1"), Ok(json!({"user": {"roles": [null, ["b"]]}})));
        assert_eq!(
            some(text, "/user/roles/*/c"),
            Ok(json!({"user": {"roles": [null, [], {"c": 1}]}}))
        );
        assert_eq!(some(text, "/user/id/x"), Ok(json!({"user": {"id": null}})));
        assert_eq!(decode(text.as_bytes(), &Wanted::Nothing), Ok(Value::Null));
        for cut in 1..text.len() {
            assert_eq!(some(&text[..cut], "/user/id"), Err(Reason::Malformed), "{cut}");
            assert_eq!(
                decode(&text.as_bytes()[..cut], &Wanted::Nothing),
                Err(Reason::Malformed),
                "{cut}"
            );
        }
        assert_eq!(some(&format!("{text} x"), "/n"), Err(Reason::Malformed));
        assert_eq!(decode(b"{\"a\":1,\"b\":\"\xff\"}", &Wanted::Nothing), Err(Reason::Malformed));
    }

    #[test]
    fn a_session_need_not_be_an_object() {
        assert_eq!(all(" 5 "), Ok(json!(5)));
        assert_eq!(some("\"x\"", "/a"), Ok(Value::Null));
        assert_eq!(some("true", "/a"), Ok(Value::Null));
        assert_eq!(some("[1,2]", "/1"), Ok(json!([null, 2])));
    }

    #[test]
    fn a_name_of_serde_jsons_own_is_one_as_any() {
        let name = "$serde_json::private::Number";
        for value in ["\"1\"", "\"x\"", "{}"] {
            let text = format!("{{\"a\":1.5,\"b\":{{\"{name}\":{value}}}}}");
            assert_eq!(
                all(&text).unwrap().pointer(&format!("/b/{name}")).unwrap().to_string(),
                value
            );
            let wanted = ["/a/*", "/b", &format!("/a/{name}"), &format!("/b/{name}")];
            parts_agree(decode, text.as_bytes(), &wanted);
        }
        assert_eq!(some("{\"a\":1.5}", "/a/*"), Ok(json!({"a": null})));
    }

    #[test]
    fn how_json_begins() {
        for text in ["{\"a\":1}", " \n{ }", "[1]", "{\""] {
            assert!(begins(text.as_bytes()), "{text}");
        }
        for text in ["a|i:1;", "a:1:{", "{x", "\"a\"", "12", ""] {
            assert!(!begins(text.as_bytes()), "{text}");
        }
    }

    fn document() -> impl Strategy<Value = Value> {
        let name = "[ab0-2\\PC]{0,2}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::vec((name, inner), 0..5)
                    .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
            ]
        })
    }

    /// Checks that a value is what serde_json reads; but for lone surrogates, which that refuses.
    fn as_serde_json_reads(raw: &[u8]) {
        let surrogate = || String::from_utf8_lossy(raw).to_lowercase().contains("\\ud");
        match (decode(raw, &Wanted::All), serde_json::from_slice::<Value>(raw)) {
            (Ok(value), Ok(expected)) => assert_eq!(value, expected),
            (Ok(value), Err(_)) => assert!(surrogate(), "{value}"),
            (Err(reason), Ok(expected)) => panic!("{reason:?} for {expected}"),
            (Err(_), Err(_)) => {}
        }
    }

    proptest! {
        #[test]
        fn a_document_reads_back(document in document()) {
            let compact = document.to_string();
            prop_assert_eq!(decode(compact.as_bytes(), &Wanted::All), Ok(document.clone()));
            let spaced = serde_json::to_string_pretty(&document).unwrap();
            prop_assert_eq!(decode(spaced.as_bytes(), &Wanted::All), Ok(document));
        }

        #[test]
        fn parts_are_those_of_the_whole(document in document(), wanted in proptest::collection::vec("(/[ab0-2*]{1,2}){0,4}", 0..4)) {
            parts_agree(decode, document.to_string().as_bytes(), &wanted);
        }

        #[test]
        fn a_spoilt_document_is_read_as_by_serde_json(
            document in document(),
            edits in edits(r#"{}[]":,\u0123456789abcdefDE+-.tnr /"#),
            wanted in proptest::collection::vec("(/[ab0-2*]{1,2}){0,3}", 0..3),
        ) {
            let spoilt = edited(document.to_string().as_bytes(), &edits);
            as_serde_json_reads(&spoilt);
            parts_agree(decode, &spoilt, &wanted);
        }

        #[test]
        fn anything_is_read_as_by_serde_json(
            text in r#"[{}\[\]",:a0\\u d8]{0,24}|[-+.eE01 ]{0,8}|"[\\u0dDa8-9cnx"]{0,16}""#,
            wanted in proptest::collection::vec("(/[a0*]){0,3}", 0..3),
        ) {
            as_serde_json_reads(text.as_bytes());
            parts_agree(decode, text.as_bytes(), &wanted);
        }

        #[test]
        fn escapes_are_read_as_utf_16(
            units in proptest::collection::vec(prop_oneof![0xd7fe_u16..=0xe001, any::<u16>()], 0..6),
        ) {
            let text: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            prop_assert_eq!(all(&format!("\"{text}\"")), Ok(json!(String::from_utf16_lossy(&units))));
        }
    }
}
