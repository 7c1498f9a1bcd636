//! What a cluster is asked for the sake of a lookup, key by key: each key has its own node.

use core::cell::Cell;
use std::rc::Rc;

use crate::module::lookup::{Lookup, Query};
use crate::store::cluster::batch::Item;
use crate::store::servers::TriedSet;

pub(super) enum Errand {
    Part(Part),
    /// Nobody waits for it.
    Touch {
        key: Box<[u8]>,
        ms: u64,
        longer: bool,
    },
}

/// One key of a lookup.
pub(super) struct Part {
    pub(super) lookup: Rc<Lookup>,
    key: usize,
    /// Parts that are not answered.
    left: Rc<Cell<usize>>,
    /// A replica is asked, which may be behind.
    pub(super) replica: bool,
    /// A replica knew no such key.
    to_master: bool,
}

impl Errand {
    pub(super) fn of(lookup: &Rc<Lookup>) -> impl Iterator<Item = Self> {
        let count = match &lookup.query {
            Query::Fetch { .. } => 1,
            Query::Delete { keys } => keys.len(),
            // Where sessions are assigned to servers there is no cluster: "nginx -t" sees to it.
            Query::Assign(_) | Query::Drained { .. } => 0,
        };
        let left = Rc::new(Cell::new(count));
        let lookup = Rc::clone(lookup);
        (0..count).map(move |key| {
            let (lookup, left) = (Rc::clone(&lookup), Rc::clone(&left));
            Self::Part(Part { lookup, key, left, replica: false, to_master: false })
        })
    }

    pub(super) fn key(&self) -> &[u8] {
        match self {
            Self::Touch { key, .. } => key,
            Self::Part(part) => match &part.lookup.query {
                Query::Fetch { key, .. } => key,
                Query::Delete { keys } => keys.get(part.key).map_or(&[], |key| key),
                Query::Assign(_) | Query::Drained { .. } => &[],
            },
        }
    }

    pub(super) fn item(&self) -> Item {
        match self {
            Self::Touch { ms, longer, .. } => Item::Touch { ms: *ms, longer: *longer },
            Self::Part(part) => match &part.lookup.query {
                Query::Fetch { hash, ttl, .. } => Item::Fetch { hash: *hash, ttl: *ttl },
                _ => Item::Delete,
            },
        }
    }

    /// Whether somebody waited for it, and it has ended meanwhile.
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Part(part) if part.lookup.is_done())
    }

    /// Whether only a master will do.
    pub(super) fn wants_master(&self) -> bool {
        match self {
            Self::Touch { .. } => true,
            Self::Part(part) => part.to_master || part.lookup.query.writes(),
        }
    }

    /// Nodes that failed it.
    pub(super) fn tried(&self) -> TriedSet {
        match self {
            Self::Touch { .. } => TriedSet::NONE,
            Self::Part(part) => part.lookup.tried.borrow().clone(),
        }
    }

    pub(super) fn set_replica(&mut self, replica: bool) {
        if let Self::Part(part) = self {
            part.replica = replica;
        }
    }
}

impl Part {
    /// The same, for the master alone.
    pub(super) fn for_master(self) -> Self {
        Self { replica: false, to_master: true, ..self }
    }

    /// One part less. Whether it was the last.
    pub(super) fn is_last(&self) -> bool {
        self.left.set(self.left.get().saturating_sub(1));
        self.left.get() == 0
    }
}
