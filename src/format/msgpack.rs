//! MessagePack, as Flask-Session, django-redis and PHP's extension msgpack write it.
//!
//! The layout is that of `spec.md` of the msgpack project. PHP's extension (`msgpack_pack.c`) marks what is
//! PHP's alone by a map whose first key is nil, which no other writer has reason for, so that both are told
//! apart by themselves. Nothing is ever made of a class: objects are their properties.

#![forbid(unsafe_code)]

mod token;

use std::borrow::Cow;

use serde_json::Value;

use self::token::{token, Token};
use super::budget::{Budget, Object};
use super::cursor::Cursor;
use super::php::Key;
use super::{Reason, Wanted, MAX_DEPTH};

/// Reads a session, which is a map, or any other value. Keys that are no texts are so in JSON.
pub(super) fn decode(raw: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Reason> {
    let mut reader = Reader { raw, input: Cursor::new(raw), open: Vec::new(), slots: None, budget };
    let session = reader.value(wanted)?;
    match reader.input.left() {
        0 => Ok(session),
        _ => Err(Reason::Malformed),
    }
}

/// Whether `raw` begins with a map and a key in it that is a text, nil or a small number, or is an empty map
/// or list.
pub(super) fn begins(raw: &[u8]) -> bool {
    match raw {
        [0x80] | [0x90] => true,
        [0x81..=0x8f, key, ..] | [0xde, _, _, key, ..] | [0xdf, _, _, _, _, key, ..] => {
            matches!(key, 0x00..=0x7f | 0xa0..=0xc0 | 0xcc..=0xd3 | 0xd9 | 0xda)
        }
        _ => false,
    }
}

/// Reads the values of one session.
struct Reader<'r> {
    raw: &'r [u8],
    input: Cursor<'r>,
    /// Where the lists and maps begin that are being read, the outermost first.
    open: Vec<usize>,
    /// Where all lists and maps begin, by which PHP's references name them. Found when the first one is met:
    /// most sessions have none.
    slots: Option<Vec<usize>>,
    /// Of what is made, and of what references have read again: each copies the value that it names.
    budget: &'r Budget,
}

impl<'r> Reader<'r> {
    /// Reads the value that comes next; null where nothing of it is wanted.
    fn value(&mut self, wanted: &Wanted) -> Result<Value, Reason> {
        if matches!(wanted, Wanted::Nothing) {
            self.skip()?;
            return Ok(Value::Null);
        }
        let start = self.position();
        match token(&mut self.input)? {
            Token::List(count) => self.inside(start, |reader| reader.list(count, wanted)),
            Token::Map(count) => self.inside(start, |reader| reader.map(count, wanted)),
            Token::Text(bytes) => self.budget.text(bytes).map(Value::String),
            Token::Scalar(value) => self.scalar(value),
        }
    }

    fn scalar(&self, value: Value) -> Result<Value, Reason> {
        self.budget.draw(match &value {
            Value::Number(number) => number.as_str().len(),
            // A moment, or an extension.
            Value::String(text) => {
                self.budget.date()?;
                text.len()
            }
            _ => 0,
        })?;
        Ok(value)
    }

    fn list(&mut self, count: usize, wanted: &Wanted) -> Result<Value, Reason> {
        let mut list = self.budget.list(wanted.elements(count.min(self.input.left())))?;
        for at in 0..count {
            self.element(at, &mut list, wanted)?;
        }
        Ok(Value::Array(list))
    }

    fn element(&mut self, at: usize, list: &mut Vec<Value>, wanted: &Wanted) -> Result<(), Reason> {
        if wanted.ends_before(at) {
            return self.skip();
        }
        let element = self.value(wanted.element(at))?;
        self.budget.push(list, element)
    }

    fn map(&mut self, count: usize, wanted: &Wanted) -> Result<Value, Reason> {
        let begin = self.input;
        if count > 0 && self.nil() {
            if let Some(value) = self.marked(count - 1, wanted)? {
                return Ok(value);
            }
            self.input = begin;
        }
        self.members(self.room(count, wanted), count, false, wanted)
    }

