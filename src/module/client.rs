//! A worker's side of a store: its connections, its lookups and their deadlines, the watch for
//! servers that are down.

use core::cell::{Cell, OnceCell, Ref, RefCell};
use core::ptr;
use std::collections::VecDeque;
use std::rc::Rc;

use nginx_sys::{
    ngx_event_t, ngx_exiting, ngx_log_t, ngx_random, ngx_resolver_t, NGX_LOG_ALERT, NGX_LOG_ERR,
    NGX_LOG_NOTICE, NGX_LOG_WARN,
};
use ngx::ngx_log_error;

use super::address::Target;
use super::connection::Connection;
use super::event::{now, Event};
use super::files;
use super::lookup::{failed, Lookup, Query};
use super::store::{Limits as StoreLimits, Store};
use super::throttle::Throttle;
use crate::policy::Status;
use crate::store::dialogue::Login;
use crate::store::error::Failure;
use crate::store::fetched::{Fetched, Ttl};
use crate::store::resp;
use crate::store::server_error::{Code, ServerError};
use crate::store::servers::{Probe, Servers, TriedSet, Went};

/// Lives as long as the worker.
pub(super) struct Client {
    /// For the log.
    store: String,
    targets: Vec<Target>,
    login: RefCell<Login>,
    password_file: Option<String>,
    /// When the password file was read last, in ms, and whether the log was told that it cannot be.
    password_read: Cell<Option<u64>>,
    said_unreadable: Cell<bool>,
    limits: StoreLimits,
    resolver: *mut ngx_resolver_t,
    log: *mut ngx_log_t,
    /// nginx's own lines about each failed connect would repeat what we say once.
    quiet_log: Box<ngx_log_t>,
    servers: RefCell<Servers>,
    connections: RefCell<Vec<Vec<Rc<Connection>>>>,
    pending: Cell<usize>,
    /// In the order of their deadlines, which is that of their beginnings.
    deadlines: RefCell<VecDeque<Rc<Lookup>>>,
    events: OnceCell<Events>,
    /// The servers know no `PEXPIRE … GT` (before Redis 7).
    no_longer: Cell<bool>,
    /// A refused touch was named in the log.
    said_untouched: Cell<bool>,
    /// By server: it takes no writes, as far as is known, and whether the log was told.
    read_only: RefCell<TriedSet>,
    said_read_only: RefCell<TriedSet>,
    unreadable: Throttle,
    seen: Seen,
}

/// Valid ids without a single session: a sign of a wrong prefix, version or database.
#[derive(Default)]
struct Seen {
    missing: Cell<u64>,
    found: Cell<bool>,
    log: Throttle,
}

/// A worker reads the password file again after this time at the earliest, in ms.
const REREAD_AFTER: u64 = 10_000;

/// So many before it is said.
const SUSPICIOUS: u64 = 500;

struct Events {
    deadline: Event,
    probe: Event,
}

impl Client {
    /// The client of a store in this worker.
    pub(super) fn start(store: &Store, log: *mut ngx_log_t) -> &'static Self {
        // SAFETY: a worker's log is a valid structure, which is copied.
        let mut quiet_log = Box::new(unsafe { log.read() });
        quiet_log.log_level = NGX_LOG_ALERT as usize;

