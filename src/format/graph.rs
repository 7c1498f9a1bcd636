//! Values whose parts may be shared: what pickle, Marshal, igbinary and Java's streams describe, which name
//! a part by its number where it stands again.
//!
//! A decoder fills a [`Graph`] in one pass, whatever is wanted of it; [`Graph::value`] makes the JSON of what
//! is wanted. A part that holds itself is null where it stands inside itself.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;

use serde_json::{Number, Value};

use super::budget::Budget;
use super::{Reason, Wanted, MAX_DEPTH};

/// A node's number in its graph; they grow in the order in which nodes are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(u32);

impl Id {
    /// The number of no node.
    pub(super) const NONE: Self = Self(u32::MAX);

    fn at(self) -> usize {
        self.0 as usize
    }
}

/// One part of a value. Names are as they are to be read in JSON, before [`text`](super::text).
#[derive(Debug, Clone)]
pub(super) enum Node<'r> {
    /// What is no container.
    Leaf(Leaf),
    /// A text, or bytes that are none.
    Text(Cow<'r, [u8]>),
    /// Elements in order.
    List(Vec<Id>),
    /// Members in order; of one name the last counts.
    Map(Vec<Member<'r>>),
    /// The fields of an object, and the name of its class.
    Object(Box<Object<'r>>),
    /// What is written elsewhere: the same as that node.
    Same(Id),
}

/// Null, booleans, numbers, texts that a decoder makes itself: a [`Value`] in less room.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Leaf {
    Null,
    Bool(bool),
    /// A number that is written in digits only where it is wanted.
    Int(i64),
    Number(Number),
    String(String),
}

/// An object of a class.
#[derive(Debug, Clone)]
pub(super) struct Object<'r> {
    /// As the format writes it.
    pub(super) class: Cow<'r, [u8]>,
    /// Its fields in order.
    pub(super) fields: Vec<Member<'r>>,
}

/// A name and what stands there.
pub(super) type Member<'r> = (Cow<'r, [u8]>, Id);

impl<'r> Node<'r> {
    /// An object of a class.
    pub(super) fn object(class: Cow<'r, [u8]>, fields: Vec<Member<'r>>) -> Self {
        Self::Object(Box::new(Object { class, fields }))
    }

    /// The number that it is, if it is one.
    pub(super) fn number(&self) -> Option<Cow<'_, Number>> {
        match self {
            Self::Leaf(Leaf::Int(number)) => Some(Cow::Owned(Number::from(*number))),
            Self::Leaf(Leaf::Number(number)) => Some(Cow::Borrowed(number)),
            _ => None,
        }
    }
}

/// Arrays and objects are no leaves: null.
impl From<Value> for Leaf {
    fn from(value: Value) -> Self {
        match value {
            Value::Bool(truth) => Self::Bool(truth),
            Value::Number(number) => Self::Number(number),
            Value::String(text) => Self::String(text),
            Value::Null | Value::Array(_) | Value::Object(_) => Self::Null,
        }
    }
}

/// As JSON, but for texts, which are themselves.
impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(truth) => truth.fmt(f),
            Self::Int(number) => number.fmt(f),
            Self::Number(number) => f.write_str(number.as_str()),
            Self::String(text) => f.write_str(text),
        }
    }
}

/// Nodes by their numbers.
#[derive(Debug)]
pub(super) struct Graph<'r> {
    nodes: Vec<Node<'r>>,
    budget: &'r Budget,
}

impl<'r> Graph<'r> {
    /// Without nodes.
    pub(super) fn new(budget: &'r Budget) -> Self {
        Self { nodes: Vec::new(), budget }
    }

