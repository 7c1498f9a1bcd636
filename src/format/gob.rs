//! What Go's `encoding/gob` writes: the sessions of gorilla's stores, of scs and of fiber.
//!
//! A stream defines its types before it uses them, so that it can be read without the program that wrote it:
//! structs are objects of the fields that are not zero, maps are objects whose members are named as `fmt`
//! prints their keys. `encoding/gob/doc.go` tells the format.
//!
//! Types first used within an interface are defined there, and each definition ends a message, in whatever
//! it stands. So the lengths of messages do not tell where values end; they are passed over, as Go does.

#![forbid(unsafe_code)]

mod print;
mod types;
mod wire;

use std::borrow::Cow;

use serde_json::{Number, Value};

use self::types::{Id, Type, Types};
use self::wire::Wire;
use super::budget::Budget;
use super::{Reason, Wanted, MAX_DEPTH};

/// Reads the one value of a stream.
pub(super) fn decode(raw: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Reason> {
    let mut reader = Reader { wire: Wire::new(raw), types: Types::default(), budget };
    reader.wire.message()?;
    let id = reader.type_of_value()?;
    reader.begin(id)?;
    let session = reader.value(id, Place { wanted, name: b"", depth: 0 })?;
    match reader.wire.is_done() {
        true => Ok(session),
        false => Err(Reason::Malformed),
    }
}

/// Whether `raw` begins with the definition of a type.
pub(super) fn begins(raw: &[u8]) -> bool {
    let mut wire = Wire::new(raw);
    wire.message().is_ok()
        && wire.int().is_ok_and(|id| id <= -types::FIRST_DEFINED)
        && wire.uint().is_ok_and(|kind| (1..=7).contains(&kind))
}

/// Where a value stands.
#[derive(Clone, Copy)]
struct Place<'r, 'w> {
    wanted: &'w Wanted,
    /// How an interface names the type of what it holds, with its package; else empty.
    name: &'r [u8],
    /// How many containers it is in.
    depth: usize,
}

impl<'r, 'w> Place<'r, 'w> {
    /// The place of something in the container there, and what is wanted of it.
    fn inside(self, wanted: &'w Wanted) -> Self {
        Self { wanted, name: b"", depth: self.depth + 1 }
    }

    /// Makes JSON of what was read there; null where nothing of it is wanted.
    fn make<T>(
        self,
        read: T,
        budget: &Budget,
        value: impl FnOnce(T) -> Value,
    ) -> Result<Value, Reason> {
        if *self.wanted == Wanted::Nothing {
            return Ok(Value::Null);
        }
        let value = value(read);
        budget.draw(match &value {
            Value::Number(number) => number.as_str().len(),
            Value::String(text) => text.len(),
            _ => 0,
        })?;
        Ok(value)
    }
}

/// Reads the values of a stream.
struct Reader<'r> {
    wire: Wire<'r>,
    types: Types<'r>,
    /// Of what is made; and of the names of structs and their fields, which stand in their types.
    budget: &'r Budget,
}

impl<'r> Reader<'r> {
    /// Reads the types that are defined before a value, and what type it has itself.
    fn type_of_value(&mut self) -> Result<Id, Reason> {
        loop {
            let id = self.wire.int()?;
            if id >= 0 {
                return Ok(id);
            }
            self.types.define(id, &mut self.wire, self.budget)?;
            self.wire.message()?;
        }
    }

    /// Reads what is before a value that stands for itself: a zero, but for a struct.
    fn begin(&mut self, id: Id) -> Result<(), Reason> {
        if !self.types.is_struct(id) && self.wire.uint()? != 0 {
            return Err(Reason::Malformed);
        }
        Ok(())
    }

    fn value(&mut self, id: Id, place: Place<'r, '_>) -> Result<Value, Reason> {
        Ok(match id {
            types::BOOL => Value::Bool(self.wire.uint()? != 0),
            types::INT => place.make(self.wire.int()?, self.budget, Value::from)?,
            types::UINT => place.make(self.wire.uint()?, self.budget, Value::from)?,
            types::FLOAT => place.make(self.wire.float()?, self.budget, float)?,
            types::COMPLEX => {
                let complex_number = self.complex()?;
                // Two floats.
                self.budget.float_name()?;
                self.budget.float_name()?;
                place.make(complex_number, self.budget, complex)?
            }
            types::BYTES | types::STRING => self.text(place)?,
            types::INTERFACE => match self.interface()? {
                None => Value::Null,
                Some((id, name)) => self.value(id, Place { name, ..place })?,
            },
            _ => return self.defined(id, place),
        })
    }

