//! The names in a session and the types of what stands there: never a value.

#![forbid(unsafe_code)]

use serde_json::{Map, Value};

use crate::format::Wanted;

/// So many lines are shown of one session.
const LINES: usize = 200;

/// So many elements are shown of one array: the others are mostly alike.
const ELEMENTS: usize = 3;

/// A type with its size: `string of 5 bytes`.
pub(super) fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "boolean".to_owned(),
        Value::Number(number)
            if number.as_str().bytes().all(|b| b == b'-' || b.is_ascii_digit()) =>
        {
            "whole number".to_owned()
        }
        Value::Number(_) => "number".to_owned(),
        Value::String(text) => format!("string of {} bytes", text.len()),
        Value::Array(elements) => format!("array of {}", elements.len()),
        Value::Object(members) => match class(members) {
            Some(class) => format!("object of {}, class {class}", members.len() - 1),
            None => format!("object of {}", members.len()),
        },
    }
}

/// A line for each name below `value`, indented by its depth.
pub(super) fn lines(value: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    push(&mut lines, value, 0);
    if lines.len() > LINES {
        let more = lines.len() - LINES;
        lines.truncate(LINES);
        lines.push(format!("… {more} more"));
    }
    lines
}

fn push(lines: &mut Vec<String>, value: &Value, depth: usize) {
    let mut line = |name: &str, value: &Value| {
        lines.push(format!("{:1$}{name}: {2}", "", 2 * depth, kind(value)));
        push(lines, value, depth + 1);
    };
    match value {
        Value::Array(elements) => {
            for (at, element) in elements.iter().enumerate().take(ELEMENTS) {
                line(&at.to_string(), element);
            }
            if elements.len() > ELEMENTS {
                lines.push(format!("{:1$}…", "", 2 * depth));
            }
        }
        Value::Object(members) => {
            let is_class = |name: &str| name == Wanted::CLASS && class(members).is_some();
            for (name, member) in members.iter().filter(|(name, _)| !is_class(name)) {
                line(&name.escape_debug().to_string(), member);
            }
        }
        _ => {}
    }
}

/// The name of the class that a decoder has put there.
fn class(members: &Map<String, Value>) -> Option<String> {
    match members.get(Wanted::CLASS) {
        Some(Value::String(class)) => Some(class.escape_debug().to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_and_sizes_but_no_values() {
        let session = json!({
            "user": {"@class": "App\\User", "id": 1001, "name": "s3cret", "score": 98.5},
            "roles": ["s3cret", "b", "c", "d"],
            "none": null,
            "ok": true,
            "a\nb": {},
        });
        assert_eq!(kind(&session), "object of 5");
        assert_eq!(
            lines(&session),
            [
                "user: object of 3, class App\\\\User",
                "  id: whole number",
                "  name: string of 6 bytes",
                "  score: number",
                "roles: array of 4",
                "  0: string of 6 bytes",
                "  1: string of 1 bytes",
                "  2: string of 1 bytes",
                "  …",
                "none: null",
                "ok: boolean",
                "a\\nb: object of 0",
            ]
        );
    }

    #[test]
    fn a_large_session_is_cut() {
        let many: Map<String, Value> = (0..250).map(|at| (at.to_string(), json!(at))).collect();
        let lines = lines(&Value::Object(many));
        assert_eq!(lines.len(), LINES + 1);
        assert_eq!(lines[LINES], "… 50 more");
    }
}
