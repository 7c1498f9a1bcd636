//! What Python's pickle writes, protocols 0 to 5: the sessions of Django's caches, of Flask-Session up to 0.5.
//!
//! A pickle is a program for a small machine ([`machine`]) that builds a value on a stack; CPython's
//! `Lib/pickletools.py` tells each instruction. Here it builds a graph. It names classes and functions to call,
//! but nothing is ever called or made of a class: some names have a fixed meaning ([`known`]), of the others
//! only the state is read that was saved of an object.

#![forbid(unsafe_code)]

mod clock;
mod key;
mod known;
mod machine;
mod objects;
mod text;

use std::borrow::Cow;

use serde_json::Value;

use self::machine::run;
use super::budget::Budget;
use super::graph::Node;
use super::{Reason, Wanted};

/// Reads a pickle of any kind. Lists, tuples and sets are arrays; keys of dicts are text as Python's `json`
/// writes them, tuples as Python itself does.
///
/// An object of a class that is not known is an object of its state, null where it has none that is a dict.
pub(super) fn decode(raw: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Reason> {
    let (graph, root) = run(raw, budget)?;
    graph.value(root, wanted)
}

/// Reads a pickle that is a text or bytes.
pub(super) fn decode_text<'r>(raw: &'r [u8], budget: &'r Budget) -> Result<Cow<'r, [u8]>, Reason> {
    let (graph, root) = run(raw, budget)?;
    match graph.get(root) {
        Node::Text(text) => Ok(text.clone()),
        _ => Err(Reason::Malformed),
    }
}

/// Whether `raw` begins with the number of a protocol, or as a dict does in the protocols without one.
pub(super) fn begins(raw: &[u8]) -> bool {
    matches!(raw, [0x80, 2..=5, ..] | [b'(', b'd', b'p' | b'.', ..] | [b'}', b'q' | b'.', ..])
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use base64::Engine;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::format::budget::tests::of;
    use crate::format::tests::{
        captured, cut_off_is_refused, edited, edits, parts_agree, pointers,
    };
    use crate::format::MAX_DEPTH;

    fn decode(raw: &[u8], wanted: &Wanted) -> Result<Value, Reason> {
        super::decode(raw, wanted, &of(raw))
    }

    /// What `t/data/pickle/write.py` wrote: a name, the pickle, what it is to be read as.
    fn written() -> Vec<(String, Vec<u8>, Value)> {
        let rows = include_str!("../../t/data/pickle/written.json");
        let rows: Vec<Value> = serde_json::from_str(rows).unwrap();
        let row = |row: Value| {
            let raw = STANDARD.decode(row["base64"].as_str().unwrap()).unwrap();
            (row["name"].as_str().unwrap().to_owned(), raw, row["expected"].clone())
        };
        rows.into_iter().map(row).collect()
    }

    fn whole(raw: &[u8]) -> Result<Value, Reason> {
        decode(raw, &Wanted::All)
    }

    fn read(raw: &[u8]) -> Value {
        whole(raw).unwrap()
    }

    /// A value that is read whether or not it is wanted, or refused so.
    fn refused(raw: &[u8]) -> Reason {
        assert_eq!(whole(raw).is_err(), decode(raw, &Wanted::Nothing).is_err());
        whole(raw).unwrap_err()
    }

    #[test]
    fn what_python_writes_by_each_protocol() {
        let written = written();
        assert!(written.len() > 200);
        for (name, raw, expected) in written {
            assert_eq!(
                whole(&raw).map(|value| value.to_string()),
                Ok(expected.to_string()),
                "{name}"
            );
            assert!(!name.contains("protocol 4") || begins(&raw), "{name}");
        }
    }

    #[test]
    fn what_python_2_wrote() {
        for (raw, expected) in [
            (&b"(dp1\nS'a'\np2\nI01\nsS\"it's\"\nL7L\ns."[..], json!({"a": true, "it's": 7})),
            (b"S'\\x41\\n\\\\\\'\\xc3\\xa9'\n.", json!("A\n\\'é")),
            (
                b"}q\x01(U\x01aI00\nT\x02\0\0\0\xff\0F1.5\nu.",
                json!({"a": false, "base64:/wA=": 1.5}),
            ),
            (b"\x80\x02ccollections\nOrderedDict\n]](U\x01aK\x01ea\x85R.", json!({"a": 1})),
            (b"\x80\x02cdatetime\ndate\nU\x04\x07\xe8\x02\x1d\x85R.", json!("2024-02-29")),
            // Classes without a metaclass.
            (b"(iapp\nUser\np0\n(dS'id'\nI7\nsb.", json!({"id": 7})),
            (b"(capp\nUser\no}U\x02idK\x07sb.", json!({"id": 7})),
            (b"(K\x01iapp\nUser\n.", json!(null)),
        ] {
            assert_eq!(read(raw), expected, "{raw:?}");
        }
    }

    #[test]
    fn a_class_is_given_where_it_is_asked_for() {
        let user = b"\x80\x02}U\x04usercapp.models\nUser\n)\x81}U\x02idK\x07sbs.";
        let of = |wanted: &Wanted| decode(user, wanted).unwrap();
        assert_eq!(of(&Wanted::All), json!({"user": {"id": 7}}));
        let described = json!({"user": {"@class": "app.models.User", "id": 7}});
        assert_eq!(of(&Wanted::Described), described);
        assert_eq!(of(&Wanted::of(&pointers(&["/user/@class", "/user/id"]))), described);
    }

    #[test]
    fn nothing_is_called() {
        for (raw, expected) in [
            (&b"cos\nsystem\n(S'touch /tmp/x'\ntR."[..], json!(null)),
            (b"c__builtin__\neval\n(S'1+1'\ntR.", json!(null)),
            (
                b"\x80\x04\x8c\x08builtins\x8c\x07getattr\x93cos\nsystem\nU\x01x\x86RK\x01\x85R.",
                json!(null),
            ),
            (b"cbuiltins\nexec\nU\x01x\x85RU\x01sb.", json!(null)),
            (b"capp\nT\nK\x01\x85R}U\x01aK\x01sb.", json!({"a": 1})),
            (b"capp\nT\n)}\x92}U\x01aK\x01sb.", json!({"a": 1})),
            // Known names with arguments that are not theirs.
            (b"cdatetime\ndatetime\nU\x0a\x07\xe8\x0d\x1d\0\0\0\0\0\0\x85R.", json!(null)),
            (
                b"cdatetime\ndatetime\nU\x0a\x07\xe8\x02\x1d\0\0\0\0\0\0cpytz\n_p\n)R\x86R.",
                json!(null),
            ),
            (b"cdatetime\ntimedelta\nU\x01xK\0K\0\x87R.", json!(null)),
            (b"cdatetime\ntimezone\nK\x01\x85R.", json!(null)),
            (b"cdecimal\nDecimal\nK\x01\x85R.", json!(null)),
            (b"c__builtin__\nset\nK\x01\x85R.", json!(null)),
            (b"c_codecs\nencode\nX\x01\0\0\0aU\x05rot13\x86R.", json!(null)),
            (b"c_codecs\nencode\nX\x02\0\0\0\xc4\x80U\x06latin1\x86R.", json!(null)),
            (b"cuuid\nUUID\n)\x81}U\x03intU\x01xsb.", json!({"int": "x"})),
        ] {
            assert_eq!(read(raw), expected, "{raw:?}");
        }
    }

    #[test]
    fn the_utc_of_pytz() {
        let at = b"\x80\x02}q\0X\x02\0\0\0atq\x01cdatetime\ndatetime\nq\x02c_codecs\nencode\nq\x03X\x0c\0\0\0\
            \x07\xc3\xa8\x02\x1d\r\x0e\x0f\x01\xc3\xa2@q\x04X\x06\0\0\0latin1q\x05\x86q\x06Rq\x07cpytz\n_UTC\nq\x08)Rq\t\
            \x86q\nRq\x0bs.";
        assert_eq!(read(at), json!({"at": "2024-02-29T13:14:15.123456+00:00"}));
    }

    #[test]
    fn a_time_zone_that_is_none_loses_the_time() {
        let aware = |ahead: &[u8]| {
            let delta = [b"cdatetime\ntimedelta\n", ahead, b"\x87R\x85R"].concat();
            let zone = [b"cdatetime\ntimezone\n", &delta[..]].concat();
            read(&[b"cdatetime\ntime\nU\x06\0\0\0\0\0\0", &zone[..], b"\x86R."].concat())
        };
        assert_eq!(aware(b"K\0M\x7f\x51\x4b\0"), json!("00:00:00+05:47:43"));
        assert_eq!(aware(b"K\x01K\0K\0"), json!(null));
        let naive = b"cdatetime\ntime\nU\x06\0\0\0\0\0\0N\x86R.";
        assert_eq!(read(naive), json!("00:00:00"));
    }

    #[test]
    fn the_stack_the_marks_and_the_memo() {
        for (raw, expected) in [
            (&b"N."[..], json!(null)),
            (b"K\x01K\x022\x86.", json!([2, 2])),
            (b"(K\x01K\x020t.", json!([1])),
            (b"K\x01(0.", json!(1)),
            (b"K\x01(K\x02K\x031.", json!(1)),
            (b"]q\x05K\x01ah\x05\x86.", json!([[1], [1]])),
            (b"]p5\n0g5\nK\x01a.", json!([1])),
            (b"]r\x02\0\0\x000j\x02\0\0\0.", json!([])),
            (b"]\x94K\x01\x94h\x00\x87.", json!([[], 1, []])),
            // Filled after it was put into another one.
            (b"](]q\x06eh\x06(K\x01e0.", json!([[1]])),
            (b"}q\x06\x85h\x06U\x01aK\x01s0.", json!([{"a": 1}])),
            // A dict that is the state of an object, and stands by itself as well.
            (b"}q\x06U\x01aK\x01scA\nB\n)\x81h\x06bh\x06\x86.", json!([{"a": 1}, {"a": 1}])),
            (b"}q\x06cA\nB\n)\x81h\x06bh\x06U\x01aK\x01s0.", json!({"a": 1})),
        ] {
            let raw = [raw, b""].concat();
            assert_eq!(whole(&raw), Ok(expected), "{raw:?}");
        }
    }

    #[test]
    fn what_no_pickler_writes_is_refused() {
        for raw in [
            &b""[..],
            b".",
            b"(.",
            b"N",
            b"N..",
            b"N.\n",
            b"5.",
            b"0.",
            b"1.",
            b"K\x01(\x85.",
            b"K\x01(.",
            b"K\x01(K\x02a.",
            b"\x80\x06N.",
            b"\x80\x04\x95\xff\0\0\0\0\0\0\0N.",
            b"h\x00.",
            b"N\x94h\x01.",
            b"Nr\xff\xff\xff\x7f.",
            b"Np99999999999999999999\n.",
            b"Np-1\n.",
            b"g\n.",
            b"K\x01K\x02a.",
            b"}K\x01a.",
            b"](K\x01K\x02u.",
            b"}(K\x01u.",
            b"(K\x01d.",
            b"I\n.",
            b"Ix\n.",
            b"I1.5\n.",
            b"I--1\n.",
            b"L1LL\n.",
            b"Fx\n.",
            b"Sx\n.",
            b"S'x\n.",
            b"S'\n.",
            b"S'\\q'\n.",
            b"S'\\x4'\n.",
            b"V\\u12\n.",
            b"V\\U00110000\n.",
            b"V\\u+123\n.",
            b"X\x01\0\0\0\xff.",
            b"X\x03\0\0\0\xed\xa0.",
            b"X\xff\xff\xff\xffa.",
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa.",
            b"\x8b\xff\xff\xff\xff.",
            b"cos\nsystem.",
            b"K\x01U\x01a\x93.",
            b"cA\nB\nK\x01R.",
            b"cA\nB\nR.",
            b"cA\nB\nK\x01b",
            b"(o.",
            // Persistent objects, buffers and registered classes are kept elsewhere.
            b"Pid\n.",
            b"K\x01Q.",
            b"\x97.",
            b"\x82\x01.",
        ] {
            assert_eq!(refused(raw), Reason::Malformed, "{raw:?}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested =
            |depth: usize| [&b"]".repeat(depth), &b"a".repeat(depth - 1)[..], b"."].concat();
        assert!(whole(&nested(MAX_DEPTH)).is_ok());
        for depth in [MAX_DEPTH + 1, 10_000] {
            assert_eq!(whole(&nested(depth)), Err(Reason::TooDeep));
            assert_eq!(decode(&nested(depth), &Wanted::Nothing), Ok(json!(null)));
        }
        let tuples = [&b")"[..], &b"\x85".repeat(10_000), b"."].concat();
        assert_eq!(whole(&tuples), Err(Reason::TooDeep));
    }

    #[test]
    fn copies_are_bounded() {
        let doubled = [&b"]"[..], &b"2\x86".repeat(60), b"."].concat();
        assert_eq!(whole(&doubled), Err(Reason::TooLarge));
        // One long key in many dicts, one class with a long name of many objects.
        let key = [&b"T\0\0\x01\0"[..], &[b'k'; 65536], b"q\x000("].concat();
        let dicts = [&key[..], &b"}h\x00Ns".repeat(100), b"l."].concat();
        assert_eq!(refused(&dicts), Reason::TooLarge);
        let class = [&b"cA\n"[..], &[b'k'; 65536], b"\nq\x000("].concat();
        let objects = [&class[..], &b"h\x00)\x81".repeat(100), b"l."].concat();
        assert_eq!(refused(&objects), Reason::TooLarge);
        // A long integer in many places.
        let digits = [&b"I"[..], &[b'7'; 600], b"\nq\x000("].concat();
        let integers = [&digits[..], &b"h\x00".repeat(100_000), b"l."].concat();
        assert_eq!(whole(&integers), Err(Reason::TooLarge));
        // Calls and keys of which nothing comes.
        let text = ["é".repeat(20_000).as_bytes(), "王".as_bytes()].concat();
        let call =
            [&b"c_codecs\nencode\nq\x000X\x43\x9c\0\0"[..], &text, b"U\x06latin1\x86q\x010("]
                .concat();
        let calls = [&call[..], &b"h\x00h\x01R".repeat(100), b"l."].concat();
        assert_eq!(refused(&calls), Reason::TooLarge);
        let tuple = [&b"("[..], &b"K\x01".repeat(1000), b"tq\x000}("].concat();
        let keys = [&tuple[..], &b"h\x00N".repeat(1000), b"u."].concat();
        assert_eq!(refused(&keys), Reason::TooLarge);
        // A key that holds keys twice that hold others twice.
        let tuples =
            [&b"}("[..], &b"K\x012\x862\x862\x862\x862\x862\x862\x862\x862\x86"[..], b"Nu."]
                .concat();
        assert_eq!(read(&tuples), json!({}));
    }

    #[test]
    fn integers_are_exact_or_null() {
        for (raw, expected) in [
            (&b"\x8a\x00."[..], "0"),
            (b"\x8a\x01\xff.", "-1"),
            (b"\x8a\x08\0\0\0\0\0\0\0\x80.", "-9223372036854775808"),
            (b"\x8a\x09\0\0\0\0\0\0\0\x80\x00.", "9223372036854775808"),
            (b"\x8a\x09\0\0\0\0\0\0\0\x00\xff.", "-18446744073709551616"),
            (b"\x8b\x02\0\0\0\x00\x80.", "-32768"),
            (b"I-0\n.", "0"),
            (b"I007\n.", "7"),
        ] {
            assert_eq!(read(raw).to_string(), expected, "{raw:?}");
        }
        let binary = |length: u16| {
            let bytes = vec![1; usize::from(length)];
            read(&[&b"\x8b"[..], &length.to_le_bytes(), &[0, 0], &bytes, b"."].concat())
        };
        assert!(binary(256).is_number());
        assert_eq!(binary(257), json!(null));
        let digits = |count: usize| read(&[&b"L"[..], &vec![b'1'; count], b"L\n."].concat());
        assert!(digits(617).is_number());
        assert_eq!(digits(618), json!(null));
    }

    #[test]
    fn how_a_pickle_begins() {
        for raw in [&b"\x80\x02N."[..], b"\x80\x05\x95", b"(dp0\n.", b"}q\x00.", b"(d.", b"}."] {
            assert!(begins(raw), "{raw:?}");
        }
        for raw in [&b""[..], b"\x80", b"\x80\x06", b"(d", b"}", b"{}", b"a|N;", b"7", b"(lp0\n."] {
            assert!(!begins(raw), "{raw:?}");
        }
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let short = written().into_iter().filter(|(_, raw, _)| raw.len() < 600);
        cut_off_is_refused("pickle", &short.map(|(_, raw, _)| raw).collect::<Vec<_>>());
    }

    #[test]
    fn parts_of_what_is_spoilt_are_those_of_the_whole() {
        for session in captured().into_iter().filter(|session| session.format == "pickle") {
            for place in 0..session.raw.len() {
                let mut spoilt = session.raw.clone();
                spoilt[place] ^= 0x15;
                parts_agree(decode, &spoilt, &["/user_id", "/roles/*", "/profile/addr", "/at"]);
            }
        }
    }

    /// Instructions, and what stands behind some of them.
    fn program() -> impl Strategy<Value = Vec<u8>> {
        let instruction = prop_oneof![
            8 => prop::sample::select(&b"(012lt\x91\x85\x86\x87aes\x90ud)}]\x8fN\x88\x94\x93R\x81\x92bo"[..])
                .prop_map(|code| vec![code]),
            4 => (prop::sample::select(&b"qhK"[..]), 0..6_u8).prop_map(|(code, number)| vec![code, number]),
            2 => prop::sample::select(vec![
                &b"U\x01a"[..], b"X\x03\0\0\0int", b"U\x04\x07\xe8\x02\x01", b"I-7\n", b"V\\u00e9\n",
                b"G\x7f\xf0\0\0\0\0\0\0", b"\x8a\x09\x01\0\0\0\0\0\0\0\x80",
            ]).prop_map(<[u8]>::to_vec),
            2 => prop::sample::select(vec![
                &b"cuuid\nUUID\n"[..], b"capp\nUser\n", b"cdatetime\ndate\n", b"cdatetime\ntimedelta\n",
                b"cdatetime\ntimezone\n", b"c__builtin__\nset\n", b"ccollections\nOrderedDict\n",
                b"ccopyreg\n_reconstructor\n", b"c__builtin__\nobject\n", b"c_codecs\nencode\n",
            ]).prop_map(<[u8]>::to_vec),
        ];
        proptest::collection::vec(instruction, 0..24)
            .prop_map(|code| [code.concat(), b".".to_vec()].concat())
    }

    proptest! {
        #[test]
        fn parts_of_anything_are_those_of_the_whole(
            program in program(),
            wanted in proptest::collection::vec("(/[a01*]){0,3}", 0..3),
        ) {
            parts_agree(decode, &program, &wanted);
        }

        #[test]
        fn parts_of_what_is_written_are_those_of_the_whole(
            (_, raw, _) in prop::sample::select(written()),
            edits in edits("(012]}a.estubRqhKUco\x01\x02\0"),
            wanted in proptest::collection::vec("(/([ak01*]|id|me)){0,3}", 0..3),
        ) {
            parts_agree(decode, &edited(&raw, &edits), &wanted);
        }

        #[test]
        fn integers_of_any_length_have_their_digits(number: i128, shift in 0..128_u32) {
            let number = number >> shift;
            let raw = [&b"\x8a\x10"[..], &number.to_le_bytes(), b"."].concat();
            prop_assert_eq!(read(&raw).to_string(), number.to_string());
            prop_assert_eq!(read(format!("L{number}L\n.").as_bytes()).to_string(), number.to_string());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = whole(&bytes);
        }
    }
}
