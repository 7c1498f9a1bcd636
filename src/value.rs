//! A value in a directive, and what a decoded value is as text or as truth.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;
use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter, Serializer};
use serde_json::Value;

use crate::config::ConfigError;
use crate::pointer::{Pointer, Selected};

/// A directive's value as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// `/user/id`: a place in the session.
    Pointer(Pointer),
    /// `@user`: what `session_redis_user` or the framework says.
    User,
    /// `text:…`: a literal.
    Text(String),
    /// A string with nginx variables.
    Template(String),
}

/// As it is written.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pointer(pointer) => f.write_str(pointer.as_str()),
            Self::User => f.write_str("@user"),
            Self::Text(text) => write!(f, "text:{text}"),
            Self::Template(text) => f.write_str(text),
        }
    }
}

impl Expression {
    /// Reads a value. A constant must say that it is meant, since it is the same for every visitor.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        if text.starts_with('/') {
            return Pointer::parse(text).map(Self::Pointer);
        }
        if text == "@user" {
            return Ok(Self::User);
        }
        if let Some(literal) = text.strip_prefix("text:") {
            return Ok(Self::Text(literal.to_owned()));
        }
        if text.contains('$') {
            return Ok(Self::Template(text.to_owned()));
        }
        let error = ConfigError::new(format!(
            "\"{text}\" is a constant string, the header would be the same for everyone"
        ));
        let meant = match text.strip_prefix('@') {
            Some(_) => "@user".to_owned(),
            None => format!("/{text}"),
        };
        Err(error.hint(format!("did you mean \"{meant}\"? a constant is written \"text:{text}\"")))
    }
}

/// Whether a value counts as true: neither null, false, 0, `""`, `"0"`, `[]` nor `{}`.
pub fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty() && text != "0",
        Value::Array(elements) => !elements.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

/// A value as text: a string is itself, a number or a boolean its JSON text, an array or object compact
/// JSON in ASCII. `None` where there is nothing or null.
pub fn text<'v>(selected: &Selected<'v>) -> Option<Cow<'v, str>> {
    match selected {
        Selected::None => None,
        Selected::One(value) => match value {
            Value::Null => None,
            Value::Array(_) | Value::Object(_) => Some(Cow::Owned(json_ascii(value))),
            scalar => self::scalar(scalar).map(Cow::Borrowed),
        },
        Selected::Many(values) => Some(Cow::Owned(json_ascii(values))),
    }
}

/// Whether a value as [`text`] is this word. Of an array or object no more is written than may be it.
pub fn is_text(value: &Value, word: &str) -> bool {
    match value {
        Value::Array(_) | Value::Object(_) => {
            let mut rest = Rest(word.as_bytes());
            let written = value.serialize(&mut Serializer::with_formatter(&mut rest, Ascii));
            written.is_ok() && rest.0.is_empty()
        }
        other => scalar(other) == Some(word),
    }
}

/// What is still to be written. Something else is refused.
struct Rest<'w>(&'w [u8]);

impl io::Write for Rest<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The text of a string, number or boolean.
pub(crate) fn scalar(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.as_str()),
        Value::Bool(true) => Some("true"),
        Value::Bool(false) => Some("false"),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The elements of a list: those of an array or, since PHP's lists with a gap become objects whose names
/// are their indexes, the members of an object with such names only.
pub(crate) fn elements(value: &Value) -> Option<Vec<&Value>> {
    match value {
        Value::Array(elements) => Some(elements.iter().collect()),
        Value::Object(members) => {
            let list = members.keys().all(|name| crate::pointer::index(name).is_some());
            list.then(|| members.values().collect())
        }
        _ => None,
    }
}

/// Compact JSON whose every byte is printable ASCII: what is not is written `\uXXXX`.
pub fn json_ascii<T: Serialize + ?Sized>(value: &T) -> String {
    let mut bytes = Vec::new();
    // Values and lists of values have string keys, and a Vec takes every write: there is nothing to fail.
    let written = value.serialize(&mut Serializer::with_formatter(&mut bytes, Ascii)).is_ok();
    if written {
        String::from_utf8(bytes).unwrap_or_default()
    } else {
        String::new()
    }
}

/// serde_json's compact form with non-ASCII and DEL escaped too.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        text: &str,
    ) -> io::Result<()> {
        let plain = |byte: &u8| byte.is_ascii() && *byte != 0x7f;
        let mut rest = text;
        while let Some(at) = rest.bytes().position(|byte| !plain(&byte)) {
            let (before, from) = rest.split_at(at);
            out.write_all(before.as_bytes())?;
            let mut chars = from.chars();
            if let Some(c) = chars.next() {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.write_all(&escaped(*unit))?;
                }
            }
            rest = chars.as_str();
        }
        out.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        CompactFormatter.write_char_escape(out, escape)
    }
}

