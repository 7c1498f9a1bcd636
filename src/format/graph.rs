//! Values whose parts may be shared: what pickle, Marshal, igbinary and Java's streams describe, which name
//! a part by its number where it stands again.
//!
//! A decoder fills a [`Graph`] in one pass, whatever is wanted of it; [`Graph::value`] makes the JSON of what
//! is wanted. A part that holds itself is null where it stands inside itself.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{text, Reason, Wanted, MAX_DEPTH};

/// How many nodes and bytes of text may be made again because they stand in several places: each such place
/// copies them, and copies of copies grow without end in what a hostile session holds. What is not wanted of a
/// container counts, too: it is gone through.
const MAX_COPIED: usize = 256 * 1024;

/// A node's number in its graph; they grow in the order in which nodes are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(usize);

/// One part of a value. Names are as they are to be read in JSON, before [`text`].
#[derive(Debug, Clone)]
pub(super) enum Node<'r> {
    /// What is no container: null, booleans, numbers, texts that a decoder makes itself.
    Leaf(Value),
    /// A text, or bytes that are none.
    Text(Cow<'r, [u8]>),
    /// Elements in order.
    List(Vec<Id>),
    /// Members in order; of one name the last counts.
    Map(Vec<Member<'r>>),
    /// The fields of an object, and the name of its class.
    Object {
        /// As the format writes it.
        class: Cow<'r, [u8]>,
        /// Its fields in order.
        fields: Vec<Member<'r>>,
    },
    /// What is written elsewhere: the same as that node.
    Same(Id),
}

/// A name and what stands there.
pub(super) type Member<'r> = (Cow<'r, [u8]>, Id);

/// Nodes by their numbers.
#[derive(Debug, Default)]
pub(super) struct Graph<'r> {
    nodes: Vec<Node<'r>>,
}

impl<'r> Graph<'r> {
    /// Adds a node. Containers may be added empty and filled by [`Graph::get_mut`], so that what they hold
    /// can lead back to them.
    pub(super) fn add(&mut self, node: Node<'r>) -> Id {
        self.nodes.push(node);
        Id(self.nodes.len() - 1)
    }

    /// The node of that number. An [`Id`] is of use in the graph that gave it only.
    pub(super) fn get(&self, id: Id) -> &Node<'r> {
        &self.nodes[id.0]
    }

    /// As [`get`](Self::get), to change it.
    pub(super) fn get_mut(&mut self, id: Id) -> &mut Node<'r> {
        &mut self.nodes[id.0]
    }

    /// What is wanted of the value at `root`, null in place of what is not.
    pub(super) fn value(&self, root: Id, wanted: &Wanted) -> Result<Value, Reason> {
        let mut visit = Visit {
            nodes: &self.nodes,
            state: vec![State::New; self.nodes.len()],
            depth: 0,
            copied: 0,
        };
        visit.value(root, wanted)
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
    state: Vec<State>,
    depth: usize,
    copied: usize,
}

impl Visit<'_, '_> {
    fn value(&mut self, id: Id, wanted: &Wanted) -> Result<Value, Reason> {
        if *wanted == Wanted::Nothing {
            return Ok(Value::Null);
        }
        match self.state[id.0] {
            State::Open => return Ok(Value::Null),
            State::Made => self.copy(1)?,
            State::New => {}
        }
        let again = self.state[id.0] == State::Made;
        let nodes = self.nodes;
        match &nodes[id.0] {
            Node::Leaf(value) => {
                self.state[id.0] = State::Made;
                if again {
                    self.copy(match value {
                        Value::String(text) => text.len(),
                        Value::Number(number) => number.as_str().len(),
                        _ => 0,
                    })?;
                }
                Ok(value.clone())
            }
            Node::Text(bytes) => {
                self.state[id.0] = State::Made;
                if again {
                    self.copy(bytes.len())?;
                }
                Ok(Value::String(text(bytes).into_owned()))
            }
            Node::List(elements) => {
                if again {
                    self.copy(elements.len())?;
                }
                self.inside(id, |visit| visit.list(elements, wanted))
            }
            Node::Map(members) => {
                if again {
                    self.copy(members.len())?;
                }
                self.inside(id, |visit| visit.members(None, members, wanted, again))
            }
            Node::Object { class, fields } => {
                if again {
                    self.copy(class.len() + fields.len())?;
                }
                self.inside(id, |visit| visit.members(Some(class), fields, wanted, again))
            }
            Node::Same(other) => self.inside(id, |visit| visit.value(*other, wanted)),
        }
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
        self.state[id.0] = State::Open;
        let value = make(self)?;
        self.state[id.0] = State::Made;
        self.depth -= 1;
        Ok(value)
    }

    fn list(&mut self, elements: &[Id], wanted: &Wanted) -> Result<Value, Reason> {
        let mut list = Vec::new();
        for (at, element) in elements.iter().enumerate() {
            if wanted.ends_before(at) {
                break;
            }
            list.push(self.value(*element, wanted.element(at))?);
        }
        Ok(Value::Array(list))
    }

