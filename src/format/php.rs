//! What PHP's own session handlers write: `php`, `php_serialize`, `php_binary`.
//!
//! The layouts are those of `ext/session/session.c`; what is in them, `serialize` values, is read by
//! [`reader`] from the tokens of [`lexer`]. Nothing is ever made of a class: objects are their properties. What
//! an object with its own format (`C:`, of a class that implements `Serializable`) holds is one text. Its class
//! calls `unserialize` for it, mostly, which takes slots; a reference to one behind is null, since any value that
//! we could take for it might be another user's.

#![forbid(unsafe_code)]

mod convention;
mod lexer;
mod reader;

use serde_json::{Map, Value};

use self::lexer::{Lexer, Slots, Token};
use self::reader::Reader;
use super::budget::{Budget, Object};
use super::{json, Reason, Wanted};

pub(super) use self::convention::float;
pub(super) use self::lexer::Key;

/// How a handler lays out a session; each names its values itself but `php_serialize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `php`: name, `|`, value, without anything between or at the end.
    Named,
    /// `php_serialize`: one value, the array of all.
    Whole,
    /// `php_binary`: a byte with the length of the name, the name, a value.
    Counted,
}

/// Handler `php`.
pub(super) fn decode(raw: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Reason> {
    Layout::Named.decode(raw, wanted, budget)
}

/// Handler `php_serialize`. What it writes is an array; any other value is read as well.
///
/// A framework that keeps its sessions in its own cache serialises an array, or writes it as JSON, and has
/// the cache serialise that text once more (ThinkPHP 6, Laravel): then it is read twice.
pub(super) fn decode_serialize(
    raw: &[u8],
    wanted: &Wanted,
    budget: &Budget,
) -> Result<Value, Reason> {
    match sole_text(raw) {
        Some(session @ [b'a', b':', ..]) => Layout::Whole.decode(session, wanted, budget),
        Some(session @ [b'{', ..]) => json::decode(session, wanted, budget),
        _ => Layout::Whole.decode(raw, wanted, budget),
    }
}

/// Handler `php_binary`.
pub(super) fn decode_binary(raw: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Reason> {
    Layout::Counted.decode(raw, wanted, budget)
}

/// Whether `raw` begins with a name, `|`, and a value.
pub(super) fn begins(raw: &[u8]) -> bool {
    let bar = raw.iter().position(|b| *b == b'|');
    bar.and_then(|at| raw.get(at + 1..)).is_some_and(begins_serialize)
}

/// Whether `raw` begins with a value.
pub(super) fn begins_serialize(raw: &[u8]) -> bool {
    match raw {
        [b'N', b';', ..] => true,
        [b'a' | b's' | b'O' | b'C' | b'E', b':', length, ..] => length.is_ascii_digit(),
        [b'b', b':', b'0' | b'1', b';', ..] => true,
        [b'i', b':', first, ..] => first.is_ascii_digit() || *first == b'-',
        [b'd', b':', first, ..] => first.is_ascii_digit() || b"-.IN".contains(first),
        _ => false,
    }
}

/// Whether `raw` begins with a length, a name of that length, and a value.
pub(super) fn begins_binary(raw: &[u8]) -> bool {
    let value = raw.split_first().and_then(|(length, rest)| rest.get(usize::from(*length)..));
    value.is_some_and(begins_serialize)
}

/// The text that `raw` is, where it is nothing else.
fn sole_text(raw: &[u8]) -> Option<&[u8]> {
    let mut lexer = Lexer::new(raw);
    match lexer.token() {
        Ok(Token::Text(text)) if lexer.is_done() => Some(text),
        _ => None,
    }
}

impl Layout {
    fn decode(self, raw: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Reason> {
        let mut reader = Reader::new(raw, self, budget);
        if self == Self::Whole {
            let session = reader.value(wanted, None)?;
            return if reader.lexer.is_done() { Ok(session) } else { Err(Reason::Malformed) };
        }
        let mut session = None;
        while let Some((name, part)) = reader.lexer.find(wanted, 0, |lexer| self.name(lexer))? {
            let session = match &mut session {
                Some(session) => session,
                none => none.insert(budget.object(wanted.names())),
            };
            session.insert(name.name(budget)?, reader.value(part, None)?)?;
        }
        Ok(session.map_or_else(|| Value::Object(Map::new()), Object::into_value))
    }

    /// The slots of a whole session, by which references name values: they are counted through all of it.
    fn slots(self, raw: &[u8], budget: &Budget) -> Result<Slots, Reason> {
        let mut lexer = Lexer::new(raw);
        let mut slots = Slots::default();
        if self == Self::Whole {
            lexer.note(0, &mut slots, budget)?;
            return Ok(slots);
        }
        while self.name(&mut lexer)?.is_some() {
            lexer.note(0, &mut slots, budget)?;
        }
        Ok(slots)
    }

    /// The name of the value that comes next; `None` at the end.
    fn name<'r>(self, lexer: &mut Lexer<'r>) -> Result<Option<Key<'r>>, Reason> {
        /// Marks a variable that was registered but not set, in a length: no value follows.
        const UNDEFINED: u8 = 0x80;
        while !lexer.is_done() {
            if self == Self::Named {
                return lexer.until(b'|').map(Key::Text).map(Some);
            }
            let length = lexer.byte()?;
            let name = lexer.take(usize::from(length & !UNDEFINED))?;
            if length & UNDEFINED == 0 {
                return Ok(Some(Key::Text(name)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::format::budget::tests::of;
    use crate::format::tests::{captured, edited, edits, parts_agree, pointers};
    use crate::format::MAX_DEPTH;

    fn decode(raw: &[u8], wanted: &Wanted) -> Result<Value, Reason> {
        super::decode(raw, wanted, &of(raw))
    }

    fn decode_serialize(raw: &[u8], wanted: &Wanted) -> Result<Value, Reason> {
        super::decode_serialize(raw, wanted, &of(raw))
    }

    fn decode_binary(raw: &[u8], wanted: &Wanted) -> Result<Value, Reason> {
        super::decode_binary(raw, wanted, &of(raw))
    }

    type Decode = fn(&[u8], &Wanted) -> Result<Value, Reason>;
    const HANDLERS: [Decode; 3] = [decode, decode_serialize, decode_binary];

    fn whole(text: &str) -> Result<Value, Reason> {
        decode_serialize(text.as_bytes(), &Wanted::All)
    }

    #[test]
    fn an_array_that_was_serialised_twice() {
        assert_eq!(whole(r#"s:18:"a:1:{s:1:"n";i:7;}";"#), Ok(json!({ "n": 7 })));
        assert_eq!(whole(r#"s:18:"a:1:{s:1:"n";i:7;}";x"#), Err(Reason::Malformed));
        assert_eq!(whole(r#"s:17:"a:1:{s:1:"n";i:7;";"#), Err(Reason::Malformed));
        assert_eq!(whole(r#"s:4:"i:7;";"#), Ok(json!("i:7;")));
        assert_eq!(whole(r#"a:1:{i:0;s:6:"a:0:{}";}"#), Ok(json!(["a:0:{}"])));
    }

    #[test]
    fn json_that_was_serialised() {
        assert_eq!(whole(r#"s:15:"{"n":[7,"\u00e9"]}";"#), Err(Reason::Malformed));
        assert_eq!(whole(r#"s:18:"{"n":[7,"\u00e9"]}";"#), Ok(json!({ "n": [7, "é"] })));
        assert_eq!(whole(r#"s:5:"{"n":";"#), Err(Reason::Malformed));
        assert_eq!(whole(r#"a:1:{i:0;s:2:"{}";}"#), Ok(json!(["{}"])));
        assert_eq!(whole(r#"s:2:"[]";"#), Ok(json!("[]")));
    }

    #[test]
    fn a_class_is_given_where_it_is_asked_for() {
        let value = br#"user|O:8:"App\User":1:{s:2:"id";i:7;}same|r:1;list|a:1:{i:0;O:1:"B":0:{}}"#;
        let part = |wanted: &[&str]| decode(value, &Wanted::of(&pointers(wanted))).unwrap();
        let class = json!({"@class": "App\\User", "id": 7});
        let described = json!({"user": class, "same": class, "list": [{"@class": "B"}]});
        assert_eq!(decode(value, &Wanted::Described), Ok(described));
        assert_eq!(
            part(&["/user/@class", "/list/0/@class"]),
            json!({"user": {"@class": "App\\User"}, "list": [{"@class": "B"}]})
        );
        assert_eq!(part(&["/same/@class"]), json!({"same": {"@class": "App\\User"}}));
        assert_eq!(part(&["/user/id"]), json!({"user": {"id": 7}}));
        let hidden = br#"O:1:"A":1:{s:6:"@class";i:1;}"#;
        assert_eq!(decode_serialize(hidden, &Wanted::Described), Ok(json!({"@class": 1})));
    }

    #[test]
    fn each_kind_of_value() {
        for (text, value) in [
            ("N;", json!(null)),
            ("b:1;", json!(true)),
            ("i:-9223372036854775808;", json!(i64::MIN)),
            ("d:0.1;", json!(0.1)),
            ("d:1.0E+25;", json!(1e25)),
            ("d:-INF;", json!("-INF")),
            ("s:6:\"a\";}|b\";", json!("a\";}|b")),
            ("s:2:\"\u{e9}\";", json!("\u{e9}")),
            ("a:0:{}", json!([])),
            ("a:2:{i:0;N;i:1;b:0;}", json!([null, false])),
            ("a:2:{i:1;N;i:0;N;}", json!({"1": null, "0": null})),
            ("a:3:{i:0;i:7;i:2;i:8;s:1:\"k\";i:9;}", json!({"0": 7, "2": 8, "k": 9})),
            ("O:1:\"A\":0:{}", json!({})),
            ("O:1:\"A\":1:{i:0;i:1;}", json!({"0": 1})),
            ("O:1:\"A\":2:{s:4:\"\0*\0p\";i:1;s:4:\"\0A\0q\";i:2;}", json!({"p": 1, "q": 2})),
            ("C:1:\"A\":5:{;}|\"{}", json!(";}|\"{")),
            ("E:3:\"A:B\";", json!("A:B")),
        ] {
            assert_eq!(whole(text), Ok(value), "{text}");
        }
        assert_eq!(decode_serialize(b"s:2:\"\xff\x00\";", &Wanted::All), Ok(json!("base64:/wA=")));
        assert_eq!(whole("d:-0;").unwrap().to_string(), "-0.0");
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for text in [
            "",
            "N",
            "i:;",
            "i:1",
            "i:x;",
            "i:1.5;",
            "i:9223372036854775808;",
            "d:;",
            "d:infinity;",
            "b:2;",
            "b:1",
            "s:1:\"ab\";",
            "s:9:\"ab\";",
            "s:-1:\"\";",
            "s:+1:\"a\";",
            "s:99999999999999999999:\"a\";",
            "s:2:\"ab\"",
            "a:1:{}",
            "a:-1:{}",
            "a:999999999:{",
            "a:999999999:{i:0;N;}",
            "a:18446744073709551615:{i:0;N;}",
            "a:1:{N;N;}",
            "a:1:{a:0:{}N;}",
            "a:0:{};",
            "a:1:{i:0;N;i:1;N;}",
            "O:1:\"A\":1:{}",
            "O:1:\"A\";",
            "C:1:\"A\":9:{x}",
            "C:1:\"A\":18446744073709551615:{x}",
            "E:9:\"A\";",
            "x:1;",
            "N;N;",
            "S:1:\"a\";",
        ] {
            assert_eq!(whole(text), Err(Reason::Malformed), "{text}");
            assert_eq!(
                decode_serialize(text.as_bytes(), &Wanted::Nothing),
                Err(Reason::Malformed),
                "{text}"
            );
        }
    }

    #[test]
    fn references_count_slots_as_php_does() {
        // An r: takes a slot, an R: and a key do not; with names the session itself has none.
        let value = "a|O:1:\"A\":1:{s:1:\"n\";i:1;}b|r:1;c|i:5;d|R:4;e|R:1;f|a:1:{i:0;R:4;}";
        let expected =
            json!({"a": {"n": 1}, "b": {"n": 1}, "c": 5, "d": 5, "e": {"n": 1}, "f": [5]});
        assert_eq!(decode(value.as_bytes(), &Wanted::All), Ok(expected));
        let value = b"\x01ai:5;\x81u\x01bR:1;";
        assert_eq!(decode_binary(value, &Wanted::All), Ok(json!({"a": 5, "b": 5})));
        assert_eq!(whole("a:2:{i:0;i:5;i:1;R:2;}"), Ok(json!([5, 5])));
    }

    #[test]
    fn behind_a_format_of_its_own_a_reference_is_none() {
        // As PHP 8.2 writes it and reads it again: the user is the seller, since the cart's content has two slots.
        let value = br#"cart|C:4:"Cart":14:{a:1:{i:0;i:7;}}seller|O:4:"User":1:{s:2:"id";s:5:"alice";}buyer|O:4:"User":1:{s:2:"id";s:3:"bob";}user|r:4;"#;
        let session = decode(value, &Wanted::All).unwrap();
        assert_eq!((&session["seller"]["id"], &session["user"]), (&json!("alice"), &json!(null)));
        parts_agree(decode, value, &["/user/id", "/buyer", "/cart"]);
        // What stands before it keeps its slot, and so does the object itself; what takes it in, too.
        let value = r#"a:4:{i:0;i:5;i:1;C:1:"A":1:{x}i:2;a:2:{i:0;R:2;i:1;r:3;}i:3;a:2:{i:0;R:4;i:1;R:1;}}"#;
        assert_eq!(whole(value), Ok(json!([5, "x", [5, "x"], [null, null]])));
        assert_eq!(whole(r#"a:2:{i:0;C:1:"A":0:{}i:1;R:9;}"#), Ok(json!(["", null])));
        assert_eq!(whole(r#"a:2:{i:0;C:1:"A":0:{}i:1;R:0;}"#), Err(Reason::Malformed));
    }

    #[test]
    fn a_reference_may_name_what_was_skipped() {
        let value = b"a|a:2:{i:0;s:1:\"x\";i:1;i:7;}b|R:3;";
        assert_eq!(decode(value, &Wanted::of(&pointers(&["/b"]))), Ok(json!({"b": 7})));
    }

    #[test]
    fn cycles_are_cut() {
        assert_eq!(whole("a:1:{i:0;R:1;}"), Ok(json!([null])));
        assert_eq!(
            whole("a:1:{s:1:\"o\";O:1:\"A\":2:{s:4:\"self\";r:2;s:1:\"b\";a:1:{s:2:\"up\";R:2;}}}"),
            Ok(json!({"o": {"self": null, "b": {"up": null}}}))
        );
        // Each of two names the other.
        assert_eq!(
            decode(b"a|a:1:{s:1:\"b\";a:1:{s:1:\"a\";R:1;}}b|R:2;", &Wanted::All),
            Ok(json!({"a": {"b": {"a": null}}, "b": {"a": {"b": {"a": null}}}}))
        );
    }

    #[test]
    fn references_to_nothing_are_refused() {
        for text in [
            "R:1;",
            "r:1;",
            "a:1:{i:0;R:0;}",
            "a:1:{i:0;R:3;}",
            "a:1:{i:0;r:2;}",
            "a:2:{i:0;R:3;i:1;N;}",
        ] {
            for wanted in [Wanted::All, Wanted::Nothing] {
                assert_eq!(
                    decode_serialize(text.as_bytes(), &wanted),
                    Err(Reason::Malformed),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn copies_of_copies_are_bounded() {
        // Each array holds the one before it twice.
        let mut bomb = String::from("a|a:1:{i:0;i:1;}");
        let mut slot = 1;
        for level in 0..40 {
            let next = slot + if level == 0 { 2 } else { 1 };
            bomb += &format!("n{level}|a:2:{{i:0;R:{slot};i:1;R:{slot};}}");
            slot = next;
        }
        assert_eq!(decode(bomb.as_bytes(), &Wanted::All), Err(Reason::TooLarge));
        // One long text, named over and over.
        let names: String = (0..5000).map(|at| format!("n{at}|R:1;")).collect();
        let bomb = format!("a|s:60000:\"{}\";{names}", "x".repeat(60_000));
        assert_eq!(decode(bomb.as_bytes(), &Wanted::All), Err(Reason::TooLarge));
        // A chain in which each names the one before it.
        let chain: String = (1..60_000).map(|slot| format!("n{slot}|r:{slot};")).collect();
        let chain = format!("a|i:1;{chain}");
        assert_eq!(decode(chain.as_bytes(), &Wanted::All), Err(Reason::TooLarge));
        assert!(decode(chain.as_bytes(), &Wanted::of(&pointers(&["/n100"]))).is_ok());
    }

    #[test]
    fn nesting_is_bounded_whatever_is_wanted() {
        let nested =
            |depth: usize| format!("a|i:1;b|{}N;{}", "a:1:{i:0;".repeat(depth), "}".repeat(depth));
        for wanted in [Wanted::All, Wanted::Nothing, Wanted::of(&pointers(&["/a"]))] {
            let of = |text: &str| decode(text.as_bytes(), &wanted).map(drop);
            assert_eq!(of(&nested(MAX_DEPTH)), Ok(()));
            assert_eq!(of(&nested(MAX_DEPTH + 1)), Err(Reason::TooDeep));
            assert_eq!(of(&nested(100_000)), Err(Reason::TooDeep));
        }
        // A copy may not reach deeper than what is written.
        let deep = format!("{}N;{}", "a:1:{i:0;".repeat(100), "}".repeat(100));
        let copied = format!("a|{deep}b|{}R:1;{}", "a:1:{i:0;".repeat(50), "}".repeat(50));
        assert_eq!(decode(copied.as_bytes(), &Wanted::All), Err(Reason::TooDeep));
    }

    #[test]
    fn how_each_handler_lays_out_names() {
        let expected = Ok(json!({"a": 1, "b|c": [2]}));
        assert_eq!(whole("a:2:{s:1:\"a\";i:1;s:3:\"b|c\";a:1:{i:0;i:2;}}"), expected);
        assert_eq!(decode_binary(b"\x01ai:1;\x03b|ca:1:{i:0;i:2;}", &Wanted::All), expected);
        assert_eq!(decode(b"a|i:1;a|i:2;|N;", &Wanted::All), Ok(json!({"a": 2, "": null})));
        for cut_off in [&b"a"[..], b"a|", b"a|i:1;b"] {
            assert_eq!(decode(cut_off, &Wanted::All), Err(Reason::Malformed));
        }
        for cut_off in [&b"\x01"[..], b"\x02a", b"\x01a", b"\x81", b"\x01ai:1;\x00"] {
            assert_eq!(decode_binary(cut_off, &Wanted::All), Err(Reason::Malformed));
        }
    }

    #[test]
    fn numbers_and_lengths_have_no_room_but_their_own() {
        for (number, value) in [
            ("9223372036854775807", Ok(json!(i64::MAX))),
            ("-9223372036854775808", Ok(json!(i64::MIN))),
            ("00000000000000000000000000007", Ok(json!(7))),
            ("-0", Ok(json!(0))),
            ("9223372036854775808", Err(Reason::Malformed)),
            ("-9223372036854775809", Err(Reason::Malformed)),
            ("18446744073709551616", Err(Reason::Malformed)),
            ("184467440737095516150", Err(Reason::Malformed)),
            ("--1", Err(Reason::Malformed)),
        ] {
            assert_eq!(whole(&format!("i:{number};")), value, "{number}");
            let skipped = decode_serialize(format!("i:{number};").as_bytes(), &Wanted::Nothing);
            assert_eq!(skipped.is_ok(), value.is_ok(), "{number}");
        }
        assert_eq!(whole("s:0002:\"ab\";"), Ok(json!("ab")));
        assert_eq!(whole("s:18446744073709551615:\"ab\";"), Err(Reason::Malformed));
    }

    #[test]
    fn members_are_wanted_by_their_names_in_json() {
        let value = b"a|O:1:\"A\":2:{s:4:\"\0*\0p\";i:1;i:-7;i:2;}b|a:2:{s:4:\"\0*\0p\";i:3;s:1:\"\xff\";i:4;}\xfe|i:5;";
        let wanted = ["/a/p", "/a/-7", "/b/p", "/b/\0*\0p", "/b/base64:~1w==", "/base64:~1g=="];
        parts_agree(decode, value, &wanted);
        let part = |pointer: &str| decode(value, &Wanted::of(&pointers(&[pointer])));
        assert_eq!(part("/a/p"), Ok(json!({"a": {"p": 1}})));
        assert_eq!(part("/a/-7"), Ok(json!({"a": {"-7": 2}})));
        assert_eq!(part("/b/p"), Ok(json!({"b": {}})));
        assert_eq!(part("/b/base64:~1w=="), Ok(json!({"b": {"base64:/w==": 4}})));
        assert_eq!(part("/base64:~1g=="), Ok(json!({"base64:/g==": 5})));
    }

    #[test]
    fn only_what_is_wanted_is_made() {
        let value = b"user|a:2:{s:2:\"id\";i:7;s:4:\"name\";s:1:\"x\";}list|a:3:{i:0;i:1;i:1;i:2;i:2;i:3;}cart|N;";
        let part = |pointer: &str| decode(value, &Wanted::of(&pointers(&[pointer])));
        assert_eq!(part("/user/id"), Ok(json!({"user": {"id": 7}})));
        assert_eq!(part("/list/1"), Ok(json!({"list": [null, 2]})));
        assert_eq!(decode(value, &Wanted::Nothing), Ok(json!({})));
    }

    #[test]
    fn captured_sessions_cut_off_or_spoilt_never_break() {
        for session in captured() {
            for handler in HANDLERS {
                for cut in 0..session.raw.len() {
                    let _ = handler(&session.raw[..cut], &Wanted::All);
                    let mut spoilt = session.raw.clone();
                    spoilt[cut] ^= 0x15;
                    parts_agree(handler, &spoilt, &["/user/name", "/a", "/cart/*"]);
                }
            }
        }
    }

    /// A serialized value beside what it is to be read as.
    fn value() -> impl Strategy<Value = (String, Value)> {
        let leaf = prop_oneof![
            Just(("N;".to_owned(), Value::Null)),
            any::<bool>().prop_map(|b| (format!("b:{};", u8::from(b)), Value::from(b))),
            any::<i64>().prop_map(|n| (format!("i:{n};"), Value::from(n))),
            any::<f64>().prop_map(|n| (format!("d:{n:?};"), Value::from(n))),
            // What begins so is a session within a string.
            "([^{a]\\PC{0,3})?".prop_map(|s| (format!("s:{}:\"{s}\";", s.len()), Value::from(s))),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            let members = proptest::collection::btree_map("[a-c]{0,2}", inner.clone(), 0..5);
            prop_oneof![
                proptest::collection::vec(inner, 0..5).prop_map(|list| {
                    let text: String = list
                        .iter()
                        .enumerate()
                        .map(|(at, (text, _))| format!("i:{at};{text}"))
                        .collect();
                    let value = list.iter().map(|(_, value)| value.clone()).collect();
                    (format!("a:{}:{{{text}}}", list.len()), value)
                }),
                members.prop_map(|members| {
                    let text: String = members
                        .iter()
                        .map(|(name, (text, _))| format!("s:{}:\"{name}\";{text}", name.len()))
                        .collect();
                    let value: Map<_, _> = members
                        .iter()
                        .map(|(name, (_, value))| (name.clone(), value.clone()))
                        .collect();
                    (format!("O:1:\"A\":{}:{{{text}}}", members.len()), value.into())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_value_reads_back((text, value) in value()) {
            prop_assert_eq!(whole(&text), Ok(value.clone()));
            prop_assert_eq!(decode(format!("n|{text}").as_bytes(), &Wanted::All), Ok(json!({"n": value})));
        }

        #[test]
        fn parts_are_those_of_the_whole(
            (text, _) in value(),
            wanted in proptest::collection::vec("(/[a-c0-2*]{1,2}){0,3}", 0..4),
        ) {
            parts_agree(decode_serialize, text.as_bytes(), &wanted);
        }

        #[test]
        fn parts_of_what_is_spoilt_are_those_of_the_whole(
            (text, _) in value(),
            edits in edits("0123456789:;{}\"NbidsaOCErR|-.\x02\0"),
            wanted in proptest::collection::vec("(/[a-cn0-2*]{1,2}){0,3}", 0..4),
        ) {
            let layouts = [format!("n|{text}a|{text}"), text.clone(), format!("\x01n{text}\x01a{text}")];
            for (handler, session) in HANDLERS.iter().zip(layouts) {
                parts_agree(*handler, &edited(session.as_bytes(), &edits), &wanted);
            }
        }

        #[test]
        fn parts_of_anything_are_those_of_the_whole(
            tokens in proptest::collection::vec(
                prop_oneof![
                    Just("a:1:{"), Just("a:2:{"), Just("O:1:\"A\":1:{"), Just("}"), Just("i:0;"), Just("i:1;"),
                    Just("s:1:\"a\";"), Just("N;"), Just("R:1;"), Just("R:2;"), Just("r:3;"), Just("a|"),
                    Just("C:1:\"A\":0:{}"),
                ],
                0..16,
            ),
            wanted in proptest::collection::vec("(/[a01*]){0,3}", 0..3),
        ) {
            for handler in HANDLERS {
                parts_agree(handler, tokens.concat().as_bytes(), &wanted);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            for handler in HANDLERS {
                let _ = handler(&bytes, &Wanted::All);
            }
        }
    }
}
