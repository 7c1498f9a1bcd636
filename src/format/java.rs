//! What the JDK's own serialisation writes (Java Object Serialization Specification, stream protocol version
//! 2), read as data.
//!
//! A stream describes the classes of its objects, so their fields can be read without the classes; none is
//! ever made. [`reader`] reads the grammar, [`known`] says what objects of the JDK's own classes stand for.
//! Any other object is its fields, those of its superclasses among them, and what its class wrote beside them
//! by itself, if anything, is the array `@data`.

#![forbid(unsafe_code)]

mod date;
mod decimal;
mod heap;
mod known;
mod reader;
mod text;

use serde_json::Value;

use self::heap::Heap;
use self::reader::Reader;
use super::budget::Budget;
use super::graph::{Id, Node};
use super::{Reason, Wanted};

/// `STREAM_MAGIC` and `STREAM_VERSION`.
const HEADER: &[u8] = &[0xac, 0xed, 0, 5];

/// Reads a stream of one object. More than one, as Tomcat's own managers write them, are an array.
pub(super) fn decode(raw: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Reason> {
    Stream::read(raw, budget)?.value(wanted)
}

/// Whether `raw` begins as each stream does.
pub(super) fn begins(raw: &[u8]) -> bool {
    raw.starts_with(HEADER)
}

/// A stream that was read.
pub(super) struct Stream<'r> {
    /// All objects that are in it.
    pub(super) heap: Heap<'r>,
    /// Those that were written one after another, at least one.
    pub(super) contents: Vec<Id>,
}

impl<'r> Stream<'r> {
    /// Reads all of a stream.
    pub(super) fn read(raw: &'r [u8], budget: &'r Budget) -> Result<Self, Reason> {
        let (heap, contents) = Reader::new(raw, budget)?.contents()?;
        match contents.is_empty() {
            true => Err(Reason::Malformed),
            false => Ok(Self { heap, contents }),
        }
    }

