//! A store's near-cache in this worker, in terms of lookups.

use core::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::event::{now, time_of_day};
use super::lookup::{Answer, Lookup, Query};
use crate::cache::{allocated, Cache, CacheStatus, Hit, Kept, Limits, Origin};
use crate::route::assignment::{Standing, Stands};
use crate::store::fetched::{Changed, Outcome, Ttl};
use crate::stored::KeptSession;

/// What the store said of a key.
pub(super) struct NearCache(RefCell<Cache<Known>>);

#[derive(Clone)]
struct Known {
    what: What,
    /// Who said so.
    server: usize,
}

#[derive(Clone)]
enum What {
    Session(Rc<KeptSession>),
    NoSession,
    /// The server that a session is assigned to, under a key of its own. That there is none is not kept: it is about to be
    /// written, and whoever is told of that too late would choose another.
    Route(Stands),
}

impl Kept for Known {
    fn is_absent(&self) -> bool {
        matches!(self.what, What::NoSession)
    }

    fn bytes(&self) -> usize {
        match &self.what {
            What::Session(session) => session.bytes(),
            What::NoSession => 0,
            What::Route(stands) => allocated(stands.value().len() + 2 * size_of::<usize>()),
        }
    }
}

impl NearCache {
    pub(super) fn new(limits: Limits) -> Self {
        Self(RefCell::new(Cache::new(limits)))
    }

    /// What is known of a key and still holds.
    pub(super) fn fresh(&self, key: &Rc<[u8]>) -> Option<(Answer, CacheStatus)> {
        let answer = answer(self.0.borrow().fresh(key, now())?)?;
        let status = match answer.outcome {
            Outcome::Found(_) => CacheStatus::Hit,
            _ => CacheStatus::Negative,
        };
        Some((answer, status))
    }

    /// The assignment under a key, if one is known and still holds.
    pub(super) fn route(&self, key: &Rc<[u8]>) -> Option<Standing> {
        route(self.0.borrow().fresh(key, now())?)
    }

    /// The session that the key held a short while ago, for a store that does not answer.
    pub(super) fn stale(&self, key: &Rc<[u8]>) -> Option<Answer> {
        answer(self.0.borrow().stale(key, now())?)
    }

    /// The assignment that stood under the key then.
    pub(super) fn stale_route(&self, key: &Rc<[u8]>) -> Option<Standing> {
        route(self.0.borrow().stale(key, now())?)
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
        self.keep_route(lookup, server, origin);
        let what = match outcome {
            Outcome::Found(session) => What::Session(Rc::clone(session)),
            Outcome::Missing => What::NoSession,
            // What was there before is gone, though nothing can be kept of what took its place.
            Outcome::WrongType | Outcome::TooLarge(_) => return self.forget(key),
            Outcome::Failed(_) => return,
        };
        if !lookup.outdated.get() {
            self.0.borrow_mut().insert(key, Known { what, server }, origin, ttl, now());
        }
    }

    fn keep_route(&self, lookup: &Lookup, server: usize, origin: &Origin) {
        let Some(key) = lookup.query.route() else { return };
        let standing = lookup.route.borrow();
        let (Ok(Some(route)), Standing::Value(stands)) = (standing.read(), &*standing) else {
            return self.forget(key);
        };
        if !lookup.route_outdated.get() {
            let left = route.left(time_of_day() / 1000).saturating_mul(1000);
            let known = Known { what: What::Route(stands.clone()), server };
            self.0.borrow_mut().insert(key, known, origin, Some(Ttl::Left(left)), now());
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

fn answer(hit: Hit<Known>) -> Option<Answer> {
    Some(Answer {
        outcome: match hit.value.what {
            What::Session(session) => Outcome::Found(session),
            What::NoSession => Outcome::Missing,
            What::Route(_) => return None,
        },
        ttl: hit.left.map(Ttl::Left),
        route: Standing::Unknown,
        server: Some(hit.value.server),
        elapsed: Duration::ZERO,
    })
}

fn route(hit: Hit<Known>) -> Option<Standing> {
    match hit.value.what {
        What::Route(stands) => Some(Standing::Value(stands)),
        What::Session(_) | What::NoSession => None,
    }
}
