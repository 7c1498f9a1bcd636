//! One question to a store and, once it is there, the answer.

use core::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nginx_sys::ngx_http_request_t;

use super::connection::Connection;
use crate::store::error::Failure;
use crate::store::fetched::{Fetched, Ttl};
use crate::store::servers::TriedSet;

/// What is asked.
pub(super) enum Query {
    /// The session, a string or a hash, and its remaining life if that matters.
    Fetch { key: Rc<[u8]>, hash: bool, ttl: bool },
    /// The end of the session, and of what is kept beside it.
    Delete { keys: Vec<Rc<[u8]>> },
}

impl Query {
    pub(super) fn writes(&self) -> bool {
        matches!(self, Self::Delete { .. })
    }

    /// The session's key; empty where there is none.
    pub(super) fn key(&self) -> &[u8] {
        match self {
            Self::Fetch { key, .. } => key,
            Self::Delete { keys } => keys.last().map_or(&[], |key| key),
        }
    }
}

/// What came of it.
pub(super) struct Answer {
    pub(super) fetched: Fetched<'static>,
    pub(super) ttl: Option<Ttl>,
    /// The server that answered, or failed last.
    pub(super) server: Option<usize>,
    pub(super) elapsed: Duration,
}

/// Goes on with a request that was suspended for a lookup.
pub(super) type Resume = unsafe fn(*mut ngx_http_request_t);

/// Shared between the request that asked, the connection that carries it and the queue of deadlines.
pub(super) struct Lookup {
    pub(super) query: Query,
    /// When it fails, in ms of nginx's clock.
    pub(super) deadline: u64,
    started: Instant,
    pub(super) tries: Cell<u32>,
    pub(super) tried: RefCell<TriedSet>,
    /// The connection that carries it, with the number of replies that this had given by then.
    carrier: RefCell<Option<(Rc<Connection>, u64)>>,
    /// The first of two replies.
    pub(super) value: RefCell<Option<Fetched<'static>>>,
    answer: RefCell<Option<Answer>>,
    done: Cell<bool>,
    waiter: Cell<Option<(*mut ngx_http_request_t, Resume)>>,
}

impl Lookup {
    pub(super) fn new(query: Query, deadline: u64) -> Rc<Self> {
        Rc::new(Self {
            query,
            deadline,
            started: Instant::now(),
            tries: Cell::new(0),
            tried: RefCell::default(),
            carrier: RefCell::new(None),
            value: RefCell::new(None),
            answer: RefCell::new(None),
            done: Cell::new(false),
            waiter: Cell::new(None),
        })
    }

    pub(super) fn is_done(&self) -> bool {
        self.done.get()
    }

    /// Sets who waits for the answer.
    ///
    /// # Safety
    /// `r` must stay live until the answer is there or `abandon` was called.
    pub(super) unsafe fn wait(&self, r: *mut ngx_http_request_t, resume: Resume) {
        self.waiter.set(Some((r, resume)));
    }

    /// The request is gone: the answer is read and dropped.
    pub(super) fn abandon(&self) {
        self.waiter.set(None);
    }

    /// The answer, once.
    pub(super) fn take_answer(&self) -> Option<Answer> {
        self.answer.borrow_mut().take()
    }

    pub(super) fn carry(&self, connection: &Rc<Connection>, answered: u64) {
        *self.carrier.borrow_mut() = Some((Rc::clone(connection), answered));
        *self.value.borrow_mut() = None;
    }

    /// Whether this connection carries it.
    pub(super) fn is_carried_by(&self, connection: &Rc<Connection>) -> bool {
        let carrier = self.carrier.borrow();
        carrier.as_ref().is_some_and(|(carrier, _)| Rc::ptr_eq(carrier, connection))
    }

    /// The connection that carries it and its number of replies then; it is carried no longer.
    pub(super) fn drop_carrier(&self) -> Option<(Rc<Connection>, u64)> {
        self.carrier.borrow_mut().take()
    }

    /// Ends the lookup. Returns who is to be resumed; nothing that the caller holds may be borrowed then.
    pub(super) fn finish(
        &self,
        fetched: Fetched<'static>,
        ttl: Option<Ttl>,
        server: Option<usize>,
    ) -> Option<(*mut ngx_http_request_t, Resume)> {
        self.done.set(true);
        let elapsed = self.started.elapsed();
        *self.answer.borrow_mut() = Some(Answer { fetched, ttl, server, elapsed });
        self.waiter.take()
    }
}

/// An answer for a lookup that failed.
pub(super) fn failed(failure: &Failure) -> Fetched<'static> {
    Fetched::Failed(failure.clone())
}