    /// Reads what PHP writes as a map, behind the nil that marks it; `left` members follow the first.
    fn marked(&mut self, left: usize, wanted: &Wanted) -> Result<Option<Value>, Reason> {
        /// An array or object that a variable holds which others share.
        const VARIABLE: i64 = 1;
        /// What was written before: such an array, an object, such an object.
        const AGAIN: [i64; 3] = [2, 4, 5];
        /// An object of a class with its own format: its class, what it holds.
        const OPAQUE: i64 = 3;
        /// A case of an enumeration: its class, its name.
        const CASE: i64 = 6;
        let mark = match token(&mut self.input)? {
            Token::Text(class) => return self.object(class, left, wanted).map(Some),
            Token::Scalar(Value::Number(mark)) => mark.as_i64().unwrap_or_default(),
            _ => return Ok(None),
        };
        if mark == VARIABLE {
            return self.variable(left, wanted).map(Some);
        }
        if left != 1 {
            return Ok(None);
        }
        Ok(match token(&mut self.input)? {
            Token::Scalar(_) if AGAIN.contains(&mark) => match token(&mut self.input)? {
                Token::Scalar(Value::Number(slot)) => Some(self.again(slot.as_u64(), wanted)?),
                _ => None,
            },
            Token::Text(class) if mark == OPAQUE || mark == CASE => match token(&mut self.input)? {
                Token::Text(held) if mark == OPAQUE => Some(self.budget.text(held)?.into()),
                Token::Text(case) => Some(self.budget.text(&[class, b":", case].concat())?.into()),
                _ => None,
            },
            _ => None,
        })
    }

    /// Reads an array or object. As an array it is a list if its keys are 0, 1, 2 …
    fn variable(&mut self, count: usize, wanted: &Wanted) -> Result<Value, Reason> {
        let begin = self.input;
        if count > 0 && self.nil() {
            if let Token::Text(class) = token(&mut self.input)? {
                return self.object(class, count - 1, wanted);
            }
            self.input = begin;
        }
        let mut list = Vec::new();
        for at in 0..count {
            let begin = self.input;
            if !matches!(token(&mut self.input)?, Token::Scalar(key) if key == at) {
                self.input = begin;
                let mut named = self.room(count, wanted);
                for (at, element) in list.into_iter().enumerate() {
                    named.insert(at.to_string(), element)?;
                }
                return self.members(named, count - at, false, wanted);
            }
            self.element(at, &mut list, wanted)?;
        }
        Ok(Value::Array(list))
    }

    /// Reads the properties of an object; what its class made of it (`__serialize`) stands behind one more nil.
    fn object(&mut self, class: &[u8], count: usize, wanted: &Wanted) -> Result<Value, Reason> {
        let mut object = self.room(count, wanted);
        if wanted.class() {
            object.insert(Wanted::CLASS.to_owned(), Value::String(self.budget.text(class)?))?;
        }
        let begin = self.input;
        if count == 1 && self.nil() {
            let start = self.position();
            match token(&mut self.input)? {
                Token::Map(count) => {
                    return self
                        .inside(start, |reader| reader.members(object, count, true, wanted));
                }
                Token::List(count) => {
                    return self.inside(start, |reader| reader.numbered(object, count, wanted));
                }
                _ => self.input = begin,
            }
        }
        self.members(object, count, true, wanted)
    }

