//! One question to a store and, once it is there, the answer. Requests that ask the same at the same time share it.

use core::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nginx_sys::ngx_http_request_t;
use smallvec::SmallVec;

use super::connection::Connection;
use crate::route::assignment::Standing;
use crate::route::drained::Drained;
use crate::route::write::Write;
use crate::store::error::Failure;
use crate::store::fetched::{Outcome, Ttl};
use crate::store::servers::TriedSet;

/// What is asked.
pub(super) enum Query {
    /// The session, a string or a hash, and its remaining life if that matters; and the server that it is assigned to.
    Fetch { key: Rc<[u8]>, hash: bool, ttl: bool, route: Option<Rc<[u8]>> },
    /// The end of the session, and of what is kept beside it.
    Delete { keys: Vec<Rc<[u8]>> },
    /// The session is assigned to a server.
    Assign(Box<Write>),
    /// The servers that get no new sessions.
    Drained { key: Rc<[u8]>, drained: Rc<Drained> },
}

impl Query {
    pub(super) fn writes(&self) -> bool {
        matches!(self, Self::Delete { .. } | Self::Assign(_))
    }

    /// The session's key; empty where there is none.
    pub(super) fn key(&self) -> &[u8] {
        match self {
            Self::Fetch { key, .. } => key,
            Self::Delete { keys } => keys.last().map_or(&[], |key| key),
            Self::Assign(_) | Self::Drained { .. } => &[],
        }
    }

    /// The key of the session's assignment, where that is asked for too.
    pub(super) fn route(&self) -> Option<&Rc<[u8]>> {
        match self {
            Self::Fetch { route, .. } => route.as_ref(),
            _ => None,
        }
    }

    /// Whether the answer to this answers `other` too.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Fetch { key, hash, ttl, route },
                Self::Fetch {
                    key: other_key,
                    hash: other_hash,
                    ttl: other_ttl,
                    route: other_route,
                },
            ) => {
                key == other_key
                    && hash == other_hash
                    && (*ttl || !other_ttl)
                    && (other_route.is_none() || route == other_route)
            }
            _ => false,
        }
    }
}

/// What came of it.
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    pub(super) ttl: Option<Ttl>,
    pub(super) route: Standing,
    /// The server that answered, or failed last.
    pub(super) server: Option<usize>,
    pub(super) elapsed: Duration,
}

/// Goes on with a request that was suspended for a lookup.
pub(super) type Resume = unsafe fn(*mut ngx_http_request_t);

type Waiter = (*mut ngx_http_request_t, Resume);

/// Shared between the requests that asked, the connection that carries it and the queue of deadlines.
pub(super) struct Lookup {
    pub(super) query: Query,
    /// When it fails, in ms of nginx's clock.
    pub(super) deadline: u64,
    /// When it was asked, in ms of nginx's clock.
    asked: u64,
    /// When the first of those under way for its key was asked.
    pub(super) since: Cell<u64>,
    started: Instant,
    pub(super) tries: Cell<u32>,
    pub(super) tried: RefCell<TriedSet>,
    carrier: RefCell<Option<Carrier>>,
    /// The first of two replies.
    pub(super) value: RefCell<Option<Outcome>>,
    /// What was said of the session's assignment, before all else.
    pub(super) route: RefCell<Standing>,
    answer: OnceCell<Answer>,
    /// The key has changed since the first of two replies: the answer is good, but not to be kept.
    pub(super) outdated: Cell<bool>,
    /// Likewise of the assignment's key.
    pub(super) route_outdated: Cell<bool>,
    /// By their place; those that left are gone from it. There is hardly ever more than one.
    waiters: RefCell<SmallVec<[Option<Waiter>; 1]>>,
}

/// The connection that carries a lookup.
pub(super) struct Carrier {
    pub(super) connection: Rc<Connection>,
    /// The number of replies that it had given when it took the lookup.
    pub(super) answered: u64,
    /// Its number of commands by then, those of the lookup included.
    pub(super) commands: u64,
}

/// An answer serves requests that ask the same within this time, in ms: one that logs in and comes back must not be
/// given what was there before.
pub(super) const SHARED_WITHIN: u64 = 10;

