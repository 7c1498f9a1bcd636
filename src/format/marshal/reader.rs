//! The values of a stream as a graph.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use encoding_rs::Encoding;

use super::known;
use crate::format::budget::Budget;
use crate::format::cursor::Cursor;
use crate::format::graph::{Graph, Id, Leaf, Member, Node};
use crate::format::{number, Reason, MAX_DEPTH};

/// What an object takes beside its variables and the name of its class.
const OBJECT: usize = 64;

/// What variables stand behind.
#[derive(Clone, Copy)]
enum Of {
    /// A value of a core type, of which they may tell the encoding.
    Value,
    Object,
    Set,
}

/// Reads the values of one session.
pub(super) struct Reader<'r> {
    input: Cursor<'r>,
    graph: Graph<'r>,
    /// What `;` names by its number.
    symbols: Vec<Cow<'r, [u8]>>,
    /// What `@` names by its number: everything but symbols, nil, true, false and small integers.
    objects: Vec<Id>,
    /// Of what is made; and of names, since a link of two bytes could stand for a long one.
    budget: &'r Budget,
}

impl<'r> Reader<'r> {
    /// Reads the one value that `raw` is.
    pub(super) fn read(raw: &'r [u8], budget: &'r Budget) -> Result<(Graph<'r>, Id), Reason> {
        let mut reader = Self {
            input: Cursor::new(raw),
            graph: Graph::new(budget),
            symbols: Vec::new(),
            objects: Vec::new(),
            budget,
        };
        let [4, 8] = reader.input.take(2)? else { return Err(Reason::Malformed) };
        let root = reader.value(0)?;
        match reader.input.left() {
            0 => Ok((reader.graph, root)),
            _ => Err(Reason::Malformed),
        }
    }

    /// Reads the value that comes next, below `depth` others.
    fn value(&mut self, depth: usize) -> Result<Id, Reason> {
        if depth > MAX_DEPTH {
            return Err(Reason::TooDeep);
        }
        match self.input.byte()? {
            b'I' => self.value_with_variables(depth),
            b'@' => self.link(),
            kind => self.bare_value(kind, depth),
        }
    }

    /// Reads a value of a core type and the instance variables behind it, of which its encoding is one.
    fn value_with_variables(&mut self, depth: usize) -> Result<Id, Reason> {
        let kind = self.input.byte()?;
        match kind {
            b':' => {
                let symbol = self.encoded_symbol(depth)?;
                return self.graph.add(Node::Text(symbol));
            }
            b'u' => return self.dumped(true, depth),
            _ => {}
        }
        let id = self.bare_value(kind, depth)?;
        let variables = self.variables(depth, Of::Value)?;
        if let Node::Text(bytes) = self.graph.get(id) {
            if let Some(text) = self.recoded(bytes, &variables)? {
                *self.graph.get_mut(id) = Node::Text(Cow::Owned(text.into_bytes()));
            }
        }
        Ok(id)
    }

    /// Reads what follows a byte for the kind of a value.
    fn bare_value(&mut self, mut kind: u8, depth: usize) -> Result<Id, Reason> {
        // The modules that extend an object, the class of what is of a core type: the value follows.
        while matches!(kind, b'e' | b'C') {
            self.symbol(depth)?;
            kind = self.input.byte()?;
        }
        let node = match kind {
            b'0' => Node::Leaf(Leaf::Null),
            b'T' => Node::Leaf(Leaf::Bool(true)),
            b'F' => Node::Leaf(Leaf::Bool(false)),
            b'i' => {
                let number = long(&mut self.input)?;
                return self.graph.number(number);
            }
            b':' => Node::Text(self.new_symbol()?),
            b';' => Node::Text(self.symbol_again()?),
            b'[' => return self.list(depth),
            b'{' | b'}' => return self.hash(kind, false, depth),
            b'o' => return self.object(depth),
            b'S' => return self.members_of_struct(depth),
            b'U' | b'd' => return self.data(depth),
            b'u' => return self.dumped(false, depth),
            _ => {
                let node = self.leaf(kind)?;
                return self.numbered(node);
            }
        };
        self.graph.add(node)
    }

