//! The grammar of a stream (chapter 6 of the specification, `java/io/ObjectStreamConstants.java`).

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::rc::Rc;

use super::heap::{Heap, Slot};
use super::known::{known, Known};
use super::text::{utf16, utf8};
use super::HEADER;
use crate::format::budget::Budget;
use crate::format::cursor::Cursor;
use crate::format::graph::{Id, Node};
use crate::format::{Reason, MAX_DEPTH};

const TC_NULL: u8 = 0x70;
const TC_REFERENCE: u8 = 0x71;
const TC_CLASSDESC: u8 = 0x72;
const TC_OBJECT: u8 = 0x73;
const TC_STRING: u8 = 0x74;
const TC_ARRAY: u8 = 0x75;
const TC_CLASS: u8 = 0x76;
const TC_BLOCKDATA: u8 = 0x77;
const TC_ENDBLOCKDATA: u8 = 0x78;
const TC_RESET: u8 = 0x79;
const TC_BLOCKDATALONG: u8 = 0x7a;
const TC_LONGSTRING: u8 = 0x7c;
const TC_PROXYCLASSDESC: u8 = 0x7d;
const TC_ENUM: u8 = 0x7e;

/// `baseWireHandle`: the number of the first thing that can be referred to.
const FIRST_HANDLE: u64 = 0x7e_0000;

/// The most superclasses of a class that are read: each object has a part for each of them.
const MAX_LINEAGE: usize = 64;

/// What an object takes beside its fields.
const OBJECT: usize = 64;

/// What a class takes beside its fields and its superclasses.
const LINEAGE: usize = 128;

/// The name under which what a class wrote by itself is found.
const DATA: &[u8] = b"@data";

/// A class, as the stream describes it.
pub(super) struct Class<'r> {
    name: Cow<'r, [u8]>,
    layout: Layout,
    fields: Vec<Field<'r>>,
    known: Option<&'static Known>,
}

/// What of an object is written for one of its classes.
#[derive(Clone, Copy)]
struct Layout {
    fields: bool,
    data: bool,
}

struct Field<'r> {
    name: Cow<'r, [u8]>,
    /// A letter as in the JVM's descriptors.
    kind: u8,
}

/// A class behind its superclasses.
type Lineage<'r> = Rc<[Rc<Class<'r>>]>;

/// What can be referred to.
#[derive(Clone)]
enum Handle<'r> {
    /// A class or enumeration constant of which not all is read yet.
    Open,
    Class(Lineage<'r>),
    Object(Id),
}

/// What a class wrote by itself.
#[derive(Clone, Copy)]
enum Data<'r> {
    /// Primitive values.
    Block(&'r [u8]),
    Object(Id),
}

/// An object as it is written.
pub(super) struct Record<'c, 'r> {
    classes: &'c [Rc<Class<'r>>],
    /// What its fields hold, in the order in which these classes have them.
    slots: Vec<Slot>,
    data: Vec<Data<'r>>,
}

impl<'r> Record<'_, 'r> {
    /// What a field holds.
    pub(super) fn slot(&self, name: &str) -> Result<Slot, Reason> {
        let fields = self.fields().filter(|(field, _)| *field.name == *name.as_bytes());
        fields.last().map(|(_, slot)| slot).ok_or(Reason::Malformed)
    }

    /// The whole number that a field holds.
    pub(super) fn whole(&self, name: &str) -> Result<i64, Reason> {
        match self.slot(name)? {
            Slot::Whole(number) => Ok(number),
            _ => Err(Reason::Malformed),
        }
    }

    /// The object that a field holds.
    pub(super) fn object(&self, name: &str) -> Result<Id, Reason> {
        match self.slot(name)? {
            Slot::Object(id) => Ok(id),
            _ => Err(Reason::Malformed),
        }
    }

    /// The objects that its class wrote.
    pub(super) fn objects(&self) -> impl Iterator<Item = Id> + '_ {
        self.data.iter().filter_map(|data| match data {
            Data::Block(_) => None,
            Data::Object(id) => Some(*id),
        })
    }

    /// The primitive values that its class wrote before any object.
    pub(super) fn block(&self) -> Result<Cursor<'r>, Reason> {
        match self.data.first() {
            Some(Data::Block(bytes)) => Ok(Cursor::new(bytes)),
            _ => Err(Reason::Malformed),
        }
    }

    fn fields(&self) -> impl Iterator<Item = (&Field<'r>, Slot)> {
        self.classes.iter().flat_map(|class| &class.fields).zip(self.slots.iter().copied())
    }
}

