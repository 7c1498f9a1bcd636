//! What memcached-session-manager keeps for Tomcat (its `TranscoderService.java`): the session's own fields,
//! then its attributes, as its transcoder for the JDK's serialisation (`JavaSerializationTranscoder.java`)
//! writes them. Those for Kryo, Javolution and XStream are not read.

#![forbid(unsafe_code)]

use serde_json::{Map, Value};

use super::budget::Budget;
use super::cursor::Cursor;
use super::graph::Id;
use super::java::{self, Stream};
use super::{Reason, Wanted};

/// Reads a session: `creationTime` and `lastAccessedTime` in Unix ms, `maxInactiveInterval` in seconds,
/// `isNew`, `isValid`, `attributes`; and where Tomcat itself logged the user in, `authType` and `principal`.
/// Its id is left out.
pub(super) fn decode(raw: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Reason> {
    let mut session = Map::with_capacity(wanted.names());
    let mut add = |name: &str, value: Value| {
        if *wanted.member(name.as_bytes()) != Wanted::Nothing {
            session.insert(name.to_owned(), value);
        }
    };
    let Parts { version, mut fields, attributes } = Parts::of(raw)?;
    add("creationTime", fields.number(8)?.cast_signed().into());
    add("lastAccessedTime", fields.number(8)?.cast_signed().into());
    add("maxInactiveInterval", i32::from_be_bytes(array(fields.take(4)?)?).into());
    add("isNew", flag(&mut fields)?.into());
    add("isValid", flag(&mut fields)?.into());
    let mut principal: &[u8] = &[];
    if version == 0 {
        let _this_access = fields.take(8)?;
    } else {
        let (_this_access, _backup, _id) = (fields.take(8)?, fields.take(8)?, fields.counted(2)?);
        if let Some(kind) = auth_type(fields.number(2)?)? {
            add("authType", kind.into());
        }
        principal = fields.counted(2)?;
        if version > 1 {
            let (_request, _its_principal) = (fields.counted(2)?, fields.counted(2)?);
        }
        if fields.left() > 0 {
            return Err(Reason::Malformed);
        }
    }
    // Both are read before what is wanted of either is made: that can fail, too.
    let principal =
        if principal.is_empty() { None } else { Some(Stream::read(principal, budget)?) };
    let mut stream = Stream::read(attributes, budget)?;
    let attributes = object(&mut stream)?;
    if let Some(principal) = principal {
        add("principal", principal.value(wanted.member(b"principal"))?);
    }
    add("attributes", stream.heap.value(attributes, wanted.member(b"attributes"))?);
    Ok(Value::Object(session))
}

/// Whether a stream stands where the fields of `raw` end, as they say.
pub(super) fn begins(raw: &[u8]) -> bool {
    Parts::of(raw).is_ok_and(|parts| java::begins(parts.attributes))
}

struct Parts<'r> {
    /// 0 for what was written before there were versions.
    version: u64,
    fields: Cursor<'r>,
    attributes: &'r [u8],
}

impl<'r> Parts<'r> {
    /// The version, if there is one, then the length of all before the attributes, itself among it. The id
    /// and 30 bytes stand there at least: so a length is no version.
    fn of(raw: &'r [u8]) -> Result<Self, Reason> {
        let mut head = Cursor::new(raw);
        let (version, length) = match head.number(2)? {
            version @ 1..=2 => (version, head.number(2)?),
            length => (0, length),
        };
        let length = usize::try_from(length).map_err(|_| Reason::Malformed)?;
        let (fields, attributes) = raw.split_at_checked(length).ok_or(Reason::Malformed)?;
        let mut fields = Cursor::new(fields);
        fields.take(if version == 0 { 2 } else { 4 })?;
        Ok(Self { version, fields, attributes })
    }
}