    /// Reads a value that holds no others and has a number.
    fn leaf(&mut self, kind: u8) -> Result<Node<'r>, Reason> {
        Ok(match kind {
            b'"' | b'c' | b'm' | b'M' => Node::Text(Cow::Borrowed(self.bytes()?)),
            b'f' => {
                self.budget.number()?;
                Node::Leaf(known::float(self.bytes()?, self.budget)?)
            }
            b'l' => {
                let negative = match self.input.byte()? {
                    b'+' => false,
                    b'-' => true,
                    _ => return Err(Reason::Malformed),
                };
                let words = self.length()?;
                let magnitude = self.input.take(words.saturating_mul(2))?;
                Node::Leaf(number::integer(negative, magnitude, self.budget)?.into())
            }
            b'/' => {
                let source = self.bytes()?;
                self.pay(source.len())?;
                Node::Text(Cow::Owned(known::regexp(source, self.input.byte()?)))
            }
            _ => return Err(Reason::Malformed),
        })
    }

    fn link(&mut self) -> Result<Id, Reason> {
        let number = self.length()?;
        self.objects.get(number).copied().ok_or(Reason::Malformed)
    }

    fn list(&mut self, depth: usize) -> Result<Id, Reason> {
        let id = self.numbered(Node::List(Vec::new()))?;
        let count = self.length()?;
        let mut elements = self.budget.list(count.min(self.input.left()))?;
        for _ in 0..count {
            let element = self.value(depth + 1)?;
            self.budget.push(&mut elements, element)?;
        }
        *self.graph.get_mut(id) = Node::List(elements);
        Ok(id)
    }

    /// Reads a hash, of which a set wants the keys alone. Behind `}` stands what an absent key has, too.
    fn hash(&mut self, kind: u8, keys_alone: bool, depth: usize) -> Result<Id, Reason> {
        let id = self.numbered(Node::Map(Vec::new()))?;
        let count = self.length()?;
        // A key and a value take a byte each at least.
        let most = count.min(self.input.left() / 2);
        let (mut keys, mut members) = match keys_alone {
            true => (self.budget.list(most)?, Vec::new()),
            false => (Vec::new(), self.budget.list(most)?),
        };
        for _ in 0..count {
            let key = self.value(depth + 1)?;
            let member = self.value(depth + 1)?;
            match keys_alone {
                true => self.budget.push(&mut keys, key)?,
                false => {
                    let name = self.name(key)?;
                    self.budget.push(&mut members, (name, member))?;
                }
            }
        }
        if kind == b'}' {
            self.value(depth + 1)?;
        }
        *self.graph.get_mut(id) = if keys_alone { Node::List(keys) } else { Node::Map(members) };
        Ok(id)
    }

    /// The name of a member: a symbol or text itself, of others what [`known::name`] makes of them.
    fn name(&mut self, key: Id) -> Result<Cow<'r, [u8]>, Reason> {
        let name = known::name(&self.graph, key);
        self.pay(name.len())?;
        Ok(name)
    }

    fn object(&mut self, depth: usize) -> Result<Id, Reason> {
        let class = self.symbol(depth)?;
        let id = self.numbered(Node::Leaf(Leaf::Null))?;
        let of = if *class == *b"Set" { Of::Set } else { Of::Object };
        let variables = self.variables(depth, of)?;
        self.pay(OBJECT)?;
        let object = known::object(&self.graph, class, variables);
        self.made(id, object)
    }

    fn members_of_struct(&mut self, depth: usize) -> Result<Id, Reason> {
        let class = self.symbol(depth)?;
        let id = self.numbered(Node::Leaf(Leaf::Null))?;
        let fields = self.variables(depth, Of::Object)?;
        self.pay(OBJECT)?;
        *self.graph.get_mut(id) = Node::object(class, fields);
        Ok(id)
    }

    /// Reads an object that says itself which value is its data.
    fn data(&mut self, depth: usize) -> Result<Id, Reason> {
        let class = self.symbol(depth)?;
        let id = self.numbered(Node::Leaf(Leaf::Null))?;
        let data = self.value(depth + 1)?;
        let object = known::data(&self.graph, &class, data);
        self.made(id, object)
    }

    /// Puts an object in its place. Its text may be made of texts that stand elsewhere.
    fn made(&mut self, id: Id, object: Node<'r>) -> Result<Id, Reason> {
        if let Node::Leaf(Leaf::String(text)) = &object {
            self.budget.date()?;
            self.pay(text.len())?;
        }
        *self.graph.get_mut(id) = object;
        Ok(id)
    }

    /// Reads an object that says itself which bytes it is. It has its number behind its variables.
    fn dumped(&mut self, with_variables: bool, depth: usize) -> Result<Id, Reason> {
        let class = self.symbol(depth)?;
        let bytes = self.bytes()?;
        let variables = match with_variables {
            true => self.variables(depth, Of::Value)?,
            false => Vec::new(),
        };
        let node = known::dumped(&self.graph, &class, bytes, &variables);
        if matches!(node, Node::Leaf(_)) {
            self.budget.date()?;
        }
        self.numbered(node)
    }

    /// Reads names and values; of a set, the hash that it is made of has its keys alone.
    fn variables(&mut self, depth: usize, of: Of) -> Result<Vec<Member<'r>>, Reason> {
        if depth >= MAX_DEPTH {
            return Err(Reason::TooDeep);
        }
        let count = self.length()?;
        let mut variables = self.budget.list(count.min(self.input.left() / 2))?;
        for _ in 0..count {
            let name = self.symbol(depth + 1)?;
            let value = match (of, name.as_ref()) {
                (Of::Value, b"E") if self.flag() => continue,
                (Of::Set, b"@hash") => match self.input.byte()? {
                    kind @ (b'{' | b'}') => self.hash(kind, true, depth + 1)?,
                    _ => return Err(Reason::Malformed),
                },
                _ => self.value(depth + 1)?,
            };
            self.budget.push(&mut variables, (name, value))?;
        }
        Ok(variables)
    }

    /// Passes over a boolean, if one comes next: whether a text is UTF-8 or, as which it is read, too, ASCII.
    fn flag(&mut self) -> bool {
        let mut input = self.input;
        let is_flag = matches!(input.byte(), Ok(b'T' | b'F'));
        if is_flag {
            self.input = input;
        }
        is_flag
    }

    /// Reads a symbol where no other value can stand.
    fn symbol(&mut self, depth: usize) -> Result<Cow<'r, [u8]>, Reason> {
        match self.input.byte()? {
            b':' => self.new_symbol(),
            b';' => self.symbol_again(),
            b'I' if self.input.byte()? == b':' => self.encoded_symbol(depth),
            _ => Err(Reason::Malformed),
        }
    }

    fn new_symbol(&mut self) -> Result<Cow<'r, [u8]>, Reason> {
        let symbol = self.bytes()?;
        self.budget.push(&mut self.symbols, Cow::Borrowed(symbol))?;
        Ok(Cow::Borrowed(symbol))
    }

    /// Reads a symbol and its encoding. It has its number before that.
    fn encoded_symbol(&mut self, depth: usize) -> Result<Cow<'r, [u8]>, Reason> {
        let number = self.symbols.len();
        let symbol = self.new_symbol()?;
        let variables = self.variables(depth, Of::Value)?;
        let Some(text) = self.recoded(&symbol, &variables)? else { return Ok(symbol) };
        let text = Cow::<[u8]>::Owned(text.into_bytes());
        if let Some(symbol) = self.symbols.get_mut(number) {
            *symbol = text.clone();
        }
        Ok(text)
    }

    fn symbol_again(&mut self) -> Result<Cow<'r, [u8]>, Reason> {
        let number = self.length()?;
        let symbol = self.symbols.get(number).ok_or(Reason::Malformed)?.clone();
        self.pay(symbol.len())?;
        Ok(symbol)
    }

    /// Bytes as text, if a variable names their encoding and it is not UTF-8.
    fn recoded(&self, bytes: &[u8], variables: &[Member<'_>]) -> Result<Option<String>, Reason> {
        /// The longest name of an encoding, and what it costs to look one up.
        const LONGEST: usize = 32;
        const STEP: usize = 1024;
        /// The cost of each byte, which may become three.
        const BYTE: usize = 12;
        let named = variables.iter().find(|(name, _)| **name == *b"encoding");
        let Some(Node::Text(encoding)) = named.map(|(_, id)| self.graph.get(*id)) else {
            return Ok(None);
        };
        if encoding.len() > LONGEST {
            return Ok(None);
        }
        self.pay(STEP + BYTE * bytes.len())?;
        let encoding = Encoding::for_label(encoding);
        let text = encoding.and_then(|encoding| {
            encoding.decode_without_bom_handling_and_without_replacement(bytes)
        });
        Ok(text.map(Cow::into_owned))
    }

    fn numbered(&mut self, node: Node<'r>) -> Result<Id, Reason> {
        let id = self.graph.add(node)?;
        self.budget.push(&mut self.objects, id)?;
        Ok(id)
    }

    fn pay(&self, bytes: usize) -> Result<(), Reason> {
        self.budget.draw(bytes)
    }

    fn bytes(&mut self) -> Result<&'r [u8], Reason> {
        let length = self.length()?;
        self.input.take(length)
    }

    fn length(&mut self) -> Result<usize, Reason> {
        usize::try_from(long(&mut self.input)?).map_err(|_| Reason::Malformed)
    }
}

/// Reads an integer: itself where it is small, else how many bytes it has, negative if it is, and these.
pub(super) fn long(input: &mut Cursor<'_>) -> Result<i64, Reason> {
    let first = i64::from(i8::from_le_bytes([input.byte()?]));
    let (width, above) = match first {
        0 => return Ok(0),
        1..=4 => (first, 0),
        -4..=-1 => (-first, -1),
        5.. => return Ok(first - 5),
        _ => return Ok(first + 5),
    };
    let bytes = input.take(usize::try_from(width).unwrap_or_default())?;
    Ok(bytes.iter().rev().fold(above, |number: i64, byte| number << 8 | i64::from(*byte)))
}
