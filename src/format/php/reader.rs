//! `serialize` values as JSON, by the conventions that all formats share.

#![forbid(unsafe_code)]

use std::iter::successors;
use std::ops::Range;

use serde_json::{Map, Value};

use super::convention::float;
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
    /// Found when the first reference is: most sessions have none.
    slots: Option<Slots>,
    copied: usize,
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
    pub(super) fn new(raw: &'r [u8], layout: Layout) -> Self {
        Self { lexer: Lexer::new(raw), layout, slots: None, copied: 0 }
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
            Token::Int(number) => Value::from(number),
            Token::Float(number) => float(number),
            Token::Text(bytes) | Token::Opaque(bytes) | Token::Case(bytes) => {
                Value::String(text(bytes).into_owned())
            }
            Token::Array(count) => self.array(count, wanted, &enter(start, open)?)?,
            Token::Object(count) => {
                let open = enter(start, open)?;
                let class = wanted.class().then(|| self.class(start)).transpose()?;
                let mut left = count;
                let property =
                    |lexer: &mut Lexer<'r>| Ok(lexer.next_key(&mut left)?.map(Key::unmarked));
                self.members(class, wanted, &open, property)?
            }
            Token::Reference { slot, .. } => self.reference(start, slot, wanted, open)?,
        })
    }

    /// Reads the elements of an array: a list as long as their keys are 0, 1, 2 …
    fn array(&mut self, count: usize, wanted: &Wanted, open: &Open<'_>) -> Result<Value, Reason> {
        let mut list = Vec::new();
        for at in 0..count {
            let before = self.lexer;
            let key = self.lexer.key()?;
            if i64::try_from(at).map(Key::Int) != Ok(key) {
                self.lexer = before;
                let named =
                    |list: Vec<Value>| (0..).map(|at: usize| at.to_string()).zip(list).collect();
                let known = (at > 0).then(|| named(list));
                let mut left = count - at;
                let key = |lexer: &mut Lexer<'r>| lexer.next_key(&mut left);
                return self.members(known, wanted, open, key);
            }
            let element = self.value(wanted.element(at), Some(open))?;
            if !wanted.ends_before(at) {
                list.push(element);
            }
        }
        self.lexer.end()?;
        Ok(Value::Array(list))
    }

    /// Reads members, of which each begins with its `key`, beside those that are known.
    fn members(
        &mut self,
        mut known: Option<Map<String, Value>>,
        wanted: &Wanted,
        open: &Open<'_>,
        mut key: impl FnMut(&mut Lexer<'r>) -> Result<Option<Key<'r>>, Reason>,
    ) -> Result<Value, Reason> {
        while let Some((key, part)) = self.lexer.find(wanted, open.depth, &mut key)? {
            let members = known.get_or_insert_with(|| Map::with_capacity(wanted.names()));
            members.insert(key.name(), self.value(part, Some(open))?);
        }
        self.lexer.end()?;
        Ok(Value::Object(known.unwrap_or_default()))
    }

    /// The member that tells the class of the object at `start`.
    fn class(&self, start: usize) -> Result<Map<String, Value>, Reason> {
        let class = text(self.lexer.class_at(start)?).into_owned();
        Ok(Map::from_iter([(Wanted::CLASS.to_owned(), Value::String(class))]))
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
        let slots = match self.slots.take() {
            Some(slots) => slots,
            None => self.layout.slots(self.lexer.raw())?,
        };
        let slots = self.slots.insert(slots);
        loop {
            let Some(range) = slots.get(slot.checked_sub(1).ok_or(Reason::Malformed)?) else {
                return Ok(None);
            };
            if range.start >= at {
                return Err(Reason::Malformed);
            }
            self.copied += range.len();
            if self.copied > MAX_COPIED {
                return Err(Reason::TooLarge);
            }
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
