//! What a store holds of a session, how it is read, and when the session has ended though it is still there.

#![forbid(unsafe_code)]

mod kept;
mod life;

use std::fmt;

use serde_json::{Map, Value};

use crate::format::{Pipeline, Tried, Undecodable, Wanted};
use crate::pointer::Pointer;

pub use kept::{Excerpt, Header, HeaderValue, Headers, KeptSession, Read};
pub use life::Life;

/// What stands under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// A string.
    Text(Vec<u8>),
    /// The fields and values of a hash.
    Hash(Fields),
}

/// Names and values of a hash.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What a framework keeps a session in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A string.
    Text,
    /// A hash whose fields, each a value of its own, are the session.
    Hash,
    /// The one or the other, for what no framework says.
    Any,
    /// A hash of which this field is the session; the others tell of its life.
    Field(&'static str),
}

/// Reads on where a key holds something else.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "the key holds no string",
            Self::Hash | Self::Field(_) => "the key holds no hash",
            Self::Any => "the key holds neither string nor hash",
        })
    }
}

/// How what is stored becomes a session.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoder {
    /// What it is kept in.
    pub shape: Shape,
    /// How its values are read.
    pub format: Pipeline,
    /// What in it says that it has ended; where nothing does, it lives as long as its key.
    pub life: Vec<Life>,
}

/// A session.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// At least what was wanted of it.
    pub value: Value,
    /// When it ends, in Unix ms; `None`: with its key.
    pub end: Option<u64>,
}

impl Session {
    /// Whether it has ended by `now`, in Unix ms.
    pub fn is_over(&self, now: u64) -> bool {
        self.end.is_some_and(|end| end <= now)
    }
}

impl Decoder {
    /// Reads what is stored; see [`Pipeline::decode`]. What is `wanted` must cover [`Decoder::pointers`].
    pub fn decode(&self, stored: &Stored, wanted: &Wanted) -> Result<Session, Undecodable> {
        Ok(match (stored, self.shape) {
            (Stored::Hash(fields), Shape::Field(name)) => {
                let field = fields.iter().find(|(field, _)| field == name.as_bytes());
                let raw = field.map_or(&[][..], |(_, raw)| raw);
                Session { value: self.format.decode(raw, wanted)?, end: self.end(&texts(fields)) }
            }
            (Stored::Hash(fields), _) => {
                let value = self.format.decode_hash(fields, wanted)?;
                Session { end: self.end(&value), value }
            }
            (Stored::Text(raw), _) => {
                let value = self.format.decode(raw, wanted)?;
                let around = self.life.iter().filter_map(|life| life.end_around(raw, &self.format));
                Session { end: around.chain(self.end(&value)).min(), value }
            }
        })
    }

    /// What is tried on what is stored, as lines: of a hash each field's name stands before it.
    pub fn tried(&self, stored: &Stored) -> Vec<String> {
        let tried = |name: &str, raw: &[u8]| {
            let line = |Tried { name: format, outcome }| format!("{name}{format}: {outcome}");
            self.format.tried(raw).into_iter().map(line).collect::<Vec<_>>()
        };
        match stored {
            Stored::Text(raw) => tried("", raw),
            Stored::Hash(fields) => {
                let read = |name: &[u8]| match self.shape {
                    Shape::Field(field) => field.as_bytes() == name,
                    _ => true,
                };
                let named = fields.iter().filter(|(name, _)| read(name));
                let lines =
                    named.map(|(name, raw)| tried(&format!("{}: ", name.escape_ascii()), raw));
                lines.flatten().collect()
            }
        }
    }

    /// What must be decoded for a session's life to be judged.
    pub fn pointers(&self) -> impl Iterator<Item = &Pointer> {
        self.life.iter().flat_map(Life::pointers)
    }

    fn end(&self, value: &Value) -> Option<u64> {
        self.life.iter().filter_map(|life| life.end(value)).min()
    }
}