impl Lookup {
    /// A lookup that is asked at `now` and fails at `deadline`, in ms of nginx's clock.
    pub(super) fn new(query: Query, now: u64, deadline: u64) -> Rc<Self> {
        Rc::new(Self {
            query,
            deadline,
            asked: now,
            since: Cell::new(now),
            started: Instant::now(),
            tries: Cell::new(0),
            tried: RefCell::default(),
            carrier: RefCell::new(None),
            value: RefCell::new(None),
            route: RefCell::default(),
            answer: OnceCell::new(),
            outdated: Cell::new(false),
            route_outdated: Cell::new(false),
            waiters: RefCell::default(),
        })
    }

    pub(super) fn is_done(&self) -> bool {
        self.answer.get().is_some()
    }

    /// Whether a request that asks this at `now` may share the answer: the store has not been asked yet, or just now.
    pub(super) fn serves(&self, query: &Query, now: u64) -> bool {
        !self.is_done()
            && self.query.covers(query)
            && (now < self.asked + SHARED_WITHIN || !self.is_written())
    }

    fn is_written(&self) -> bool {
        let carrier = self.carrier.borrow();
        carrier.as_ref().is_none_or(|carrier| carrier.connection.has_written(carrier.commands))
    }

    /// Whether nobody waits for the answer. Asked when whoever began it has had the time to wait.
    pub(super) fn is_abandoned(&self) -> bool {
        self.waiters.borrow().iter().all(Option::is_none)
    }

    pub(super) fn carry(&self, carrier: Carrier) {
        *self.carrier.borrow_mut() = Some(carrier);
        *self.value.borrow_mut() = None;
        *self.route.borrow_mut() = Standing::Unknown;
    }

    /// Whether this connection carries it.
    pub(super) fn is_carried_by(&self, connection: &Rc<Connection>) -> bool {
        let carrier = self.carrier.borrow();
        carrier.as_ref().is_some_and(|carrier| Rc::ptr_eq(&carrier.connection, connection))
    }

    /// What carried it; it is carried no longer.
    pub(super) fn drop_carrier(&self) -> Option<Carrier> {
        self.carrier.borrow_mut().take()
    }

    /// Ends the lookup. Its waiters are to be resumed then, see [`Self::next_waiter`].
    pub(super) fn finish(&self, outcome: Outcome, ttl: Option<Ttl>, server: Option<usize>) {
        let elapsed = self.started.elapsed();
        let route = self.route.take();
        let _ = self.answer.set(Answer { outcome, ttl, route, server, elapsed });
    }

    /// A request that waits for the lookup, which it does not any more. The caller resumes it with nothing borrowed:
    /// that may make others leave.
    pub(super) fn next_waiter(&self) -> Option<Waiter> {
        let mut waiters = self.waiters.borrow_mut();
        while let Some(last) = waiters.pop() {
            if last.is_some() {
                return last;
            }
        }
        None
    }
}

/// A request's share of a lookup. Dropping it leaves the lookup to whoever else waits.
pub(super) struct Ticket {
    lookup: Rc<Lookup>,
    /// Of the request among the waiters.
    place: Cell<Option<usize>>,
}

impl Ticket {
    pub(super) fn of(lookup: &Rc<Lookup>) -> Self {
        Self { lookup: Rc::clone(lookup), place: Cell::new(None) }
    }

    /// The answer, once it is there.
    pub(super) fn answer(&self) -> Option<&Answer> {
        self.lookup.answer.get()
    }

    /// Sets the request that is resumed when the answer is there.
    ///
    /// # Safety
    /// `r` must stay live until then, or until the ticket is dropped.
    pub(super) unsafe fn wait(&self, r: *mut ngx_http_request_t, resume: Resume) {
        let mut waiters = self.lookup.waiters.borrow_mut();
        let place = self.place.get().unwrap_or(waiters.len());
        match waiters.get_mut(place) {
            Some(waiter) => *waiter = Some((r, resume)),
            None => {
                self.place.set(Some(waiters.len()));
                waiters.push(Some((r, resume)));
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let place = self.place.get();
        let mut waiters = self.lookup.waiters.borrow_mut();
        if let Some(waiter) = place.and_then(|place| waiters.get_mut(place)) {
            *waiter = None;
        }
    }
}

/// The outcome of a lookup that failed.
pub(super) fn failed(failure: &Failure) -> Outcome {
    Outcome::Failed(failure.clone())
}