/// Reads one stream.
pub(super) struct Reader<'r> {
    input: Cursor<'r>,
    heap: Heap<'r>,
    handles: Vec<Handle<'r>>,
    /// Of what is made.
    budget: &'r Budget,
    /// How many objects and arrays are being read.
    depth: usize,
}

impl<'r> Reader<'r> {
    /// Reads the head of a stream.
    pub(super) fn new(raw: &'r [u8], budget: &'r Budget) -> Result<Self, Reason> {
        let mut input = Cursor::new(raw);
        match input.take(HEADER.len())? == HEADER {
            true => {
                let heap = Heap::new(budget)?;
                Ok(Self { input, heap, handles: Vec::new(), budget, depth: 0 })
            }
            false => Err(Reason::Malformed),
        }
    }

    /// Reads all that is written one after another.
    pub(super) fn contents(mut self) -> Result<(Heap<'r>, Vec<Id>), Reason> {
        let mut contents = Vec::new();
        while self.input.left() > 0 {
            match self.input.byte()? {
                TC_RESET => self.handles.clear(),
                TC_ENDBLOCKDATA => return Err(Reason::Malformed),
                tag => {
                    let id = match self.data(tag)? {
                        Data::Object(id) => id,
                        Data::Block(bytes) => self.heap.add(Node::Text(Cow::Borrowed(bytes)))?,
                    };
                    self.budget.push(&mut contents, id)?;
                }
            }
        }
        Ok((self.heap, contents))
    }