    /// What its nodes, and what they hold, are drawn from. A node's own place is drawn here, what it owns where
    /// it is made.
    pub(super) fn budget(&self) -> &'r Budget {
        self.budget
    }

    /// Adds a node. Containers may be added empty and filled by [`Graph::get_mut`], so that what they hold
    /// can lead back to them.
    #[inline]
    pub(super) fn add(&mut self, node: Node<'r>) -> Result<Id, Reason> {
        let id = u32::try_from(self.nodes.len()).map_err(|_| Reason::TooLarge)?;
        self.budget.push(&mut self.nodes, node)?;
        Ok(Id(id))
    }

    /// Adds a number.
    #[inline]
    pub(super) fn number(&mut self, number: i64) -> Result<Id, Reason> {
        self.budget.number()?;
        self.add(Node::Leaf(Leaf::Int(number)))
    }

    /// The node of that number. An [`Id`] is of use in the graph that gave it only.
    pub(super) fn get(&self, id: Id) -> &Node<'r> {
        &self.nodes[id.at()]
    }

    /// As [`get`](Self::get), to change it.
    pub(super) fn get_mut(&mut self, id: Id) -> &mut Node<'r> {
        &mut self.nodes[id.at()]
    }

    /// What is wanted of the value at `root`, null in place of what is not.
    pub(super) fn value(&self, root: Id, wanted: &Wanted) -> Result<Value, Reason> {
        if *wanted == Wanted::Nothing {
            return Ok(Value::Null);
        }
        self.budget.draw(self.nodes.len())?;
        let state = vec![State::New; self.nodes.len()];
        Visit { nodes: &self.nodes, budget: self.budget, state, depth: 0 }.value(root, wanted)
    }
}

/// Where a visit stands with a node.
#[derive(Clone, Copy, PartialEq)]
enum State {
    New,
    /// It is being made: what leads here again is a circle.
    Open,
    Made,
}

struct Visit<'g, 'r> {
    nodes: &'g [Node<'r>],
    budget: &'r Budget,
    state: Vec<State>,
    depth: usize,
}

impl Visit<'_, '_> {
    fn value(&mut self, id: Id, wanted: &Wanted) -> Result<Value, Reason> {
        if *wanted == Wanted::Nothing {
            return Ok(Value::Null);
        }
        match self.state[id.at()] {
            State::Open => return Ok(Value::Null),
            State::Made => self.again(1)?,
            State::New => {}
        }
        let again = self.state[id.at()] == State::Made;
        let nodes = self.nodes;
        match &nodes[id.at()] {
            Node::Leaf(leaf) => {
                self.state[id.at()] = State::Made;
                self.leaf(leaf)
            }
            Node::Text(bytes) => {
                self.state[id.at()] = State::Made;
                Ok(Value::String(self.budget.text(bytes)?))
            }
            Node::List(elements) => {
                self.again(if again { elements.len() } else { 0 })?;
                self.inside(id, |visit| visit.list(elements, wanted))
            }
            Node::Map(members) => {
                self.again(if again { members.len() } else { 0 })?;
                self.inside(id, |visit| visit.members(None, members, wanted))
            }
            Node::Object(object) => {
                let Object { class, fields } = &**object;
                self.again(if again { fields.len() } else { 0 })?;
                self.inside(id, |visit| visit.members(Some(class), fields, wanted))
            }
            Node::Same(other) => self.inside(id, |visit| visit.value(*other, wanted)),
        }
    }

    fn leaf(&self, leaf: &Leaf) -> Result<Value, Reason> {
        Ok(match leaf {
            Leaf::Null => Value::Null,
            Leaf::Bool(truth) => Value::Bool(*truth),
            Leaf::Int(number) => self.number(Number::from(*number))?,
            Leaf::Number(number) => self.number(number.clone())?,
            Leaf::String(text) => {
                self.budget.draw(text.len())?;
                Value::String(text.clone())
            }
        })
    }

    fn number(&self, number: Number) -> Result<Value, Reason> {
        self.budget.draw(number.as_str().len())?;
        Ok(Value::Number(number))
    }

