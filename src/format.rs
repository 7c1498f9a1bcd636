//! What the bytes of a stored session mean: the formats' names, and bytes → [`Value`].
//!
//! To add a format: a file in `format/` and a row in [`FORMATS`].

#![forbid(unsafe_code)]

mod json;
mod php;
mod wanted;

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
    /// Reads a whole value, of which the wanted parts must be in the result.
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
    Ok(Value::String(text(value)))
}

/// `auto`: the first format that a value begins like and that reads it to its end.
fn auto(value: &[u8], wanted: &Wanted) -> Result<Value, Reason> {
    let mut reason = Reason::Malformed;
    for format in FORMATS.iter().filter(|format| (format.begins)(value)) {
        match (format.decode)(value, wanted) {
            Ok(value) => return Ok(value),
            Err(Reason::Malformed) => {}
            Err(other) => reason = other,
        }
    }
    Err(reason)
}

/// Bytes as text: themselves where they are UTF-8, else `base64:` and their base64.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("base64:{}", STANDARD.encode(bytes)),
    }
}
