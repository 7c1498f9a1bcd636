//! How much a session may become: the one bound on what all wrappers and formats make of it.
//!
//! A hostile session of a few hundred bytes can describe millions of values, by compression, by references or by numbers
//! whose digits take the square of their length. Whatever is made is drawn from the budget of its session before
//! it is made, at about what it takes of memory; what takes time and no memory is drawn as if it took some. So
//! both are bounded, by what is stored and in the end by `max_size`. A session that draws more is [`Reason::TooLarge`].

#![forbid(unsafe_code)]

use std::cell::Cell;

use serde_json::{Map, Value};

use super::{text, Reason};

/// What is left for one session, in bytes.
#[derive(Debug)]
pub(super) struct Budget {
    /// For what is made.
    room: Cell<usize>,
    /// For what is compressed to become.
    plain: Cell<usize>,
    /// Whether more was to be drawn than there was.
    spent: Cell<bool>,
}

impl Budget {
    /// What every session may take, however short it is.
    const FREE: usize = 896 * 1024;
    /// What each stored byte may take besides, and up to which size; what each further one may.
    const PER_BYTE: usize = 14;
    const SMALL: usize = 64 * 1024;
    const PER_FURTHER_BYTE: usize = 5;
    /// What is compressed may become so much, and so many times `max_size`.
    const PLAIN: usize = 128 * 1024;
    const PLAIN_TIMES: usize = 2;

    /// Of a session of so many bytes, in a store with this `max_size`.
    pub(super) fn of(stored: usize, max_size: usize) -> Self {
        let stored = stored.min(max_size);
        let small = stored.min(Self::SMALL).saturating_mul(Self::PER_BYTE);
        let further = stored.saturating_sub(Self::SMALL).saturating_mul(Self::PER_FURTHER_BYTE);
        let plain = max_size.saturating_mul(Self::PLAIN_TIMES).saturating_add(Self::PLAIN);
        let room = Self::FREE.saturating_add(small).saturating_add(further);
        Self { room: Cell::new(room), plain: Cell::new(plain), spent: Cell::new(false) }
    }

    /// Draws so many bytes.
    #[inline(always)]
    pub(super) fn draw(&self, bytes: usize) -> Result<(), Reason> {
        match self.room.get().checked_sub(bytes) {
            Some(left) => self.room.set(left),
            None => return Err(self.spend()),
        }
        Ok(())
    }

    #[cold]
    fn spend(&self) -> Reason {
        self.spent.set(true);
        Reason::TooLarge
    }

    /// Pays for what becomes longer where a long text is written as JSON in ASCII.
    #[inline(always)]
    pub(super) fn escapes(&self, text: &[u8]) -> Result<(), Reason> {
        const SHORT: usize = 256;
        match text.len() <= SHORT {
            true => Ok(()),
            false => self.escapes_of_long(text),
        }
    }

    #[inline(never)]
    fn escapes_of_long(&self, text: &[u8]) -> Result<(), Reason> {
        const ESCAPE: usize = 6;
        let escaped = text.iter().filter(|byte| !matches!(byte, 0x20..=0x7e)).count();
        self.draw(ESCAPE * escaped)
    }

    /// Pays for a number that has at most 20 digits, or for a float.
    #[inline(always)]
    pub(super) fn number(&self) -> Result<(), Reason> {
        const NUMBER: usize = 24;
        self.draw(NUMBER)
    }

    /// Pays for the time that a date takes to be written.
    pub(super) fn date(&self) -> Result<(), Reason> {
        const DATE: usize = 1024;
        self.draw(DATE)
    }

    /// Pays for the time that a float takes to be written as a name.
    pub(super) fn float_name(&self) -> Result<(), Reason> {
        const FLOAT: usize = 512;
        self.draw(FLOAT)
    }

    /// Whether more was to be drawn than there was, for readers that do not say why they fail.
    pub(super) fn is_spent(&self) -> bool {
        self.spent.get()
    }

    /// Takes back what is there no more.
    pub(super) fn restore(&self, bytes: usize) {
        self.room.set(self.room.get().saturating_add(bytes));
    }

    /// Draws so many bytes that were compressed.
    pub(super) fn unpack(&self, bytes: usize) -> Result<(), Reason> {
        match self.plain.get().checked_sub(bytes) {
            Some(left) => self.plain.set(left),
            None => return Err(self.spend()),
        }
        Ok(())
    }

    /// How many bytes that are compressed may still become.
    pub(super) fn unpackable(&self) -> usize {
        self.plain.get().min(self.room.get())
    }

    /// An empty list with room for so many.
    pub(super) fn list<T>(&self, count: usize) -> Result<Vec<T>, Reason> {
        self.draw(count.saturating_mul(size_of::<T>()))?;
        Ok(Vec::with_capacity(count))
    }