/// The attributes: how many there are, then each one's name and value. A map in their place is read, too.
fn object(stream: &mut Stream<'_>) -> Result<Id, Reason> {
    /// Stands for a value of a class that cannot be serialised.
    const NOT_SERIALIZED: &[u8] = b"___NOT_SERIALIZABLE_EXCEPTION___";
    let (first, named) = stream.contents.split_first().ok_or(Reason::Malformed)?;
    let Some(count) = stream.heap.number(*first) else {
        return if named.is_empty() { Ok(*first) } else { Err(Reason::Malformed) };
    };
    if count.as_u64() != u64::try_from(named.len() / 2).ok() {
        return Err(Reason::Malformed);
    }
    let there = named.chunks(2).filter(|pair| {
        pair.last().and_then(|value| stream.heap.bytes(*value)) != Some(NOT_SERIALIZED)
    });
    let named = there.collect::<Vec<_>>().concat();
    let object = stream.heap.map(&named)?;
    stream.heap.add(object)
}

/// How Tomcat logged the user in.
fn auth_type(number: u64) -> Result<Option<&'static str>, Reason> {
    Ok(match number {
        0 => None,
        1 => Some("BASIC"),
        2 => Some("CLIENT_CERT"),
        3 => Some("DIGEST"),
        4 => Some("FORM"),
        _ => return Err(Reason::Malformed),
    })
}

