//! How PHP's values are read as JSON, whichever of its formats they are in.

#![forbid(unsafe_code)]

use serde_json::{Number, Value};

/// A property's name without the mark of its visibility: `\0*\0name` protected, `\0Class\0name` private.
#[inline(always)]
pub(super) fn unmarked(name: &[u8]) -> &[u8] {
    let [0, marked @ ..] = name else { return name };
    let end = marked.iter().position(|b| *b == 0);
    end.and_then(|end| marked.get(end + 1..)).unwrap_or(name)
}

/// JSON has no infinities: they are PHP's words for them.
pub(in crate::format) fn float(number: f64) -> Value {
    match Number::from_f64(number) {
        Some(number) => Value::Number(number),
        None if number.is_nan() => Value::from("NAN"),
        None if number > 0.0 => Value::from("INF"),
        None => Value::from("-INF"),
    }
}
