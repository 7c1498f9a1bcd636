//! JSON (RFC 8259), as Node's, Python's and others' session stores write it.

#![forbid(unsafe_code)]

use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Value};

use super::{Reason, Wanted, MAX_DEPTH};

/// Reads a value of any kind. Of members with one name the last counts; numbers keep their digits; a lone
/// surrogate (`\ud800`, which JavaScript writes and RFC 8259 leaves open) becomes U+FFFD.
pub(super) fn decode(raw: &[u8], wanted: &Wanted) -> Result<Value, Reason> {
    let text = std::str::from_utf8(raw).map_err(|_| Reason::Malformed)?;
    if is_too_deep(raw) {
        return Err(Reason::TooDeep);
    }
    let read = match read(text, wanted) {
        Ok(value) => Some(value),
        Err(_) => mended(text).and_then(|text| self::read(&text, wanted).ok()),
    };
    read.ok_or(Reason::Malformed)
}

/// Whether `raw` begins as an object or array does.
pub(super) fn begins(raw: &[u8]) -> bool {
    match raw.trim_ascii_start() {
        [b'{', rest @ ..] => matches!(rest.trim_ascii_start().first(), Some(b'"' | b'}')),
        [b'[', ..] => true,
        _ => false,
    }
}

fn read(text: &str, wanted: &Wanted) -> serde_json::Result<Value> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Part(wanted).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Whether something is nested too deep, also where nothing is wanted and serde_json would not count.
fn is_too_deep(raw: &[u8]) -> bool {
    // Counting goes by the vector; few sessions hold so many brackets that it matters how they nest.
    if raw.iter().filter(|b| matches!(b, b'[' | b'{')).count() <= MAX_DEPTH {
        return false;
    }
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

/// The text with `\ufffd` for each lone surrogate's escape; `None` where there is none.
fn mended(text: &str) -> Option<String> {
    let mut mended = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at(at);
        mended.push_str(plain);
        let length = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                mended.push_str("\\ufffd");
                rest = escape.get(6..)?;
                continue;
            }
            (Some(_), _) => 6,
            (None, _) => 2,
        };
        mended.push_str(escape.get(..length)?);
        rest = escape.get(length..)?;
    }
    mended.push_str(rest);
    (mended != text).then_some(mended)
}

/// The UTF-16 unit of the `\uXXXX` at the beginning of `escape`.
fn unit(escape: &str) -> Option<u16> {
    let digits = escape.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

/// Reads the wanted parts of a value and skips the others; null stands where nothing is wanted.
struct Part<'w>(&'w Wanted);

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.0 {
            Wanted::Nothing => IgnoredAny::deserialize(deserializer).map(|_| Value::Null),
            Wanted::All => Value::deserialize(deserializer),
            Wanted::Some(_) => deserializer.deserialize_any(self),
        }
    }
}

/// What parts are wanted of: where it is no object or array, no pointer goes on into it.
impl<'de> Visitor<'de> for Part<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut read = Map::new();
        let mut first = true;
        while let Some(member) = members.next_key_seed(Name { wanted: self.0, first })? {
            match member {
                Member::Wanted(name, wanted) => {
                    read.insert(name, members.next_value_seed(Part(wanted))?);
                }
                Member::Unwanted => drop(members.next_value::<IgnoredAny>()?),
                Member::Number => return members.next_value::<IgnoredAny>().map(|_| Value::Null),
            }
            first = false;
        }
        Ok(Value::Object(read))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut read = Vec::new();
        while !self.0.ends_before(read.len()) {
            match elements.next_element_seed(Part(self.0.element(read.len())))? {
                Some(element) => read.push(element),
                None => return Ok(Value::Array(read)),
            }
        }
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Array(read))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

/// Reads a member's name, and looks up what is wanted of the member.
struct Name<'w> {
    wanted: &'w Wanted,
    first: bool,
}

/// What a member's name says.
enum Member<'w> {
    Wanted(String, &'w Wanted),
    Unwanted,
    /// This is no object: serde_json gives a number that keeps its digits as a map with this one member,
    /// and reads an object that begins with it as a number.
    Number,
}

const NUMBER: &str = "$serde_json::private::Number";

impl<'de, 'w> DeserializeSeed<'de> for Name<'w> {
    type Value = Member<'w>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Member<'w>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'w> Visitor<'_> for Name<'w> {
    type Value = Member<'w>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Member<'w>, E> {
        Ok(match self.wanted.member(name.as_bytes()) {
            _ if self.first && name == NUMBER => Member::Number,
            Wanted::Nothing => Member::Unwanted,
            wanted => Member::Wanted(name.to_owned(), wanted),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::format::tests::{parts_agree, pointers};

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
    fn a_number_has_no_members() {
        let wanted = ["/a/*", "/a/$serde_json::private::Number", "/b/$serde_json::private::Number"];
        let text = r#"{"a":1.5,"b":{"x":1,"$serde_json::private::Number":"2"}}"#;
        parts_agree(decode, text.as_bytes(), &wanted);
        parts_agree(
            decode,
            text.replace("1.5", r#"{"$serde_json::private::Number":"1"}"#).as_bytes(),
            &wanted,
        );
        assert_eq!(some(text, "/a/*"), Ok(json!({"a": null})));
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

    proptest! {
        #[test]
        fn a_document_reads_back(document in document()) {
            prop_assert_eq!(decode(document.to_string().as_bytes(), &Wanted::All), Ok(document));
        }

        #[test]
        fn parts_are_those_of_the_whole(document in document(), wanted in proptest::collection::vec("(/[ab0-2*]{1,2}){0,4}", 0..4)) {
            parts_agree(decode, document.to_string().as_bytes(), &wanted);
        }

        #[test]
        fn parts_of_anything_are_those_of_the_whole(
            text in r#"[{}\[\]",:a0\\u d8]{0,24}"#,
            wanted in proptest::collection::vec("(/[a0*]){0,3}", 0..3),
        ) {
            parts_agree(decode, text.as_bytes(), &wanted);
        }
    }
}