/// `\uXXXX` of a UTF-16 unit.
fn escaped(unit: u16) -> [u8; 6] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digit = |above: u16| HEX[usize::from(unit >> above & 15)];
    [b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_characters_say_what_a_value_is() {
        assert_eq!(
            Expression::parse("/user/id"),
            Ok(Expression::Pointer(Pointer::parse("/user/id").unwrap()))
        );
        assert_eq!(Expression::parse("@user"), Ok(Expression::User));
        assert_eq!(Expression::parse("text:/x"), Ok(Expression::Text("/x".to_owned())));
        assert_eq!(Expression::parse("$a-$b"), Ok(Expression::Template("$a-$b".to_owned())));
    }

    #[test]
    fn a_value_is_compared_as_text() {
        let values =
            json!([null, true, 7, "x", "é", "", [], {}, [1, "é"], {"a": [null, "\u{7f}\n"]}]);
        for value in values.as_array().unwrap() {
            let text = text(&Selected::One(value));
            for word in ["", "x", "[]", "{}", "true", "7", "null", "[1", "[1,\"\\u00e9\"]]"] {
                assert_eq!(is_text(value, word), text.as_deref() == Some(word), "{value} {word}");
            }
            assert!(text.is_none_or(|text| is_text(value, &text)), "{value}");
        }
    }

    #[test]
    fn a_constant_must_say_so() {
        assert_eq!(
            Expression::parse("user_id").unwrap_err().to_string(),
            "\"user_id\" is a constant string, the header would be the same for everyone; \
             did you mean \"/user_id\"? a constant is written \"text:user_id\""
        );
        assert!(Expression::parse("@usr")
            .unwrap_err()
            .to_string()
            .contains("did you mean \"@user\"?"));
        assert!(Expression::parse("").is_err());
    }

    #[test]
    fn what_counts_as_true() {
        for (value, truth) in [
            ("null", false),
            ("false", false),
            ("0", false),
            ("-0.0", false),
            ("0e9", false),
            ("\"\"", false),
            ("\"0\"", false),
            ("[]", false),
            ("{}", false),
            ("true", true),
            ("-1", true),
            ("0.5", true),
            ("1e400", true),
            ("18446744073709551616", true),
            ("\"false\"", true),
            ("\" \"", true),
            ("[0]", true),
            ("{\"a\":null}", true),
        ] {
            assert_eq!(truthy(&serde_json::from_str(value).unwrap()), truth, "{value}");
        }
    }

    #[test]
    fn text_of_each_kind() {
        for (value, expected) in [
            ("null", None),
            ("\"王\"", Some("王")),
            ("\"\"", Some("")),
            ("18446744073709551616", Some("18446744073709551616")),
            ("1e400", Some("1e+400")),
            ("true", Some("true")),
            ("false", Some("false")),
            ("[]", Some("[]")),
            ("[1,\"é\",null]", Some("[1,\"\\u00e9\",null]")),
            (
                "{\"b\":{\"🚀\":\"\\u007f\\n\"},\"a\":1}",
                Some("{\"b\":{\"\\ud83d\\ude80\":\"\\u007f\\n\"},\"a\":1}"),
            ),
        ] {
            let value: Value = serde_json::from_str(value).unwrap();
            assert_eq!(text(&Selected::One(&value)).as_deref(), expected, "{value}");
        }
        let (one, two) = (json!(1), json!("x"));
        assert_eq!(text(&Selected::Many(vec![&one, &two])).as_deref(), Some("[1,\"x\"]"));
        assert_eq!(text(&Selected::None), None);
    }

    #[test]
    fn a_php_list_with_a_gap_is_a_list() {
        assert_eq!(elements(&json!({"1": "a", "7": "b"})), Some(vec![&json!("a"), &json!("b")]));
        assert_eq!(elements(&json!({"1": "a", "name": "b"})), None);
        assert_eq!(elements(&json!("a")), None);
    }

    proptest! {
        #[test]
        fn json_ascii_is_ascii_and_reads_back(text in any::<String>(), key in any::<String>()) {
            let value = json!({ key: [text, 1.5, null] });
            let written = json_ascii(&value);
            prop_assert!(written.bytes().all(|b| (0x20..0x7f).contains(&b)));
            prop_assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), value);
        }
    }
}