        let client: &'static Self = Box::leak(Box::new(Self {
            store: store.name.clone(),
            targets: store.targets(),
            login: RefCell::new(store.login()),
            password_file: store.password_file.clone(),
            password_read: Cell::new(None),
            said_unreadable: Cell::new(false),
            limits: store.limits,
            resolver: store.resolver(),
            log,
            quiet_log,
            servers: RefCell::new(Servers::new(store.servers())),
            connections: RefCell::new(vec![Vec::new(); store.targets().len()]),
            pending: Cell::new(0),
            deadlines: RefCell::default(),
            events: OnceCell::new(),
            no_longer: Cell::new(false),
            said_untouched: Cell::new(false),
            read_only: RefCell::default(),
            said_read_only: RefCell::default(),
            unreadable: Throttle::default(),
            seen: Seen::default(),
        }));

        let data = ptr::from_ref(client).cast_mut().cast();
        let events = Events {
            deadline: Event::new(on_deadline, data, log),
            probe: Event::new(on_probe, data, log),
        };
        events.deadline.set_cancelable(true);
        events.probe.set_cancelable(true);
        let _ = client.events.set(events);
        client
    }

    pub(super) fn limits(&self) -> resp::Limits {
        resp::Limits { bulk: self.limits.max_size, other: self.limits.max_size.max(64 * 1024) }
    }

    pub(super) fn login(&self) -> Ref<'_, Login> {
        self.login.borrow()
    }

    pub(super) fn log(&self) -> *mut ngx_log_t {
        self.log
    }

    pub(super) fn quiet_log(&self) -> *mut ngx_log_t {
        ptr::from_ref(&*self.quiet_log).cast_mut()
    }

    pub(super) fn connect_timeout(&self) -> u64 {
        self.limits.connect_timeout
    }

    pub(super) fn target(&'static self, server: usize) -> &'static Target {
        &self.targets[server]
    }

    /// nginx's resolver and the time it may take, in ms.
    pub(super) fn resolver(&self) -> Option<(*mut ngx_resolver_t, u64)> {
        (!self.resolver.is_null()).then_some((self.resolver, self.limits.resolver_timeout))
    }

    /// How the log and `$session_redis_server` call a server.
    pub(super) fn server_name(&self, server: usize) -> &str {
        self.targets.get(server).map_or("", Target::name)
    }

    /// Begins a lookup. It may be done when this returns.
    pub(super) fn ask(&'static self, query: Query) -> Rc<Lookup> {
        let lookup = Lookup::new(query, now() + self.limits.timeout);
        self.pending.set(self.pending.get() + 1);
        if self.pending.get() > self.limits.max_pending {
            self.end(&lookup, failed(&Failure::QueueFull), None, None);
            return lookup;
        }
        match self.place(&lookup, &Failure::NoServer, false) {
            Ok(()) => self.watch(&lookup),
            Err(failure) => self.end(&lookup, failed(&failure), None, None),
        }
        lookup
    }

    /// Extends the life of a key that this server has answered for. Not sent where no server is up.
    pub(super) fn touch(&'static self, key: &[u8], ms: u64, answered: Option<usize>) {
        let asked = answered.filter(|&server| {
            !self.read_only.borrow().contains(server) && self.servers.borrow().is_server_up(server)
        });
        let picked = asked.or_else(|| self.pick(&TriedSet::default(), true));
        if let Some(Ok(connection)) = picked.map(|server| self.connection(server, false)) {
            connection.touch(key, ms, !self.no_longer.get());
        }
    }

    /// A server to ask; one to `write` to takes writes, if there is any such.
    fn pick(&self, tried: &TriedSet, write: bool) -> Option<usize> {
        let mut servers = self.servers.borrow_mut();
        let read_only = self.read_only.borrow();
        if write && !read_only.is_empty() {
            let mut avoided = tried.clone();
            avoided.insert_all(&read_only);
            if let Some(server) = servers.pick(&avoided) {
                return Some(server);
            }
        }
        servers.pick(tried)
    }

    /// Gives the lookup to a connection of a server that may be asked, `last` being what the last one
    /// said; `fresh`: to a connection that cannot have been closed as idle.
    fn place(
        &'static self,
        lookup: &Rc<Lookup>,
        last: &Failure,
        fresh: bool,
    ) -> Result<(), Failure> {
        let mut last = last.clone();
        loop {
            let picked = self.pick(&lookup.tried.borrow(), lookup.query.writes());
            let Some(server) = picked else {
                let known_down = !self.servers.borrow().is_up() && lookup.tries.get() == 0;
                return Err(if known_down && last == Failure::NoServer {
                    Failure::Down
                } else {
                    last
                });
            };
            match self.connection(server, fresh) {
                Ok(connection) => {
                    connection.ask(lookup);
                    return Ok(());
                }
                Err(failure) => {
                    self.server_failed(server, &failure);
                    lookup.tried.borrow_mut().insert(server);
                    lookup.tries.set(lookup.tries.get() + 1);
                    if lookup.tries.get() > self.limits.retry {
                        return Err(failure);
                    }
                    last = failure;
                }
            }
        }
    }

    /// The least loaded connection to a server, or a new one while there may be more; if it must be
    /// `fresh`, one that is not used yet.
    fn connection(&'static self, server: usize, fresh: bool) -> Result<Rc<Connection>, Failure> {
        let least = {
            let connections = self.connections.borrow();
            let open = connections.get(server).map_or(&[][..], Vec::as_slice);
            let fit = open.iter().filter(|connection| !fresh || !connection.is_used());
            let least = fit.min_by_key(|connection| connection.load());
            let is_full = open.len() >= self.limits.connections;
            least.filter(|least| fresh || is_full || least.load() == 0).map(Rc::clone)
        };
        match least {
            Some(connection) => Ok(connection),
            None => self.open(server, false),
        }
    }

    fn open(&'static self, server: usize, probe: bool) -> Result<Rc<Connection>, Failure> {
        let connection = Connection::open(self, server, probe)?;
        if let Some(open) = self.connections.borrow_mut().get_mut(server) {
            open.push(Rc::clone(&connection));
        }
        Ok(connection)
    }

    /// The connection is closed.
    pub(super) fn forget(&self, connection: &Rc<Connection>) {
        self.note_writable(connection.server());
        if let Some(open) = self.connections.borrow_mut().get_mut(connection.server()) {
            open.retain(|other| !Rc::ptr_eq(other, connection));
        }
    }

    /// A server has answered a lookup.
    pub(super) fn answer(
        &'static self,
        lookup: &Rc<Lookup>,
        fetched: Fetched<'static>,
        ttl: Option<Ttl>,
        server: usize,
    ) {
        self.end(lookup, fetched, ttl, Some(server));
    }

    /// A server has failed a lookup: another try where that is safe and allowed, else it fails. `same`: the
    /// same server may be asked again over a fresh connection.
    pub(super) fn try_again(
        &'static self,
        lookup: &Rc<Lookup>,
        failure: &Failure,
        server: usize,
        same: bool,
    ) {
        if let Some((connection, _)) = lookup.drop_carrier() {
            connection.release();
        }
        if !same {
            lookup.tried.borrow_mut().insert(server);
        }
        // The timeout may have been that of another lookup, which found the server stuck.
        let may = same
            || failure.is_retryable_on_other_server()
            || (*failure == Failure::Timeout && now() < lookup.deadline)
            || (failure.is_read_only() && lookup.query.writes());
        let tries = lookup.tries.replace(lookup.tries.get() + 1);
        let placed = match may && tries < self.limits.retry {
            true => self.place(lookup, failure, same),
            false => Err(failure.clone()),
        };
        if let Err(failure) = placed {
            self.end(lookup, failed(&failure), None, Some(server));
        }
    }

    /// Ends a lookup and goes on with the request that waits for it.
    fn end(
        &'static self,
        lookup: &Rc<Lookup>,
        fetched: Fetched<'static>,
        ttl: Option<Ttl>,
        server: Option<usize>,
    ) {
        if lookup.is_done() {
            return;
        }
        if let Some((connection, _)) = lookup.drop_carrier() {
            connection.release();
        }
        self.pending.set(self.pending.get().saturating_sub(1));
        if self.pending.get() == 0 {
            if let Some(events) = self.events.get() {
                events.deadline.set_cancelable(true);
            }
        }
        let waiter = lookup.finish(fetched, ttl, server);
        self.tidy_deadlines();
        if let Some((r, resume)) = waiter {
            // SAFETY: a request that goes away abandons its lookup; nothing is borrowed here.
            unsafe { resume(r) };
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
        if let Some(Events { deadline, .. }) = self.events.get() {
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
            let server = carrier.as_ref().map(|(connection, _)| connection.server());
            if let Some((connection, answered)) = carrier {
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
        if let (Some(next), Some(events)) = (next, self.events.get()) {
            events.deadline.arm(next.saturating_sub(now()));
        }
    }

    /// A server failed for its own sake.
    pub(super) fn server_failed(&'static self, server: usize, failure: &Failure) {
        let went = self.servers.borrow_mut().failed(server, now(), random());
        let Some(went) = went else { return };
        if let Went::Down { store } = went {
            let (name, server) = (&self.store, self.server_name(server));
            match store {
                true => {
                    ngx_log_error!(
                        NGX_LOG_ERR,
                        self.log,
                        "session store \"{name}\" is down: {failure}, server: {server}"
                    );
                }
                false => {
                    ngx_log_error!(
                        NGX_LOG_WARN,
                        self.log,
                        "a server of session store \"{name}\" is down: {failure}, server: {server}"
                    );
                }
            }
        }
        self.probe();
    }

    /// The server did not take the password: whether the file now has another one.
    pub(super) fn has_newer_password(&self, used: Option<&[u8]>) -> bool {
        if self.login.borrow().password.as_deref() != used {
            return true;
        }
        let Some(path) = &self.password_file else { return false };
        if self.password_read.get().is_some_and(|last| now() < last + REREAD_AFTER) {
            return false;
        }
        self.password_read.set(Some(now()));
        let name = &self.store;
        match files::reread_password(path) {
            Ok(Some(password)) if Some(password.as_slice()) != used => {
                self.login.borrow_mut().password = Some(password);
                ngx_log_error!(
                    NGX_LOG_NOTICE,
                    self.log,
                    "session store \"{name}\": password read again from \"{path}\""
                );
                true
            }
            Ok(_) => false,
            Err(error) => {
                if !self.said_unreadable.replace(true) {
                    ngx_log_error!(
                        NGX_LOG_WARN,
                        self.log,
                        "session store \"{name}\": \"{path}\" cannot be read again ({error}), \
                         a new password needs a reload"
                    );
                }
                false
            }
        }
    }

    /// Probes the server whose turn it is, or waits until then.
    fn probe(&'static self) {
        // SAFETY: nginx writes the variable on this thread only.
        if unsafe { ngx_exiting != 0 } {
            return;
        }
        let Some(events) = self.events.get() else { return };
        loop {
            let next = self.servers.borrow_mut().probe(now());
            match next {
                Probe::Nothing => return events.probe.disarm(),
                Probe::At(time) => return events.probe.arm(time.saturating_sub(now())),
                Probe::Now(server) => match self.open(server, true) {
                    Ok(_) => return events.probe.disarm(),
                    Err(_) => self.servers.borrow_mut().probe_failed(server, now(), random()),
                },
            }
        }
    }

    pub(super) fn probe_failed(&'static self, server: usize) {
        self.servers.borrow_mut().probe_failed(server, now(), random());
        self.probe();
    }

    pub(super) fn probe_succeeded(&'static self, server: usize) {
        self.close_spare(server);
        let went = self.servers.borrow_mut().probe_succeeded(server);
        if let Some(Went::Up { store }) = went {
            let (name, server) = (&self.store, self.server_name(server));
            let what = if store { "" } else { "a server of " };
            ngx_log_error!(
                NGX_LOG_NOTICE,
                self.log,
                "{what}session store \"{name}\" is back, server: {server}"
            );
        }
        self.probe();
    }

    /// The probe's connection stays: those left from before the server was down make room for it.
    fn close_spare(&'static self, server: usize) {
        let spare = {
            let connections = self.connections.borrow();
            let open = connections.get(server).map_or(&[][..], Vec::as_slice);
            let idle =
                open.iter().filter(|connection| connection.is_used() && connection.load() == 0);
            let count = open.len().saturating_sub(self.limits.connections);
            idle.take(count).map(Rc::clone).collect::<Vec<_>>()
        };
        spare.iter().for_each(Connection::retire);
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
        let open: Vec<_> = self.connections.borrow().iter().flatten().map(Rc::clone).collect();
        open.iter().for_each(Connection::retire);
        drop(open);
        // SAFETY: `start` leaked the box, and the caller vouches that this is its last use. Its events are
        // disarmed as they are dropped.
        drop(unsafe { Box::from_raw(ptr::from_ref(self).cast_mut()) });
    }

    /// Notes what became of a lookup.
    pub(super) fn note(&self, status: Status) {
        let Seen { missing, found, log } = &self.seen;
        match status {
            Status::Found | Status::Undecodable => found.set(true),
            Status::Missing if !found.get() => {
                missing.set(missing.get() + 1);
                if missing.get() >= SUSPICIOUS && log.count(now()).is_some() {
                    ngx_log_error!(
                        NGX_LOG_WARN,
                        self.log,
                        "session store \"{}\": {} valid ids, 0 sessions found in database {}: \
                         check prefix, version, database",
                        self.store,
                        missing.get(),
                        self.login.borrow().database
                    );
                }
            }
            _ => {}
        }
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

    /// Writes go elsewhere from now on, where there is an elsewhere.
    pub(super) fn note_read_only(&self, server: usize) {
        self.read_only.borrow_mut().insert(server);
        if !self.said_read_only.borrow().contains(server) {
            self.said_read_only.borrow_mut().insert(server);
            let (name, server) = (&self.store, self.server_name(server));
            ngx_log_error!(
                NGX_LOG_WARN,
                self.log,
                "session store \"{name}\": {server} is a read-only replica, touch, destroy and routes \
                 are not possible there"
            );
        }
    }

    /// The server took a write, or may be another one by now.
    pub(super) fn note_writable(&self, server: usize) {
        self.read_only.borrow_mut().remove(server);
    }

    /// A server did not extend the life of a key.
    pub(super) fn touch_refused(&self, server: usize, error: &ServerError, longer: bool) {
        if error.code() == Code::ReadOnly {
            self.note_read_only(server);
        } else if longer && (error.is_wrong_arity() || error.code() == Code::Err) {
            self.no_longer.set(true);
        } else if !self.said_untouched.replace(true) {
            let (name, server) = (&self.store, self.server_name(server));
            ngx_log_error!(
                NGX_LOG_WARN,
                self.log,
                "session store \"{name}\" does not extend the life of sessions: {error}, server: {server}"
            );
        }
    }
}

fn random() -> u32 {
    ngx_random() as u32
}

unsafe extern "C" fn on_deadline(event: *mut ngx_event_t) {
    // SAFETY: the event's data is a client, which lives as long as the worker.
    let client: &'static Client = unsafe { &*(*event).data.cast() };
    client.expire();
}

unsafe extern "C" fn on_probe(event: *mut ngx_event_t) {
    // SAFETY: as above.
    let client: &'static Client = unsafe { &*(*event).data.cast() };
    client.probe();
}
