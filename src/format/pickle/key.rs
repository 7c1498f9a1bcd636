//! The keys of dicts as names in JSON.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use serde_json::Number;

use crate::format::budget::Budget;
use crate::format::graph::{Graph, Id, Leaf, Node};
use crate::format::{text, Reason};

/// The longest name that a tuple has, in bytes: it could hold another one twice, and that another.
const LONGEST: usize = 1024;
/// What a byte of it costs.
const TUPLE: usize = 8;
/// How deep tuples in a tuple are written.
const DEEPEST: usize = 8;

/// How `json.dumps` writes a key, or what `repr` writes of a tuple; `None` for what is no key in JSON, an object
/// of a class of its own above all. What it takes is counted, also where nothing comes of it.
pub(super) fn name<'r>(
    graph: &Graph<'r>,
    key: Id,
    budget: &Budget,
) -> Result<Option<Cow<'r, [u8]>>, Reason> {
    let mut whole = true;
    let name = match graph.get(key) {
        Node::Text(text) => text.clone(),
        Node::Leaf(Leaf::String(text)) => owned(text.clone()),
        Node::Leaf(Leaf::Int(number)) => owned(number.to_string()),
        Node::Leaf(Leaf::Number(number)) => owned(written(number, budget)?),
        Node::Leaf(Leaf::Bool(true)) => Cow::Borrowed(&b"true"[..]),
        Node::Leaf(Leaf::Bool(false)) => Cow::Borrowed(&b"false"[..]),
        Node::Leaf(Leaf::Null) => Cow::Borrowed(&b"null"[..]),
        Node::List(parts) => {
            let mut name = String::new();
            whole = tuple(graph, parts, &mut name, 1, budget)?;
            // The time that it takes.
            budget.draw(TUPLE * name.len())?;
            owned(name)
        }
        _ => return Ok(None),
    };
    budget.draw(name.len())?;
    Ok(whole.then_some(name))
}

fn owned(name: String) -> Cow<'static, [u8]> {
    Cow::Owned(name.into_bytes())
}

/// Writes a tuple; false where it is no name.
fn tuple(
    graph: &Graph<'_>,
    parts: &[Id],
    name: &mut String,
    depth: usize,
    budget: &Budget,
) -> Result<bool, Reason> {
    name.push('(');
    for (at, part) in parts.iter().enumerate() {
        name.push_str(if at > 0 { ", " } else { "" });
        match graph.get(*part) {
            Node::Text(bytes) if bytes.len() <= LONGEST => quoted(&text(bytes), name),
            Node::Leaf(Leaf::String(text)) => quoted(text, name),
            Node::Leaf(Leaf::Int(number)) => name.push_str(&number.to_string()),
            Node::Leaf(Leaf::Number(number)) => name.push_str(&written(number, budget)?),
            Node::Leaf(Leaf::Bool(true)) => name.push_str("True"),
            Node::Leaf(Leaf::Bool(false)) => name.push_str("False"),
            Node::Leaf(Leaf::Null) => name.push_str("None"),
            Node::List(parts) if depth < DEEPEST => {
                if !tuple(graph, parts, name, depth + 1, budget)? {
                    return Ok(false);
                }
            }
            _ => return Ok(false),
        }
        if name.len() > LONGEST {
            return Ok(false);
        }
    }
    name.push_str(if parts.len() == 1 { ",)" } else { ")" });
    Ok(true)
}

fn quoted(text: &str, name: &mut String) {
    name.push('\'');
    for character in text.chars() {
        if matches!(character, '\'' | '\\') {
            name.push('\\');
        }
        name.push(character);
    }
    name.push('\'');
}

/// A number as `repr` writes it.
fn written(number: &Number, budget: &Budget) -> Result<String, Reason> {
    if !number.as_str().contains(['.', 'e']) {
        return Ok(number.as_str().to_owned());
    }
    budget.float_name()?;
    let float = number.as_f64().unwrap_or_default();
    let scientific = format!("{float:e}");
    Ok(match scientific.split_once('e').map(|(digits, power)| (digits, power.parse::<i16>())) {
        Some((digits, Ok(power))) if !(-4..16).contains(&power) => format!("{digits}e{power:+03}"),
        _ => format!("{float:?}"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_as_python_writes_them() {
        for (number, text) in [
            (json!(0.5), "0.5"),
            (json!(-0.0), "-0.0"),
            (json!(1e15), "1000000000000000.0"),
            (json!(1e16), "1e+16"),
            (json!(1.5e300), "1.5e+300"),
            (json!(-0.0001), "-0.0001"),
            (json!(0.000_012_5), "1.25e-05"),
            (json!(5e-324), "5e-324"),
            (json!(7), "7"),
        ] {
            let number = number.as_number().unwrap();
            assert_eq!(written(number, &Budget::of(0, 0)).as_deref(), Ok(text));
        }
    }

    #[test]
    fn tuples_are_names_up_to_a_length_and_a_depth() {
        let budget = Budget::of(0, 0);
        let mut graph = Graph::new(&budget);
        let mut of = |count: usize, text: &str, depth: usize| {
            let part = graph.add(Node::Text(text.as_bytes().to_vec().into())).unwrap();
            let mut tuple = graph.add(Node::List(vec![part; count])).unwrap();
            for _ in 1..depth {
                tuple = graph.add(Node::List(vec![tuple])).unwrap();
            }
            let name = name(&graph, tuple, &budget).unwrap();
            name.map(|name| String::from_utf8_lossy(&name).into_owned())
        };
        assert_eq!(of(2, "a'\\", 2).as_deref(), Some("(('a\\'\\\\', 'a\\'\\\\'),)"));
        assert!(of(1, "a", DEEPEST).is_some());
        assert_eq!(of(1, "a", DEEPEST + 1), None);
        assert!(of(200, "a", 1).is_some());
        assert_eq!(of(1000, "a", 1), None);
        assert_eq!(of(1, &"a".repeat(LONGEST), 1), None);
    }
}
