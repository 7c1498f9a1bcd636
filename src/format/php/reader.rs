//! `serialize` values as JSON, by the conventions that all formats share.

#![forbid(unsafe_code)]

use std::iter::successors;
use std::ops::Range;

use serde_json::{Map, Value};

use super::convention::float;
use super::lexer::{Key, Lexer, Slots, Token};
use super::Layout;
use crate::format::budget::{Budget, Object};
use crate::format::{number, Reason, Wanted, MAX_DEPTH};

/// The fewest bytes that an element takes: `i:0;N;`.
const LEAST: usize = 6;

/// Reads the values of one session.
pub(super) struct Reader<'r> {
    pub(super) lexer: Lexer<'r>,
    layout: Layout,
    /// Found when the first reference is: most sessions have none.
    slots: Option<Slots>,
    /// Of what is made, and of what references have read again: each copies the value that it names.
    budget: &'r Budget,
}

/// An array or object that is being read.
pub(super) struct Open<'o> {
    start: usize,
    /// The one that it is in.
    outer: Option<&'o Open<'o>>,
    /// How many are open, this among them.
    depth: usize,
}

impl<'r> Reader<'r> {
    pub(super) fn new(raw: &'r [u8], layout: Layout, budget: &'r Budget) -> Self {
        Self { lexer: Lexer::new(raw), layout, slots: None, budget }
    }

    /// Reads the value that comes next, in the array or object that is open; null where nothing of it is
    /// wanted.
    pub(super) fn value(
        &mut self,
        wanted: &Wanted,
        open: Option<&Open<'_>>,
    ) -> Result<Value, Reason> {
        if matches!(wanted, Wanted::Nothing) {
            self.lexer.skip(depth(open))?;
            return Ok(Value::Null);
        }
        let start = self.lexer.position();
        Ok(match self.lexer.value()? {
            Token::Null => Value::Null,
            Token::Bool(truth) => Value::Bool(truth),
            Token::Int(number) => self.number(Value::from(number))?,
            Token::Float(written) => self.number(float(self.float(written)?))?,
            Token::Text(bytes) | Token::Opaque(bytes) | Token::Case(bytes) => {
                Value::String(self.budget.text(bytes)?)
            }
            Token::Array(count) => self.array(count, wanted, &enter(start, open)?)?,
            Token::Object(count) => {
                let open = enter(start, open)?;
                let class = wanted.class().then(|| self.class(start)).transpose()?;
                let mut left = count;
                let property =
                    |lexer: &mut Lexer<'r>| Ok(lexer.next_key(&mut left)?.map(Key::unmarked));
                self.members(class, count, wanted, &open, property)?
            }
            Token::Reference { slot, .. } => self.reference(start, slot, wanted, open)?,
        })
    }

    /// Reads the elements of an array: a list as long as their keys are 0, 1, 2 …
    fn array(&mut self, count: usize, wanted: &Wanted, open: &Open<'_>) -> Result<Value, Reason> {
        let most = count.min(self.lexer.left() / LEAST);
        let mut list = Vec::new();
        for at in 0..count {
            let before = self.lexer;
            let key = self.lexer.key()?;
            if i64::try_from(at).map(Key::Int) != Ok(key) {
                self.lexer = before;
                let known = (at > 0).then(|| self.named(list, most, wanted)).transpose()?;
                let mut left = count - at;
                let key = |lexer: &mut Lexer<'r>| lexer.next_key(&mut left);
                return self.members(known, most, wanted, open, key);
            }
            if at == 0 {
                list = self.budget.list(wanted.elements(most))?;
            }
            let element = self.value(wanted.element(at), Some(open))?;
            if !wanted.ends_before(at) {
                self.budget.push(&mut list, element)?;
            }
        }
        self.lexer.end()?;
        Ok(Value::Array(list))
    }

