//! The machine that a pickle is a program for.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::objects::Objects;
use super::text;
use crate::format::budget::Budget;
use crate::format::cursor::Cursor;
use crate::format::graph::{Graph, Id, Leaf, Node};
use crate::format::{number, Reason};

/// Runs a program to its end, which must be that of `raw`: the value that it leaves on the stack.
pub(super) fn run<'r>(raw: &'r [u8], budget: &'r Budget) -> Result<(Graph<'r>, Id), Reason> {
    let mut machine = Machine::new(raw, budget);
    loop {
        match machine.input.byte()? {
            // STOP
            b'.' => break,
            code => machine.step(code)?,
        }
    }
    let root = machine.pop()?;
    match machine.input.left() {
        0 => Ok((machine.objects.into_graph(), root)),
        _ => Err(Reason::Malformed),
    }
}

struct Machine<'r> {
    input: Cursor<'r>,
    objects: Objects<'r>,
    stack: Vec<Id>,
    /// How high the stack was at each mark. What is below the last one is out of reach.
    marks: Vec<usize>,
    memo: Memo,
    /// Of what is made.
    budget: &'r Budget,
}

impl<'r> Machine<'r> {
    fn new(raw: &'r [u8], budget: &'r Budget) -> Self {
        Self {
            input: Cursor::new(raw),
            objects: Objects::new(budget),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Memo { values: Vec::new(), count: 0, limit: raw.len() },
            budget,
        }
    }

    fn step(&mut self, code: u8) -> Result<(), Reason> {
        match code {
            // PROTO, FRAME
            0x80 => self.protocol()?,
            0x95 => self.frame()?,
            // MARK, POP, POP_MARK, DUP
            b'(' => self.budget.push(&mut self.marks, self.stack.len())?,
            b'0' => self.discard()?,
            b'1' => {
                let mark = self.mark()?;
                self.stack.truncate(mark);
            }
            b'2' => self.push(self.top()?)?,
            // PUT, BINPUT, LONG_BINPUT, MEMOIZE; GET, BINGET, LONG_BINGET
            b'p' | b'q' | b'r' | 0x94 => self.memoize(code)?,
            b'g' | b'h' | b'j' => self.recall(code)?,
            // LIST, TUPLE, DICT, FROZENSET, TUPLE1 to TUPLE3
            b'l' | b't' | b'd' | 0x91 | 0x85..=0x87 => self.gather(code)?,
            // APPEND, APPENDS, ADDITEMS, SETITEM, SETITEMS
            b'a' | b'e' | 0x90 | b's' | b'u' => self.fill(code)?,
            // GLOBAL, STACK_GLOBAL, REDUCE, NEWOBJ, NEWOBJ_EX, INST, OBJ, BUILD
            b'c' | 0x93 | b'R' | 0x81 | 0x92 | b'i' | b'o' => self.make(code)?,
            b'b' => {
                let state = self.pop()?;
                self.objects.build(self.top()?, state)?;
            }
            _ => {
                let id = self.leaf(code)?;
                self.push(id)?;
            }
        }
        Ok(())
    }

    fn protocol(&mut self) -> Result<(), Reason> {
        match self.input.byte()? {
            0..=5 => Ok(()),
            _ => Err(Reason::Malformed),
        }
    }

    /// The length of what is to be read at once, which here all is.
    fn frame(&mut self) -> Result<(), Reason> {
        let length = self.input.little(8)?;
        match usize::try_from(length).is_ok_and(|length| length <= self.input.left()) {
            true => Ok(()),
            false => Err(Reason::Malformed),
        }
    }

