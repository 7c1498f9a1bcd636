//! A worker's side of a store, whatever that is: its lookups, their deadlines, and what became of them.

use core::cell::{Cell, OnceCell, RefCell};
use core::ptr;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use foldhash::fast::RandomState;
use nginx_sys::{ngx_event_t, ngx_log_t, NGX_LOG_WARN};
use ngx::ngx_log_error;

use super::cluster::Cluster;
use super::connection::Connection;
use super::event::{now, Event};
use super::lookup::{failed, Carrier, Lookup, Query, Ticket, SHARED_WITHIN};
use super::near_cache::NearCache;
use super::routes::Routes;
use super::store::{Limits, Store};
use super::store_servers::StoreServers;
use super::throttle::Throttle;
use crate::cache::{CacheStatus, Origin};
use crate::policy::Status;
use crate::route::assignment::Spoilt;
use crate::store::error::Failure;
use crate::store::fetched::{Outcome, Ttl};
use crate::store::oversized::{Oversized, Way};

/// Lives as long as the worker.
pub(super) struct Client {
    /// For the log.
    store: String,
    /// Of a store that has several.
    database: Option<u32>,
    limits: Limits,
    log: *mut ngx_log_t,
    pending: Cell<usize>,
    /// In the order of their deadlines, which is that of their beginnings.
    deadlines: RefCell<VecDeque<Rc<Lookup>>>,
    /// The latest lookup of each key that is under way.
    flights: RefCell<HashMap<Rc<[u8]>, Rc<Lookup>, RandomState>>,
    rest: OnceCell<Rest>,
    cache: Option<NearCache>,
    unreadable: Throttle,
    oversized: RefCell<Oversized<'static>>,
    routes: Routes,
    seen: Seen,
}

/// What points back to the client.
struct Rest {
    backend: Backend,
    deadline: Event,
}