    /// An object for so many members.
    fn room(&self, count: usize, wanted: &Wanted) -> Object<'r> {
        self.budget.object(wanted.members(count.min(self.input.left() / 2)))
    }

    /// Reads members, beside those that are known.
    fn members(
        &mut self,
        mut known: Object<'r>,
        count: usize,
        of_object: bool,
        wanted: &Wanted,
    ) -> Result<Value, Reason> {
        for _ in 0..count {
            let key = self.key()?;
            let name = match (&key, of_object) {
                (Cow::Borrowed(name), true) => Key::Text(name).unmarked().bytes(),
                _ => key,
            };
            self.member(&name, &mut known, wanted)?;
        }
        Ok(known.into_value())
    }

    /// Reads elements as members, beside those that are known.
    fn numbered(
        &mut self,
        mut known: Object<'r>,
        count: usize,
        wanted: &Wanted,
    ) -> Result<Value, Reason> {
        for at in 0..count {
            self.member(at.to_string().as_bytes(), &mut known, wanted)?;
        }
        Ok(known.into_value())
    }

    fn member(
        &mut self,
        name: &[u8],
        members: &mut Object<'r>,
        wanted: &Wanted,
    ) -> Result<(), Reason> {
        let part = wanted.member(name);
        if matches!(part, Wanted::Nothing) {
            return self.skip();
        }
        let value = self.value(part)?;
        members.insert(self.budget.text(name)?, value)
    }

    /// Reads a key: a text itself, a scalar as JSON has it; one that holds others is not looked into.
    fn key(&mut self) -> Result<Cow<'r, [u8]>, Reason> {
        let begin = self.input;
        Ok(match token(&mut self.input)? {
            Token::Text(key) => Cow::Borrowed(key),
            Token::Scalar(Value::String(key)) => {
                self.budget.date()?;
                Cow::Owned(key.into_bytes())
            }
            Token::Scalar(key) => {
                const NAME: usize = 32;
                self.budget.draw(NAME)?;
                Cow::Owned(key.to_string().into_bytes())
            }
            container => {
                self.input = begin;
                self.skip()?;
                Cow::Borrowed(if matches!(container, Token::Map(_)) { b"{...}" } else { b"[...]" })
            }
        })
    }

    /// Reads again the list or map of that number, as PHP counts when it reads: those that are references,
    /// too. Null in place of one that holds the reference or comes after it.
    fn again(&mut self, slot: Option<u64>, wanted: &Wanted) -> Result<Value, Reason> {
        /// What it costs to read a byte again.
        const AGAIN: usize = 6;
        let here = self.open.last().copied().unwrap_or_default();
        let slots = match self.slots.take() {
            Some(slots) => slots,
            None => self.all()?,
        };
        let slot = slot.and_then(|slot| usize::try_from(slot).ok()?.checked_sub(1));
        let there = slot.and_then(|slot| slots.get(slot).copied());
        self.slots = Some(slots);
        let Some(there) = there.filter(|there| *there < here && !self.open.contains(there)) else {
            return Ok(Value::Null);
        };
        let there = Cursor::new(self.raw.get(there..).unwrap_or_default());
        let after = std::mem::replace(&mut self.input, there);
        let value = self.value(wanted)?;
        // The time that it took.
        self.budget.draw(AGAIN * (there.left() - self.input.left()))?;
        self.input = after;
        Ok(value)
    }

    /// Where all lists and maps of the session begin.
    fn all(&self) -> Result<Vec<usize>, Reason> {
        let mut slots = Vec::new();
        let mut input = Cursor::new(self.raw);
        walk(&mut input, 0, |left| self.budget.push(&mut slots, self.raw.len() - left))?;
        match input.left() {
            0 => Ok(slots),
            _ => Err(Reason::Malformed),
        }
    }

    /// Reads what is in the list or map that begins there.
    fn inside(
        &mut self,
        start: usize,
        read: impl FnOnce(&mut Self) -> Result<Value, Reason>,
    ) -> Result<Value, Reason> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Reason::TooDeep);
        }
        self.open.push(start);
        let value = read(self)?;
        self.open.pop();
        Ok(value)
    }

    fn skip(&mut self) -> Result<(), Reason> {
        walk(&mut self.input, self.open.len(), |_| Ok(()))
    }

    /// Passes over a nil, if one comes next.
    fn nil(&mut self) -> bool {
        let mut input = self.input;
        let is_nil = input.byte() == Ok(token::NIL);
        if is_nil {
            self.input = input;
        }
        is_nil
    }

    fn position(&self) -> usize {
        self.raw.len() - self.input.left()
    }
}