    fn data(&mut self, tag: u8) -> Result<Data<'r>, Reason> {
        match tag {
            TC_BLOCKDATA => self.input.counted(1).map(Data::Block),
            TC_BLOCKDATALONG => self.input.counted(4).map(Data::Block),
            tag => self.value(tag).map(Data::Object),
        }
    }

    /// Reads what begins with this tag, and may be the value of a field.
    fn value(&mut self, tag: u8) -> Result<Id, Reason> {
        /// What a value costs, be it only a reference.
        const STEP: usize = 8;
        self.budget.draw(STEP)?;
        match tag {
            TC_NULL => Ok(self.heap.null()),
            TC_REFERENCE => match self.referred()? {
                Handle::Object(id) => Ok(id),
                Handle::Open | Handle::Class(_) => Err(Reason::Malformed),
            },
            TC_STRING => self.text(2),
            TC_LONGSTRING => self.text(8),
            TC_OBJECT | TC_ARRAY | TC_ENUM | TC_CLASS => self.nested(tag),
            _ => Err(Reason::Malformed),
        }
    }

    fn nested(&mut self, tag: u8) -> Result<Id, Reason> {
        if self.depth >= MAX_DEPTH {
            return Err(Reason::TooDeep);
        }
        self.depth += 1;
        let lineage = self.class()?.ok_or(Reason::Malformed)?;
        // Each class is looked at.
        self.budget.draw(OBJECT + 4 * lineage.len())?;
        let class = lineage.last().ok_or(Reason::Malformed)?;
        let id = match tag {
            TC_OBJECT => self.object(&lineage),
            TC_ARRAY => self.array(class),
            TC_ENUM => self.constant(),
            _ => self.class_itself(class),
        };
        self.depth -= 1;
        id
    }

    fn referred(&mut self) -> Result<Handle<'r>, Reason> {
        let at = self.input.number(4)?.checked_sub(FIRST_HANDLE).ok_or(Reason::Malformed)?;
        let handle = usize::try_from(at).ok().and_then(|at| self.handles.get(at));
        handle.cloned().ok_or(Reason::Malformed)
    }

    /// Gives the next number to an object.
    fn handle(&mut self, id: Id) -> Result<Id, Reason> {
        self.budget.push(&mut self.handles, Handle::Object(id))?;
        Ok(id)
    }

    /// Gives the next number to what is not read yet.
    fn open(&mut self) -> Result<usize, Reason> {
        self.budget.push(&mut self.handles, Handle::Open)?;
        Ok(self.handles.len() - 1)
    }

    fn text(&mut self, width: usize) -> Result<Id, Reason> {
        let text = utf8(self.input.counted(width)?)?;
        if let Cow::Owned(text) = &text {
            self.budget.draw(text.len())?;
        }
        let id = self.heap.add(Node::Text(text))?;
        self.handle(id)
    }

    /// Reads a text, or a reference to one.
    fn string(&mut self) -> Result<Id, Reason> {
        let tag = self.input.byte()?;
        if !matches!(tag, TC_STRING | TC_LONGSTRING | TC_REFERENCE) {
            return Err(Reason::Malformed);
        }
        self.value(tag).and_then(|id| match self.heap.bytes(id) {
            Some(_) => Ok(id),
            None => Err(Reason::Malformed),
        })
    }

    /// An enumeration's constant is its name.
    fn constant(&mut self) -> Result<Id, Reason> {
        let at = self.open()?;
        let name = self.string()?;
        if let Some(handle) = self.handles.get_mut(at) {
            *handle = Handle::Object(name);
        }
        Ok(name)
    }

    fn class_itself(&mut self, class: &Class<'r>) -> Result<Id, Reason> {
        let name = self.heap.name(&class.name)?;
        let id = self.heap.add(Node::Text(name))?;
        self.handle(id)
    }

    fn array(&mut self, class: &Class<'r>) -> Result<Id, Reason> {
        let [b'[', kind, ..] = *class.name else { return Err(Reason::Malformed) };
        let id = self.heap.open()?;
        self.handle(id)?;
        let length = usize::try_from(self.input.number(4)?).map_err(|_| Reason::Malformed)?;
        let array = match kind {
            b'B' => Node::Text(Cow::Borrowed(self.input.take(length)?)),
            b'C' => {
                let bytes = self.input.take(length.checked_mul(2).ok_or(Reason::Malformed)?)?;
                // Two bytes are three at most.
                self.budget.draw(2 * bytes.len())?;
                let units = bytes.chunks_exact(2).filter_map(|unit| unit.try_into().ok());
                Node::Text(Cow::Owned(utf16(units.map(u16::from_be_bytes))))
            }
            kind => {
                let mut elements = self.budget.list(length.min(self.input.left()))?;
                for _ in 0..length {
                    let slot = self.slot(kind)?;
                    let element = self.heap.of(slot)?;
                    self.budget.push(&mut elements, element)?;
                }
                Node::List(elements)
            }
        };
        self.heap.set(id, array);
        Ok(id)
    }

    fn object(&mut self, lineage: &Lineage<'r>) -> Result<Id, Reason> {
        let id = self.heap.open()?;
        self.handle(id)?;
        let (mut slots, mut data) = (Vec::new(), Vec::new());
        // The last class that is known, and what was written up to its end.
        let mut rule = None;
        for (at, class) in lineage.iter().enumerate() {
            self.part(class, &mut slots, &mut data)?;
            if let Some(known) = class.known {
                rule = Some((known, at + 1, data.len()));
            }
        }
        let node = match rule {
            Some((known, classes, length)) => {
                data.truncate(length);
                let classes = lineage.get(..classes).unwrap_or(lineage);
                known.node(&mut self.heap, &Record { classes, slots, data })?
            }
            None => self.fields(&Record { classes: lineage, slots, data })?,
        };
        self.heap.set(id, node);
        Ok(id)
    }

    /// Reads what of an object is written for one of its classes.
    fn part(
        &mut self,
        class: &Class<'r>,
        slots: &mut Vec<Slot>,
        data: &mut Vec<Data<'r>>,
    ) -> Result<(), Reason> {
        if class.layout.fields {
            for field in &class.fields {
                let slot = self.slot(field.kind)?;
                self.budget.push(slots, slot)?;
            }
        }
        if class.layout.data {
            loop {
                match self.input.byte()? {
                    TC_ENDBLOCKDATA => break,
                    tag => {
                        let more = self.data(tag)?;
                        self.budget.push(data, more)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// An object of a class that is not known.
    fn fields(&mut self, record: &Record<'_, 'r>) -> Result<Node<'r>, Reason> {
        let class = record.classes.last().ok_or(Reason::Malformed)?;
        let class = self.heap.name(&class.name)?;
        let mut fields = self.budget.list(record.slots.len())?;
        for (field, slot) in record.fields() {
            fields.push((self.heap.name(&field.name)?, self.heap.of(slot)?));
        }
        if !record.data.is_empty() {
            let data = record.data.iter().map(|data| match data {
                Data::Block(bytes) => self.heap.add(Node::Text(Cow::Borrowed(bytes))),
                Data::Object(id) => Ok(*id),
            });
            let data = Node::List(data.collect::<Result<_, _>>()?);
            self.budget.draw(size_of::<Id>() * record.data.len())?;
            let data = self.heap.add(data)?;
            self.budget.push(&mut fields, (Cow::Borrowed(DATA), data))?;
        }
        Ok(Node::object(class, fields))
    }

    /// Reads a value of the kind that a field or an array's elements have.
    fn slot(&mut self, kind: u8) -> Result<Slot, Reason> {
        let input = &mut self.input;
        Ok(match kind {
            b'B' => Slot::Whole(i64::from(input.byte()?.cast_signed())),
            b'C' => Slot::Char(u16::from_be_bytes(bytes(input)?)),
            b'D' => Slot::Double(f64::from_be_bytes(bytes(input)?)),
            b'F' => Slot::Float(f32::from_be_bytes(bytes(input)?)),
            b'I' => Slot::Whole(i64::from(i32::from_be_bytes(bytes(input)?))),
            b'J' => Slot::Whole(i64::from_be_bytes(bytes(input)?)),
            b'S' => Slot::Whole(i64::from(i16::from_be_bytes(bytes(input)?))),
            b'Z' => Slot::Bool(input.byte()? != 0),
            b'L' | b'[' => {
                let tag = input.byte()?;
                Slot::Object(self.value(tag)?)
            }
            _ => return Err(Reason::Malformed),
        })
    }

    /// Reads the description of a class and of its superclasses; `None` for null.
    fn class(&mut self) -> Result<Option<Lineage<'r>>, Reason> {
        let mut described = Vec::new();
        let mut lineage = loop {
            match self.input.byte()? {
                TC_NULL => break None,
                TC_REFERENCE => match self.referred()? {
                    Handle::Class(lineage) => break Some(lineage),
                    Handle::Open | Handle::Object(_) => return Err(Reason::Malformed),
                },
                TC_CLASSDESC => described.push(self.described()?),
                TC_PROXYCLASSDESC => described.push(self.described_proxy()?),
                _ => return Err(Reason::Malformed),
            }
            if described.len() > MAX_LINEAGE {
                return Err(Reason::TooDeep);
            }
        };
        while let Some((handle, class)) = described.pop() {
            let above = lineage.as_deref().unwrap_or_default();
            if above.len() >= MAX_LINEAGE {
                return Err(Reason::TooDeep);
            }
            self.budget.draw(LINEAGE + size_of_val(above))?;
            let whole: Lineage<'r> = above.iter().cloned().chain([Rc::new(class)]).collect();
            if let Some(handle) = self.handles.get_mut(handle) {
                *handle = Handle::Class(Rc::clone(&whole));
            }
            lineage = Some(whole);
        }
        Ok(lineage)
    }

    /// Reads what describes one class, whose handle this gives, too.
    fn described(&mut self) -> Result<(usize, Class<'r>), Reason> {
        const VERSION_UID: usize = 8;
        let name = utf8(self.input.counted(2)?)?;
        self.input.take(VERSION_UID)?;
        let handle = self.open()?;
        let layout = Layout::of(self.input.byte()?)?;
        let mut fields = Vec::new();
        for _ in 0..self.input.number(2)? {
            let kind = self.input.byte()?;
            let name = utf8(self.input.counted(2)?)?;
            if let b'L' | b'[' = kind {
                self.string()?;
            }
            self.budget.push(&mut fields, Field { name, kind })?;
        }
        self.annotation()?;
        let known = known(&name);
        Ok((handle, Class { name, layout, fields, known }))
    }

    /// Reads what describes the class that the JVM made for some interfaces.
    fn described_proxy(&mut self) -> Result<(usize, Class<'r>), Reason> {
        let handle = self.open()?;
        for _ in 0..self.input.number(4)? {
            self.input.counted(2)?;
        }
        self.annotation()?;
        let layout = Layout { fields: true, data: false };
        let name = Cow::Borrowed(&b"$Proxy"[..]);
        Ok((handle, Class { name, layout, fields: Vec::new(), known: None }))
    }

    /// Reads what a stream's writer says of a class: nothing that counts here.
    fn annotation(&mut self) -> Result<(), Reason> {
        loop {
            match self.input.byte()? {
                TC_ENDBLOCKDATA => return Ok(()),
                tag => self.data(tag)?,
            };
        }
    }
}

impl Layout {
    /// By the flags of a class. What an `Externalizable` wrote by the first version of the protocol has no
    /// end that could be found.
    fn of(flags: u8) -> Result<Self, Reason> {
        const SC_WRITE_METHOD: u8 = 1;
        const SC_SERIALIZABLE: u8 = 2;
        const SC_EXTERNALIZABLE: u8 = 4;
        const SC_BLOCK_DATA: u8 = 8;
        let has = |flag: u8| flags & flag != 0;
        match (has(SC_SERIALIZABLE), has(SC_EXTERNALIZABLE)) {
            (true, true) => Err(Reason::Malformed),
            (true, false) => Ok(Self { fields: true, data: has(SC_WRITE_METHOD) }),
            (false, true) if !has(SC_BLOCK_DATA) => Err(Reason::Malformed),
            (false, external) => Ok(Self { fields: false, data: external }),
        }
    }
}

/// The bytes of a primitive value.
fn bytes<const N: usize>(input: &mut Cursor<'_>) -> Result<[u8; N], Reason> {
    input.take(N)?.try_into().map_err(|_| Reason::Malformed)
}