    fn complex(&mut self) -> Result<(f64, f64), Reason> {
        Ok((self.wire.float()?, self.wire.float()?))
    }

    /// Reads an interface up to the value in it: that one's type, and how it is named; `None` for nil.
    fn interface(&mut self) -> Result<Option<(Id, &'r [u8])>, Reason> {
        let name = self.wire.bytes()?;
        if name.is_empty() {
            return Ok(None);
        }
        let id = self.type_of_value()?;
        self.wire.message()?;
        // An interface holds what is none.
        if id == types::INTERFACE {
            return Err(Reason::Malformed);
        }
        self.begin(id)?;
        Ok(Some((id, name)))
    }

    fn defined(&mut self, id: Id, place: Place<'r, '_>) -> Result<Value, Reason> {
        /// What it costs to read a value of a type that is looked up.
        const STEP: usize = 64;
        // Also of what nothing is wanted: it takes time.
        self.budget.draw(STEP)?;
        let of = self.types.get(id)?;
        let value = match &*of {
            Type::Marshaler { name } => self.marshaled(name, place)?,
            _ if place.depth >= MAX_DEPTH => return Err(Reason::TooDeep),
            Type::Array { element, length } => self.list(*element, Some(*length), place)?,
            Type::Slice { element } => self.list(*element, None, place)?,
            Type::Map { key, element } => self.map(*key, *element, place)?,
            Type::Struct { name, fields } => self.fields(name, fields, place)?,
        };
        Ok(if *place.wanted == Wanted::Nothing { Value::Null } else { value })
    }

    /// Pays for so many elements, also for such as nothing is wanted of. Each takes a byte at least.
    fn pay(&self, count: usize) -> Result<(), Reason> {
        const ELEMENT: usize = 16;
        self.budget.draw(ELEMENT * count.min(self.wire.left()))
    }

    /// A text, or bytes that are none.
    fn text(&mut self, place: Place<'r, '_>) -> Result<Value, Reason> {
        let bytes = self.wire.bytes()?;
        match place.wanted {
            Wanted::Nothing => Ok(Value::Null),
            _ => self.budget.text(bytes).map(Value::String),
        }
    }

    /// What a type made of itself, which is not said how.
    fn marshaled(&mut self, name: &[u8], place: Place<'r, '_>) -> Result<Value, Reason> {
        let bytes = self.wire.bytes()?;
        match place.wanted {
            Wanted::Nothing => Ok(Value::Null),
            _ => match print::marshaled(name, bytes) {
                Some(text) => {
                    self.budget.date()?;
                    Ok(Value::String(text))
                }
                None => self.budget.text(bytes).map(Value::String),
            },
        }
    }

    /// Reads an array, whose type tells its length too, or a slice. Each element takes a byte at least.
    fn list(
        &mut self,
        element: Id,
        length: Option<usize>,
        place: Place<'r, '_>,
    ) -> Result<Value, Reason> {
        let count = self.wire.count()?;
        if length.is_some_and(|length| length != count) {
            return Err(Reason::Malformed);
        }
        self.pay(count)?;
        let most = place.wanted.elements(count.min(self.wire.left()));
        let mut list = self.budget.list(most)?;
        for at in 0..count {
            let value = self.value(element, place.inside(place.wanted.element(at)))?;
            if !place.wanted.ends_before(at) {
                self.budget.push(&mut list, value)?;
            }
        }
        Ok(Value::Array(list))
    }

    fn map(&mut self, key: Id, element: Id, place: Place<'r, '_>) -> Result<Value, Reason> {
        let count = self.wire.count()?;
        self.pay(count)?;
        let most = place.wanted.members(count.min(self.wire.left() / 2));
        let mut map = self.budget.object(most);
        for _ in 0..count {
            let name = self.name(key, place)?;
            let wanted = place.wanted.member(&name);
            let value = self.value(element, place.inside(wanted))?;
            if *wanted != Wanted::Nothing {
                map.insert(self.budget.text(&name)?, value)?;
            }
        }
        Ok(map.into_value())
    }

