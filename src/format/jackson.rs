//! JSON that Jackson wrote with default typing, as Spring's and Redisson's JSON serialisers have it write:
//! the tags that name classes are taken off.
//!
//! What is no array has its class in a member (`As.PROPERTY`): `{"@class":"com.shop.User",…}`. The rest
//! stands behind its class in an array (`As.WRAPPER_ARRAY`): `["java.util.ArrayList",[…]]`.

#![forbid(unsafe_code)]

use serde_json::{Map, Value};

use super::budget::Budget;
use super::{json, Reason, Wanted};

/// Reads JSON, all of it whatever is wanted, since a tag moves what is below it; see [`strip_tags`].
pub(super) fn decode(raw: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Reason> {
    let session = json::decode(raw, &Wanted::All, budget)?;
    Ok(strip_tags(session, wanted))
}

/// Takes the tags off a value that is nested no deeper than a format reads. The member `@class` is kept
/// where it is wanted.
///
/// An array is a tag where it has two elements, the first of them a class's name as [`is_class`] knows it.
/// What is behind a tag has no other one.
fn strip_tags(value: Value, wanted: &Wanted) -> Value {
    match value {
        Value::Array(elements) => match <[Value; 2]>::try_from(elements) {
            Ok([Value::String(class), value]) if is_class(&class) => strip_below(value, wanted),
            Ok(elements) => strip_below(Value::Array(elements.into()), wanted),
            Err(elements) => strip_below(Value::Array(elements), wanted),
        },
        value => strip_below(value, wanted),
    }
}

/// Takes the tags off what is in a value.
fn strip_below(value: Value, wanted: &Wanted) -> Value {
    match value {
        Value::Array(elements) => {
            let strip = |(at, element)| strip_tags(element, wanted.element(at));
            Value::Array(elements.into_iter().enumerate().map(strip).collect())
        }
        Value::Object(members) => {
            let is_tag = |name: &str, value: &Value| name == Wanted::CLASS && value.is_string();
            let kept =
                members.into_iter().filter(|(name, value)| wanted.class() || !is_tag(name, value));
            let strip = |(name, value): (String, Value)| {
                let value = strip_tags(value, wanted.member(name.as_bytes()));
                (name, value)
            };
            Value::Object(kept.map(strip).collect::<Map<_, _>>())
        }
        scalar => scalar,
    }
}

/// Whether a text is the name of a class, as `Class.getName` gives it: a package in lower case, a class in
/// upper case, `com.shop.Order$Item`; or an array's, `[Ljava.lang.Object;` and `[[I`; or with what
/// `EnumSet` and `EnumMap` hold, `java.util.EnumSet<com.shop.Level>`.
///
/// Jackson writes other names of classes, too, where there are such; but with these an array of two texts,
/// which has no tag, would be taken for one.
fn is_class(text: &str) -> bool {
    if let Some(element) = text.strip_prefix('[') {
        let element = element.trim_start_matches('[');
        let object = element.strip_prefix('L').and_then(|name| name.strip_suffix(';'));
        return object.map_or("BCDFIJSZ".contains(element) && element.len() == 1, is_plain_class);
    }
    match text.strip_suffix('>').and_then(|text| text.split_once('<')) {
        Some((class, held)) => is_plain_class(class) && held.split(',').all(is_plain_class),
        None => is_plain_class(text),
    }
}

fn is_plain_class(text: &str) -> bool {
    let begins = |name: &str, first: fn(char) -> bool| name.starts_with(first);
    let is_word =
        |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_$".contains(&b));
    let Some((package, class)) = text.rsplit_once('.') else { return false };
    is_word(class)
        && begins(class, |c| c.is_ascii_uppercase() || c == '$')
        && package.split('.').all(|name| is_word(name) && begins(name, |c| c.is_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use base64::Engine;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::format::budget::tests::of;
    use crate::format::tests::{parts_agree, places, pointers};
    use crate::format::MAX_DEPTH;

    fn decode(raw: &[u8], wanted: &Wanted) -> Result<Value, Reason> {
        super::decode(raw, wanted, &of(raw))
    }

    fn all(text: &str) -> Result<Value, Reason> {
        decode(text.as_bytes(), &Wanted::All)
    }

    #[test]
    fn a_captured_session_is_simplified() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/t/data/spring-session-json.json");
        let told: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let fields = told["hash_base64"].as_object().unwrap();
        assert!(!fields.is_empty());
        for (field, base64) in fields {
            let raw = STANDARD.decode(base64.as_str().unwrap()).unwrap();
            let expected = &told["expected_simplified"][field];
            assert_eq!(decode(&raw, &Wanted::All).as_ref(), Ok(expected), "{field}");
            for place in places(expected) {
                parts_agree(decode, &raw, &[place]);
            }
        }
    }

    #[test]
    fn tags_are_taken_off_at_each_depth() {
        for (text, expected) in [
            (r#"["java.lang.Long",5]"#, json!(5)),
            (r#"["java.util.ArrayList",[["java.util.Date",1],2]]"#, json!([1, 2])),
            (r#"{"@class":"A","a":{"@class":"b.C"}}"#, json!({"a": {}})),
            (r#"["b.C",{"@class":"b.C","a":["b.C$D",null]}]"#, json!({"a": null})),
            // Behind a tag stands no tag.
            (r#"["java.util.ArrayList",["b.C",1]]"#, json!(["b.C", 1])),
        ] {
            assert_eq!(all(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_tag_is_kept() {
        for text in [
            r#"["b.C"]"#,
            r#"["b.C",1,2]"#,
            r#"[1,"b.C"]"#,
            r#"["C",1]"#,
            r#"["www.example.com","x"]"#,
            r#"["a@b.Com","x"]"#,
            r#"{"@class":5}"#,
            r#"{"class":"b.C"}"#,
            r#""b.C""#,
        ] {
            assert_eq!(all(text), serde_json::from_str(text).map_err(|_| Reason::Malformed));
        }
        assert_eq!(all(r#"{"@class":"#), Err(Reason::Malformed));
    }

    #[test]
    fn names_of_classes() {
        for name in [
            "a.B",
            "com.shop.v2.Order$Item",
            "com.sun.proxy.$Proxy12",
            "java.util.Collections$UnmodifiableRandomAccessList",
            "[I",
            "[[Z",
            "[Ljava.lang.Object;",
            "java.util.EnumSet<com.shop.Level>",
            "java.util.EnumMap<com.shop.Level,java.lang.Object>",
        ] {
            assert!(is_class(name), "{name}");
        }
        for name in [
            "", ".", "B", "a.b", "A.B", "a..B", ".a.B", "a.B.", "a.B c", "a.1", "[", "[[", "[A",
            "[BC", "[La.B", "[Lint;", "a.B<", "a.B<>", "a.B<c>", "a.B>", "1a.B", "é.B",
        ] {
            assert!(!is_class(name), "{name}");
        }
    }

    #[test]
    fn a_class_is_kept_where_it_is_wanted() {
        let text = br#"{"@class":"a.B","c":["java.util.ArrayList",[{"@class":"a.D","e":1}]]}"#;
        let part = |pointer: &str| decode(text, &Wanted::of(&pointers(&[pointer]))).unwrap();
        assert_eq!(part("/@class")["@class"], json!("a.B"));
        assert_eq!(part("/c/0/@class")["c"], json!([{"@class": "a.D", "e": 1}]));
        assert_eq!(part("/c/0/e"), json!({"c": [{"e": 1}]}));
    }

    #[test]
    fn nesting_is_that_of_json() {
        let nested = |depth| format!("{}{}", r#"["a.B","#.repeat(depth), "1]".repeat(depth));
        assert_eq!(all(&nested(MAX_DEPTH + 1)), Err(Reason::TooDeep));
        let nested = |depth| format!("{}1{}", r#"["a.B",{"a":"#.repeat(depth), "}]".repeat(depth));
        assert!(all(&nested(MAX_DEPTH / 2))
            .unwrap()
            .pointer(&"/a".repeat(MAX_DEPTH / 2))
            .is_some());
    }

    proptest! {
        #[test]
        fn parts_are_those_of_the_whole(
            tokens in proptest::collection::vec(
                prop_oneof![
                    Just("["), Just("]"), Just("{"), Just("}"), Just(","), Just("\"a.B\""), Just("\"a.B\","),
                    Just("\"@class\":"), Just("\"a\":"), Just("1"),
                ],
                0..16,
            ),
            wanted in proptest::collection::vec("(/[a01*]){0,3}", 0..3),
        ) {
            parts_agree(decode, tokens.concat().as_bytes(), &wanted);
        }
    }
}
