//! `serialize` values as JSON, by the conventions that all formats share.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::ops::Range;

use serde_json::{Map, Number, Value};

use super::lexer::{Key, Lexer, Slots, Token};
use super::Layout;
use crate::format::{text, Reason, Wanted, MAX_DEPTH};

/// How many bytes references may have read again in one session: each copies the value that it names, and
/// copies of copies grow without end in what a hostile session holds.
const MAX_COPIED: usize = 256 * 1024;

/// Reads the values of one session.
pub(super) struct Reader<'r> {
    pub(super) lexer: Lexer<'r>,
    layout: Layout,
    /// Where the arrays and objects begin that are being read, outermost first.
    open: Vec<usize>,
    /// Found when the first reference is: most sessions have none.
    slots: Option<Slots>,
    copied: usize,
}

impl<'r> Reader<'r> {
    pub(super) fn new(raw: &'r [u8], layout: Layout) -> Self {
        Self { lexer: Lexer::new(raw), layout, open: Vec::new(), slots: None, copied: 0 }
    }

    /// Reads the value that comes next; null where nothing of it is wanted.
    pub(super) fn value(&mut self, wanted: &Wanted) -> Result<Value, Reason> {
        if *wanted == Wanted::Nothing {
            self.lexer.skip(self.open.len(), None)?;
            return Ok(Value::Null);
        }
        let start = self.lexer.position();
        Ok(match self.lexer.value()? {
            Token::Null => Value::Null,
            Token::Bool(truth) => Value::Bool(truth),
            Token::Int(number) => Value::from(number),
            Token::Float(number) => float(number),
            Token::Text(bytes) | Token::Opaque(bytes) | Token::Case(bytes) => {
                Value::String(text(bytes).into_owned())
            }
            Token::Array(count) => {
                self.enter(start)?;
                let array = self.array(count, wanted)?;
                self.leave()?;
                array
            }
            Token::Object(count) => {
                self.enter(start)?;
                let object = self.members(Map::new(), count, wanted, property)?;
                self.leave()?;
                object
            }
            Token::Reference { slot, .. } => self.reference(start, slot, wanted)?,
        })
    }

    fn enter(&mut self, start: usize) -> Result<(), Reason> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Reason::TooDeep);
        }
        self.open.push(start);
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Reason> {
        self.open.pop();
        self.lexer.eat(b"}")
    }

    /// Reads the elements of an array: a list as long as their keys are 0, 1, 2 …
    fn array(&mut self, count: usize, wanted: &Wanted) -> Result<Value, Reason> {
        let mut list = Vec::new();
        for at in 0..count {
            let before = self.lexer.clone();
            let key = self.lexer.key()?;
            if i64::try_from(at).map(Key::Int) != Ok(key) {
                self.lexer = before;
                let known = (0..).map(|at: usize| at.to_string()).zip(list).collect();
                return self.members(known, count - at, wanted, |name| name);
            }
            let element = self.value(wanted.element(at))?;
            if !wanted.ends_before(at) {
                list.push(element);
            }
        }
        Ok(Value::Array(list))
    }

    /// Reads `count` more members; `name` makes a JSON name of a text key.
    fn members(
        &mut self,
        mut known: Map<String, Value>,
        count: usize,
        wanted: &Wanted,
        name: fn(&[u8]) -> &[u8],
    ) -> Result<Value, Reason> {
        for _ in 0..count {
            let name = match self.lexer.key()? {
                Key::Int(key) => Cow::Owned(key.to_string()),
                Key::Text(key) => text(name(key)),
            };
            let wanted = wanted.member(name.as_bytes());
            let value = self.value(wanted)?;
            if *wanted != Wanted::Nothing {
                known.insert(name.into_owned(), value);
            }
        }
        Ok(Value::Object(known))
    }

    /// Reads again the value that a reference at `at` names; null in place of one that holds the reference.
    fn reference(&mut self, at: usize, slot: usize, wanted: &Wanted) -> Result<Value, Reason> {
        let Range { start, .. } = self.target(at, slot)?;
        if self.open.contains(&start) {
            return Ok(Value::Null);
        }
        let there = self.lexer.back_at(start);
        let here = std::mem::replace(&mut self.lexer, there);
        let value = self.value(wanted)?;
        self.lexer = here;
        Ok(value)
    }

    /// Where the value in `slot` lies. An `r:` takes a slot itself, so that a slot may lead to another:
    /// always to an earlier one.
    fn target(&mut self, mut at: usize, mut slot: usize) -> Result<Range<usize>, Reason> {
        let slots = match self.slots.take() {
            Some(slots) => slots,
            None => self.layout.slots(self.lexer.raw())?,
        };
        let slots = self.slots.insert(slots);
        loop {
            let range =
                slot.checked_sub(1).and_then(|slot| slots.get(slot)).ok_or(Reason::Malformed)?;
            if range.start >= at {
                return Err(Reason::Malformed);
            }
            self.copied += range.len();
            if self.copied > MAX_COPIED {
                return Err(Reason::TooLarge);
            }
            match self.lexer.back_at(range.start).token()? {
                Token::Reference { slot: next, .. } => (at, slot) = (range.start, next),
                _ => return Ok(range.clone()),
            }
        }
    }
}

/// JSON has no infinities: they are PHP's words for them.
fn float(number: f64) -> Value {
    match Number::from_f64(number) {
        Some(number) => Value::Number(number),
        None if number.is_nan() => Value::from("NAN"),
        None if number > 0.0 => Value::from("INF"),
        None => Value::from("-INF"),
    }
}

/// A property's name without the mark of its visibility: `\0*\0name` protected, `\0Class\0name` private.
fn property(name: &[u8]) -> &[u8] {
    let marked = name.strip_prefix(b"\0");
    let end = marked.and_then(|rest| rest.iter().position(|b| *b == 0).map(|end| (rest, end)));
    end.and_then(|(rest, end)| rest.get(end + 1..)).unwrap_or(name)
}