    /// Adds to a list.
    #[inline(always)]
    pub(super) fn push<T>(&self, list: &mut Vec<T>, item: T) -> Result<(), Reason> {
        if list.len() == list.capacity() {
            self.grow(list)?;
        }
        list.push(item);
        Ok(())
    }

    #[inline(never)]
    fn grow<T>(&self, list: &mut Vec<T>) -> Result<(), Reason> {
        const FIRST: usize = 4;
        let more = if list.capacity() == 0 { FIRST } else { 1 };
        self.reserve(list, more)
    }

    /// Makes room for more in a list: for twice as many as before or, where that is too much, for as many as there
    /// may be. Until they have moved, both places are taken.
    pub(super) fn reserve<T>(&self, list: &mut Vec<T>, more: usize) -> Result<(), Reason> {
        let size = size_of::<T>().max(1);
        let (before, least) = (list.capacity(), list.len().saturating_add(more));
        if least <= before {
            return Ok(());
        }
        let capacity = before.saturating_mul(2).max(least).min(self.room.get() / size);
        if capacity < least {
            return Err(self.spend());
        }
        self.draw(capacity * size)?;
        list.reserve_exact(capacity - list.len());
        self.restore(before * size);
        Ok(())
    }

    /// An object that is to have about so many members, if any.
    #[inline]
    pub(super) fn object(&self, members: usize) -> Object<'_> {
        Object { budget: self, members: Map::new(), expected: members, room: 0 }
    }

    /// Bytes as text; see [`text`].
    #[inline]
    pub(super) fn text(&self, bytes: &[u8]) -> Result<String, Reason> {
        self.draw(bytes.len())?;
        self.escapes(bytes)?;
        let text = text(bytes).into_owned();
        self.draw(text.len() - bytes.len())?;
        Ok(text)
    }
}

/// An object that grows within a budget.
#[derive(Debug)]
pub(super) struct Object<'b> {
    budget: &'b Budget,
    members: Map<String, Value>,
    /// How many it makes room for with the first.
    expected: usize,
    /// How many members there is room for.
    room: usize,
}

impl Object<'_> {
    /// How many members have room in a table of that many and more.
    const fn capacity(members: usize) -> usize {
        match members {
            0 => 0,
            1..=3 => 3,
            _ => (members * 8).div_ceil(7).next_power_of_two() / 8 * 7,
        }
    }

    /// What an object of so many members holds: their names, values and hashes, and the places of a table.
    const fn bytes(members: usize) -> usize {
        const MEMBER: usize = size_of::<String>() + size_of::<Value>() + size_of::<usize>();
        const PLACE: usize = size_of::<usize>() + 1;
        const GROUP: usize = 16;
        match members {
            0 => 0,
            _ => {
                let places = (Self::capacity(members) + 1).next_power_of_two();
                members.saturating_mul(MEMBER) + places * PLACE + GROUP
            }
        }
    }

    /// Adds a member, or replaces the one of that name. The name's own bytes were drawn before.
    #[inline]
    pub(super) fn insert(&mut self, name: String, value: Value) -> Result<(), Reason> {
        const AGAIN: usize = 256;
        if self.members.len() >= self.room {
            self.grow()?;
        }
        match self.members.insert(name, value) {
            None => Ok(()),
            // No room was taken, but time.
            Some(_) => self.budget.draw(AGAIN),
        }
    }

    #[inline]
    fn grow(&mut self) -> Result<(), Reason> {
        const FIRST: usize = Object::capacity(1);
        const SECOND: usize = Object::capacity(FIRST + 1);
        let (room, more) = match self.room {
            0 if self.expected == 0 => (FIRST, const { Object::bytes(FIRST) }),
            FIRST => (SECOND, const { Object::bytes(SECOND) - Object::bytes(FIRST) }),
            _ => return self.grow_further(),
        };
        self.budget.draw(more)?;
        self.room = room;
        Ok(())
    }

    #[inline(never)]
    fn grow_further(&mut self) -> Result<(), Reason> {
        let first = self.room == 0 && self.expected > 0;
        let room = if first { self.expected } else { Self::capacity(self.room + 1) };
        self.budget.draw(Self::bytes(room))?;
        if first {
            self.members = Map::with_capacity(room);
        }
        self.budget.restore(Self::bytes(self.room));
        self.room = room;
        Ok(())
    }

    /// The object.
    pub(super) fn into_value(self) -> Value {
        Value::Object(self.members)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::format::Pipeline;

    /// The budget of a session in a store as most are.
    pub(in crate::format) fn of(raw: &[u8]) -> Budget {
        Budget::of(raw.len(), Pipeline::MAX_SIZE)
    }
}
