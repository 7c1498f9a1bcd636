//! What the bytes of a stored session mean: the formats' names, and bytes → [`Value`].
//!
//! To add a format: a file in `format/` and a row in [`FORMATS`].

#![forbid(unsafe_code)]

mod json;
mod php;
mod wanted;

use std::borrow::Cow;
use std::fmt;

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use serde_json::{Map, Value};

use crate::config::{unknown, ConfigError};

pub use wanted::Wanted;

/// The deepest nesting that is read, in any format: serde_json's own limit.
pub const MAX_DEPTH: usize = 127;

/// A format by its name in `session_redis_format`.
#[derive(Debug)]
struct Format {
    name: &'static str,
    /// Reads a whole value, of which the wanted parts must be in the result. Whether it is malformed does
    /// not depend on what is wanted.
    decode: fn(&[u8], &Wanted) -> Result<Value, Reason>,
    /// Whether a value begins as this format's values do: cheap, for `auto` and for messages.
    begins: fn(&[u8]) -> bool,
}

/// All formats. `auto` tries them in this order: first those that prove themselves soonest.
const FORMATS: &[Format] = &[
    Format { name: "json", decode: json::decode, begins: json::begins },
    Format { name: "php_serialize", decode: php::decode_serialize, begins: php::begins_serialize },
    Format { name: "php", decode: php::decode, begins: php::begins },
    Format { name: "php_binary", decode: php::decode_binary, begins: php::begins_binary },
    Format { name: "raw", decode: raw, begins: |_| false },
    AUTO,
];

const AUTO: Format = Format { name: "auto", decode: auto, begins: |_| false };

/// Why a format could not read a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Not of this format, or cut off.
    Malformed,
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// References that would copy more than is taken.
    TooLarge,
}

/// A value that was not read. Never holds a byte of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecodable {
    /// The format that was expected.
    pub format: &'static str,
    /// What went wrong.
    pub reason: Reason,
    /// Another format that the value begins like.
    pub looks_like: Option<&'static str>,
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.format {
            "auto" => f.write_str("value of a known format expected")?,
            format => write!(f, "value of format \"{format}\" expected")?,
        }
        match (self.reason, self.looks_like) {
            (Reason::Malformed, Some(format)) => write!(f, ", it begins like \"{format}\""),
            (Reason::Malformed, None) => f.write_str(", it is malformed or cut off"),
            (Reason::TooDeep, _) => f.write_str(", it is nested too deep"),
            (Reason::TooLarge, _) => f.write_str(", its references expand too far"),
        }
    }
}

impl std::error::Error for Undecodable {}

/// What `session_redis_format` says: how a stored value is read.
#[derive(Debug, Clone, Copy)]
pub struct Pipeline {
    format: &'static Format,
}

impl PartialEq for Pipeline {
    fn eq(&self, other: &Self) -> bool {
        self.format.name == other.format.name
    }
}

impl Eq for Pipeline {}

impl Default for Pipeline {
    fn default() -> Self {
        Self { format: &AUTO }
    }
}

impl Pipeline {
    /// Reads the directive's arguments: the names of a format and of what it is wrapped in, outermost first.
    pub fn parse(names: &[&str]) -> Result<Self, ConfigError> {
        let [name] = names else {
            let second = names.get(1).copied().unwrap_or_default();
            return Err(ConfigError::new(format!("\"{second}\" is one format too many"))
                .hint("formats are no alternatives; \"auto\" tries those it knows"));
        };
        match FORMATS.iter().find(|format| format.name == *name) {
            Some(format) => Ok(Self { format }),
            None => {
                let known: Vec<&str> = FORMATS.iter().map(|format| format.name).collect();
                Err(unknown("format", name, &known))
            }
        }
    }

    /// Reads a stored value; the result holds at least what `wanted` names, where it stands.
    ///
    /// An empty value is a session without names. Reading less of a value never fails where reading all of
    /// it succeeds, and finds the same.
    pub fn decode(&self, raw: &[u8], wanted: &Wanted) -> Result<Value, Undecodable> {
        if raw.is_empty() {
            return Ok(Value::Object(Map::new()));
        }
        (self.format.decode)(raw, wanted).map_err(|reason| Undecodable {
            format: self.format.name,
            reason,
            looks_like: FORMATS
                .iter()
                .find(|format| (format.begins)(raw))
                .map(|format| format.name)
                .filter(|name| *name != self.format.name),
        })
    }
}

/// `raw`: the value itself.
fn raw(value: &[u8], _: &Wanted) -> Result<Value, Reason> {
    Ok(Value::String(text(value).into_owned()))
}