    /// The elements of what proves to be no list, as members.
    fn named(&self, list: Vec<Value>, most: usize, wanted: &Wanted) -> Result<Object<'r>, Reason> {
        let mut members = self.budget.object(wanted.members(most));
        for (at, element) in list.into_iter().enumerate() {
            members.insert(at.to_string(), element)?;
        }
        Ok(members)
    }

    fn float(&self, written: &[u8]) -> Result<f64, Reason> {
        match written {
            b"INF" => Ok(f64::INFINITY),
            b"-INF" => Ok(f64::NEG_INFINITY),
            b"NAN" => Ok(f64::NAN),
            _ => {
                let written = std::str::from_utf8(written).map_err(|_| Reason::Malformed)?;
                number::parse(written, self.budget)
            }
        }
    }

    fn number(&self, number: Value) -> Result<Value, Reason> {
        const DIGITS: usize = 8;
        self.budget.draw(DIGITS)?;
        Ok(number)
    }

    /// Reads members, of which each begins with its `key`, beside those that are known.
    fn members(
        &mut self,
        mut known: Option<Object<'r>>,
        count: usize,
        wanted: &Wanted,
        open: &Open<'_>,
        mut key: impl FnMut(&mut Lexer<'r>) -> Result<Option<Key<'r>>, Reason>,
    ) -> Result<Value, Reason> {
        while let Some((key, part)) = self.lexer.find(wanted, open.depth, &mut key)? {
            let members = match &mut known {
                Some(members) => members,
                none => {
                    let most = count.min(self.lexer.left() / LEAST + 1);
                    none.insert(self.budget.object(wanted.members(most)))
                }
            };
            members.insert(key.name(self.budget)?, self.value(part, Some(open))?)?;
        }
        self.lexer.end()?;
        Ok(known.map_or_else(|| Value::Object(Map::new()), Object::into_value))
    }

    /// The member that tells the class of the object at `start`.
    fn class(&self, start: usize) -> Result<Object<'r>, Reason> {
        let class = self.budget.text(self.lexer.class_at(start)?)?;
        let mut members = self.budget.object(1);
        members.insert(Wanted::CLASS.to_owned(), Value::String(class))?;
        Ok(members)
    }

    /// Reads again the value that a reference at `at` names; null in place of one that holds the reference, and
    /// of one that cannot be found.
    fn reference(
        &mut self,
        at: usize,
        slot: usize,
        wanted: &Wanted,
        open: Option<&Open<'_>>,
    ) -> Result<Value, Reason> {
        // The arrays and objects that are looked through.
        self.budget.draw(depth(open))?;
        let Some(Range { start, .. }) = self.target(at, slot)? else { return Ok(Value::Null) };
        if successors(open, |open| open.outer).any(|open| open.start == start) {
            return Ok(Value::Null);
        }
        let there = self.lexer.back_at(start);
        let here = std::mem::replace(&mut self.lexer, there);
        let value = self.value(wanted, open)?;
        self.lexer = here;
        Ok(value)
    }

    /// Where the value in `slot` lies; `None` behind the last that is counted. An `r:` takes a slot itself, so
    /// that a slot may lead to another: always to an earlier one.
    fn target(&mut self, mut at: usize, mut slot: usize) -> Result<Option<Range<usize>>, Reason> {
        /// What it costs to read a byte again.
        const AGAIN: usize = 4;
        let slots = match self.slots.take() {
            Some(slots) => slots,
            None => self.layout.slots(self.lexer.raw(), self.budget)?,
        };
        let slots = self.slots.insert(slots);
        loop {
            let Some(range) = slots.get(slot.checked_sub(1).ok_or(Reason::Malformed)?) else {
                return Ok(None);
            };
            if range.start >= at {
                return Err(Reason::Malformed);
            }
            // The time that reading it again takes.
            self.budget.draw(AGAIN * range.len())?;
            match self.lexer.back_at(range.start).token()? {
                Token::Reference { slot: next, .. } => (at, slot) = (range.start, next),
                _ => return Ok(Some(range.clone())),
            }
        }
    }
}

fn enter<'o>(start: usize, outer: Option<&'o Open<'o>>) -> Result<Open<'o>, Reason> {
    match depth(outer) {
        MAX_DEPTH.. => Err(Reason::TooDeep),
        depth => Ok(Open { start, outer, depth: depth + 1 }),
    }
}

fn depth(open: Option<&Open<'_>>) -> usize {
    open.map_or(0, |open| open.depth)
}