    /// What stands in the program itself, and empty containers.
    fn leaf(&mut self, code: u8) -> Result<Id, Reason> {
        let input = &mut self.input;
        let leaf = match code {
            // NONE, NEWTRUE, NEWFALSE
            b'N' => Leaf::Null,
            0x88 => Leaf::Bool(true),
            0x89 => Leaf::Bool(false),
            // INT, LONG, BININT1, BININT2, BININT, LONG1, LONG4
            b'I' => {
                let line = input.line()?;
                self.budget.draw(line.len())?;
                text::int(line).ok_or(Reason::Malformed)?.into()
            }
            b'L' => {
                let line = input.line()?;
                self.budget.draw(line.len())?;
                text::long(line).ok_or(Reason::Malformed)?.into()
            }
            b'K' => return self.objects.number(input.byte()?.into()),
            b'M' => return self.objects.number(input.little(2)?.cast_signed()),
            b'J' => integer(input.take(4)?, self.budget)?,
            0x8a => integer(input.counted_little(1)?, self.budget)?,
            0x8b => integer(input.counted_little(4)?, self.budget)?,
            // FLOAT, BINFLOAT
            b'F' => {
                self.budget.number()?;
                number::float(text::float(input.line()?, self.budget)?).into()
            }
            b'G' => {
                self.budget.number()?;
                number::float(f64::from_bits(input.number(8)?)).into()
            }
            // EMPTY_TUPLE, EMPTY_LIST, EMPTY_SET, EMPTY_DICT
            b')' | b']' | 0x8f => return self.objects.add(Node::List(Vec::new())),
            b'}' => return self.objects.add(Node::Map(Vec::new())),
            _ => {
                let text = self.text(code)?;
                if let Cow::Owned(text) = &text {
                    self.budget.draw(text.len())?;
                }
                return self.objects.add(Node::Text(text));
            }
        };
        self.objects.add(Node::Leaf(leaf))
    }

    /// A text or bytes; Python 2 had one type for both. What else there is, is for nothing that a session holds:
    /// EXT, PERSID, BINPERSID, NEXT_BUFFER, READONLY_BUFFER.
    fn text(&mut self, code: u8) -> Result<Cow<'r, [u8]>, Reason> {
        let input = &mut self.input;
        let text = match code {
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8, UNICODE
            0x8c => text::unicode(input.counted_little(1)?),
            b'X' => text::unicode(input.counted_little(4)?),
            0x8d => text::unicode(input.counted_little(8)?),
            b'V' => text::escaped_unicode(input.line()?),
            // SHORT_BINSTRING, SHORT_BINBYTES; BINSTRING, BINBYTES; BINBYTES8, BYTEARRAY8; STRING
            b'U' | b'C' => Some(Cow::Borrowed(input.counted_little(1)?)),
            b'T' | b'B' => Some(Cow::Borrowed(input.counted_little(4)?)),
            0x8e | 0x96 => Some(Cow::Borrowed(input.counted_little(8)?)),
            b'S' => text::quoted(input.line()?),
            _ => None,
        };
        text.ok_or(Reason::Malformed)
    }

    fn memoize(&mut self, code: u8) -> Result<(), Reason> {
        let number = match code {
            0x94 => self.memo.count,
            _ => self.memo_number(code, b'p', b'q')?,
        };
        self.memo.put(number, self.top()?, self.budget)
    }

    fn recall(&mut self, code: u8) -> Result<(), Reason> {
        let number = self.memo_number(code, b'g', b'h')?;
        self.push(self.memo.get(number)?)
    }

    /// The number in the memo, after the code for one in text, in a byte, or in four.
    fn memo_number(&mut self, code: u8, text: u8, byte: u8) -> Result<usize, Reason> {
        let number = match code {
            _ if code == text => text::natural(self.input.line()?),
            _ if code == byte => Some(self.input.little(1)?),
            _ => Some(self.input.little(4)?),
        };
        number.and_then(|number| usize::try_from(number).ok()).ok_or(Reason::Malformed)
    }

    /// Makes a container of what is on top of the stack.
    fn gather(&mut self, code: u8) -> Result<(), Reason> {
        let start = match code {
            0x85..=0x87 => self.below(usize::from(code - 0x84))?,
            _ => self.mark()?,
        };
        let parts = self.stack.get(start..).unwrap_or_default();
        let container = if code == b'd' {
            let dict = self.objects.add(Node::Map(Vec::new()))?;
            self.objects.set(dict, parts)?;
            dict
        } else {
            self.objects.list(parts)?
        };
        self.stack.truncate(start);
        self.push(container)
    }

    /// Puts what is on top of the stack into the container below it.
    fn fill(&mut self, code: u8) -> Result<(), Reason> {
        let start = match code {
            b'a' => self.below(1)?,
            b's' => self.below(2)?,
            _ => self.mark()?,
        };
        let parts = self.stack.get(start..).unwrap_or_default();
        let reachable = self.stack.get(self.fence()..start).unwrap_or_default();
        let container = *reachable.last().ok_or(Reason::Malformed)?;
        match code {
            b's' | b'u' => self.objects.set(container, parts)?,
            _ => self.objects.extend(container, parts)?,
        }
        self.stack.truncate(start);
        Ok(())
    }

    /// Names a class or function, or calls one.
    fn make(&mut self, code: u8) -> Result<(), Reason> {
        let made = match code {
            b'c' => self.global()?,
            0x93 => {
                let name = self.pop()?;
                let module = self.pop()?;
                self.objects.named(module, name)?
            }
            b'i' => {
                let class = self.global()?;
                self.gather(b't')?;
                let arguments = self.pop()?;
                self.objects.call(class, arguments)?
            }
            b'o' => {
                let start = self.mark()?;
                let (class, arguments) = match self.stack.get(start..) {
                    Some([class, arguments @ ..]) => (*class, self.objects.list(arguments)?),
                    _ => return Err(Reason::Malformed),
                };
                self.stack.truncate(start);
                self.objects.call(class, arguments)?
            }
            _ => {
                // NEWOBJ_EX has arguments by name, too, which only classes that are not known take.
                if code == 0x92 {
                    self.pop()?;
                }
                let arguments = self.pop()?;
                let callable = self.pop()?;
                self.objects.call(callable, arguments)?
            }
        };
        self.push(made)
    }

    /// A class or function by two lines, its module and its name there.
    fn global(&mut self) -> Result<Id, Reason> {
        let (module, name) = (self.input.line()?, self.input.line()?);
        self.objects.global(module, name)
    }

    fn push(&mut self, id: Id) -> Result<(), Reason> {
        self.budget.push(&mut self.stack, id)
    }

    fn pop(&mut self) -> Result<Id, Reason> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn top(&self) -> Result<Id, Reason> {
        self.stack.get(self.below(1)?).copied().ok_or(Reason::Malformed)
    }

    /// POP: takes away what is on top, a mark or a value.
    fn discard(&mut self) -> Result<(), Reason> {
        match self.marks.last() {
            Some(mark) if *mark == self.stack.len() => drop(self.marks.pop()),
            _ => drop(self.pop()?),
        }
        Ok(())
    }

    /// Takes away the last mark: where it stood.
    fn mark(&mut self) -> Result<usize, Reason> {
        self.marks.pop().ok_or(Reason::Malformed)
    }

    /// Where the topmost so many values begin.
    fn below(&self, count: usize) -> Result<usize, Reason> {
        let start = self.stack.len().checked_sub(count);
        start.filter(|start| *start >= self.fence()).ok_or(Reason::Malformed)
    }

    fn fence(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }
}