    fn members(
        &mut self,
        class: Option<&[u8]>,
        members: &[Member<'_>],
        wanted: &Wanted,
        again: bool,
    ) -> Result<Value, Reason> {
        let mut object = Map::with_capacity(wanted.names());
        if let Some(class) = class.filter(|_| wanted.class()) {
            object.insert(Wanted::CLASS.to_owned(), Value::String(text(class).into_owned()));
        }
        for (name, member) in members {
            let part = wanted.member(name);
            if *part != Wanted::Nothing {
                if again {
                    self.copy(name.len())?;
                }
                let value = self.value(*member, part)?;
                object.insert(text(name).into_owned(), value);
            }
        }
        Ok(Value::Object(object))
    }

    fn copy(&mut self, cost: usize) -> Result<(), Reason> {
        self.copied = self.copied.saturating_add(cost);
        if self.copied > MAX_COPIED {
            return Err(Reason::TooLarge);
        }
        Ok(())
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
        let mut graph = Graph::default();
        let one = graph.add(Node::Leaf(json!(1)));
        let name = graph.add(text_node("a"));
        let list = graph.add(Node::List(vec![one, name]));
        let root = graph.add(Node::Map(vec![member("list", list), member("n", one)]));
        let part = |pointer: &str| graph.value(root, &Wanted::of(&pointers(&[pointer]))).unwrap();
        assert_eq!(graph.value(root, &Wanted::All).unwrap(), json!({"list": [1, "a"], "n": 1}));
        assert_eq!(part("/list/1"), json!({"list": [null, "a"]}));
        assert_eq!(part("/n"), json!({"n": 1}));
        assert_eq!(graph.value(root, &Wanted::Nothing).unwrap(), json!(null));
    }

    #[test]
    fn a_class_is_given_where_it_is_asked_for() {
        let mut graph = Graph::default();
        let one = graph.add(Node::Leaf(json!(1)));
        let class = Cow::Borrowed(&b"App\\User"[..]);
        let user = graph.add(Node::Object { class, fields: vec![member("id", one)] });
        let root = graph.add(Node::Map(vec![member("user", user)]));
        let of = |wanted: &Wanted| graph.value(root, wanted).unwrap();
        assert_eq!(of(&Wanted::All), json!({"user": {"id": 1}}));
        let classes = Wanted::of(&pointers(&["/user/@class", "/user/id"]));
        assert_eq!(of(&classes), json!({"user": {"@class": "App\\User", "id": 1}}));
        assert_eq!(of(&Wanted::Described), json!({"user": {"@class": "App\\User", "id": 1}}));
    }

    #[test]
    fn a_field_hides_the_class() {
        let mut graph = Graph::default();
        let one = graph.add(Node::Leaf(json!(1)));
        let class = Cow::Borrowed(&b"A"[..]);
        let root = graph.add(Node::Object { class, fields: vec![member("@class", one)] });
        assert_eq!(graph.value(root, &Wanted::Described).unwrap(), json!({"@class": 1}));
    }

    #[test]
    fn circles_are_cut_and_shared_parts_are_not() {
        let mut graph = Graph::default();
        let name = graph.add(text_node("x"));
        let root = graph.add(Node::List(Vec::new()));
        let same = graph.add(Node::Same(root));
        *graph.get_mut(root) = Node::List(vec![name, name, root, same]);
        assert_eq!(graph.value(root, &Wanted::All).unwrap(), json!(["x", "x", null, null]));
        assert!(matches!(graph.get(name), Node::Text(_)));
    }

    #[test]
    fn what_is_gone_through_again_is_bounded_though_hardly_any_is_wanted() {
        const MANY: usize = 1000;
        let name = &Wanted::of(&pointers(&["/k/*/name"]));
        let last = &Wanted::of(&pointers(&["/k/*/999"]));
        let mut graph = Graph::default();
        let one = graph.add(Node::Leaf(json!(1)));
        let unwanted = vec![member("x", one); MANY];
        let map = graph.add(Node::Map(unwanted.clone()));
        let class = Cow::Borrowed(&b"A"[..]);
        let object = graph.add(Node::Object { class, fields: unwanted });
        let list = graph.add(Node::List(vec![one; MANY]));
        for (shared, wanted) in [(map, name), (object, name), (list, last)] {
            let mut of = |places: usize| {
                let places = graph.add(Node::List(vec![shared; places]));
                let root = graph.add(Node::Map(vec![member("k", places)]));
                graph.value(root, wanted).map(drop)
            };
            assert_eq!((of(100), of(MANY)), (Ok(()), Err(Reason::TooLarge)));
        }
    }

    #[test]
    fn copies_of_copies_are_bounded_and_so_is_depth() {
        let mut graph = Graph::default();
        let mut root = graph.add(text_node("x"));
        for _ in 0..100 {
            root = graph.add(Node::List(vec![root, root]));
        }
        assert_eq!(graph.value(root, &Wanted::All), Err(Reason::TooLarge));
        // Nor may a long name stand again and again.
        let null = graph.add(Node::Leaf(json!(null)));
        let name = Cow::Owned(vec![b'x'; MAX_COPIED / 10]);
        let map = graph.add(Node::Map(vec![(name, null)]));
        let list = graph.add(Node::List(vec![map; 12]));
        assert_eq!(graph.value(list, &Wanted::All), Err(Reason::TooLarge));
        let mut deep = graph.add(Node::Leaf(json!(null)));
        for _ in 0..=MAX_DEPTH {
            deep = graph.add(Node::List(vec![deep]));
        }
        assert_eq!(graph.value(deep, &Wanted::All), Err(Reason::TooDeep));
        assert_eq!(graph.value(deep, &Wanted::Nothing), Ok(json!(null)));
    }
}