    /// Reads the key of a map as the name of a member: as `fmt` prints it, or, of what is no scalar, its JSON.
    fn name(&mut self, key: Id, map: Place<'r, '_>) -> Result<Cow<'r, [u8]>, Reason> {
        let name = match key {
            types::STRING | types::BYTES => return Ok(Cow::Borrowed(self.wire.bytes()?)),
            types::INTERFACE => match self.interface()? {
                None => "<nil>".to_owned(),
                Some((id, _)) => return self.name(id, map),
            },
            types::FLOAT => {
                self.budget.float_name()?;
                print::float(self.wire.float()?)
            }
            _ => match self.value(key, map.inside(&Wanted::All))? {
                Value::String(text) => text,
                value => value.to_string(),
            },
        };
        // Such names within names grow.
        self.budget.draw(name.len())?;
        Ok(Cow::Owned(name.into_bytes()))
    }

    fn fields(
        &mut self,
        name: &[u8],
        fields: &[(&'r [u8], Id)],
        place: Place<'r, '_>,
    ) -> Result<Value, Reason> {
        let class = if place.name.is_empty() { name } else { place.name };
        self.budget.draw(class.len())?;
        let mut object = self.budget.object(place.wanted.names());
        if place.wanted.class() && !class.is_empty() {
            object.insert(Wanted::CLASS.to_owned(), Value::String(self.budget.text(class)?))?;
        }
        let mut next = 0;
        while let Some(field) = self.wire.field(&mut next)? {
            let (name, id) = *fields.get(field).ok_or(Reason::Malformed)?;
            self.budget.draw(name.len())?;
            let wanted = place.wanted.member(name);
            let value = self.value(id, place.inside(wanted))?;
            if *wanted != Wanted::Nothing {
                object.insert(self.budget.text(name)?, value)?;
            }
        }
        Ok(object.into_value())
    }
}

/// JSON has no complex numbers: they are as Go prints them.
fn complex((real, imaginary): (f64, f64)) -> Value {
    Value::String(print::complex(real, imaginary))
}

/// JSON has no infinities: they are Go's words for them.
fn float(number: f64) -> Value {
    match Number::from_f64(number) {
        Some(number) => Value::Number(number),
        None => Value::String(print::float(number)),
    }
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

    fn decode(raw: &[u8], wanted: &Wanted) -> Result<Value, Reason> {
        super::decode(raw, wanted, &of(raw))
    }

    /// Written by Go 1.19: a struct with fields of each kind, a struct of its own type, one within an
    /// interface, a slice of interfaces that defines its type in the middle of the value.
    const USER: &str = "/6r/gQMBAQRVc2VyAf+CAAERAQJJZAEEAAEDQmlnAQYAAQROYW1lAQwAAQVTY29yZQEIAAEDSW5mAQgAAQFDA\
        Q4AAQVBZG1pbgECAAEDUmF3AQoAAQNBcnIB/4QAAQRaZXJvAQQAAQROZXh0Af+CAAECQXQB/4YAAQNVaWQB/4gAAQdFbXB0aWVzA\
        f+MAAEDQW55ARAAAQROb25lARAAAQVQYWlycwH/jgAAABf/gwEBAQdbMl1pbnQ4Af+EAAEEAQQAABD/hQUBAQRUaW1lAf+GAAAAE\
        P+HBgEBBFVVSUQB/4gAAAAb/4sCAQEMW11tYWluLkVtcHR5Af+MAAH/igAAEf+JAwEBBUVtcHR5Af+KAAAAHP+NAgEBDltdaW50Z\
        XJmYWNlIHt9Af+OAAEQAAD/iP+CAf4BAQH4//////////8BAsOpAf2AKcAB/vD/Af7wP//AAQEBAv8AAQIABQIDAW4GAgAAAAEPA\
        QAAAA7dcnonHc1lAAHgARABAgAAAAAAAAAAAAAAAAAAAQIAAAEKbWFpbi5Qb2ludP+PAwEBBVBvaW50Af+QAAECAQFYAQQAAQFZA\
        QQAAAAy/5ADAQIAAgMAA2ludAQCAA4OW11pbnRlcmZhY2Uge33/jg4AAQZzdHJpbmcMAwABeAA=";

    fn written(base64: &str) -> Vec<u8> {
        STANDARD.decode(base64).unwrap()
    }

    fn whole(raw: &[u8]) -> Result<Value, Reason> {
        decode(raw, &Wanted::All)
    }

    /// A message of so many bytes.
    fn message(bytes: &[&[u8]]) -> Vec<u8> {
        let bytes = bytes.concat();
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&[0xfc], &length[..], &bytes].concat()
    }

    /// Defines type 65: a struct of one number, a slice of itself, a map whose keys are such maps.
    const STRUCT: &[u8] = b"\xff\x81\x03\x02\x01\x01\x01n\x01\x06\x00\x00\x00";
    const SLICE: &[u8] = b"\xff\x81\x02\x02\xff\x82\x00\x00";
    const MAP: &[u8] = b"\xff\x81\x04\x02\xff\x82\x01\x04\x00\x00";

    /// A value of type 65 behind its definition.
    fn value(definition: &[u8], bytes: &[&[u8]]) -> Vec<u8> {
        [message(&[definition]), message(&[b"\xff\x82", &bytes.concat()])].concat()
    }

    #[test]
    fn fields_of_each_kind() {
        let expected = json!({
            "Id": -129, "Big": u64::MAX, "Name": "é", "Score": -12.75, "Inf": "-Inf", "C": "(1-2i)",
            "Admin": true, "Raw": "base64:/wA=", "Arr": [0, -3], "Next": {"Name": "n", "Arr": [0, 0]},
            "At": "2024-02-29T21:14:15.5+08:00", "Uid": "01020000-0000-0000-0000-000000000000",
            "Empties": [{}, {}], "Any": {"X": 1}, "Pairs": [null, 7, ["x"]],
        });
        assert_eq!(whole(&written(USER)), Ok(expected));
    }

    #[test]
    fn values_that_are_no_structs() {
        for (base64, expected) in [
            ("BQwAAmlk", json!("id")),
            ("AwQAAQ==", json!(-1)),
            ("DP+ZAgEC/5oAAQwAAAT/mgAA", json!([])),
            (
                "LBAACm1haW4uUG9pbnT/jwMBAQVQb2ludAH/kAABAgEBWAEEAAEBWQEEAAAACP+QBQEEAQYA",
                json!({"X": 2, "Y": 3}),
            ),
        ] {
            assert_eq!(whole(&written(base64)), Ok(expected), "{base64}");
        }
        assert_eq!(whole(&written("Ef+JAwEBBUVtcHR5Af+KAAAAA/+KAA==")), Ok(json!({})));
    }

    #[test]
    fn maps_name_their_members_as_go_prints_keys() {
        for (base64, name) in [
            ("Dv+RBAEC/5IAARABEAAAHf+SAAEIbWFpbi5LZXkEAgAOBnN0cmluZwwDAAFh", "7"),
            ("Dv+RBAEC/5IAARABEAAAIv+SAAEHZmxvYXQ2NAgGAPyAhC5BB2Zsb2F0NjQIBAD+8D8=", "1e+06"),
            ("Dv+TBAEC/5QAAQIBBAAABv+UAAEBAg==", "true"),
            ("Dv+RBAEC/5IAARABEAAADf+SAAEAA2ludAQCAAI=", "<nil>"),
            ("D/+XBAEC/5gAAf+WAQwAAA7/lQEBAv+WAAEEAQQAAAn/mAABAgIEAWE=", "[1,2]"),
            (
                "Dv+RBAEC/5IAARABEAAALv+SAAEKbWFpbi5Qb2ludP+PAwEBBVBvaW50Af+QAAECAQFYAQQAAQFZAQQAAAAS/5ADAQIABn\
                 N0cmluZwwDAAFh",
                "{\"X\":1}",
            ),
        ] {
            let session = whole(&written(base64)).unwrap();
            let names: Vec<_> = session.as_object().unwrap().keys().collect();
            assert_eq!(names, [name], "{base64}");
        }
    }

    #[test]
    fn a_class_is_given_where_it_is_asked_for() {
        let part =
            |wanted: &[&str]| decode(&written(USER), &Wanted::of(&pointers(wanted))).unwrap();
        assert_eq!(part(&["/@class", "/Id"]), json!({"@class": "User", "Id": -129}));
        assert_eq!(part(&["/Next/@class"]), json!({"Next": {"@class": "User"}}));
        assert_eq!(part(&["/Any/@class"]), json!({"Any": {"@class": "main.Point"}}));
        let nameless = value(STRUCT, &[b"\x01\x07\x00"]);
        assert_eq!(decode(&nameless, &Wanted::Described), Ok(json!({"n": 7})));
    }

    #[test]
    fn only_what_is_wanted_is_made() {
        let part = |pointer: &str| decode(&written(USER), &Wanted::of(&pointers(&[pointer])));
        assert_eq!(part("/Pairs/1"), Ok(json!({"Pairs": [null, 7]})));
        assert_eq!(part("/Arr/0"), Ok(json!({"Arr": [0]})));
        assert_eq!(part("/Any/Y"), Ok(json!({"Any": {}})));
        assert_eq!(decode(&written(USER), &Wanted::Nothing), Ok(json!(null)));
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        assert_eq!(whole(&value(STRUCT, &[b"\x01\x07\x00"])), Ok(json!({"n": 7})));
        for raw in [
            b"".to_vec(),
            value(STRUCT, &[b"\x02\x07\x00"]),
            value(STRUCT, &[b"\x01\x07\x01\x07\x00"]),
            value(STRUCT, &[b"\x00\x00"]),
            value(SLICE, &[b"\x01\x00"]),
            value(SLICE, &[b"\x00\xf8\x7f\xff\xff\xff\xff\xff\xff\xff\x00"]),
            // A type that is defined twice, none at all, or of two kinds; one that is not; one below 64.
            [message(&[STRUCT]), value(STRUCT, &[b"\x00"])].concat(),
            value(b"\xff\x81\x00", &[b"\x00"]),
            value(b"\xff\x81\x01\x00\x01\x00\x00", &[b"\x00\x00"]),
            value(b"\xff\x81\x08\x00\x00", &[b"\x00\x00"]),
            message(&[b"\xff\x82\x00"]),
            message(&[b"\x12\x00\x00"]),
            [message(&[b"\x1f\x03\x00\x00"]), message(&[b"\x20\x00"])].concat(),
            // An array of two numbers that holds one.
            value(b"\xff\x81\x01\x02\x04\x01\x04\x00\x00", &[b"\x00\x01\x00"]),
            value(b"\xff\x81\x01\x02\x04\x01\x01\x00\x00", &[b"\x00\x01\x00"]),
            // An interface in an interface, which leads nowhere.
            message(&[b"\x10\x00", b"\x01a\x10\x02\x00\x00"]),
        ] {
            for wanted in [Wanted::All, Wanted::Nothing] {
                assert_eq!(decode(&raw, &wanted), Err(Reason::Malformed), "{raw:?}");
            }
        }
    }

    #[test]
    fn a_long_name_cannot_stand_everywhere() {
        let name = "x".repeat(60_000);
        let named = [b"\x01\xfe\xea\x60", name.as_bytes(), b"\x01\x06\x00"].concat();
        let object = [b"\xff\x81\x03\x02\x01", &named[..], b"\x00\x00"].concat();
        let slice = message(&[b"\xff\x83\x02\x02\xff\x82\x00\x00"]);
        let times = |count: u8| {
            let rows = b"\x01\x00\x00".repeat(count.into());
            let value = message(&[b"\xff\x84\x00", &[count], &rows]);
            decode(&[message(&[&object]), slice.clone(), value].concat(), &Wanted::Nothing)
        };
        assert_eq!(times(16), Ok(Value::Null));
        assert_eq!(times(40), Err(Reason::TooLarge));
    }

    #[test]
    fn names_within_names_are_bounded() {
        // Each map has one member, whose name is another map: its quotes are escaped once more each time.
        let nested = |depth| {
            let maps = [b"\x01".repeat(depth), b"\x00".to_vec(), b"\x00".repeat(depth)];
            whole(&value(MAP, &[b"\x00", &maps.concat()]))
        };
        assert_eq!(nested(2), Ok(json!({"{\"{}\":0}": 0})));
        assert_eq!(nested(100), Err(Reason::TooLarge));
    }

    #[test]
    fn nesting_is_bounded_whatever_is_wanted() {
        let nested = |depth: usize| value(SLICE, &[b"\x00", &b"\x01".repeat(depth - 1), b"\x00"]);
        for wanted in [Wanted::All, Wanted::Nothing] {
            let of = |depth| decode(&nested(depth), &wanted).map(drop);
            assert_eq!(of(MAX_DEPTH), Ok(()));
            assert_eq!(of(MAX_DEPTH + 1), Err(Reason::TooDeep));
            assert_eq!(of(100_000), Err(Reason::TooDeep));
        }
    }

    #[test]
    fn how_a_stream_begins() {
        for session in captured() {
            assert_eq!(begins(&session.raw), session.format == "gob", "{}", session.name);
        }
        assert!(begins(&written(USER)));
    }

    #[test]
    fn sessions_cut_off_are_refused() {
        cut_off_is_refused("gob", &[written(USER)]);
    }

    proptest! {
        #[test]
        fn parts_of_what_is_spoilt_are_those_of_the_whole(
            edits in edits("\0\x01\x02\x03\x04\x06\x08\x0c\x10"),
            wanted in proptest::collection::vec("(/(Id|Arr|Any|Next|Pairs|[XY0-2*])){1,3}", 0..4),
        ) {
            parts_agree(decode, &edited(&written(USER), &edits), &wanted);
        }

        #[test]
        fn parts_of_anything_are_those_of_the_whole(
            bytes in proptest::collection::vec(prop_oneof![4 => 0..4_u8, 1 => any::<u8>()], 0..32),
            wanted in proptest::collection::vec("(/[n01*]){0,3}", 0..3),
        ) {
            for definition in [STRUCT, SLICE, MAP] {
                parts_agree(decode, &value(definition, &[&bytes]), &wanted);
            }
        }
    }
}