/// Who is asked.
#[derive(Clone, Copy)]
enum Backend {
    /// Servers, over connections on the event loop.
    Servers(&'static StoreServers),
    /// A Redis Cluster, in threads.
    Cluster(&'static Cluster),
}

/// Valid ids without a single session: a sign of a wrong prefix, version or database.
#[derive(Default)]
struct Seen {
    missing: Cell<u64>,
    found: Cell<bool>,
    log: Throttle,
}

/// A session that takes longer than this, in ms, is asked for its length before it is asked for once more. The answer
/// under way does not serve other requests any longer by then.
const SLOW: u64 = SHARED_WITHIN;

/// So many before it is said.
const SUSPICIOUS: u64 = 500;

impl Client {
    /// The client of a store in this worker.
    pub(super) fn start(
        store: &Store,
        oversized: Oversized<'static>,
        log: *mut ngx_log_t,
    ) -> &'static Self {
        let client: &'static Self = Box::leak(Box::new(Self {
            store: store.name.clone(),
            database: store.dialect().has_databases().then(|| store.login().database),
            limits: store.limits,
            log,
            pending: Cell::new(0),
            deadlines: RefCell::default(),
            flights: RefCell::default(),
            rest: OnceCell::new(),
            cache: store.cache.map(NearCache::new),
            unreadable: Throttle::default(),
            oversized: RefCell::new(oversized),
            routes: Routes::default(),
            seen: Seen::default(),
        }));
        let data = ptr::from_ref(client).cast_mut().cast();
        let rest = Rest {
            backend: Backend::start(store, client, log),
            deadline: Event::new(on_deadline, data, log),
        };
        rest.deadline.set_cancelable(true);
        let _ = client.rest.set(rest);
        client
    }

    fn backend(&self) -> Option<Backend> {
        self.rest.get().map(|rest| rest.backend)
    }

    /// How the log and `$session_redis_server` call a server.
    pub(super) fn server_name(&self, server: usize) -> Rc<str> {
        self.backend().map_or_else(|| "".into(), |backend| backend.name_of(server))
    }

    /// What the store said before, where that is kept.
    pub(super) fn cache(&self) -> Option<&NearCache> {
        self.cache.as_ref()
    }

    /// Begins a lookup, or joins one that is under way. It may be done when this returns.
    pub(super) fn ask(&'static self, query: Query) -> (Ticket, CacheStatus) {
        if let Some(lookup) = self.flight(&query) {
            return (Ticket::of(&lookup), CacheStatus::Shared);
        }
        let since = self.unanswered_since(&query);
        if since.is_some_and(|since| now() >= since + SLOW) {
            self.suspect(query.key());
        }
        let lookup = self.begin(query);
        if let Some(since) = since {
            lookup.since.set(since);
        }
        let key = match &lookup.query {
            Query::Fetch { key, .. } => Some(key),
            Query::Assign(write) => Some(&write.route),
            Query::Delete { .. } | Query::Drained { .. } => None,
        };
        if let (Some(key), false) = (key, lookup.is_done()) {
            self.flights.borrow_mut().insert(Rc::clone(key), Rc::clone(&lookup));
        }
        let cached = if self.cache.is_some() { CacheStatus::Miss } else { CacheStatus::Bypass };
        (Ticket::of(&lookup), cached)
    }

    /// A lookup under way that a query may share.
    fn flight(&self, query: &Query) -> Option<Rc<Lookup>> {
        let Query::Fetch { key, .. } = query else { return None };
        let flights = self.flights.borrow();
        flights.get(key).filter(|lookup| lookup.serves(query, now())).map(Rc::clone)
    }

    /// Since when the session of this key is asked for without an answer.
    fn unanswered_since(&self, query: &Query) -> Option<u64> {
        let Query::Fetch { key, .. } = query else { return None };
        self.flights.borrow().get(key).filter(|lookup| !lookup.is_done()).map(|it| it.since.get())
    }

    /// Whether something is asked or written of this key.
    pub(super) fn is_under_way(&self, key: &[u8]) -> bool {
        self.flights.borrow().contains_key(key)
    }

    /// How the store takes assignments of sessions to servers.
    pub(super) fn routes(&self) -> &Routes {
        &self.routes
    }

    fn begin(&'static self, query: Query) -> Rc<Lookup> {
        let lookup = Lookup::new(query, now(), now() + self.limits.timeout);
        self.pending.set(self.pending.get() + 1);
        if self.pending.get() > self.limits.max_pending {
            self.end(&lookup, failed(&Failure::QueueFull), None, None);
            return lookup;
        }
        if let Query::Fetch { key, .. } = &lookup.query {
            if let Way::Not(bytes) = self.way_to_ask(key) {
                self.end(&lookup, Outcome::TooLarge(bytes), None, None);
                return lookup;
            }
        }
        let placed = match self.backend() {
            Some(backend) => backend.place(&lookup),
            None => Err(Failure::NoServer),
        };
        match placed {
            Ok(()) => self.watch(&lookup),
            Err(failure) => self.end(&lookup, failed(&failure), None, None),
        }
        lookup
    }

    /// A key holds this many bytes, more than is read of it.
    pub(super) fn note_size(&self, key: &[u8], bytes: u64) {
        self.oversized.borrow_mut().note(key, bytes, now());
    }

    /// A key was asked for when its server fell silent.
    pub(super) fn suspect(&self, key: &[u8]) {
        self.oversized.borrow_mut().suspect(key, now());
    }

    /// A key is not too large, whatever was thought of it.
    pub(super) fn clear_of_size(&self, key: &[u8]) {
        self.oversized.borrow_mut().clear(key);
    }

    /// How to ask for a key.
    pub(super) fn way_to_ask(&self, key: &[u8]) -> Way {
        self.oversized.borrow().way(key, now())
    }

    /// Extends the life of a key that this server has answered for; nobody waits for it.
    pub(super) fn touch(&self, key: &[u8], ms: u64, answered: Option<usize>) {
        if let Some(cache) = &self.cache {
            cache.forget(key);
        }
        if let Some(backend) = self.backend() {
            backend.touch(key, ms, answered);
        }
    }

    /// Ends a lookup with what a server has said of it, and keeps that for others.
    pub(super) fn answer(
        &'static self,
        lookup: &Rc<Lookup>,
        outcome: Outcome,
        ttl: Option<Ttl>,
        server: usize,
        origin: &Origin,
    ) {
        if let Some(cache) = &self.cache {
            cache.keep(lookup, &outcome, ttl, server, origin);
        }
        if let Query::Assign(_) = lookup.query {
            self.routes.written();
        }
        self.end(lookup, outcome, ttl, Some(server));
    }

    /// Ends a lookup and goes on with the requests that wait for it.
    pub(super) fn end(
        &'static self,
        lookup: &Rc<Lookup>,
        outcome: Outcome,
        ttl: Option<Ttl>,
        server: Option<usize>,
    ) {
        if lookup.is_done() {
            return;
        }
        if let Some(carrier) = lookup.drop_carrier() {
            carrier.connection.release();
        }
        self.land(lookup);
        if let Outcome::Failed(failure) = &outcome {
            let server = server.map_or_else(|| "none".into(), |server| self.server_name(server));
            self.routes.failed(self.log, &self.store, &server, &lookup.query, failure);
        }
        self.pending.set(self.pending.get().saturating_sub(1));
        if self.pending.get() == 0 {
            if let Some(rest) = self.rest.get() {
                rest.deadline.set_cancelable(true);
            }
        }
        lookup.finish(outcome, ttl, server);
        self.tidy_deadlines();
        while let Some((r, resume)) = lookup.next_waiter() {
            // SAFETY: a request that goes away drops its ticket; nothing is borrowed here.
            unsafe { resume(r) };
        }
    }

    /// Nobody may share the lookup any more, nor one whose session it has ended.
    fn land(&self, lookup: &Rc<Lookup>) {
        let mut flights = self.flights.borrow_mut();
        match &lookup.query {
            Query::Fetch { key, .. } => {
                let latest = flights.remove(key).filter(|latest| !Rc::ptr_eq(latest, lookup));
                if let Some(latest) = latest {
                    flights.insert(Rc::clone(key), latest);
                }
            }
            Query::Delete { keys } => {
                for key in keys {
                    flights.remove(key);
                    self.oversized.borrow_mut().clear(key);
                    if let Some(cache) = &self.cache {
                        cache.forget(key);
                    }
                }
            }
            Query::Assign(write) => {
                flights.remove(&write.route);
                if let Some(cache) = &self.cache {
                    cache.forget(&write.route);
                }
            }
            Query::Drained { .. } => {}
        }
    }

    /// Takes finished lookups off the front of the deadlines.
    fn tidy_deadlines(&self) {
        let mut deadlines = self.deadlines.borrow_mut();
        while deadlines.front().is_some_and(|lookup| lookup.is_done()) {
            deadlines.pop_front();
        }
    }

    /// Sees to it that the lookup ends in time, and that an exiting worker waits for it.
    fn watch(&self, lookup: &Rc<Lookup>) {
        if lookup.is_done() {
            return;
        }
        self.deadlines.borrow_mut().push_back(Rc::clone(lookup));
        if let Some(Rest { deadline, .. }) = self.rest.get() {
            deadline.set_cancelable(false);
            if !deadline.is_armed() {
                deadline.arm(self.limits.timeout);
            }
        }
    }

    /// Fails the lookups whose time is up, and the connections that are stuck.
    fn expire(&'static self) {
        let mut expired = Vec::new();
        let mut deadlines = self.deadlines.borrow_mut();
        while let Some(lookup) = deadlines.front() {
            if !lookup.is_done() && lookup.deadline > now() {
                break;
            }
            expired.extend(deadlines.pop_front().filter(|lookup| !lookup.is_done()));
        }
        drop(deadlines);

        let mut carriers: Vec<(Rc<Connection>, bool)> = Vec::new();
        for lookup in expired {
            let carrier = lookup.drop_carrier();
            let server = carrier.as_ref().map(|carrier| carrier.connection.server());
            if let Some(Carrier { connection, answered, .. }) = carrier {
                connection.release();
                let stuck = connection.is_stuck(answered, self.limits.timeout);
                match carriers.iter_mut().find(|(other, _)| Rc::ptr_eq(other, &connection)) {
                    Some((_, known)) => *known |= stuck,
                    None => carriers.push((connection, stuck)),
                }
            }
            self.end(&lookup, failed(&Failure::Timeout), None, server);
        }
        for (connection, stuck) in carriers {
            match stuck {
                true => connection.fail(&Failure::Timeout),
                false => connection.close_if_exiting(),
            }
        }

        let next = self.deadlines.borrow().front().map(|lookup| lookup.deadline);
        if let (Some(next), Some(rest)) = (next, self.rest.get()) {
            rest.deadline.arm(next.saturating_sub(now()));
        }
    }

    /// The worker waits for lookups no longer: all fail.
    pub(super) fn give_up(&'static self) {
        let lookups: Vec<_> = self.deadlines.borrow_mut().drain(..).collect();
        for lookup in lookups {
            self.end(&lookup, failed(&Failure::Timeout), None, None);
        }
    }

    /// The worker leaves: closes all connections, and frees the client. Lookups that are under way then stay
    /// unanswered.
    ///
    /// # Safety
    /// Nothing may use the client from now on: nginx runs no events and no requests any more.
    pub(super) unsafe fn stop(&'static self) {
        // SAFETY: `start` leaked the box, and the caller vouches that this is the last use of the client and of
        // what points back to it. Its events are disarmed as they are dropped.
        unsafe {
            if let Some(backend) = self.backend() {
                backend.stop();
            }
            drop(Box::from_raw(ptr::from_ref(self).cast_mut()));
        }
    }

    /// Notes what became of a lookup.
    pub(super) fn note(&self, status: Status) {
        let Seen { missing, found, log } = &self.seen;
        match status {
            Status::Found | Status::Undecodable => found.set(true),
            Status::Missing if !found.get() => {
                missing.set(missing.get() + 1);
                if missing.get() >= SUSPICIOUS && log.count(now()).is_some() {
                    let (place, check) = match self.database {
                        Some(number) => (format!(" in database {number}"), ", database"),
                        None => (String::new(), ""),
                    };
                    ngx_log_error!(
                        NGX_LOG_WARN,
                        self.log,
                        "session store \"{}\": {} valid ids, 0 sessions found{place}: \
                         check prefix, version{check}",
                        self.store,
                        missing.get()
                    );
                }
            }
            _ => {}
        }
    }

    /// What stood in place of an assignment was none.
    pub(super) fn note_spoilt_route(&self, spoilt: Spoilt) {
        self.routes.note_spoilt(self.log, &self.store, spoilt);
    }

    /// Says why a session could not be read, at most once a minute.
    pub(super) fn note_unreadable(&self, why: &dyn core::fmt::Display) {
        if let Some(count) = self.unreadable.count(now()) {
            ngx_log_error!(
                NGX_LOG_WARN,
                self.log,
                "session store \"{}\": {why}; {count} sessions not read",
                self.store
            );
        }
    }
}

