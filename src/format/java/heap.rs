//! The objects of a stream, as parts of a graph.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use serde_json::{Number, Value};

use super::text::utf16;
use crate::format::budget::Budget;
use crate::format::graph::{Graph, Id, Leaf, Node};
use crate::format::number::float;
use crate::format::{Reason, Wanted};

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Slot {
    Bool(bool),
    /// A UTF-16 unit.
    Char(u16),
    /// Any of `byte`, `short`, `int`, `long`.
    Whole(i64),
    Float(f32),
    Double(f64),
    Object(Id),
}

/// All objects that were read so far.
pub(in crate::format) struct Heap<'r> {
    graph: Graph<'r>,
    null: Id,
    budget: &'r Budget,
}

impl<'r> Heap<'r> {
    /// Without objects.
    pub(super) fn new(budget: &'r Budget) -> Result<Self, Reason> {
        let mut graph = Graph::new(budget);
        let null = graph.add(Node::Leaf(Leaf::Null))?;
        Ok(Self { graph, null, budget })
    }

    /// What is wanted of an object.
    pub(in crate::format) fn value(&self, id: Id, wanted: &Wanted) -> Result<Value, Reason> {
        self.graph.value(id, wanted)
    }

    /// Adds an object.
    pub(in crate::format) fn add(&mut self, node: Node<'r>) -> Result<Id, Reason> {
        self.graph.add(node)
    }

    /// Adds an object that is still being read.
    pub(super) fn open(&mut self) -> Result<Id, Reason> {
        self.graph.add(Node::List(Vec::new()))
    }

    /// Says what an object is that was being read.
    pub(super) fn set(&mut self, id: Id, node: Node<'r>) {
        *self.graph.get_mut(id) = node;
    }

    /// `null`, of which there is one.
    pub(super) fn null(&self) -> Id {
        self.null
    }

    /// The object that a slot stands for.
    pub(super) fn of(&mut self, slot: Slot) -> Result<Id, Reason> {
        match slot {
            Slot::Object(id) => Ok(id),
            primitive => {
                let node = self.node(primitive)?;
                self.graph.add(node)
            }
        }
    }

    /// What a slot stands for.
    pub(super) fn node(&self, slot: Slot) -> Result<Node<'r>, Reason> {
        /// What a primitive value takes as text.
        const TEXT: usize = 8;
        self.budget.draw(TEXT)?;
        Ok(Node::Leaf(match slot {
            Slot::Object(id) => return Ok(Node::Same(id)),
            Slot::Bool(truth) => Leaf::Bool(truth),
            Slot::Char(unit) => return Ok(Node::Text(Cow::Owned(utf16([unit])))),
            Slot::Whole(number) => Leaf::Int(number),
            Slot::Float(number) if number.is_finite() => Value::from(number).into(),
            Slot::Float(number) => float(number.into()).into(),
            Slot::Double(number) => float(number).into(),
        }))
    }

    /// The bytes of an object that is a text, or a `byte[]`.
    pub(in crate::format) fn bytes(&self, id: Id) -> Option<&[u8]> {
        match self.graph.get(id) {
            Node::Text(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A number that is an object.
    pub(in crate::format) fn number(&self, id: Id) -> Option<Cow<'_, Number>> {
        self.graph.get(id).number()
    }

    /// Cuts an array off. It is one that nothing else refers to, as its owner alone knows what is not in use.
    pub(super) fn truncate(&mut self, array: Id, length: usize) {
        if let Node::List(elements) = self.graph.get_mut(array) {
            elements.truncate(length);
        }
    }

    /// A map of these keys and values, one after the other: an object by the texts of its keys where each has
    /// one, else an array of pairs.
    pub(in crate::format) fn map(&mut self, entries: &[Id]) -> Result<Node<'r>, Reason> {
        let mut members = self.budget.list(entries.len() / 2)?;
        for entry in entries.chunks(2) {
            let [key, value] = *entry else { return Err(Reason::Malformed) };
            let Some(name) = self.key(key)? else { return self.pairs(entries) };
            members.push((name, value));
        }
        Ok(Node::Map(members))
    }

    fn pairs(&mut self, entries: &[Id]) -> Result<Node<'r>, Reason> {
        self.budget.draw(2 * size_of_val(entries))?;
        let pairs = entries.chunks(2).map(|pair| self.graph.add(Node::List(pair.to_vec())));
        pairs.collect::<Result<_, _>>().map(Node::List)
    }

    /// A name for use in one more object.
    pub(super) fn name(&mut self, name: &Cow<'r, [u8]>) -> Result<Cow<'r, [u8]>, Reason> {
        self.copy(name)?;
        Ok(name.clone())
    }

    /// Counts what is to stand once more.
    pub(super) fn copy(&self, text: &[u8]) -> Result<(), Reason> {
        self.budget.draw(text.len())
    }

    /// What all is drawn from.
    pub(super) fn budget(&self) -> &'r Budget {
        self.budget
    }

    /// The text of a key that has one.
    fn key(&mut self, key: Id) -> Result<Option<Cow<'r, [u8]>>, Reason> {
        let node = match self.graph.get(key) {
            Node::Same(other) => self.graph.get(*other),
            node => node,
        };
        let key = match node {
            Node::Text(bytes) => bytes.clone(),
            Node::Leaf(Leaf::String(text)) => Cow::Owned(text.clone().into_bytes()),
            Node::Leaf(scalar) => Cow::Owned(scalar.to_string().into_bytes()),
            _ => return Ok(None),
        };
        self.budget.draw(key.len())?;
        Ok(Some(key))
    }
}