/// Walks over the value that comes next, below `depth` lists and maps. For each of those in it, `begins` is
/// told how many bytes are left from its beginning on.
fn walk(
    input: &mut Cursor<'_>,
    depth: usize,
    mut begins: impl FnMut(usize) -> Result<(), Reason>,
) -> Result<(), Reason> {
    // How many values are to come in the list or map that is read, and in each around it.
    let (mut left, mut around) = (1, Vec::new());
    loop {
        while left > 0 {
            let place = input.left();
            left -= 1;
            if let Some(inside) = token::skip(input)? {
                if depth + around.len() >= MAX_DEPTH {
                    return Err(Reason::TooDeep);
                }
                begins(place)?;
                if inside > 0 {
                    around.push(left);
                    left = inside;
                }
            }
        }
        match around.pop() {
            None => return Ok(()),
            Some(outer) => left = outer,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::format::budget::tests::of;
    use crate::format::tests::{captured, edited, edits, parts_agree, pointers};

    fn decode(raw: &[u8], wanted: &Wanted) -> Result<Value, Reason> {
        super::decode(raw, wanted, &of(raw))
    }

    /// Written by PHP 8.2 with msgpack 2.2: objects of classes that do or do not say how they are serialised,
    /// what stands twice, circles, references.
    const OF_PHP: [&str; 17] = [
        "81a17584c0a155a2696407a4002a0070a178a4005500719101",
        "82a17381c0a8737464436c617373a17482c0a8737464436c617373a16101",
        "81a17782c0a157c082a176920102a16e01",
        "81a17782c0a14cc0920506",
        "81a17783c0a2536ca16101a500536c006202",
        "81a17782c003a24331a3726177",
        "84a16184c0a155a2696407a4002a0070a178a4005500719101a16282c0040002a1639101a16482c0040002",
        "83a16183c00100010102a16282c0020002a16305",
        "86a16183c00100010102a16282c0020002a16f82c0a8737464436c617373a17801a26f3282c0040003a17084c0a155a2696407a400\
            2a0070a178a4005500719101a17182c0040005",
        "82a16105a16205",
        "81a17a82c0a8737464436c617373a473656c6682c0040002",
        "820001a26d6583c0010001a26d6582c0020002",
        "82a16183c001c0a8737464436c617373a16b01a16282c0050002",
        "82a16182c001a16b01a16282c0020002",
        "81a16482c0a84461746554696d65c083a464617465ba323032342d30322d32392031333a31343a31352e303030303030ad74696d657\
            a6f6e655f7479706503a874696d657a6f6e65a3555443",
        "81a16482c0ab41727261794f626a656374c0940092010290c0",
        "82a16583c0a145a46e616d65a141a576616c7565a161a16682c0a146a46e616d65a158",
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<char> = hex.chars().collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap())
            .collect()
    }

    fn whole(hex: &str) -> Result<Value, Reason> {
        decode(&bytes(hex), &Wanted::All)
    }

    #[test]
    fn objects_and_references_of_php() {
        let user = json!({"id": 7, "p": "x", "q": [1]});
        let expected = [
            json!({"u": user}),
            json!({"s": {}, "t": {"a": 1}}),
            json!({"w": {"v": [1, 2], "n": 1}}),
            json!({"w": {"0": 5, "1": 6}}),
            json!({"w": {"a": 1, "b": 2}}),
            json!({"w": "raw"}),
            json!({"a": user, "b": user, "c": [1], "d": user}),
            json!({"a": [1, 2], "b": [1, 2], "c": 5}),
            // PHP writes 3 for the object in "o", but reads there what "b" is, and in "q" what "o2" is.
            json!({"a": [1, 2], "b": [1, 2], "o": {"x": 1}, "o2": [1, 2], "p": user, "q": [1, 2]}),
            json!({"a": 5, "b": 5}),
            json!({"z": {"self": null}}),
            json!({"0": 1, "me": {"0": 1, "me": null}}),
            json!({"a": {"k": 1}, "b": {"k": 1}}),
            json!({"a": {"k": 1}, "b": {"k": 1}}),
            json!({"d": {"date": "2024-02-29 13:14:15.000000", "timezone_type": 3, "timezone": "UTC"}}),
            json!({"d": {"0": 0, "1": [1, 2], "2": [], "3": null}}),
            json!({"e": {"name": "A", "value": "a"}, "f": {"name": "X"}}),
        ];
        for (hex, expected) in OF_PHP.iter().zip(expected) {
            assert_eq!(whole(hex), Ok(expected), "{hex}");
        }
        // As version 3 writes a case of an enumeration.
        assert_eq!(whole("82c006a453756974a141"), Ok(json!("Suit:A")));
    }

    #[test]
    fn a_class_is_given_where_it_is_asked_for() {
        for (hex, pointer, expected) in [
            (OF_PHP[0], "/u/@class", json!({"u": {"@class": "U"}})),
            (OF_PHP[3], "/w/@class", json!({"w": {"@class": "L"}})),
            (OF_PHP[6], "/d/@class", json!({"d": {"@class": "U"}})),
            (OF_PHP[12], "/a/@class", json!({"a": {"@class": "stdClass"}})),
        ] {
            assert_eq!(decode(&bytes(hex), &Wanted::of(&pointers(&[pointer]))), Ok(expected));
        }
    }

    #[test]
    fn maps_that_begin_with_nil_but_are_not_of_php() {
        for (hex, expected) in [
            ("81c0c0", json!({"null": null})),
            ("81c090", json!({"null": []})),
            ("81c007", json!({"null": 7})),
            ("82c002a16190", json!({"null": 2, "a": []})),
            ("82c0029001", json!({"null": 2, "[...]": 1})),
            ("82c003a16101", json!({"null": 3, "a": 1})),
            ("83c002a16101a16202", json!({"null": 2, "a": 1, "b": 2})),
            ("82c0a141c001", json!({"null": 1})),
            ("81c001", json!([])),
            ("83c00101a16100a162", json!({"1": "a", "0": "b"})),
            ("82c0020009", json!(null)),
            ("82c0020000", json!(null)),
            ("82c00200ff", json!(null)),
        ] {
            assert_eq!(whole(hex), Ok(expected), "{hex}");
        }
    }

    #[test]
    fn each_kind_of_value() {
        for (hex, expected) in [
            ("c0", json!(null)),
            ("c2", json!(false)),
            ("c3", json!(true)),
            ("7f", json!(127)),
            ("e0", json!(-32)),
            ("ccff", json!(255)),
            ("cdffff", json!(65535)),
            ("ceffffffff", json!(u32::MAX)),
            ("cfffffffffffffffff", json!(u64::MAX)),
            ("d080", json!(-128)),
            ("d18000", json!(-32768)),
            ("d280000000", json!(i32::MIN)),
            ("d38000000000000000", json!(i64::MIN)),
            ("ca3fc00000", json!(1.5)),
            ("cb3fb999999999999a", json!(0.1)),
            ("cb7ff0000000000000", json!("Infinity")),
            ("ca7fc00000", json!("NaN")),
            ("a161", json!("a")),
            ("d90161", json!("a")),
            ("da000161", json!("a")),
            ("db0000000161", json!("a")),
            ("c40161", json!("a")),
            ("c50002ff00", json!("base64:/wA=")),
            ("c60000000161", json!("a")),
            ("90", json!([])),
            ("dc000201a162", json!([1, "b"])),
            ("dd0000000101", json!([1])),
            ("80", json!({})),
            ("de0001a16101", json!({"a": 1})),
            ("df00000001a16101", json!({"a": 1})),
            ("82a16101a16102", json!({"a": 2})),
            // As Python's dictionaries may have them.
            ("82000a010b", json!({"0": 10, "1": 11})),
            ("83ff01c302cb3ff800000000000003", json!({"-1": 1, "true": 2, "1.5": 3})),
            ("82c402ff00019301020390", json!({"base64:/wA=": 1, "[...]": []})),
            ("8181a1610102", json!({"{...}": 2})),
        ] {
            assert_eq!(whole(hex), Ok(expected), "{hex}");
        }
    }

    #[test]
    fn moments_and_other_extensions() {
        for (hex, expected) in [
            ("d6ff65e08327", "2024-02-29T13:14:15Z"),
            ("d6ffffffffff", "2106-02-07T06:28:15Z"),
            ("d7ff1d6f280065e08327", "2024-02-29T13:14:15.123456Z"),
            ("d7ff1d6f345465e08327", "2024-02-29T13:14:15.123456789Z"),
            ("c70cff00000001ffffffffffffffff", "1969-12-31T23:59:59.000000001Z"),
            ("c70cff1dcd6500ffffffff4407e200", "1870-01-25T00:00:00.500000Z"),
            // No moment: a year too far away, more than a second, no such length; then other types.
            ("c70cff000000004000000000000000", "\0\0\0\0@\0\0\0\0\0\0\0"),
            ("d7ffee6b280065e08327", "base64:7msoAGXggyc="),
            ("d4ff61", "a"),
            ("d50161ff", "base64:Yf8="),
            ("d8056162636465666768696a6b6c6d6e6f70", "abcdefghijklmnop"),
            ("c80001006a", "j"),
            ("c900000001006a", "j"),
        ] {
            assert_eq!(whole(hex), Ok(json!(expected)), "{hex}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for hex in [
            "",
            "c1",
            "0000",
            "a2",
            "a261",
            "d9",
            "d902",
            "dbffffffff61",
            "91",
            "dc0002c0",
            "ddffffffffc0",
            "81",
            "8101",
            "de0001",
            "dfffffffffc0c0",
            "cc",
            "cf00",
            "ca",
            "d4",
            "d401",
            "c7",
            "c9ffffffff00",
            "80c0",
            "82c001",
            "82c002",
            "82c00200",
            "82c003a141",
            "81c1c0",
            "82c0020001c0",
            // A reference, then what is none.
            "93c082c0020001c1",
        ] {
            for wanted in [Wanted::All, Wanted::Nothing] {
                assert_eq!(decode(&bytes(hex), &wanted), Err(Reason::Malformed), "{hex}");
            }
        }
    }

    #[test]
    fn references_are_bounded() {
        // Each of 40 lists holds the one before it twice, which PHP would have written as objects.
        let mut bomb = b"\xdc\x00\x29\x90".to_vec();
        let mut slot = 2;
        for _ in 0..40 {
            let again = [&b"\x82\xc0\x04\x00\xcd"[..], &u16::to_be_bytes(slot)].concat();
            bomb.extend([&b"\x92"[..], &again, &again].concat());
            slot += if slot == 2 { 1 } else { 3 };
        }
        assert_eq!(decode(&bomb, &Wanted::All), Err(Reason::TooLarge));
        assert!(decode(&bomb, &Wanted::of(&pointers(&["/3"]))).is_ok());
        // One long text, over and over.
        let long = [&b"\x91\xda\xea\x60"[..], "x".repeat(60_000).as_bytes()].concat();
        let again = b"\x82\xc0\x04\x00\x02".repeat(99);
        let bomb = [&b"\xdc\x00\x64"[..], &long, &again].concat();
        assert_eq!(decode(&bomb, &Wanted::All), Err(Reason::TooLarge));
        // References to references.
        let chain = (0..200_u8).flat_map(|at| [0x82, 0xc0, 4, 0, 0xcc, at + 2]);
        let chain: Vec<u8> = [0xdc, 0x00, 0xc9, 0x90].into_iter().chain(chain).collect();
        assert_eq!(decode(&chain, &Wanted::All), Err(Reason::TooDeep));
        let near = decode(&chain, &Wanted::of(&pointers(&["/9"]))).unwrap();
        assert_eq!(near[9], json!([]));
    }

    #[test]
    fn nesting_is_bounded_whatever_is_wanted() {
        for inner in ["91", "81a161", "82c0a141a162", "82c00100", "82c0a141c091"] {
            let containers =
                bytes(inner).iter().filter(|byte| matches!(byte, 0x81 | 0x82 | 0x91)).count();
            let nested = |times: usize| [bytes(inner).repeat(times), vec![0xc0]].concat();
            for wanted in [Wanted::All, Wanted::Nothing] {
                let of = |depth| decode(&nested(depth), &wanted).map(drop);
                assert_eq!(of(MAX_DEPTH / containers), Ok(()), "{inner}");
                assert_eq!(of(MAX_DEPTH / containers + 1), Err(Reason::TooDeep), "{inner}");
                assert_eq!(of(100_000), Err(Reason::TooDeep), "{inner}");
            }
        }
    }

    #[test]
    fn what_it_begins_like() {
        assert!(captured()
            .iter()
            .filter(|session| session.format == "msgpack")
            .all(|session| begins(&session.raw)));
        for other in [&b"\x80\x04\x95"[..], b"{\"a\":1}", b"\x90\x00", b"\x81", b"\x82\xc1", b"a"] {
            assert!(!begins(other), "{other:?}");
        }
    }

    #[test]
    fn captured_sessions_cut_off_are_refused() {
        let captured = captured().into_iter().filter(|session| session.format == "msgpack");
        let sessions: Vec<_> = captured
            .map(|session| session.raw)
            .chain(OF_PHP.iter().map(|hex| bytes(hex)))
            .collect();
        assert!(sessions.len() >= 21);
        for session in sessions {
            for cut in 0..session.len() {
                for wanted in [Wanted::All, Wanted::Nothing] {
                    assert_eq!(decode(&session[..cut], &wanted), Err(Reason::Malformed), "{cut}");
                }
            }
        }
    }

    const BYTES: &str = "\0\x01\x02\x03\x04\x05ab";

    proptest! {
        #[test]
        fn parts_of_what_is_spoilt_are_those_of_the_whole(
            hex in prop::sample::select(&OF_PHP[..]),
            edits in edits(BYTES),
            wanted in proptest::collection::vec("(/([abcdow0-3*]|me)){1,3}", 0..4),
        ) {
            parts_agree(decode, &edited(&bytes(hex), &edits), &wanted);
        }

        #[test]
        fn parts_of_anything_are_those_of_the_whole(
            bytes in proptest::collection::vec(
                prop_oneof![
                    8 => prop::sample::select(&b"\x00\x01\x02\x03\x04\x05\x81\x82\x83\x90\x91\x92\xa1\xc0\xff"[..]),
                    1 => any::<u8>(),
                ],
                0..48,
            ),
            wanted in proptest::collection::vec("(/[01*]){0,3}", 0..3),
        ) {
            parts_agree(decode, &bytes, &wanted);
        }
    }
}
