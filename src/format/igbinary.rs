//! What PHP's extension igbinary writes, versions 1 and 2 of its format: its session handler, and phpredis'
//! serializer of that name.
//!
//! Its layout is told by `src/php7/igbinary.c` alone. Each value is a byte for its kind and what belongs to it,
//! numbers with the highest byte first. Texts count up, and so do what references can name; where one stands
//! again, it is its number. Nothing is ever made of a class: objects are their properties.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use serde_json::Value;

use super::budget::Budget;
use super::cursor::Cursor;
use super::graph::{Graph, Id, Leaf, Member, Node};
use super::php::{float, Key};
use super::{Reason, Wanted, MAX_DEPTH};

/// Reads a session, which is an array, or any other value.
pub(super) fn decode(raw: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Reason> {
    let mut reader = Reader::new(raw, budget);
    let (0, 1 | 2) = (reader.input.number(3)?, reader.input.byte()?) else {
        return Err(Reason::Malformed);
    };
    let session = reader.value(0)?;
    match reader.input.left() {
        0 => reader.graph.value(session, wanted),
        _ => Err(Reason::Malformed),
    }
}

/// Whether `raw` begins with a version that is known, and a value.
pub(super) fn begins(raw: &[u8]) -> bool {
    matches!(raw, [0, 0, 0, 1 | 2, 0x00..=0x26, ..])
}

/// What an object takes beside its properties and the name of its class.
const OBJECT: usize = 64;

/// Reads the values of one session.
struct Reader<'r> {
    input: Cursor<'r>,
    graph: Graph<'r>,
    /// All texts in order, names of members and classes among them; the empty one has a kind of its own.
    texts: Vec<&'r [u8]>,
    /// What references can name, in order: arrays, objects, and scalars that a variable holds.
    parts: Vec<Id>,
    /// Of what is made, and of texts that stand for their numbers.
    budget: &'r Budget,
}

impl<'r> Reader<'r> {
    fn new(raw: &'r [u8], budget: &'r Budget) -> Self {
        Self {
            input: Cursor::new(raw),
            graph: Graph::new(budget),
            texts: Vec::new(),
            parts: Vec::new(),
            budget,
        }
    }

    /// Reads the value that comes next, below `depth` arrays and objects.
    fn value(&mut self, depth: usize) -> Result<Id, Reason> {
        match self.input.byte()? {
            0x25 => self.variable(depth),
            kind => self.value_of(kind, depth),
        }
    }

    /// Reads a variable that several places share. A scalar in it can be named by references, too.
    fn variable(&mut self, depth: usize) -> Result<Id, Reason> {
        let kind = self.input.byte()?;
        let id = self.value_of(kind, depth)?;
        if !matches!(kind, 0x01..=0x03 | 0x14..=0x1c | 0x22..=0x24) {
            self.budget.push(&mut self.parts, id)?;
        }
        Ok(id)
    }

    fn value_of(&mut self, kind: u8, depth: usize) -> Result<Id, Reason> {
        let leaf = match kind {
            0x00 => Leaf::Null,
            0x04 => Leaf::Bool(false),
            0x05 => Leaf::Bool(true),
            0x06..=0x0b | 0x20 | 0x21 => {
                let number = self.integer(kind)?;
                return self.graph.number(number);
            }
            0x0c => float(f64::from_bits(self.input.number(8)?)).into(),
            0x01..=0x03 => return self.reference(width(kind, 0x01)),
            0x22..=0x24 => return self.reference(width(kind, 0x22)),
            0x14..=0x1c if depth >= MAX_DEPTH => return Err(Reason::TooDeep),
            0x14..=0x16 => return self.array(width(kind, 0x14), depth),
            0x17..=0x1c => return self.object(kind, depth),
            _ => {
                let text = self.text(kind)?;
                return self.graph.add(Node::Text(Cow::Borrowed(text)));
            }
        };
        self.graph.add(Node::Leaf(leaf))
    }

    fn integer(&mut self, kind: u8) -> Result<i64, Reason> {
        let width = match kind {
            0x06 | 0x07 => 1,
            0x08 | 0x09 => 2,
            0x0a | 0x0b => 4,
            _ => 8,
        };
        let magnitude = self.input.number(width)?;
        let number = match kind & 1 {
            0 => i64::try_from(magnitude).ok(),
            _ => 0_i64.checked_sub_unsigned(magnitude),
        };
        number.ok_or(Reason::Malformed)
    }