/// The fields that are text.
fn texts(fields: &[(Vec<u8>, Vec<u8>)]) -> Value {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned);
    let members = fields
        .iter()
        .filter_map(|(name, raw)| Some((text(name).ok()?, Value::String(text(raw).ok()?))));
    Value::Object(members.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decoder(shape: Shape, life: Vec<Life>) -> Decoder {
        Decoder { shape, format: Pipeline::parse(&["json"]).unwrap(), life }
    }

    fn hash(fields: &[(&str, &str)]) -> Stored {
        let field =
            |(name, raw): &(&str, &str)| (name.as_bytes().to_vec(), raw.as_bytes().to_vec());
        Stored::Hash(fields.iter().map(field).collect())
    }

    fn valid(at: &str) -> Vec<Life> {
        vec![Life::Valid { at: Pointer::parse(at).unwrap() }]
    }

    #[test]
    fn a_string_is_one_value() {
        let read = |life| {
            let stored = Stored::Text(b"{\"a\":1,\"ok\":false}".to_vec());
            decoder(Shape::Text, life).decode(&stored, &Wanted::All).unwrap()
        };
        assert_eq!(read(Vec::new()), Session { value: json!({"a": 1, "ok": false}), end: None });
        assert_eq!(read(valid("/ok")).end, Some(0));
        assert!(read(valid("/ok")).is_over(1) && !read(Vec::new()).is_over(u64::MAX));
    }

    #[test]
    fn what_a_session_is_in_may_end() {
        let format = Pipeline::parse(&["marshal"]).unwrap();
        let decoder = Decoder { shape: Shape::Text, format, life: vec![Life::Entry] };
        assert_eq!(decoder.pointers().count(), 0);
        let end = |expires: f64| {
            let entry = [b"\0\x11\x01", &expires.to_le_bytes()[..], b"\xff\xff\xff\xff\x04\x08{\0"];
            decoder.decode(&Stored::Text(entry.concat()), &Wanted::Nothing).unwrap().end
        };
        assert_eq!((end(1.5), end(-1.0)), (Some(1500), None));
    }

    /// Whatever is decoded has its end read as well, also where it is compressed well.
    #[test]
    fn what_compresses_well_may_end_too() {
        let format = Pipeline::parse(&["marshal"]).unwrap();
        let decoder = Decoder { shape: Shape::Text, format, life: vec![Life::Entry] };
        let text = [&b"\x04\x08[\x07\"\x03\xf0\x49\x02"[..], &[b'a'; 150_000], b"i\x06"].concat();
        let mut compressed = flate(&text);
        compressed.insert(0, 1);
        let session = decoder.decode(&Stored::Text(compressed), &Wanted::Nothing).unwrap();
        assert_eq!(session.end, Some(1000));
    }

    fn flate(plain: &[u8]) -> Vec<u8> {
        miniz_oxide::deflate::compress_to_vec_zlib(plain, 6)
    }

    #[test]
    fn a_hash_is_an_object_of_its_fields() {
        let stored = hash(&[("ok", "true"), ("user", "{\"id\":7}"), ("gone", "")]);
        let session = decoder(Shape::Hash, valid("/ok")).decode(&stored, &Wanted::All).unwrap();
        assert_eq!(session, Session { value: json!({"ok": true, "user": {"id": 7}}), end: None });
    }

    #[test]
    fn a_field_is_the_session_and_the_others_tell_of_its_life() {
        let at = Pointer::parse("/absexp").unwrap();
        let decoder = decoder(Shape::Field("data"), vec![Life::Ticks { at }]);
        let read = |absexp| {
            let stored = hash(&[("absexp", absexp), ("data", "{\"id\":7}")]);
            decoder.decode(&stored, &Wanted::All).unwrap()
        };
        assert_eq!(read("-1"), Session { value: json!({"id": 7}), end: None });
        assert_eq!(read("621355968010000000").end, Some(1000));
        let nothing = decoder.decode(&hash(&[]), &Wanted::All).unwrap();
        assert_eq!(nothing, Session { value: json!({}), end: None });
    }
}