/// `auto`: the first format that a value begins like and in which it is well formed to its end. That does
/// not depend on what is wanted, so that a session is read alike everywhere.
fn auto(value: &[u8], wanted: &Wanted) -> Result<Value, Reason> {
    let likely = FORMATS.iter().filter(|format| (format.begins)(value));
    let mut read = likely.map(|format| (format.decode)(value, wanted));
    read.find(|read| *read != Err(Reason::Malformed)).unwrap_or(Err(Reason::Malformed))
}

/// Bytes as text: themselves where they are UTF-8, else `base64:` and their base64.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(format!("base64:{}", STANDARD.encode(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pointer::{Pointer, Selected};

    pub(super) fn pointers(texts: &[impl AsRef<str>]) -> Vec<Pointer> {
        texts.iter().map(|text| Pointer::parse(text.as_ref()).unwrap()).collect()
    }

    fn decode_as(format: &str, raw: &[u8]) -> Result<Value, Reason> {
        Pipeline::parse(&[format]).unwrap().decode(raw, &Wanted::All).map_err(|error| error.reason)
    }

    fn pick(pointer: &Pointer, value: &Value) -> Option<Vec<Value>> {
        match pointer.select(value) {
            Selected::None => None,
            Selected::One(found) => Some(vec![found.clone()]),
            Selected::Many(found) => Some(found.into_iter().cloned().collect()),
        }
    }

    /// Checks that reading what `wanted` names of `raw` finds what reading all of it finds, and that what is
    /// malformed is so whatever is wanted.
    pub(super) fn parts_agree(
        decode: fn(&[u8], &Wanted) -> Result<Value, Reason>,
        raw: &[u8],
        wanted: &[impl AsRef<str>],
    ) {
        let wanted = pointers(wanted);
        let whole = decode(raw, &Wanted::All);
        for less in [Wanted::Nothing, Wanted::of(&wanted)] {
            let malformed = decode(raw, &less) == Err(Reason::Malformed);
            assert_eq!(malformed, whole == Err(Reason::Malformed), "{less:?}");
        }
        let Ok(whole) = whole else { return };
        let part =
            decode(raw, &Wanted::of(&wanted)).expect("what can be read whole can be read in part");
        for pointer in &wanted {
            assert_eq!(pick(pointer, &part), pick(pointer, &whole), "{}", pointer.as_str());
        }
    }

    /// Where a value is spoilt: a byte replaced, put in or taken away.
    pub(super) type Edit = (prop::sample::Index, u8, u8);

    /// Some edits, of bytes that mean something to a format above all.
    pub(super) fn edits(bytes: &'static str) -> impl Strategy<Value = Vec<Edit>> {
        let byte = prop_oneof![4 => prop::sample::select(bytes.as_bytes()), 1 => any::<u8>()];
        proptest::collection::vec((any::<prop::sample::Index>(), 0..3_u8, byte), 0..4)
    }

    /// A value with these edits.
    pub(super) fn edited(raw: &[u8], edits: &[Edit]) -> Vec<u8> {
        let mut raw = raw.to_vec();
        for (place, kind, byte) in edits {
            let at = place.index(raw.len() + 1);
            let replaced = usize::from(*kind != 1 && at < raw.len());
            raw.splice(at..at + replaced, (*kind != 2).then_some(*byte));
        }
        raw
    }

    /// A session captured from a framework, as the files in `t/data` tell it.
    pub(super) struct Captured {
        pub(super) name: String,
        pub(super) format: String,
        pub(super) raw: Vec<u8>,
        expected: Value,
    }

    /// Those of `t/data` in a format that is known here.
    pub(super) fn captured() -> Vec<Captured> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/t/data");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let json =
            files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
        let told = json.map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap());
        told.filter_map(|told: Value| {
            let format = told["value_format"].as_str()?.to_owned();
            Pipeline::parse(&[&format]).ok()?;
            let raw = STANDARD.decode(told["value_base64"].as_str()?).unwrap();
            let name = told["name"].as_str().unwrap().to_owned();
            Some(Captured { name, format, raw, expected: told["expected"].clone() })
        })
        .collect()
    }

    /// Whether two values are the same to a reader: of floats the value counts, not the spelling.
    fn same(one: &Value, two: &Value) -> bool {
        match (one, two) {
            (Value::Array(one), Value::Array(two)) => {
                one.len() == two.len() && one.iter().zip(two).all(|(one, two)| same(one, two))
            }
            (Value::Object(one), Value::Object(two)) => {
                let member = |(name, one)| two.get(name).is_some_and(|two| same(one, two));
                one.len() == two.len() && one.iter().all(member)
            }
            (Value::Number(one), Value::Number(two)) => {
                let float = |number: &serde_json::Number| number.as_str().contains(['.', 'e']);
                one == two || float(one) && float(two) && one.as_f64() == two.as_f64()
            }
            _ => one == two,
        }
    }

    /// A pointer to each value in `value`.
    fn places(value: &Value) -> Vec<String> {
        let below: Vec<(String, &Value)> = match value {
            Value::Array(elements) => {
                elements.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect()
            }
            Value::Object(members) => members
                .iter()
                .map(|(name, value)| (name.replace('~', "~0").replace('/', "~1"), value))
                .collect(),
            _ => Vec::new(),
        };
        let deeper = below.into_iter().flat_map(|(name, value)| {
            places(value).into_iter().map(move |place| format!("/{name}{place}"))
        });
        std::iter::once(String::new()).chain(deeper).collect()
    }

    #[test]
    fn captured_sessions_read_as_expected() {
        let captured = captured();
        assert!(captured.len() >= 18, "{} files", captured.len());
        for session in captured {
            for names in [&session.format, "auto"] {
                let value =
                    Pipeline::parse(&[names]).unwrap().decode(&session.raw, &Wanted::All).unwrap();
                assert!(same(&value, &session.expected), "{} by {names}: {value}", session.name);
            }
        }
    }

    #[test]
    fn each_place_of_a_captured_session_can_be_read_alone() {
        for session in captured() {
            let format = FORMATS.iter().find(|format| format.name == session.format).unwrap();
            if session.raw.is_empty() {
                continue;
            }
            for place in places(&session.expected) {
                parts_agree(format.decode, &session.raw, &[place]);
            }
        }
    }

    #[test]
    fn a_value_of_another_format_is_named() {
        let expected = |format, raw: &[u8]| {
            Pipeline::parse(&[format])
                .unwrap()
                .decode(raw, &Wanted::Nothing)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            expected("php", b"a:1:{s:1:\"k\";i:5;}"),
            "value of format \"php\" expected, it begins like \"php_serialize\""
        );
        assert_eq!(
            expected("json", b"uid|i:5;"),
            "value of format \"json\" expected, it begins like \"php\""
        );
        assert_eq!(
            expected("php_serialize", b"\x03uidi:5;"),
            "value of format \"php_serialize\" expected, it begins like \"php_binary\""
        );
        assert_eq!(
            expected("php_binary", b"{\"secret\":1}"),
            "value of format \"php_binary\" expected, it begins like \"json\""
        );
        assert_eq!(
            expected("php", b"uid|s:9:\"secret"),
            "value of format \"php\" expected, it is malformed or cut off"
        );
        assert_eq!(
            expected("auto", b"{\"secret"),
            "value of a known format expected, it begins like \"json\""
        );
        assert_eq!(
            expected("auto", b"\x80secret"),
            "value of a known format expected, it is malformed or cut off"
        );
        assert_eq!(
            expected("json", "[".repeat(200).as_bytes()),
            "value of format \"json\" expected, it is nested too deep"
        );
    }

    #[test]
    fn auto_reads_a_value_alike_whatever_is_wanted() {
        // In php the second name stands for nothing; in php_binary all is one name of 123 bytes.
        let value = format!("{{{:x<123}N;", "a|b:1;b|R:9;");
        parts_agree(auto, value.as_bytes(), &["/{a", "/x"]);
        assert_eq!(auto(value.as_bytes(), &Wanted::All), decode_as("php_binary", value.as_bytes()));
    }

    #[test]
    fn an_empty_value_is_a_session_without_names() {
        for format in FORMATS {
            let value = Pipeline { format }.decode(b"", &Wanted::All);
            assert_eq!(value, Ok(Value::Object(Map::new())), "{}", format.name);
        }
    }

    #[test]
    fn raw_is_the_value_itself() {
        let raw = Pipeline::parse(&["raw"]).unwrap();
        assert_eq!(raw.decode("é{".as_bytes(), &Wanted::All), Ok(Value::from("é{")));
        assert_eq!(raw.decode(b"\xff\x00", &Wanted::All), Ok(Value::from("base64:/wA=")));
    }

    #[test]
    fn names_are_checked() {
        let error = |names: &[&str]| Pipeline::parse(names).unwrap_err().to_string();
        assert!(error(&["phpserialize"]).contains("did you mean \"php_serialize\"?"));
        assert!(error(&["json", "php"]).contains("\"php\" is one format too many"));
        assert_eq!(Pipeline::parse(&["auto"]), Ok(Pipeline::default()));
        assert_ne!(Pipeline::parse(&["json"]), Ok(Pipeline::default()));
    }
}