fn flag(fields: &mut Cursor<'_>) -> Result<bool, Reason> {
    match fields.byte()? {
        b'0' => Ok(false),
        b'1' => Ok(true),
        _ => Err(Reason::Malformed),
    }
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Reason> {
    bytes.try_into().map_err(|_| Reason::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::format::budget::tests::of;
    use crate::format::tests::{captured, edited, edits, parts_agree};

    fn decode(raw: &[u8], wanted: &Wanted) -> Result<Value, Reason> {
        super::decode(raw, wanted, &of(raw))
    }

    const STREAM: &[u8] = b"\xac\xed\x00\x05";

    /// A session of this version, with these fields behind its id, and these attributes.
    fn session(version: u16, behind: &[&[u8]], attributes: &[&[u8]]) -> Vec<u8> {
        let mut fields = Vec::new();
        fields.extend(1_709_212_455_123_u64.to_be_bytes());
        fields.extend(1_709_212_500_456_u64.to_be_bytes());
        fields.extend((-1_i32).to_be_bytes());
        fields.extend(b"10");
        fields.extend([0; 16]);
        fields.extend(b"\x00\x02ID");
        fields.extend(behind.concat());
        let length = u16::try_from(fields.len() + 4).unwrap();
        let head = [version.to_be_bytes(), length.to_be_bytes()].concat();
        [head, fields, STREAM.to_vec(), attributes.concat()].concat()
    }

    /// An `Integer`, as the first object of a stream.
    fn integer(number: u8) -> Vec<u8> {
        let class = b"sr\0\x11java.lang.Integer\0\0\0\0\0\0\0\0\x02\0\x01I\0\x05valuexp\0\0\0";
        [&class[..], &[number]].concat()
    }

    const NOT_SERIALIZED: &[u8] = b"t\0\x20___NOT_SERIALIZABLE_EXCEPTION___";

    #[test]
    fn what_the_manager_writes() {
        let expected = json!({
            "creationTime": 1_709_212_455_123_u64,
            "lastAccessedTime": 1_709_212_500_456_u64,
            "maxInactiveInterval": -1,
            "isNew": true,
            "isValid": false,
            "attributes": {"a": "b", "n": null},
        });
        let two = &integer(2)[..];
        let attributes: &[&[u8]] = &[two, b"t\0\x01at\0\x01bt\0\x01np"];
        let one = session(1, &[b"\0\0\0\0"], attributes);
        assert!(begins(&one));
        assert_eq!(decode(&one, &Wanted::All), Ok(expected.clone()));
        let two = session(2, &[b"\0\0\0\0\0\0\0\0"], attributes);
        assert_eq!(decode(&two, &Wanted::All), Ok(expected));
        let none = session(2, &[&[0; 8]], &[&integer(0)]);
        assert_eq!(decode(&none, &Wanted::All).unwrap()["attributes"], json!({}));
    }

    #[test]
    fn who_was_logged_in_by_tomcat() {
        let principal = [STREAM, b"t\0\x05alice"].concat();
        let behind = [b"\0\x04\0\x0c", &principal[..], b"\0\x01x\0\x01y"].concat();
        let raw = session(2, &[&behind], &[&integer(0)]);
        let read = decode(&raw, &Wanted::All).unwrap();
        assert_eq!((&read["authType"], &read["principal"]), (&json!("FORM"), &json!("alice")));
        parts_agree(decode, &raw, &["/principal", "/authType", "/isValid"]);
    }

    #[test]
    fn what_could_not_be_serialised_is_not_there() {
        let three = &integer(3)[..];
        let attributes: &[&[u8]] =
            &[three, b"t\0\x01a", NOT_SERIALIZED, b"t\0\x01bpt\0\x01cq\0\x7e\0\x03"];
        let read = decode(&session(1, &[&[0; 4]], attributes), &Wanted::All).unwrap();
        assert_eq!(read["attributes"], json!({"b": null}));
    }

    #[test]
    fn what_is_no_session_is_refused() {
        let (none, one) = (&integer(0)[..], &integer(1)[..]);
        let version = |raw: Vec<u8>, version: u8| [&[0, version], &raw[2..]].concat();
        let whole = session(2, &[&[0; 8]], &[none]);
        assert!(decode(&whole, &Wanted::All).is_ok());
        for (at, raw) in [
            version(whole.clone(), 1),
            version(whole.clone(), 3),
            session(2, &[&[0; 8], b"x"], &[none]),
            session(2, &[b"\0\x05\0\0\0\0\0\0"], &[none]),
            session(2, &[b"\0\x04\0\x02xx\0\0\0\0"], &[none]),
            session(1, &[&[0; 4]], &[none, b"p"]),
            session(1, &[&[0; 4]], &[one]),
            session(1, &[&[0; 4]], &[one, b"p"]),
            session(1, &[&[0; 4]], &[b"pp"]),
            session(1, &[&[0; 4]], &[]),
            // What Kryo would write.
            [&session(1, &[&[0; 4]], &[])[..], b"\x01"].concat().split_off(4),
        ]
        .into_iter()
        .enumerate()
        {
            for wanted in [Wanted::All, Wanted::Nothing] {
                assert_eq!(decode(&raw, &wanted), Err(Reason::Malformed), "{at}");
            }
        }
    }

    #[test]
    fn what_is_malformed_is_so_whatever_else_is_too_large() {
        // Each array holds the one before it twice.
        let mut bomb = [STREAM, b"ur\0\x04[La;\0\0\0\0\0\0\0\0\x02\0\0xp\0\0\0\0"].concat();
        for array in 1..40 {
            let same = [b'q', 0, 0x7e, 0, array];
            bomb.extend([b"uq\0\x7e\0\0\0\0\0\x02", &same[..], &same].concat());
        }
        let length = u16::try_from(bomb.len()).unwrap().to_be_bytes();
        let behind = [b"\0\x01", &length[..], &bomb].concat();
        let raw = |attributes: &[u8]| session(1, &[&behind], &[attributes]);
        let read = |attributes: &[u8]| decode(&raw(attributes), &Wanted::All);
        assert_eq!(read(&integer(0)), Err(Reason::TooLarge));
        assert_eq!(read(b"x"), Err(Reason::Malformed));
    }

    #[test]
    fn captured_sessions_cut_off_are_malformed() {
        let captured = captured().into_iter().filter(|session| session.format == "msm");
        let raws: Vec<Vec<u8>> = captured.map(|session| session.raw).collect();
        assert_eq!(raws.len(), 1);
        for cut in 0..raws[0].len() {
            assert_eq!(decode(&raws[0][..cut], &Wanted::All), Err(Reason::Malformed), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn parts_of_what_is_spoilt_are_those_of_the_whole(
            version in 0_u16..4,
            edits in edits("\x00\x01\x02\x04\x08sptq01"),
            wanted in proptest::collection::vec("/(isValid|principal|attributes(/[ab*])?)", 0..4),
        ) {
            let behind = [b"\0\x01\0\x08", STREAM, b"t\0\x01c\0\0\0\0"].concat();
            let raw = session(version, &[&behind], &[&integer(2), b"t\0\x01at\0\x01bt\0\x01bp"]);
            parts_agree(decode, &edited(&raw, &edits), &wanted);
        }
    }
}
