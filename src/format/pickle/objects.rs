//! What a pickle's program does to values: containers are filled, classes named, objects made of their state.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::key;
use super::known::{self, Known};
use crate::format::budget::Budget;
use crate::format::graph::{Graph, Id, Leaf, Member, Node};
use crate::format::Reason;

/// What a byte costs of a text that a call is given.
const LOOKED_THROUGH: usize = 4;
/// What an object takes beside its fields and the name of its class.
const OBJECT: usize = 64;

/// The values of one pickle.
pub(super) struct Objects<'r> {
    graph: Graph<'r>,
    /// What some nodes are besides, by their numbers, which grow.
    special: Vec<(Id, Special<'r>)>,
    budget: &'r Budget,
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
    /// None yet.
    pub(super) fn new(budget: &'r Budget) -> Self {
        Self { graph: Graph::new(budget), special: Vec::new(), budget }
    }

    /// All that was made.
    pub(super) fn into_graph(self) -> Graph<'r> {
        self.graph
    }

    /// Adds a value.
    pub(super) fn add(&mut self, node: Node<'r>) -> Result<Id, Reason> {
        self.graph.add(node)
    }

    /// Adds a number.
    pub(super) fn number(&mut self, number: i64) -> Result<Id, Reason> {
        self.graph.number(number)
    }

    /// Adds a list of these.
    pub(super) fn list(&mut self, parts: &[Id]) -> Result<Id, Reason> {
        let mut list = self.budget.list(parts.len())?;
        list.extend_from_slice(parts);
        self.add(Node::List(list))
    }

    /// Adds a class or function.
    pub(super) fn global(&mut self, module: &'r [u8], name: &'r [u8]) -> Result<Id, Reason> {
        self.add_special(Node::Leaf(Leaf::Null), Special::Global(Global { module, name }))
    }

    /// Adds a class or function that is named by two texts.
    pub(super) fn named(&mut self, module: Id, name: Id) -> Result<Id, Reason> {
        match (self.graph.get(module), self.graph.get(name)) {
            (Node::Text(Cow::Borrowed(module)), Node::Text(Cow::Borrowed(name))) => {
                let (module, name) = (*module, *name);
                self.global(module, name)
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
        let budget = self.budget;
        match self.graph.get_mut(container) {
            Node::List(list) => {
                for element in elements {
                    budget.push(list, *element)?;
                }
            }
            node if instance && is_empty(node) => {
                budget.draw(size_of_val(elements))?;
                *node = Node::List(elements.to_vec());
            }
            _ => return Err(Reason::Malformed),
        }
        Ok(())
    }

    /// Adds members to a dict, or to an object: a key and a value in turns.
    pub(super) fn set(&mut self, container: Id, parts: &[Id]) -> Result<(), Reason> {
        let mut members = self.budget.list(parts.len() / 2)?;
        let mut pairs = parts.chunks_exact(2);
        for pair in &mut pairs {
            if let [key, value] = pair {
                let name = key::name(&self.graph, *key, self.budget)?;
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
            return self.add(Node::Leaf(Leaf::Null));
        };
        for part in parts.iter().take(known::MOST_ARGUMENTS) {
            if let Node::Text(text) = self.graph.get(*part) {
                // It is looked through, and perhaps copied.
                self.budget.draw(LOOKED_THROUGH * text.len())?;
            }
        }
        let bare = parts.is_empty();
        if global.module == b"datetime" {
            self.budget.date()?;
        }
        match known::call(self, global, parts) {
            Some(Known::Argument(id)) => Ok(id),
            Some(Known::Node(node)) => self.add(node),
            Some(Known::Special(text, special)) => {
                self.add_special(Node::Leaf(Leaf::String(text)), special)
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
                Some(uuid) => *self.graph.get_mut(object) = Node::Leaf(Leaf::String(uuid)),
                None => self.add_members(object, fields)?,
            }
        }
        Ok(())
    }

    fn add_special(&mut self, node: Node<'r>, special: Special<'r>) -> Result<Id, Reason> {
        let id = self.graph.add(node)?;
        self.budget.push(&mut self.special, (id, special))?;
        Ok(id)
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
        if let (Node::Leaf(Leaf::Null), Some(class)) = (self.graph.get(container), instance) {
            let class = self.class(class)?;
            *self.graph.get_mut(container) = Node::object(class, more);
            return Ok(());
        }
        let budget = self.budget;
        let members = match self.graph.get_mut(container) {
            Node::Map(members) => members,
            Node::Object(object) => &mut object.fields,
            // The attributes of a list of a class of its own.
            Node::List(_) if instance.is_some() => return Ok(()),
            _ => return Err(Reason::Malformed),
        };
        if members.is_empty() {
            *members = more;
            return Ok(());
        }
        for member in more {
            budget.push(members, member)?;
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
            true => Node::object(self.class(class)?, Vec::new()),
            false => Node::Leaf(Leaf::Null),
        };
        self.add_special(node, Special::Instance(class))
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
        self.budget.draw(name.len() + OBJECT)?;
        Ok(Cow::Owned(name))
    }

    /// The text of a UUID whose state this is.
    fn uuid(&self, class: Global<'r>, state: &[Member<'r>]) -> Option<String> {
        if class != known::UUID {
            return None;
        }
        let (_, number) = state.iter().find(|(name, _)| **name == *b"int")?;
        self.graph.get(*number).number()?.as_u128().map(known::uuid)
    }
}

fn is_empty(node: &Node<'_>) -> bool {
    match node {
        Node::Leaf(Leaf::Null) => true,
        Node::Object(object) => object.fields.is_empty(),
        _ => false,
    }
}