impl Backend {
    fn start(store: &Store, client: &'static Client, log: *mut ngx_log_t) -> Self {
        match &store.cluster {
            None => Self::Servers(StoreServers::start(store, client, log)),
            Some(nodes) => Self::Cluster(Cluster::start(store, nodes, client, log)),
        }
    }

    /// How the log calls a server.
    fn name_of(self, server: usize) -> Rc<str> {
        match self {
            Self::Servers(servers) => servers.name_of(server),
            Self::Cluster(cluster) => cluster.name_of(server),
        }
    }

    /// Gives a lookup to who may be asked. It may be done when this returns.
    fn place(self, lookup: &Rc<Lookup>) -> Result<(), Failure> {
        match self {
            Self::Servers(servers) => servers.place(lookup, &Failure::NoServer, false),
            Self::Cluster(cluster) => cluster.place(lookup),
        }
    }

    fn touch(self, key: &[u8], ms: u64, answered: Option<usize>) {
        match self {
            Self::Servers(servers) => servers.touch(key, ms, answered),
            Self::Cluster(cluster) => cluster.touch(key, ms),
        }
    }

    /// # Safety
    /// As for `Client::stop`.
    unsafe fn stop(self) {
        // SAFETY: the caller vouches for it.
        unsafe {
            match self {
                Self::Servers(servers) => servers.stop(),
                Self::Cluster(cluster) => cluster.stop(),
            }
        }
    }
}

unsafe extern "C" fn on_deadline(event: *mut ngx_event_t) {
    // SAFETY: the event's data is a client, which lives as long as the worker.
    let client: &'static Client = unsafe { &*(*event).data.cast() };
    client.expire();
}