    fn inside(
        &mut self,
        id: Id,
        make: impl FnOnce(&mut Self) -> Result<Value, Reason>,
    ) -> Result<Value, Reason> {
        if self.depth >= MAX_DEPTH {
            return Err(Reason::TooDeep);
        }
        self.depth += 1;
        self.state[id.at()] = State::Open;
        let value = make(self)?;
        self.state[id.at()] = State::Made;
        self.depth -= 1;
        Ok(value)
    }

    fn list(&mut self, elements: &[Id], wanted: &Wanted) -> Result<Value, Reason> {
        let count = wanted.elements(elements.len());
        let mut list = self.budget.list(count)?;
        for (at, element) in elements.iter().take(count).enumerate() {
            list.push(self.value(*element, wanted.element(at))?);
        }
        Ok(Value::Array(list))
    }

    fn members(
        &mut self,
        class: Option<&[u8]>,
        members: &[Member<'_>],
        wanted: &Wanted,
    ) -> Result<Value, Reason> {
        let class = class.filter(|_| wanted.class());
        let count = wanted.members(members.len() + usize::from(class.is_some()));
        let mut object = self.budget.object(count);
        if let Some(class) = class {
            let class = Value::String(self.budget.text(class)?);
            object.insert(Wanted::CLASS.to_owned(), class)?;
        }
        for (name, member) in members {
            let part = wanted.member(name);
            if *part != Wanted::Nothing {
                let value = self.value(*member, part)?;
                object.insert(self.budget.text(name)?, value)?;
            }
        }
        Ok(object.into_value())
    }

    /// Pays for going once more through so many parts, also those of which nothing is wanted: the time that
    /// it takes.
    fn again(&self, parts: usize) -> Result<(), Reason> {
        const STEP: usize = 16;
        self.budget.draw(parts.saturating_mul(STEP))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::format::tests::pointers;

    fn text_node(text: &'static str) -> Node<'static> {
        Node::Text(Cow::Borrowed(text.as_bytes()))
    }

    fn member(name: &'static str, id: Id) -> Member<'static> {
        (Cow::Borrowed(name.as_bytes()), id)
    }

    #[test]
    fn what_is_wanted_is_made() {
        let budget = Budget::of(0, 0);
        let mut graph = Graph::new(&budget);
        let one = graph.add(Node::Leaf(Leaf::from(json!(1)))).unwrap();
        let name = graph.add(text_node("a")).unwrap();
        let list = graph.add(Node::List(vec![one, name])).unwrap();
        let root = graph.add(Node::Map(vec![member("list", list), member("n", one)])).unwrap();
        let part = |pointer: &str| graph.value(root, &Wanted::of(&pointers(&[pointer]))).unwrap();
        assert_eq!(graph.value(root, &Wanted::All).unwrap(), json!({"list": [1, "a"], "n": 1}));
        assert_eq!(part("/list/1"), json!({"list": [null, "a"]}));
        assert_eq!(part("/n"), json!({"n": 1}));
        assert_eq!(graph.value(root, &Wanted::Nothing).unwrap(), json!(null));
    }

    #[test]
    fn a_class_is_given_where_it_is_asked_for() {
        let budget = Budget::of(0, 0);
        let mut graph = Graph::new(&budget);
        let one = graph.add(Node::Leaf(Leaf::from(json!(1)))).unwrap();
        let class = Cow::Borrowed(&b"App\\User"[..]);
        let user = graph.add(Node::object(class, vec![member("id", one)])).unwrap();
        let root = graph.add(Node::Map(vec![member("user", user)])).unwrap();
        let of = |wanted: &Wanted| graph.value(root, wanted).unwrap();
        assert_eq!(of(&Wanted::All), json!({"user": {"id": 1}}));
        let classes = Wanted::of(&pointers(&["/user/@class", "/user/id"]));
        assert_eq!(of(&classes), json!({"user": {"@class": "App\\User", "id": 1}}));
        assert_eq!(of(&Wanted::Described), json!({"user": {"@class": "App\\User", "id": 1}}));
    }

    #[test]
    fn a_field_hides_the_class() {
        let budget = Budget::of(0, 0);
        let mut graph = Graph::new(&budget);
        let one = graph.add(Node::Leaf(Leaf::from(json!(1)))).unwrap();
        let class = Cow::Borrowed(&b"A"[..]);
        let root = graph.add(Node::object(class, vec![member("@class", one)])).unwrap();
        assert_eq!(graph.value(root, &Wanted::Described).unwrap(), json!({"@class": 1}));
    }

    #[test]
    fn circles_are_cut_and_shared_parts_are_not() {
        let budget = Budget::of(0, 0);
        let mut graph = Graph::new(&budget);
        let name = graph.add(text_node("x")).unwrap();
        let root = graph.add(Node::List(Vec::new())).unwrap();
        let same = graph.add(Node::Same(root)).unwrap();
        *graph.get_mut(root) = Node::List(vec![name, name, root, same]);
        assert_eq!(graph.value(root, &Wanted::All).unwrap(), json!(["x", "x", null, null]));
        assert!(matches!(graph.get(name), Node::Text(_)));
    }

    #[test]
    fn what_is_gone_through_again_is_bounded_though_hardly_any_is_wanted() {
        const MANY: usize = 1000;
        let name = &Wanted::of(&pointers(&["/k/*/name"]));
        let last = &Wanted::of(&pointers(&["/k/*/999"]));
        let budget = Budget::of(0, 0);
        let mut graph = Graph::new(&budget);
        let one = graph.add(Node::Leaf(Leaf::from(json!(1)))).unwrap();
        let unwanted = vec![member("x", one); MANY];
        let map = graph.add(Node::Map(unwanted.clone())).unwrap();
        let class = Cow::Borrowed(&b"A"[..]);
        let object = graph.add(Node::object(class, unwanted)).unwrap();
        let list = graph.add(Node::List(vec![one; MANY])).unwrap();
        for (shared, wanted) in [(map, name), (object, name), (list, last)] {
            let mut of = |places: usize| {
                let places = graph.add(Node::List(vec![shared; places])).unwrap();
                let root = graph.add(Node::Map(vec![member("k", places)])).unwrap();
                let budget = Budget::of(0, 0);
                Graph { nodes: graph.nodes.clone(), budget: &budget }.value(root, wanted).map(drop)
            };
            assert_eq!((of(10), of(MANY)), (Ok(()), Err(Reason::TooLarge)));
        }
    }

    #[test]
    fn copies_of_copies_are_bounded_and_so_is_depth() {
        let budget = Budget::of(0, 0);
        let mut graph = Graph::new(&budget);
        let mut root = graph.add(text_node("x")).unwrap();
        for _ in 0..100 {
            root = graph.add(Node::List(vec![root, root])).unwrap();
        }
        assert_eq!(graph.value(root, &Wanted::All), Err(Reason::TooLarge));
        // Nor may a long name stand again and again.
        let budget = Budget::of(0, 0);
        let mut graph = Graph::new(&budget);
        let null = graph.add(Node::Leaf(Leaf::Null)).unwrap();
        let name = Cow::Owned(vec![b'x'; 100_000]);
        let map = graph.add(Node::Map(vec![(name, null)])).unwrap();
        let list = graph.add(Node::List(vec![map; 12])).unwrap();
        assert_eq!(graph.value(list, &Wanted::All), Err(Reason::TooLarge));
        let budget = Budget::of(0, 0);
        let mut graph = Graph::new(&budget);
        let mut deep = graph.add(Node::Leaf(Leaf::Null)).unwrap();
        for _ in 0..=MAX_DEPTH {
            deep = graph.add(Node::List(vec![deep])).unwrap();
        }
        assert_eq!(graph.value(deep, &Wanted::All), Err(Reason::TooDeep));
        assert_eq!(graph.value(deep, &Wanted::Nothing), Ok(json!(null)));
    }
}