    fn text(&mut self, kind: u8) -> Result<&'r [u8], Reason> {
        match kind {
            0x0d => Ok(b""),
            0x0e..=0x10 => self.text_again(width(kind, 0x0e)),
            0x11..=0x13 => self.new_text(width(kind, 0x11)),
            0x26 => self.new_text(8),
            _ => Err(Reason::Malformed),
        }
    }

    fn new_text(&mut self, width: usize) -> Result<&'r [u8], Reason> {
        let text = self.input.counted(width)?;
        self.budget.push(&mut self.texts, text)?;
        Ok(text)
    }

    fn text_again(&mut self, width: usize) -> Result<&'r [u8], Reason> {
        let text = *nth(&self.texts, self.input.number(width)?)?;
        self.budget.draw(text.len())?;
        Ok(text)
    }

    fn reference(&mut self, width: usize) -> Result<Id, Reason> {
        nth(&self.parts, self.input.number(width)?).copied()
    }

    fn array(&mut self, width: usize, depth: usize) -> Result<Id, Reason> {
        let id = self.graph.add(Node::List(Vec::new()))?;
        self.budget.push(&mut self.parts, id)?;
        let members = self.members(width, depth)?;
        let is_list = members.iter().zip(0..).all(|((key, _), at)| *key == Key::Int(at));
        *self.graph.get_mut(id) = match is_list {
            true => {
                let mut elements = self.budget.list(members.len())?;
                elements.extend(members.into_iter().map(|(_, element)| element));
                Node::List(elements)
            }
            false => Node::Map(self.named(members, |key| key)?),
        };
        Ok(id)
    }

    /// Reads a class, then the properties of its object, or what the class itself makes of it.
    fn object(&mut self, kind: u8, depth: usize) -> Result<Id, Reason> {
        let class = match kind {
            0x17..=0x19 => self.new_text(width(kind, 0x17))?,
            _ => self.text_again(width(kind, 0x1a))?,
        };
        let id = self.graph.add(Node::Leaf(Leaf::Null))?;
        self.budget.push(&mut self.parts, id)?;
        self.budget.draw(OBJECT)?;
        let object = match self.input.byte()? {
            kind @ 0x14..=0x16 => {
                let properties = self.members(width(kind, 0x14), depth)?;
                Node::object(Cow::Borrowed(class), self.named(properties, Key::unmarked)?)
            }
            kind @ 0x1d..=0x1f => Node::Text(Cow::Borrowed(self.input.counted(width(kind, 0x1d))?)),
            // A case of an enumeration, as `serialize` writes it.
            0x27 => {
                let kind = self.input.byte()?;
                Node::Text(Cow::Owned([class, b":", self.text(kind)?].concat()))
            }
            _ => return Err(Reason::Malformed),
        };
        *self.graph.get_mut(id) = object;
        Ok(id)
    }

    /// Members by the names that their keys are.
    fn named(
        &self,
        members: Vec<(Key<'r>, Id)>,
        name: impl Fn(Key<'r>) -> Key<'r>,
    ) -> Result<Vec<Member<'r>>, Reason> {
        let mut named = self.budget.list(members.len())?;
        named.extend(members.into_iter().map(|(key, member)| (name(key).bytes(), member)));
        Ok(named)
    }

    /// Reads so many keys and values as a number of that width says.
    fn members(&mut self, width: usize, depth: usize) -> Result<Vec<(Key<'r>, Id)>, Reason> {
        let count = self.input.number(width)?;
        let count = usize::try_from(count).map_err(|_| Reason::Malformed)?;
        // Each takes two bytes at least.
        let mut members = self.budget.list(count.min(self.input.left() / 2))?;
        for _ in 0..count {
            let key = match self.input.byte()? {
                // A property that was declared but not set: nothing follows.
                0x00 => continue,
                kind @ (0x06..=0x0b | 0x20 | 0x21) => Key::Int(self.integer(kind)?),
                kind => Key::Text(self.text(kind)?),
            };
            let member = (key, self.value(depth + 1)?);
            self.budget.push(&mut members, member)?;
        }
        Ok(members)
    }
}

/// How many bytes a number takes for this kind of three: one, two or four.
fn width(kind: u8, first: u8) -> usize {
    1 << kind.saturating_sub(first)
}

