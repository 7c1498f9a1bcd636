//! A store's near-cache in this worker, in terms of lookups.

use core::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::event::now;
use super::lookup::{Answer, Lookup, Query};
use crate::cache::{Cache, CacheStatus, Hit, Kept, Limits, Origin};
use crate::store::fetched::{Changed, Outcome, Ttl};
use crate::stored::KeptSession;

/// What the store said of a key.
pub(super) struct NearCache(RefCell<Cache<Known>>);

#[derive(Clone)]
struct Known {
    /// `None`: there is no session.
    session: Option<Rc<KeptSession>>,
    /// Who said so.
    server: usize,
}

impl Kept for Known {
    fn is_absent(&self) -> bool {
        self.session.is_none()
    }

    fn bytes(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.bytes())
    }
}

impl NearCache {
    pub(super) fn new(limits: Limits) -> Self {
        Self(RefCell::new(Cache::new(limits)))
    }

    /// What is known of a key and still holds.
    pub(super) fn fresh(&self, key: &Rc<[u8]>) -> Option<(Answer, CacheStatus)> {
        let hit = self.0.borrow().fresh(key, now())?;
        let status = match hit.value.session {
            Some(_) => CacheStatus::Hit,
            None => CacheStatus::Negative,
        };
        Some((answer(hit), status))
    }

    /// The session that the key held a short while ago, for a store that does not answer.
    pub(super) fn stale(&self, key: &Rc<[u8]>) -> Option<Answer> {
        self.0.borrow().stale(key, now()).map(answer)
    }

    /// Keeps what a lookup brought over a connection.
    pub(super) fn keep(
        &self,
        lookup: &Lookup,
        outcome: &Outcome,
        ttl: Option<Ttl>,
        server: usize,
        origin: &Origin,
    ) {
        let Query::Fetch { key, .. } = &lookup.query else { return };
        let session = match outcome {
            Outcome::Found(session) => Some(Rc::clone(session)),
            Outcome::Missing => None,
            Outcome::WrongType | Outcome::TooLarge(_) | Outcome::Failed(_) => return,
        };
        if !lookup.outdated.get() {
            self.0.borrow_mut().insert(key, Known { session, server }, origin, ttl, now());
        }
    }

    /// A session was read for one more location since it was kept.
    pub(super) fn weigh(&self, key: &Rc<[u8]>) {
        self.0.borrow_mut().weigh(key);
    }

    /// The store said that keys have changed.
    pub(super) fn changed(&self, changed: &Changed) {
        let mut cache = self.0.borrow_mut();
        match changed {
            Changed::Keys(keys) => keys.iter().for_each(|key| cache.invalidate(key)),
            Changed::All => cache.clear(),
        }
    }

    /// We change a key ourselves.
    pub(super) fn forget(&self, key: &[u8]) {
        self.0.borrow_mut().invalidate(key);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

fn answer(hit: Hit<Known>) -> Answer {
    Answer {
        outcome: hit.value.session.map_or(Outcome::Missing, Outcome::Found),
        ttl: hit.left.map(Ttl::Left),
        server: Some(hit.value.server),
        elapsed: Duration::ZERO,
    }
}