    /// What is wanted of the one object in it, or of the array of all.
    pub(super) fn value(mut self, wanted: &Wanted) -> Result<Value, Reason> {
        let root = match self.contents[..] {
            [root] => root,
            _ => self.heap.add(Node::List(self.contents))?,
        };
        self.heap.value(root, wanted)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use base64::engine::general_purpose::STANDARD;
    use base64::Engine;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::format::budget::tests::of;
    use crate::format::tests::{edited, edits, parts_agree, places, pointers};
    use crate::format::MAX_DEPTH;

    fn decode(raw: &[u8], wanted: &Wanted) -> Result<Value, Reason> {
        super::decode(raw, wanted, &of(raw))
    }

    /// A stream beside the value that it is to be read as.
    struct Captured {
        name: String,
        raw: Vec<u8>,
        expected: Value,
    }

    /// What OpenJDK 17 wrote (t/data/java/Write.java), and the fields of the captured sessions.
    fn captured() -> Vec<Captured> {
        let told = |name: &str| -> Value {
            let path = format!("{}/t/data/{name}.json", env!("CARGO_MANIFEST_DIR"));
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
        };
        let of = |name: &str, base64: &Value, expected: &Value| Captured {
            name: name.to_owned(),
            raw: STANDARD.decode(base64.as_str().unwrap()).unwrap(),
            expected: expected.clone(),
        };
        let jdk = told("java/jdk");
        let mut captured: Vec<Captured> = Vec::new();
        for row in jdk.as_array().unwrap() {
            captured.push(of(row["name"].as_str().unwrap(), &row["base64"], &row["expected"]));
        }
        for session in ["spring-session-jdk", "tomcat-redisson-jdk"].map(told) {
            for (field, base64) in session["hash_base64"].as_object().unwrap() {
                captured.push(of(field, base64, &session["expected"][field]));
            }
        }
        captured
    }

    #[test]
    fn what_the_jdk_writes_is_read() {
        let captured = captured();
        assert!(captured.len() > 150, "{}", captured.len());
        for Captured { name, raw, expected } in captured {
            assert!(begins(&raw), "{name}");
            assert_eq!(decode(&raw, &Wanted::All), Ok(expected), "{name}");
        }
    }

    #[test]
    fn each_place_can_be_read_alone() {
        for Captured { raw, expected, .. } in captured() {
            for place in places(&expected) {
                parts_agree(decode, &raw, &[place]);
            }
        }
    }

    #[test]
    fn who_is_logged_in_is_found_where_spring_security_has_it() {
        let read = captured().into_iter().find(|row| row.name.ends_with("SecurityContextImpl"));
        let part = |pointer: &str| {
            let raw = &read.as_ref().unwrap().raw;
            decode(raw, &Wanted::of(&pointers(&[pointer]))).unwrap()
        };
        assert_eq!(
            part("/authentication/principal/username"),
            json!({"authentication": {"principal": {"username": "alice"}}})
        );
        let class = "org.springframework.security.core.userdetails.User";
        assert_eq!(
            part("/authentication/principal/@class"),
            json!({"authentication": {"principal": {"@class": class}}})
        );
    }

    #[test]
    fn cut_off_it_is_malformed() {
        for Captured { name, raw, .. } in captured().iter().filter(|row| row.raw.len() < 4000) {
            // Of several objects the first ones are a stream, too.
            for cut in (0..raw.len()).filter(|_| name != "several") {
                for wanted in [Wanted::All, Wanted::Nothing] {
                    let read = decode(&raw[..cut], &wanted);
                    assert_eq!(read, Err(Reason::Malformed), "{name} to {cut}");
                }
            }
        }
    }

    #[test]
    fn spoilt_it_never_breaks() {
        for Captured { raw, .. } in captured().iter().filter(|row| row.raw.len() < 2000) {
            for at in (0..raw.len()).step_by(3) {
                let mut spoilt = raw.clone();
                spoilt[at] ^= 0x05;
                parts_agree(decode, &spoilt, &["/a", "/id", "/0", "/*/*"]);
            }
        }
    }

    /// A class of which the stream tells these fields, of the kinds that stand before their names.
    fn class(name: &str, flags: u8, fields: &[&str]) -> Vec<u8> {
        let mut class = vec![0x72];
        class.extend(utf(name));
        class.extend([0; 8]);
        class.extend([flags, 0, u8::try_from(fields.len()).unwrap()]);
        for field in fields {
            let (kind, name) = field.split_at(1);
            class.extend(kind.bytes());
            class.extend(utf(name));
            if kind == "L" {
                class.push(0x74);
                class.extend(utf("Lx;"));
            }
        }
        class.push(0x78);
        class
    }

    /// What `writeUTF` writes.
    fn utf(text: &str) -> Vec<u8> {
        let length = u16::try_from(text.len()).unwrap().to_be_bytes();
        [&length, text.as_bytes()].concat()
    }

    /// A reference to what got this number.
    fn same(handle: u8) -> Vec<u8> {
        vec![0x71, 0, 0x7e, 0, handle]
    }

    fn stream(parts: &[&[u8]]) -> Vec<u8> {
        [HEADER, &parts.concat()].concat()
    }

    fn read(parts: &[&[u8]]) -> Result<Value, Reason> {
        let raw = stream(parts);
        parts_agree(decode, &raw, &["/a", "/0"]);
        decode(&raw, &Wanted::All)
    }

    const OBJECT: &[u8] = &[0x73];
    const NULL: &[u8] = &[0x70];
    const END: &[u8] = &[0x78];
    const FIELDS: u8 = 2;
    const OWN: u8 = 3;

    #[test]
    fn what_is_no_stream_is_refused() {
        let a = &class("A", FIELDS, &[])[..];
        let malformed: &[&[&[u8]]] = &[
            &[],
            // TC_ENDBLOCKDATA and TC_EXCEPTION, a class's description, tags that are none.
            &[END],
            &[&[0x7b], NULL],
            &[a, NULL],
            &[&[0x6f]],
            &[&[0x7f]],
            // References to nothing, to a class, to an object that is a class's, to a class half told.
            &[&same(0)],
            &[&[0x71, 0, 0, 0, 0]],
            &[OBJECT, a, NULL, &same(0)],
            &[&[0x74, 0, 0], OBJECT, &same(0)],
            &[OBJECT, a, &same(0)],
            &[OBJECT, NULL],
            // TC_RESET within an object, or before what refers back.
            &[OBJECT, &class("A", FIELDS, &["La"]), NULL, &[0x79], NULL],
            &[OBJECT, a, NULL, &[0x79], OBJECT, &same(0)],
            // Flags that contradict each other, or tell of data without an end.
            &[OBJECT, &class("A", 6, &[]), NULL],
            &[OBJECT, &class("A", 4, &[]), NULL],
            // A kind of field that is none; an array of no kind, and longer than the stream.
            &[OBJECT, &class("A", FIELDS, &["Va"]), NULL, &[0]],
            &[&[0x75], &class("A", FIELDS, &[]), NULL, &[0, 0, 0, 0]],
            &[&[0x75], &class("[B", FIELDS, &[]), NULL, &[0x7f, 0xff, 0xff, 0xff]],
            &[&[0x75], &class("[C", FIELDS, &[]), NULL, &[0xff, 0xff, 0xff, 0xff]],
            &[&[0x75], &class("[J", FIELDS, &[]), NULL, &[0xff, 0xff, 0xff, 0xff]],
            // A constant without a name, or named by itself.
            &[&[0x7e], &class("E", 0x12, &[]), NULL, NULL],
            &[&[0x7e], &class("E", 0x12, &[]), NULL, &same(1)],
            // A key without a value, a date without a time, a number without digits.
            &[OBJECT, &class("java.util.HashMap", OWN, &[]), NULL, NULL, END],
            &[OBJECT, &class("java.util.Date", OWN, &[]), NULL, END],
            &[OBJECT, &class("java.lang.Integer", FIELDS, &[]), NULL],
            &[
                OBJECT,
                &class("java.math.BigInteger", FIELDS, &["Lmagnitude", "Isignum"]),
                NULL,
                NULL,
                &[0; 4],
            ],
            &[&[0x7c, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]],
            &[&[0x7a, 0xff, 0xff, 0xff, 0xff]],
        ];
        for (at, parts) in malformed.iter().enumerate() {
            assert_eq!(read(parts), Err(Reason::Malformed), "{at}");
        }
    }

    #[test]
    fn what_a_class_inherits_and_hides() {
        let a = class("A", OWN, &["Za", "Ib"]);
        let b = class("B", FIELDS, &["Ib"]);
        let data = [&[1, 0, 0, 0, 1, 0x77, 1, b'x'][..], END, &[0, 0, 0, 2]].concat();
        let expected = json!({"a": true, "b": 2, "@data": ["x"]});
        assert_eq!(read(&[OBJECT, &b, &a, NULL, &data]), Ok(expected));
    }

    #[test]
    fn a_subclass_of_a_known_class_is_read_as_that() {
        let list = class("java.util.ArrayList", OWN, &["Isize"]);
        let mine = class("Mine", OWN, &["Ivalue"]);
        let data = [&[0, 0, 0, 1][..], NULL, END, &[0, 0, 0, 2], NULL, NULL, END].concat();
        assert_eq!(read(&[OBJECT, &mine, &list, NULL, &data]), Ok(json!([null])));
    }

    #[test]
    fn a_reset_makes_numbers_start_again() {
        let text = [&[0x74][..], &utf("a")].concat();
        let reset = &[0x79][..];
        let parts = [reset, &text, &same(0), reset, &text, &same(0)];
        assert_eq!(read(&parts), Ok(json!(["a", "a", "a", "a"])));
    }

    #[test]
    fn what_is_said_of_a_class_does_not_count() {
        let mut a = class("A", FIELDS, &["Za"]);
        a.pop();
        let said = [&[0x77, 1, 0][..], NULL, &[0x74], &utf("x"), END].concat();
        assert_eq!(read(&[OBJECT, &a, &said, NULL, &[1], &same(1)]), Ok(json!([{"a": true}, "x"])));
    }

    #[test]
    fn nesting_is_bounded() {
        let array = class("[La;", FIELDS, &[]);
        let nested = |depth: usize| {
            let first = [&[0x75][..], &array, NULL, &[0, 0, 0, 1]].concat();
            let next = [&[0x75][..], &same(0), &[0, 0, 0, 1]].concat();
            [&first[..], &next.repeat(depth - 1), NULL].concat()
        };
        assert!(read(&[&nested(MAX_DEPTH)]).is_ok());
        assert_eq!(read(&[&nested(MAX_DEPTH + 1)]), Err(Reason::TooDeep));
        assert_eq!(read(&[&nested(10_000)]), Err(Reason::TooDeep));
        // Classes that are told of in what is said of a class.
        let mut said = class("A", FIELDS, &[]);
        said.pop();
        said.insert(0, 0x76);
        assert_eq!(read(&[&said.repeat(10_000)]), Err(Reason::TooDeep));
        // Superclasses, in a row and by reference.
        let super_classes = class("A", FIELDS, &[]).repeat(1000);
        assert_eq!(read(&[OBJECT, &super_classes, NULL]), Err(Reason::TooDeep));
        let mut one_by_one = [OBJECT, &class("A", FIELDS, &[]), NULL].concat();
        for handle in (0..200).step_by(2) {
            one_by_one.extend([OBJECT, &class("A", FIELDS, &[]), &same(handle)].concat());
        }
        assert_eq!(read(&[&one_by_one]), Err(Reason::TooDeep));
    }

    #[test]
    fn copies_of_copies_are_bounded() {
        // Each array holds the one before it twice.
        let mut bomb = [&[0x75][..], &class("[La;", FIELDS, &[]), NULL, &[0, 0, 0, 0]].concat();
        for handle in 1..60 {
            let twice = [same(handle), same(handle)].concat();
            bomb.extend([&[0x75][..], &same(0), &[0, 0, 0, 2], &twice].concat());
        }
        assert_eq!(read(&[&bomb]), Err(Reason::TooLarge));
        // A long key in one map after the other.
        let key = [&[0x74, 0x75, 0x30][..], &b"\xc0\x80".repeat(15_000)].concat();
        let map = class("java.util.TreeMap", OWN, &[]);
        let mut bomb = [&key, OBJECT, &map, NULL, &same(0), NULL, END].concat();
        for _ in 0..100 {
            bomb.extend([OBJECT, &same(1), &same(0), NULL, END].concat());
        }
        assert_eq!(read(&[&bomb]).err(), Some(Reason::TooLarge));
    }

    proptest! {
        #[test]
        fn parts_of_what_is_spoilt_are_those_of_the_whole(
            at in any::<prop::sample::Index>(),
            edits in edits("\x00\x01\x02\x03\x04\x70\x71\x72\x73\x74\x75\x76\x77\x78\x79\x7a\x7d\x7e~LIZ["),
            wanted in proptest::collection::vec("(/(a|b|id|k|@data|[0-2*])){0,3}", 0..4),
        ) {
            static CAPTURED: LazyLock<Vec<Captured>> = LazyLock::new(captured);
            parts_agree(decode, &edited(&at.get(&CAPTURED).raw, &edits), &wanted);
        }

        #[test]
        fn parts_of_anything_are_those_of_the_whole(
            tokens in proptest::collection::vec(prop::sample::select(tokens()), 0..24),
            wanted in proptest::collection::vec("(/[ab01*]){0,3}", 0..3),
        ) {
            parts_agree(decode, &[HEADER, &tokens.concat()].concat(), &wanted);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&[HEADER, &bytes].concat(), &Wanted::All);
        }
    }

    /// What streams are made of.
    fn tokens() -> Vec<Vec<u8>> {
        let whole = |kind: &[u8], class: Vec<u8>| [kind, &class, NULL].concat();
        let mut tokens = vec![
            OBJECT.to_vec(),
            NULL.to_vec(),
            END.to_vec(),
            vec![0x75],
            vec![0, 0, 0, 1],
            vec![0x74, 0, 1, b'a'],
            vec![0x77, 4, 0, 0, 0, 1],
            whole(OBJECT, class("A", FIELDS, &["La", "Lb"])),
            whole(OBJECT, class("B", OWN, &["Za"])),
            whole(&[0x75], class("[La;", FIELDS, &[])),
            whole(OBJECT, class("java.util.ArrayList", OWN, &[])),
            whole(OBJECT, class("java.util.HashMap", OWN, &[])),
            whole(OBJECT, class("java.util.Vector", FIELDS, &["IelementCount", "LelementData"])),
        ];
        tokens.extend((0..5).map(same));
        tokens
    }
}
