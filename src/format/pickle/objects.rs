//! What a pickle's program does to values: containers are filled, classes named, objects made of their state.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use serde_json::Value;

use super::key;
use super::known::{self, Known};
use crate::format::copies::Copies;
use crate::format::graph::{Graph, Id, Member, Node};
use crate::format::Reason;

/// The values of one pickle.
pub(super) struct Objects<'r> {
    graph: Graph<'r>,
    /// What some nodes are besides, by their numbers, which grow.
    special: Vec<(Id, Special<'r>)>,
    copies: Copies,
}

/// What a node does not tell.
#[derive(Debug, Clone, Copy)]
pub(super) enum Special<'r> {
    /// A class or function: null for a reader.
    Global(Global<'r>),
    /// What one made that is not known: null until there is a state.
    Instance(Global<'r>),
    /// A `timedelta`, in microseconds.
    Duration(i128),
    /// A `timezone`, by the microseconds that its clocks are ahead of UTC.
    Zone(i128),
}

/// A class or function by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Global<'r> {
    pub(super) module: &'r [u8],
    pub(super) name: &'r [u8],
}

impl<'r> Objects<'r> {
    /// None yet, of this pickle.
    pub(super) fn of(raw: &[u8]) -> Self {
        Self { graph: Graph::default(), special: Vec::new(), copies: Copies::of(raw) }
    }