fn nth<T>(all: &[T], number: u64) -> Result<&T, Reason> {
    usize::try_from(number).ok().and_then(|number| all.get(number)).ok_or(Reason::Malformed)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use base64::Engine;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::format::budget::tests::of;
    use crate::format::tests::{cut_off_is_refused, edited, edits, parts_agree, pointers};

    fn decode(raw: &[u8], wanted: &Wanted) -> Result<Value, Reason> {
        super::decode(raw, wanted, &of(raw))
    }

    /// Written by igbinary 3.2.13, PHP 8.2: an object that stands twice, with properties of each visibility
    /// and one that was never set; a case of an enumeration, twice; references, arrays that are shared, an
    /// object of a class that serialises itself, a DateTime, numbers at the ends of each width.
    const OF_EACH: &str = "AAAAAhQREQFvFwFBFAURAXAGAREEACoAcRQCBgAGAQYBEQF4EQQAQQByAAARAnEyJQYFEQRzYW1lIgERA\
        WUXBFN1aXQnEQZIZWFydHMRBWFnYWluIgQRAXYlAQMRAnZ2JQEDEQFsFAIGAAYBBgEGAhECbGwBBREBdyURAXQRAnd3JQEGEQNvb\
        GQXA09sZB0Ebzt9fAYADREBYhoBFAQOAgYBDgMBAg4FAAAOERcIRGF0ZVRpbWUUAxEEZGF0ZREaMjAyNC0wMi0yOSAwMDowMDowM\
        C4wMDAwMDARDXRpbWV6b25lX3R5cGUGAxEIdGltZXpvbmURA1VUQxECc3AUAgYDDH/wAAAAAAAABwEMgAAAAAAAAAAOAg4EEQFuF\
        AcGACGAAAAAAAAAAAYBIH//////////BgIH/wYDCQEABgQI//8GBQoAAQAABgYhAAAAAQAAAAA=";

    fn written(base64: &str) -> Vec<u8> {
        STANDARD.decode(base64).unwrap()
    }

    fn whole(base64: &str) -> Result<Value, Reason> {
        decode(&written(base64), &Wanted::All)
    }

    /// A value behind the header.
    fn value(bytes: &[u8]) -> Vec<u8> {
        [b"\0\0\0\x02", bytes].concat()
    }

    #[test]
    fn each_kind_of_value() {
        let expected = json!({
            "o": {"p": 1, "q": [1, "x"], "r": null, "q2": 5},
            "same": {"p": 1, "q": [1, "x"], "r": null, "q2": 5},
            "e": "Suit:Hearts", "again": "Suit:Hearts", "v": 5, "vv": 5,
            "l": [1, 2], "ll": [1, 2], "w": "t", "ww": "t", "old": "o;}|", "0": "",
            "b": {"p": 1, "q": [1, "x"], "r": null},
            "t": {"date": "2024-02-29 00:00:00.000000", "timezone_type": 3, "timezone": "UTC"},
            "sp": {"3": "INF", "-1": -0.0}, "p": "x",
            "n": [i64::MIN, i64::MAX, -255, -256, 65535, 65536, -4_294_967_296_i64],
        });
        assert_eq!(whole(OF_EACH), Ok(expected));
    }

    #[test]
    fn a_class_is_given_where_it_is_asked_for() {
        let part =
            |wanted: &[&str]| decode(&written(OF_EACH), &Wanted::of(&pointers(wanted))).unwrap();
        assert_eq!(part(&["/b/@class", "/b/p"]), json!({"b": {"@class": "A", "p": 1}}));
        assert_eq!(part(&["/same/@class"]), json!({"same": {"@class": "A"}}));
        assert_eq!(part(&["/e/@class"]), json!({"e": "Suit:Hearts"}));
    }

    #[test]
    fn texts_may_all_be_written_out_and_properties_not_set() {
        // By `igbinary.compact_strings=0`, which still refers to classes.
        let value = "AAAAAhQEEQJhYRECYWERAmJiEQJhYREBeBcCVW4UAwARAWIGAQARAXkaBRQDABEBYgYBAA==";
        let expected = json!({"aa": "aa", "bb": "aa", "x": {"b": 1}, "y": {"b": 1}});
        assert_eq!(whole(value), Ok(expected));
    }

    #[test]
    fn cycles_are_cut() {
        let value = "AAAAAhQBEQFjFwhzdGRDbGFzcxQCEQRzZWxmIgERAmluFAEGACIB";
        assert_eq!(whole(value), Ok(json!({"c": {"self": null, "in": [null]}})));
    }

    #[test]
    fn values_that_stand_alone() {
        for (bytes, expected) in [
            (&b"\x00"[..], json!(null)),
            (b"\x05", json!(true)),
            (b"\x0d", json!("")),
            (b"\x11\x02\xff\x00", json!("base64:/wA=")),
            (b"\x26\0\0\0\0\0\0\0\x01a", json!("a")),
            (b"\x13\0\0\0\x01a", json!("a")),
            (b"\x0c\x7f\xf8\0\0\0\0\0\0", json!("NAN")),
            (b"\x14\x00", json!([])),
            (b"\x15\0\x02\x06\x01\x04\x06\x00\x05", json!({"1": false, "0": true})),
            (b"\x16\0\0\0\x01\x11\x010\x00", json!({"0": null})),
            (b"\x25\x06\x07", json!(7)),
        ] {
            assert_eq!(decode(&value(bytes), &Wanted::All), Ok(expected), "{bytes:?}");
        }
        assert_eq!(decode(b"\0\0\0\x01\x05", &Wanted::All), Ok(json!(true)));
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for bytes in [
            &b""[..],
            b"\x28",
            b"\x1d\x00",
            b"\x27",
            b"\x00\x00",
            b"\x25\x25\x00",
            b"\x0e\x00",
            b"\x01\x00",
            b"\x20\x80\0\0\0\0\0\0\0",
            b"\x21\x80\0\0\0\0\0\0\x01",
            b"\x11\x02a",
            b"\x26\xff\xff\xff\xff\xff\xff\xff\xffa",
            b"\x16\xff\xff\xff\xff\x00",
            b"\x14\x01\x05\x00",
            b"\x14\x01\x06\x00\x01\x01",
            b"\x17\x01A\x05",
            b"\x17\x01A\x27\x00",
            b"\x1a\x00\x14\x00",
        ] {
            for wanted in [Wanted::All, Wanted::Nothing] {
                assert_eq!(decode(&value(bytes), &wanted), Err(Reason::Malformed), "{bytes:?}");
            }
        }
        for header in [&b"\0\0\0\x03\x00"[..], b"\x02\0\0\0\x00", b"a:0:{}"] {
            assert_eq!(decode(header, &Wanted::All), Err(Reason::Malformed));
            assert!(!begins(header));
        }
    }

    #[test]
    fn a_long_text_cannot_stand_everywhere() {
        let times = |count: u16| {
            let long = [b"\x12\xea\x60", "x".repeat(60_000).as_bytes()].concat();
            let again = b"\x0d\x0e\x00".repeat(usize::from(count));
            let named = b"\x0e\x00\x00".repeat(usize::from(count));
            [again, named].map(|rest| {
                let array = [b"\x15", &(count + 1).to_be_bytes()[..], &long, b"\x00", &rest];
                decode(&value(&array.concat()), &Wanted::Nothing).map(drop)
            })
        };
        assert_eq!(times(16), [Ok(()), Ok(())]);
        assert_eq!(times(40), [Err(Reason::TooLarge), Err(Reason::TooLarge)]);
    }

    #[test]
    fn nesting_is_bounded_whatever_is_wanted() {
        for inner in [&b"\x14\x01\x06\x00"[..], b"\x17\x00\x14\x01\x06\x00"] {
            let nested = |depth: usize| value(&[&inner.repeat(depth), &b"\x00"[..]].concat());
            for wanted in [Wanted::All, Wanted::Nothing] {
                let of = |depth| decode(&nested(depth), &wanted).map(drop);
                assert_eq!(of(MAX_DEPTH), Ok(()));
                assert_eq!(of(MAX_DEPTH + 1), Err(Reason::TooDeep));
                assert_eq!(of(100_000), Err(Reason::TooDeep));
            }
        }
    }

    #[test]
    fn sessions_cut_off_are_refused() {
        cut_off_is_refused("igbinary", &[written(OF_EACH)]);
    }

    proptest! {
        #[test]
        fn parts_of_what_is_spoilt_are_those_of_the_whole(
            edits in edits("\0\x01\x02\x04\x06\x0d\x0e\x11\x14\x17\x1a\x22\x25\x27"),
            wanted in proptest::collection::vec("(/(o|sp|[belntvw0-3*])){1,3}", 0..4),
        ) {
            parts_agree(decode, &edited(&written(OF_EACH), &edits), &wanted);
        }

        #[test]
        fn parts_of_anything_are_those_of_the_whole(
            bytes in proptest::collection::vec(prop_oneof![4 => 0..0x28_u8, 1 => any::<u8>()], 0..48),
            wanted in proptest::collection::vec("(/[01*]){0,3}", 0..3),
        ) {
            parts_agree(decode, &value(&bytes), &wanted);
        }
    }
}
