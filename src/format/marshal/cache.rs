//! Sessions in Rails' cache (`config.session_store :cache_store`): what ActiveSupport wraps a value in there,
//! as its `cache/entry.rb`, `cache/coder.rb` and `cache/serializer_with_fallback.rb` tell.
//!
//! Up to 6.1 an entry is an object whose value may be compressed; 7.0 writes the parts of an entry as a list
//! behind a byte that says whether all is compressed; 7.1 has a header of its own. When an entry ends is written in
//! it: its key may live longer, by five minutes with `race_condition_ttl`, but the cache does not give it out then.

#![forbid(unsafe_code)]

use serde_json::Value;

use super::reader::Reader;
use crate::format::budget::Budget;
use crate::format::cursor::Cursor;
use crate::format::graph::{Graph, Id, Leaf, Node, Object};
use crate::format::wrapper::inflate;
use crate::format::{Reason, Wanted};

/// The value of an entry that is an object.
pub(super) enum Entry<'g> {
    Plain(Id),
    Compressed(&'g [u8]),
}

/// Reads a session from an entry of 7.0 or later; `None`: it is none.
pub(super) fn decode(
    raw: &[u8],
    wanted: &Wanted,
    budget: &Budget,
) -> Option<Result<Value, Reason>> {
    Some(match raw {
        [0, 0x11, entry @ ..] => with_header(entry, wanted, budget),
        [0, list @ ..] => first(list, wanted, budget),
        [1, compressed @ ..] => {
            inflate(compressed, budget).and_then(|list| first(&list, wanted, budget))
        }
        _ => return None,
    })
}

/// Whether `raw` begins as an entry of 7.0 or later does.
pub(super) fn begins(raw: &[u8]) -> bool {
    matches!(raw, [0, 0x11, 1..=4 | 0x81..=0x84, ..] | [0, 4, 8, b'[', ..] | [1, 0x78, ..])
}

/// The entry that an object is, if it is one. Rails 4 had shorter names.
pub(super) fn entry<'g>(graph: &'g Graph<'_>, root: Id) -> Option<Entry<'g>> {
    let value = field(graph, root, &["value", "v"])?;
    let compressed = field(graph, root, &["compressed", "c"]).map(|id| graph.get(id));
    Some(match (compressed, graph.get(value)) {
        (Some(Node::Leaf(Leaf::Bool(true))), Node::Text(bytes)) => Entry::Compressed(bytes),
        _ => Entry::Plain(value),
    })
}

impl Entry<'_> {
    /// Reads the session of an entry in `graph`.
    pub(super) fn decode(self, graph: &Graph<'_>, wanted: &Wanted) -> Result<Value, Reason> {
        match self {
            Self::Plain(id) => graph.value(id, wanted),
            Self::Compressed(bytes) => {
                value(&inflate(bytes, graph.budget())?, wanted, graph.budget())
            }
        }
    }
}

/// When the entry that `raw` is ends, in Unix ms; `None`: never, or it is none.
pub(super) fn end(raw: &[u8], budget: &Budget) -> Option<u64> {
    let seconds = match raw {
        [0, 0x11, _, expires @ ..] => f64::from_le_bytes(*expires.first_chunk()?),
        [0, list @ ..] => second(list, budget)?,
        [1, compressed @ ..] => second(&inflate(compressed, budget).ok()?, budget)?,
        _ => of_object(raw, budget)?,
    };
    // Where it never ends, 7.1 has a negative number.
    (seconds >= 0.0).then_some((seconds * 1000.0) as u64)
}

/// Up to 6.1, and where 7.0 writes as these do, the life is kept with its beginning, 0 there; Rails 4.0 has the end.
fn of_object(raw: &[u8], budget: &Budget) -> Option<f64> {
    let (graph, root) = Reader::read(raw, budget).ok()?;
    let number = |names: &[&str]| number(&graph, field(&graph, root, names)?);
    number(&["x"]).or_else(|| Some(number(&["created_at"])? + number(&["expires_in"])?))
}

/// 7.0: the end is the second of a list.
fn second(list: &[u8], budget: &Budget) -> Option<f64> {
    let (graph, root) = Reader::read(list, budget).ok()?;
    match graph.get(root) {
        Node::List(parts) => number(&graph, *parts.get(1)?),
        _ => None,
    }
}

fn number(graph: &Graph<'_>, id: Id) -> Option<f64> {
    graph.get(id).number()?.as_f64()
}

/// A field of the entry that an object is, if it is one, by any of its names.
fn field(graph: &Graph<'_>, root: Id, names: &[&str]) -> Option<Id> {
    let Node::Object(object) = graph.get(root) else { return None };
    let Object { class, fields } = &**object;
    if **class != *b"ActiveSupport::Cache::Entry" {
        return None;
    }
    let named = |field: &[u8]| names.iter().any(|name| name.as_bytes() == field);
    fields.iter().find(|(field, _)| named(field)).map(|(_, id)| *id)
}

/// 7.1: the kind of the value, when it expires, the length of its version or -1, its version, the value.
fn with_header(entry: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Reason> {
    const COMPRESSED: u8 = 0x80;
    let mut input = Cursor::new(entry);
    let kind = input.byte()?;
    let _expires = input.take(8)?;
    let length = input.take(4)?.try_into().map(i32::from_le_bytes);
    let _version = input.take(length.map_or(0, |length| usize::try_from(length).unwrap_or(0)))?;
    let held = input.take(input.left())?;
    let inflated;
    let held = match kind & COMPRESSED {
        0 => held,
        _ => {
            inflated = inflate(held, budget)?;
            &inflated
        }
    };
    match kind & !COMPRESSED {
        1 => value(held, wanted, budget),
        2..=4 => budget.text(held).map(Value::String),
        _ => Err(Reason::Malformed),
    }
}

/// 7.0: the value is the first of a list; parts that are nil may be missing from its end.
fn first(list: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Reason> {
    let (graph, root) = Reader::read(list, budget)?;
    match graph.get(root) {
        Node::List(parts) => {
            parts.first().map_or(Ok(Value::Null), |value| graph.value(*value, wanted))
        }
        _ => Err(Reason::Malformed),
    }
}

fn value(raw: &[u8], wanted: &Wanted, budget: &Budget) -> Result<Value, Reason> {
    let (graph, root) = Reader::read(raw, budget)?;
    graph.value(root, wanted)
}
