//! The types that a stream defines before it uses them (`encoding/gob/type.go`, `wireType`).

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::rc::Rc;

use super::wire::Wire;
use crate::format::budget::Budget;
use crate::format::Reason;

/// A type by the number that the stream gives it.
pub(super) type Id = i64;

/// Types that need no definition.
pub(super) const BOOL: Id = 1;
pub(super) const INT: Id = 2;
pub(super) const UINT: Id = 3;
pub(super) const FLOAT: Id = 4;
pub(super) const BYTES: Id = 5;
pub(super) const STRING: Id = 6;
pub(super) const COMPLEX: Id = 7;
pub(super) const INTERFACE: Id = 8;

/// The lowest number of a type that is defined.
pub(super) const FIRST_DEFINED: Id = 64;

/// A type that a stream defines. Those it is made of may be defined later, or be itself.
#[derive(Debug)]
pub(super) enum Type<'r> {
    Array {
        element: Id,
        length: usize,
    },
    Slice {
        element: Id,
    },
    Map {
        key: Id,
        element: Id,
    },
    Struct {
        /// Without its package; empty where it has none.
        name: &'r [u8],
        fields: Vec<(&'r [u8], Id)>,
    },
    /// One that writes itself, by `GobEncode`, `MarshalBinary` or `MarshalText`.
    Marshaler {
        /// As that of a struct.
        name: &'r [u8],
    },
}

/// The types that were defined.
#[derive(Debug, Default)]
pub(super) struct Types<'r> {
    defined: BTreeMap<Id, Rc<Type<'r>>>,
}

impl<'r> Types<'r> {
    pub(super) fn get(&self, id: Id) -> Result<Rc<Type<'r>>, Reason> {
        self.defined.get(&id).cloned().ok_or(Reason::Malformed)
    }

    pub(super) fn is_struct(&self, id: Id) -> bool {
        self.defined.get(&id).is_some_and(|of| matches!(**of, Type::Struct { .. }))
    }

    /// Reads the type whose number, negated, stood before it.
    pub(super) fn define(
        &mut self,
        negated: Id,
        wire: &mut Wire<'r>,
        budget: &Budget,
    ) -> Result<(), Reason> {
        /// What a type takes beside its fields.
        const TYPE: usize = 512;
        budget.draw(TYPE)?;
        let id = negated.checked_neg().filter(|id| *id >= FIRST_DEFINED);
        let id = id.ok_or(Reason::Malformed)?;
        // A `wireType` has a field for each kind, of which one is set.
        let mut next = 0;
        let kind = wire.field(&mut next)?.ok_or(Reason::Malformed)?;
        let of = definition(kind, wire, budget)?;
        if wire.field(&mut next)?.is_some() || self.defined.insert(id, Rc::new(of)).is_some() {
            return Err(Reason::Malformed);
        }
        Ok(())
    }
}

/// Reads a type of the kind that has this field in `wireType`. Whatever is zero is left out.
fn definition<'r>(kind: usize, wire: &mut Wire<'r>, budget: &Budget) -> Result<Type<'r>, Reason> {
    const ARRAY: usize = 0;
    const SLICE: usize = 1;
    const STRUCT: usize = 2;
    const MAP: usize = 3;
    let (mut name, mut fields) = (&b""[..], Vec::new());
    let (mut first, mut second) = (0, 0);
    let mut next = 0;
    while let Some(field) = wire.field(&mut next)? {
        match (kind, field) {
            (_, 0) => (name, _) = named(wire)?,
            (STRUCT, 1) => fields = all_named(wire, budget)?,
            (ARRAY | SLICE | MAP, 1) => first = wire.int()?,
            (ARRAY | MAP, 2) => second = wire.int()?,
            _ => return Err(Reason::Malformed),
        }
    }
    Ok(match kind {
        ARRAY => {
            let length = usize::try_from(second).map_err(|_| Reason::Malformed)?;
            Type::Array { element: first, length }
        }
        SLICE => Type::Slice { element: first },
        STRUCT => Type::Struct { name, fields },
        MAP => Type::Map { key: first, element: second },
        4..=6 => Type::Marshaler { name },
        _ => return Err(Reason::Malformed),
    })
}

/// Reads a struct of a name and a number, which both `CommonType` and `fieldType` are.
fn named<'r>(wire: &mut Wire<'r>) -> Result<(&'r [u8], Id), Reason> {
    let (mut name, mut id) = (&b""[..], 0);
    let mut next = 0;
    while let Some(field) = wire.field(&mut next)? {
        match field {
            0 => name = wire.bytes()?,
            1 => id = wire.int()?,
            _ => return Err(Reason::Malformed),
        }
    }
    Ok((name, id))
}

fn all_named<'r>(wire: &mut Wire<'r>, budget: &Budget) -> Result<Vec<(&'r [u8], Id)>, Reason> {
    let count = wire.count()?;
    let mut all = Vec::new();
    for _ in 0..count {
        let field = named(wire)?;
        budget.push(&mut all, field)?;
    }
    Ok(all)
}