/// Values by the numbers that a program gave them, to use them again.
struct Memo {
    values: Vec<Id>,
    count: usize,
    /// No number is greater: picklers count up, so that each takes some bytes of the program.
    limit: usize,
}

impl Memo {
    fn put(&mut self, number: usize, value: Id, budget: &Budget) -> Result<(), Reason> {
        if number > self.limit {
            return Err(Reason::Malformed);
        }
        while number >= self.values.len() {
            budget.push(&mut self.values, Id::NONE)?;
        }
        if let Some(place) = self.values.get_mut(number) {
            self.count += usize::from(*place == Id::NONE);
            *place = value;
        }
        Ok(())
    }

    fn get(&self, number: usize) -> Result<Id, Reason> {
        let value = self.values.get(number).copied();
        value.filter(|value| *value != Id::NONE).ok_or(Reason::Malformed)
    }
}

/// An integer as two's complement, the lowest byte first; null where it is longer than is taken.
fn integer(bytes: &[u8], budget: &Budget) -> Result<Leaf, Reason> {
    let negative = bytes.last().is_some_and(|highest| *highest & 0x80 != 0);
    if bytes.len() <= 8 {
        let sign = if negative { -1 } else { 0 };
        budget.number()?;
        let number = bytes.iter().rev().fold(sign, |number, byte| number << 8 | i64::from(*byte));
        return Ok(Leaf::Int(number));
    }
    if !negative {
        return number::integer(false, bytes, budget).map(Leaf::from);
    }
    let mut carry = true;
    let negated = bytes.iter().map(|byte| {
        let (byte, carried) = (!byte).overflowing_add(u8::from(carry));
        carry = carried;
        byte
    });
    number::integer(true, &negated.collect::<Vec<u8>>(), budget).map(Leaf::from)
}