    /// All that was made.
    pub(super) fn into_graph(self) -> Graph<'r> {
        self.graph
    }

    /// Adds a value.
    pub(super) fn add(&mut self, node: Node<'r>) -> Id {
        self.graph.add(node)
    }

    /// Adds a class or function.
    pub(super) fn global(&mut self, module: &'r [u8], name: &'r [u8]) -> Id {
        self.add_special(Node::Leaf(Value::Null), Special::Global(Global { module, name }))
    }

    /// Adds a class or function that is named by two texts.
    pub(super) fn named(&mut self, module: Id, name: Id) -> Result<Id, Reason> {
        match (self.graph.get(module), self.graph.get(name)) {
            (Node::Text(Cow::Borrowed(module)), Node::Text(Cow::Borrowed(name))) => {
                let (module, name) = (*module, *name);
                Ok(self.global(module, name))
            }
            _ => Err(Reason::Malformed),
        }
    }

    /// What a node is.
    pub(super) fn get(&self, id: Id) -> &Node<'r> {
        self.graph.get(id)
    }

    /// What a node is besides.
    pub(super) fn special(&self, id: Id) -> Option<Special<'r>> {
        let at = self.special.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.special.get(at).map(|(_, special)| *special)
    }

    /// Adds elements to a list or set, or to an object of which nothing else is known: it is a list then.
    pub(super) fn extend(&mut self, container: Id, elements: &[Id]) -> Result<(), Reason> {
        let instance = matches!(self.special(container), Some(Special::Instance(_)));
        match self.graph.get_mut(container) {
            Node::List(list) => list.extend_from_slice(elements),
            node if instance && is_empty(node) => *node = Node::List(elements.to_vec()),
            _ => return Err(Reason::Malformed),
        }
        Ok(())
    }

    /// Adds members to a dict, or to an object: a key and a value in turns.
    pub(super) fn set(&mut self, container: Id, parts: &[Id]) -> Result<(), Reason> {
        let mut members = Vec::with_capacity(parts.len() / 2);
        let mut pairs = parts.chunks_exact(2);
        for pair in &mut pairs {
            if let [key, value] = pair {
                let name = key::name(&self.graph, *key, &mut self.copies)?;
                members.extend(name.map(|name| (name, *value)));
            }
        }
        match pairs.remainder() {
            [] => self.add_members(container, members),
            _ => Err(Reason::Malformed),
        }
    }

    /// What a class or function makes of its arguments.
    pub(super) fn call(&mut self, callable: Id, arguments: Id) -> Result<Id, Reason> {
        let Node::List(parts) = self.graph.get(arguments) else { return Err(Reason::Malformed) };
        let Some(Special::Global(global)) = self.special(callable) else {
            return Ok(self.add(Node::Leaf(Value::Null)));
        };
        for part in parts.iter().take(known::MOST_ARGUMENTS) {
            if let Node::Text(text) = self.graph.get(*part) {
                // It is looked through, and perhaps copied.
                self.copies.add(text)?;
            }
        }
        let bare = parts.is_empty();
        match known::call(self, global, parts) {
            Some(Known::Argument(id)) => Ok(id),
            Some(Known::Node(node)) => Ok(self.add(node)),
            Some(Known::Special(text, special)) => {
                Ok(self.add_special(Node::Leaf(Value::String(text)), special))
            }
            Some(Known::Pairs(list)) => self.dict_of(list),
            Some(Known::Object { class, state }) => self.object(class, state),
            None => self.instance(global, bare),
        }
    }

    /// Gives an object its state: a dict, or two, the second of which is of its slots.
    pub(super) fn build(&mut self, object: Id, state: Id) -> Result<(), Reason> {
        // What is no object here is of a type that has no state, or whose state is not of interest.
        let Some(Special::Instance(class)) = self.special(object) else { return Ok(()) };
        let states = match self.graph.get(state) {
            Node::List(states) => match states[..] {
                [dict, slots] => [Some(dict), Some(slots)],
                _ => [None, None],
            },
            _ => [Some(state), None],
        };
        for state in states.into_iter().flatten() {
            let Some(fields) = self.take_members(state, object) else { continue };
            match self.uuid(class, &fields) {
                Some(uuid) => *self.graph.get_mut(object) = Node::Leaf(Value::String(uuid)),
                None => self.add_members(object, fields)?,
            }
        }
        Ok(())
    }

    fn add_special(&mut self, node: Node<'r>, special: Special<'r>) -> Id {
        let id = self.graph.add(node);
        self.special.push((id, special));
        id
    }

    fn add_members(&mut self, container: Id, more: Vec<Member<'r>>) -> Result<(), Reason> {
        let container = match self.graph.get(container) {
            Node::Same(object) => *object,
            _ => container,
        };
        let instance = match self.special(container) {
            Some(Special::Instance(class)) => Some(class),
            _ => None,
        };
        if let (Node::Leaf(Value::Null), Some(class)) = (self.graph.get(container), instance) {
            let class = self.class(class)?;
            *self.graph.get_mut(container) = Node::Object { class, fields: more };
            return Ok(());
        }
        match self.graph.get_mut(container) {
            Node::Map(members) | Node::Object { fields: members, .. } => members.extend(more),
            // The attributes of a list of a class of its own.
            Node::List(_) if instance.is_some() => {}
            _ => return Err(Reason::Malformed),
        }
        Ok(())
    }

    /// The members of a dict, which is the same as its owner from now on: taken, not copied, however often
    /// a program names one dict as a state.
    fn take_members(&mut self, dict: Id, owner: Id) -> Option<Vec<Member<'r>>> {
        match self.graph.get_mut(dict) {
            Node::Map(members) => {
                let members = std::mem::take(members);
                *self.graph.get_mut(dict) = Node::Same(owner);
                Some(members)
            }
            _ => None,
        }
    }

    /// An object of a class that is not known. Nothing is known of what has arguments but no state.
    fn instance(&mut self, class: Global<'r>, bare: bool) -> Result<Id, Reason> {
        let node = match bare {
            true => Node::Object { class: self.class(class)?, fields: Vec::new() },
            false => Node::Leaf(Value::Null),
        };
        Ok(self.add_special(node, Special::Instance(class)))
    }

    /// An object as `copyreg` writes it: of a class that extends a type whose value is its state.
    fn object(&mut self, class: Global<'r>, state: Option<Id>) -> Result<Id, Reason> {
        match state.map(|state| (state, self.graph.get(state))) {
            Some((state, Node::Map(_))) => {
                let object = self.instance(class, true)?;
                let fields = self.take_members(state, object).unwrap_or_default();
                self.add_members(object, fields)?;
                Ok(object)
            }
            Some((state, _)) => Ok(state),
            None => self.instance(class, true),
        }
    }

    /// Makes a dict of a list of pairs, in place: not copied, as above.
    fn dict_of(&mut self, list: Id) -> Result<Id, Reason> {
        let Node::List(pairs) = self.graph.get_mut(list) else { return Ok(list) };
        let pairs = std::mem::take(pairs);
        *self.graph.get_mut(list) = Node::Map(Vec::new());
        for pair in pairs {
            match self.graph.get(pair) {
                Node::List(parts) if parts.len() == 2 => self.set(list, &parts.clone())?,
                _ => return Err(Reason::Malformed),
            }
        }
        Ok(list)
    }

    /// The name of a class with its module.
    fn class(&mut self, class: Global<'r>) -> Result<Cow<'r, [u8]>, Reason> {
        let name = [class.module, b".", class.name].concat();
        self.copies.add(&name)?;
        Ok(Cow::Owned(name))
    }

    /// The text of a UUID whose state this is.
    fn uuid(&self, class: Global<'r>, state: &[Member<'r>]) -> Option<String> {
        if class != known::UUID {
            return None;
        }
        let (_, number) = state.iter().find(|(name, _)| **name == *b"int")?;
        let Node::Leaf(Value::Number(number)) = self.graph.get(*number) else { return None };
        number.as_u128().map(known::uuid)
    }
}

fn is_empty(node: &Node<'_>) -> bool {
    match node {
        Node::Leaf(Value::Null) => true,
        Node::Object { fields, .. } => fields.is_empty(),
        _ => false,
    }
}
