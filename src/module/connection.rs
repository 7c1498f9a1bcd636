//! One pipelined connection to a server of a store, on nginx's event loop.

use core::cell::{Cell, RefCell};
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr;
use std::collections::VecDeque;
use std::rc::Rc;

use nginx_sys::{
    getsockopt, ngx_add_timer, ngx_close_connection, ngx_connection_t, ngx_del_timer, ngx_errno,
    ngx_event_connect_peer, ngx_event_get_peer, ngx_event_t, ngx_exiting, ngx_handle_read_event,
    ngx_handle_write_event, ngx_int_t, ngx_msec_t, ngx_peer_connection_t, ngx_post_event,
    ngx_posted_events, ngx_posted_next_events, ngx_resolve_name_done, ngx_resolver_ctx_t,
    ngx_set_errno, ngx_str_t, ngx_tcp_nodelay, socklen_t, NGX_AGAIN, NGX_ERROR, NGX_OK, SOL_SOCKET,
    SO_ERROR,
};

use super::address::{SocketAddress, Target};
use super::event::{now, time_of_day, Event};
use super::lookup::{Carrier, Lookup, Query};
use super::resolver;
use super::store_servers::StoreServers;
use super::tls::TlsLink;
use crate::cache::Origin;
use crate::route::write::written;
use crate::store::ability::Feature;
use crate::store::command;
use crate::store::dialect::{Dialogue, Reader, Reply};
use crate::store::error::{Failure, Step};
use crate::store::fetched::{Changed, Fetched, Outcome, Ttl};
use crate::store::role::{classify_role, Role};
use crate::store::tls::TlsFailure;

/// Bytes read at once.
const READ: usize = 32 * 1024;
/// Reads in one turn of the loop, so that one large value does not hold up the worker.
const READS: usize = 8;
/// How often a connection is looked after, in ms: one that is dead without a sign tells of no change.
const PING_EVERY: u64 = 1000;
/// An output buffer larger than this is given back once it is empty.
const SPARE: usize = 64 * 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Resolving,
    Connecting,
    /// TLS is agreed on, before anything is said.
    Securing,
    Handshake,
    Ready,
    Closed,
}

/// What a reply is for.
enum Slot {
    /// The assignment of the session whose value is next.
    Route(Rc<Lookup>),
    Value(Rc<Lookup>),
    Ttl(Rc<Lookup>),
    /// Of what is no session. Of keys that are deleted one by one, only the last one's reply ends the lookup.
    Done {
        lookup: Rc<Lookup>,
        last: bool,
    },
    /// Whether the server is still there.
    Pinged,
    /// A touch; `longer` when it was sent in the form that never shortens.
    Touched {
        longer: bool,
    },
    /// What the server is, asked for when it does not do as a Redis does.
    Role,
}

/// Kept by the list of its server while it is open, and by the lookups that it carries.
pub(super) struct Connection {
    servers: &'static StoreServers,
    server: usize,
    target: Rc<Target>,
    /// Opened to see whether the server is back.
    probe: Cell<bool>,
    state: Cell<State>,
    link: Cell<*mut ngx_connection_t>,
    tls: Option<Rc<TlsLink>>,
    /// The server has said something.
    heard: Cell<bool>,
    pub(super) resolving: Cell<*mut ngx_resolver_ctx_t>,
    /// Why an address that the resolver had at hand could not be connected to.
    pub(super) unresolved: RefCell<Option<Failure>>,
    dialogue: RefCell<Option<Dialogue>>,
    /// The one that it logged in with.
    password: RefCell<Option<Vec<u8>>>,
    /// Commands not yet written; those of a handshake are written before.
    output: RefCell<Output>,
    reader: RefCell<Reader>,
    slots: RefCell<VecDeque<Slot>>,
    /// Replies to commands so far.
    answered: Cell<u64>,
    /// Commands that were written so far, those with a reply included.
    written: Cell<u64>,
    /// It was open before it carried what it carries, and may have been closed as idle.
    used: Cell<bool>,
    /// Other addresses of the server, tried if this one does not take the connection.
    alternatives: RefCell<Vec<SocketAddress>>,
    /// When a lookup timed out, in ms, if none was answered in time since.
    late_since: Cell<Option<u64>>,
    /// Lookups carried that somebody may wait for.
    waiting: Cell<usize>,
    flush: RefCell<Option<Event>>,
    /// Of what it reads, where changes are told.
    origin: RefCell<Origin>,
    /// Looks whether it is still there while anything that it has read is kept.
    watch_event: RefCell<Option<Event>>,
    /// A ping is not answered yet.
    pinged: Cell<bool>,
}

#[derive(Default)]
struct Output {
    handshake: Vec<u8>,
    commands: Vec<u8>,
    /// Bytes of the first non-empty buffer that are written already.
    sent: usize,
}

impl Connection {
    /// Begins to connect. Fails at once where the system does.
    pub(super) fn open(
        servers: &'static StoreServers,
        server: usize,
        probe: bool,
    ) -> Result<Rc<Self>, Failure> {
        let target = servers.target(server).ok_or(Failure::NoServer)?;
        let link = |tls| TlsLink::new(tls, target.name(), servers.quiet_log());
        let tls = servers.tls().map(link);
        let connection = Rc::new(Self {
            servers,
            server,
            target,
            probe: Cell::new(probe),
            state: Cell::new(State::Resolving),
            link: Cell::new(ptr::null_mut()),
            tls,
            heard: Cell::new(false),
            resolving: Cell::new(ptr::null_mut()),
            unresolved: RefCell::new(None),
            dialogue: RefCell::new(None),
            password: RefCell::new(None),
            output: RefCell::default(),
            reader: RefCell::new(servers.dialect().reader(servers.limits())),
            slots: RefCell::default(),
            answered: Cell::new(0),
            written: Cell::new(0),
            used: Cell::new(false),
            alternatives: RefCell::default(),
            late_since: Cell::new(None),
            waiting: Cell::new(0),
            flush: RefCell::new(None),
            origin: RefCell::default(),
            watch_event: RefCell::new(None),
            pinged: Cell::new(false),
        });
        let data = Rc::as_ptr(&connection).cast_mut().cast::<c_void>();
        *connection.flush.borrow_mut() = Some(Event::new(on_flush, data, servers.log()));
        if servers.client().cache().is_some() {
            let watch = Event::new(on_watch, data, servers.log());
            watch.set_cancelable(true);
            *connection.watch_event.borrow_mut() = Some(watch);
        }
        match connection.target() {
            Target::Address(address) => connection.connect(address)?,
            Target::Name(name) => resolver::begin(&connection, servers, name)?,
        }
        Ok(connection)
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn server(&self) -> usize {
        self.server
    }

    /// Whether its name was neither resolved nor found to have no address.
    pub(super) fn is_resolving(&self) -> bool {
        self.state.get() == State::Resolving && self.unresolved.borrow().is_none()
    }

    pub(super) fn is_open(&self) -> bool {
        self.state.get() != State::Closed
    }

    /// Whether it has served before, so that the server may have closed it as idle.
    pub(super) fn is_used(&self) -> bool {
        self.used.get()
    }

    /// Lookups under way on it.
    pub(super) fn load(&self) -> usize {
        self.slots.borrow().len()
    }

    /// Connects to the first of these addresses that takes it, beginning at the last.
    pub(super) fn connect_to_any(
        self: &Rc<Self>,
        addresses: Vec<SocketAddress>,
    ) -> Result<(), Failure> {
        *self.alternatives.borrow_mut() = addresses;
        self.connect_elsewhere(Failure::Unresolved)
    }

    /// The next address, if there is one; else `last` is why the server cannot be reached.
    fn connect_elsewhere(self: &Rc<Self>, mut last: Failure) -> Result<(), Failure> {
        loop {
            let next = self.alternatives.borrow_mut().pop();
            let Some(address) = next else { return Err(last) };
            match self.connect(&address) {
                Ok(()) => return Ok(()),
                Err(failure) => last = failure,
            }
        }
    }

    /// An address did not take the connection.
    fn connect_failed(self: &Rc<Self>, failure: Failure) {
        self.close_link();
        if let Err(failure) = self.connect_elsewhere(failure) {
            self.fail(&failure);
        }
    }

    /// Connects to an address.
    fn connect(self: &Rc<Self>, address: &SocketAddress) -> Result<(), Failure> {
        // SAFETY: all zeroes are a valid, unconnected peer.
        let mut peer: ngx_peer_connection_t = unsafe { core::mem::zeroed() };
        let mut name =
            ngx_str_t { len: address.name.len(), data: address.name.as_ptr().cast_mut() };
        peer.sockaddr = address.as_ptr();
        peer.socklen = address.len();
        peer.name = &mut name;
        peer.get = Some(ngx_event_get_peer);
        peer.log = self.tls.as_ref().map_or(self.servers.quiet_log(), |tls| tls.log());

        self.state.set(State::Connecting);
        ngx_set_errno(0);
        // SAFETY: the peer and what it points to outlive the call, which keeps none of it.
        let rc = unsafe { ngx_event_connect_peer(&mut peer) };
        let Some(link) = ptr::NonNull::new(peer.connection)
            .filter(|_| rc == NGX_OK as ngx_int_t || rc == NGX_AGAIN as ngx_int_t)
        else {
            return Err(Failure::Connect(ngx_errno()));
        };

        let link = link.as_ptr();
        self.link.set(link);
        // SAFETY: nginx gave us the connection; its events live as long. This object is freed only
        // after `close` has given the connection back.
        unsafe {
            (*link).data = Rc::as_ptr(self).cast_mut().cast();
            (*(*link).read).handler = Some(on_read);
            (*(*link).write).handler = Some(on_write);
            (*link).set_idle(1);
            // What a turn of the loop sends does not wait for the replies to the one before. (No matter of Unix sockets.)
            ngx_tcp_nodelay(link);
            // A worker that is exiting waits for lookups, by their deadline, not for a connect.
            (*(*link).write).set_cancelable(1);
            ngx_add_timer((*link).write, self.servers.connect_timeout() as ngx_msec_t);
        }
        self.note_waiting();
        match (rc == NGX_OK as ngx_int_t, &self.tls) {
            (true, None) => self.log_in(),
            // Whoever opens the connection is not called back within the call.
            // SAFETY: the connection is open; closing it takes the event out of the queue.
            (true, Some(_)) => unsafe {
                ngx_post_event((*link).write, &raw mut ngx_posted_events);
            },
            (false, _) => {}
        }
        Ok(())
    }

    /// An address has taken the connection.
    fn connected(self: &Rc<Self>) {
        let Some(tls) = &self.tls else { return self.log_in() };
        self.state.set(State::Securing);
        // SAFETY: the connection is open, and was opened with this log.
        match unsafe { tls.begin(self.link.get()) } {
            Ok(()) => self.secure(),
            Err(failure) => self.connect_failed(failure),
        }
    }

    /// Goes on with the handshake of TLS.
    fn secure(self: &Rc<Self>) {
        let (Some(tls), link) = (&self.tls, self.link.get()) else { return };
        // SAFETY: the connection is open, and its handshake has begun. nginx would go on with it by handlers of
        // its own; ours look for the end of the worker too.
        let secured = unsafe {
            let secured = tls.shake_hands(link);
            (*(*link).read).handler = Some(on_read);
            (*(*link).write).handler = Some(on_write);
            secured
        };
        match secured {
            Ok(false) => {}
            Ok(true) => {
                self.log_in();
                // What came with the end of the handshake is in OpenSSL's buffer, of which no event tells.
                self.read_or_fail();
            }
            Err(failure) => self.connect_failed(failure),
        }
    }

    /// Says who we are.
    fn log_in(self: &Rc<Self>) {
        let mut output = self.output.borrow_mut();
        let login = self.servers.login();
        let dialect = self.servers.dialect();
        let dialogue = dialect.greet(&login, self.probe.get(), &mut output.handshake);
        *self.password.borrow_mut() = login.password;
        drop(output);
        self.state.set(State::Handshake);
        *self.dialogue.borrow_mut() = Some(dialogue);
        self.end_handshake();
        self.post_flush();
    }

    fn awaits_greeting(&self) -> bool {
        self.dialogue.borrow().as_ref().is_some_and(Dialogue::awaits_reply)
    }

    /// Goes on to lookups if the handshake is over.
    fn end_handshake(self: &Rc<Self>) {
        let is_done = self.dialogue.borrow().as_ref().is_some_and(Dialogue::is_done);
        if is_done && !self.awaits_greeting() {
            self.servers.answered(Feature::Name);
        }
        if !is_done || self.state.get() != State::Handshake {
            return;
        }
        if self.dialogue.borrow().as_ref().is_some_and(Dialogue::tracks) {
            self.servers.answered(Feature::Tracking);
            *self.origin.borrow_mut() = Origin::watched();
        }
        self.state.set(State::Ready);
        self.stop_timer();
        self.post_flush();
        if self.probe.replace(false) {
            self.servers.probe_succeeded(self.server);
            self.used.set(true);
        }
        if let Some(watch) = self.servers.watched_by() {
            watch.ready(self);
        }
    }

    /// Sends something else than a lookup with the next flush.
    pub(super) fn say(&self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.output.borrow_mut().commands);
        self.post_flush();
    }

    /// Sends the commands of a lookup with the next flush.
    pub(super) fn ask(self: &Rc<Self>, lookup: &Rc<Lookup>) {
        let dialect = self.servers.dialect();
        let mut output = self.output.borrow_mut();
        let mut slots = self.slots.borrow_mut();
        match &lookup.query {
            Query::Fetch { key, hash, ttl, route } => {
                if let Some(route) = route {
                    dialect.fetch(&mut output.commands, route, false);
                    slots.push_back(Slot::Route(Rc::clone(lookup)));
                }
                dialect.fetch(&mut output.commands, key, *hash);
                slots.push_back(Slot::Value(Rc::clone(lookup)));
                if *ttl && self.servers.may_have(Feature::Life) {
                    dialect.life(&mut output.commands, key);
                    slots.push_back(Slot::Ttl(Rc::clone(lookup)));
                }
            }
            Query::Delete { keys } => {
                let keys: Vec<&[u8]> = keys.iter().map(|key| &**key).collect();
                let replies = dialect.delete(&mut output.commands, &keys);
                slots.extend(
                    (1..=replies).map(|reply| Slot::Done {
                        lookup: Rc::clone(lookup),
                        last: reply == replies,
                    }),
                );
            }
            Query::Assign(write) => {
                write.command(&mut output.commands);
                slots.push_back(Slot::Done { lookup: Rc::clone(lookup), last: true });
            }
            Query::Drained { key, .. } => {
                command::smembers(&mut output.commands, key);
                slots.push_back(Slot::Done { lookup: Rc::clone(lookup), last: true });
            }
        }
        drop((output, slots));
        let (answered, asked) = (self.answered.get(), self.slots.borrow().len() as u64);
        let commands = answered + asked;
        lookup.carry(Carrier { connection: Rc::clone(self), answered, commands });
        self.waiting.set(self.waiting.get() + 1);
        self.note_waiting();
        self.post_flush();
    }

    /// Extends the life of a key, which nobody waits for.
    pub(super) fn touch(self: &Rc<Self>, key: &[u8], ms: u64, longer: bool) {
        let dialect = self.servers.dialect();
        let longer = longer && dialect.has_longer() && self.servers.may_have(Feature::Longer);
        let mut output = self.output.borrow_mut();
        let asked = dialect.touch(&mut output.commands, key, ms, longer, time_of_day());
        drop(output);
        if asked {
            self.slots.borrow_mut().push_back(Slot::Touched { longer });
            self.post_flush();
        }
    }

    /// Whether so many of its commands were written.
    pub(super) fn has_written(&self, commands: u64) -> bool {
        self.written.get() >= commands
    }

    /// A lookup timed out that was asked when the connection had given `answered` replies. Whether the
    /// connection is stuck: no reply at all has come since, or none in time for as long as another timeout,
    /// be it that the server is too slow or that it owes us a reply for good.
    pub(super) fn is_stuck(&self, answered: u64, timeout: u64) -> bool {
        let since = self.late_since.get().unwrap_or(now());
        self.late_since.set(Some(since));
        self.is_open() && (self.answered.get() == answered || now() >= since + timeout)
    }

    /// A lookup that it carried has been answered or given up.
    pub(super) fn release(self: &Rc<Self>) {
        self.waiting.set(self.waiting.get().saturating_sub(1));
        self.note_waiting();
    }

    /// Tells nginx whether the connection is idle: one that is may be closed when the worker exits.
    fn note_waiting(&self) {
        if let Some(link) = ptr::NonNull::new(self.link.get()) {
            // SAFETY: the connection is ours until `close`.
            unsafe { (*link.as_ptr()).set_idle((self.waiting.get() == 0).into()) };
        }
    }

    fn post_flush(&self) {
        if !matches!(self.state.get(), State::Handshake | State::Ready) {
            return;
        }
        if let Some(flush) = &*self.flush.borrow() {
            flush.post();
        }
    }

    fn write(self: &Rc<Self>) -> Result<(), Failure> {
        let link = self.link.get();
        let ready = self.state.get() == State::Ready;
        let Some(link) = ptr::NonNull::new(link).map(ptr::NonNull::as_ptr) else { return Ok(()) };
        let mut output = self.output.borrow_mut();
        let Output { handshake, commands, sent } = &mut *output;

        for (buffer, may) in [(handshake, true), (commands, ready)] {
            if !may || buffer.is_empty() {
                continue;
            }
            while *sent < buffer.len() {
                // SAFETY: the connection is open; `send` reads the bytes during the call only.
                let n = unsafe {
                    let Some(send) = (*link).send else { return Err(Failure::Closed) };
                    send(link, buffer.as_mut_ptr().add(*sent), buffer.len() - *sent)
                };
                match usize::try_from(n) {
                    Ok(n) if n > 0 => *sent += n,
                    _ if n == NGX_AGAIN as isize => {
                        // SAFETY: the connection is open.
                        let rc = unsafe { ngx_handle_write_event((*link).write, 0) };
                        return match rc == NGX_OK as ngx_int_t {
                            true => Ok(()),
                            false => Err(Failure::Broken(ngx_errno())),
                        };
                    }
                    _ => return Err(self.broken()),
                }
            }
            *sent = 0;
            buffer.clear();
            buffer.shrink_to(SPARE);
        }
        if ready {
            self.written.set(self.answered.get() + self.slots.borrow().len() as u64);
        }
        Ok(())
    }

    fn read_or_fail(self: &Rc<Self>) {
        if let Err(failure) = self.read() {
            self.fail(&failure);
        }
    }

    /// Reads what is there and hands it out. May run requests, and so end with the connection closed.
    fn read(self: &Rc<Self>) -> Result<(), Failure> {
        for _ in 0..READS {
            let Some(link) = ptr::NonNull::new(self.link.get()) else { return Ok(()) };
            let link = link.as_ptr();
            let mut buffer = [const { MaybeUninit::<u8>::uninit() }; READ];
            // SAFETY: the connection is open; `recv` writes at most READ bytes to the buffer.
            let n = unsafe {
                let Some(recv) = (*link).recv else { return Err(Failure::Closed) };
                recv(link, buffer.as_mut_ptr().cast(), READ)
            };
            match usize::try_from(n) {
                Ok(0) => return Err(Failure::Closed),
                Ok(n) => {
                    self.heard.set(true);
                    // SAFETY: `recv` has written n bytes.
                    let input = unsafe { core::slice::from_raw_parts(buffer.as_ptr().cast(), n) };
                    self.digest(input)?;
                }
                Err(_) if n == NGX_AGAIN as isize => {
                    // SAFETY: the connection is open.
                    let rc = unsafe { ngx_handle_read_event((*link).read, 0) };
                    return match rc == NGX_OK as ngx_int_t {
                        true => Ok(()),
                        false => Err(Failure::Broken(ngx_errno())),
                    };
                }
                Err(_) => return Err(self.broken()),
            }
        }
        if let Some(link) = ptr::NonNull::new(self.link.get()) {
            // SAFETY: the connection is open; closing it takes the event out of the queue.
            unsafe { ngx_post_event((*link.as_ptr()).read, &raw mut ngx_posted_next_events) };
        }
        Ok(())
    }

    /// Why reading or writing failed.
    fn broken(&self) -> Failure {
        let errno = ngx_errno();
        let by_tls = self.tls.as_ref().and_then(|tls| tls.broke(self.heard.get()));
        by_tls.unwrap_or(Failure::Broken(errno))
    }

    fn digest(self: &Rc<Self>, mut input: &[u8]) -> Result<(), Failure> {
        while self.is_open() {
            let reply = self.reader.borrow_mut().next(&mut input)?;
            match reply {
                None => return Ok(()),
                Some(reply) if reply.is_push() => self.told(reply),
                Some(reply) if self.awaits_greeting() => {
                    if let Some(dialogue) = &mut *self.dialogue.borrow_mut() {
                        dialogue.take(reply)?;
                    }
                    self.end_handshake();
                }
                Some(reply) => self.hand_out(reply)?,
            }
        }
        Ok(())
    }

    /// The server says something unasked.
    fn told(&self, push: Reply<'_>) {
        let (Some(changed), Some(cache)) = (push.changed(), self.servers.client().cache()) else {
            return;
        };
        cache.changed(&changed);
        // Of all lookups under way only the first may have been answered in part, and so before the change.
        let slots = self.slots.borrow();
        let (lookup, has_value) = match slots.front() {
            Some(Slot::Value(lookup)) => (lookup, false),
            Some(Slot::Ttl(lookup)) => (lookup, true),
            _ => return,
        };
        let is_changed = |key: &[u8]| match &changed {
            Changed::All => true,
            Changed::Keys(keys) => keys.iter().any(|changed| changed == key),
        };
        if has_value && is_changed(lookup.query.key()) {
            lookup.outdated.set(true);
        }
        if lookup.query.route().is_some_and(|route| is_changed(route)) {
            lookup.route_outdated.set(true);
        }
    }

    /// Asks whether the server is still there, or gives it up if it did not answer the last time.
    fn look_after(self: &Rc<Self>) {
        let kept = self.servers.client().cache().is_some_and(|cache| !cache.is_empty());
        if !kept || !self.origin.borrow().is_watched() {
            return;
        }
        if self.pinged.replace(true) {
            return self.fail(&Failure::Timeout);
        }
        command::ping(&mut self.output.borrow_mut().commands);
        self.slots.borrow_mut().push_back(Slot::Pinged);
        self.post_flush();
        self.watch(PING_EVERY);
    }

    /// Looks after the connection in `ms`, if that is not to be done anyway.
    fn watch(&self, ms: u64) {
        if let Some(watch) = &*self.watch_event.borrow() {
            if !watch.is_armed() {
                watch.arm(ms);
            }
        }
    }

    /// Gives a reply to whom it belongs: the oldest command without one.
    fn hand_out(self: &Rc<Self>, reply: Reply<'_>) -> Result<(), Failure> {
        if let Some(watch) = self.servers.watched_by() {
            return watch.hear(self.server, reply.of_redis()?);
        }
        let slot = self.slots.borrow_mut().pop_front();
        // Answers nobody asked for: from here on replies and commands may no longer belong together.
        let Some(slot) = slot else { return Err(reply.unasked()) };
        self.answered.set(self.answered.get() + 1);
        self.used.set(true);
        self.servers.served(self.server);

        match slot {
            Slot::Route(lookup) => match reply.fetched(&[], false) {
                Fetched::Failed(failure) if failure.closes_connection() => {
                    self.slots.borrow_mut().push_front(Slot::Route(lookup));
                    return Err(failure);
                }
                fetched if lookup.is_carried_by(self) => {
                    *lookup.route.borrow_mut() = fetched.into();
                }
                _ => {}
            },
            Slot::Value(lookup) => {
                let fetched = match &lookup.query {
                    Query::Fetch { key, hash, .. } => reply.fetched(key, *hash),
                    _ => return Err(Failure::Unexpected),
                };
                if lookup.is_done() {
                    return self.late(&fetched);
                }
                self.late_since.set(None);
                let with_life = self.expects_life_of(&lookup);
                match fetched.into() {
                    Outcome::Failed(failure) => return self.refused(&lookup, failure),
                    outcome if with_life => *lookup.value.borrow_mut() = Some(outcome),
                    outcome => self.answer(&lookup, outcome, None),
                }
            }
            Slot::Ttl(lookup) => {
                let ttl = match reply.ttl(lookup.query.key()) {
                    Err(failure) if failure.closes_connection() => {
                        self.slots.borrow_mut().push_front(Slot::Ttl(lookup));
                        return Err(failure);
                    }
                    ttl => ttl.ok(),
                };
                self.servers.answered(Feature::Life);
                // The first of the two replies may have ended the lookup, or sent it elsewhere.
                if lookup.is_carried_by(self) {
                    if let Some(outcome) = lookup.value.take() {
                        self.answer(&lookup, outcome, ttl);
                    }
                }
            }
            Slot::Done { lookup, last } => match done(&lookup.query, reply) {
                Ok(()) => {
                    if lookup.query.writes() {
                        self.servers.note_writable(self.server);
                    }
                    if last && lookup.is_carried_by(self) {
                        self.answer(&lookup, Outcome::Missing, None);
                    }
                }
                Err(failure) if !lookup.is_carried_by(self) => {
                    return self.late(&Fetched::Failed(failure))
                }
                Err(failure) => return self.refused(&lookup, failure),
            },
            Slot::Pinged => {
                reply.pong()?;
                self.pinged.set(false);
            }
            Slot::Touched { longer } => match reply.touched() {
                Ok(()) => {
                    self.servers.note_writable(self.server);
                    if longer {
                        self.servers.answered(Feature::Longer);
                    }
                }
                Err(failure) if failure.closes_connection() => return Err(failure),
                Err(failure) if self.is_demoted(&failure) => return Err(Failure::Replica),
                Err(Failure::Server(error)) => {
                    self.servers.touch_refused(self.server, &error, longer);
                }
                Err(_) => {}
            },
            Slot::Role => {
                if let Ok(Role::Sentinel { master }) = reply.of_redis().and_then(classify_role) {
                    self.servers.note_sentinel(self.server, master.as_deref());
                }
            }
        }
        Ok(())
    }

    /// Whether the next reply is the second one of a lookup whose first has come.
    fn expects_life_of(&self, lookup: &Rc<Lookup>) -> bool {
        let slots = self.slots.borrow();
        matches!(slots.front(), Some(Slot::Ttl(other)) if Rc::ptr_eq(other, lookup))
    }

    /// Finds out whether the server is a Redis at all, once.
    fn ask_role(&self) {
        if self.servers.wonders() {
            self.slots.borrow_mut().push_back(Slot::Role);
            self.say(command::role);
        }
    }

    fn answer(&self, lookup: &Rc<Lookup>, outcome: Outcome, ttl: Option<Ttl>) {
        let origin = self.origin.borrow().clone();
        if origin.is_watched() {
            self.watch(PING_EVERY);
        }
        self.servers.client().answer(lookup, outcome, ttl, self.server, &origin);
    }

    /// The answer to a lookup that was given up.
    fn late(&self, fetched: &Fetched) -> Result<(), Failure> {
        match fetched {
            Fetched::Failed(failure) if failure.closes_connection() => Err(failure.clone()),
            _ => Ok(()),
        }
    }

    fn refused(self: &Rc<Self>, lookup: &Rc<Lookup>, failure: Failure) -> Result<(), Failure> {
        if failure.closes_connection() {
            // Goes back to the others, which are tried again with them.
            self.slots.borrow_mut().push_front(Slot::Value(Rc::clone(lookup)));
            return Err(failure);
        }
        if self.is_demoted(&failure) {
            self.slots.borrow_mut().push_front(Slot::Value(Rc::clone(lookup)));
            return Err(Failure::Replica);
        }
        if failure.is_unknown_command() {
            self.ask_role();
        }
        if failure.counts_against_server() {
            self.servers.server_failed(self.server, &failure);
        }
        if failure.is_read_only() {
            self.servers.note_read_only(self.server);
        }
        self.servers.try_again(lookup, &failure, self.server, false);
        Ok(())
    }

    /// The master that it was has become a replica since.
    fn is_demoted(&self, failure: &Failure) -> bool {
        failure.is_read_only() && self.servers.login().master_only
    }

    /// Closes the connection and sends its lookups elsewhere, or fails them.
    pub(super) fn fail(self: &Rc<Self>, failure: &Failure) {
        if !self.is_open() {
            return;
        }
        let lacking = self.hung_up_on(failure);
        let named = self.names_step(failure);
        let failure = named.as_ref().unwrap_or(failure);
        let again = (self.used.get() && failure.is_retryable_on_fresh_connection())
            || lacking.is_some()
            || (failure.is_about_password()
                && self.servers.has_newer_password(self.password.borrow().as_deref()));
        let slots = self.slots.take();
        let is_idle = slots.is_empty() && failure.is_retryable_on_fresh_connection();
        let failure = &self.without_a_word(failure);
        self.close();
        self.servers.forget(self);

        if let Some(watch) = self.servers.watched_by() {
            watch.lost(self.server, failure);
        } else if self.probe.replace(false) {
            self.servers.probe_failed(self.server, failure);
        } else if !again && !is_idle && failure.counts_against_server() {
            self.servers.server_failed(self.server, failure);
        }

        for slot in slots {
            match (slot, lacking) {
                // There is no second reply to be had.
                (Slot::Ttl(lookup), Some(Feature::Life)) => {
                    let first = lookup.value.take().filter(|_| lookup.is_carried_by(self));
                    if let Some(outcome) = first {
                        self.answer(&lookup, outcome, None);
                    }
                }
                (slot, _) => {
                    if let Some(lookup) = self.owed(slot) {
                        self.servers.try_again(&lookup, failure, self.server, again);
                    }
                }
            }
        }
    }

    /// What the server may not know, since it closed the connection where an answer to that was due.
    fn hung_up_on(&self, failure: &Failure) -> Option<Feature> {
        if !matches!(failure, Failure::Closed | Failure::Broken(_)) {
            return None;
        }
        let dialogue = self.dialogue.borrow();
        let asked = match dialogue.as_ref() {
            Some(dialogue) if dialogue.awaits_reply() => dialogue.awaited_feature(),
            _ => self.slots.borrow().iter().find_map(|slot| match slot {
                Slot::Ttl(_) => self.servers.dialect().may_lack_lives().then_some(Feature::Life),
                Slot::Touched { longer: true } => Some(Feature::Longer),
                _ => None,
            }),
        };
        let lacking = asked.filter(|feature| self.servers.hung_up(*feature));
        if lacking.is_none() && !self.used.get() {
            self.servers.hung_up_anyway();
        }
        lacking
    }

    /// The failure of a handshake that the server ended by closing the connection.
    fn names_step(&self, failure: &Failure) -> Option<Failure> {
        let closed = matches!(failure, Failure::Closed | Failure::Broken(_));
        if !closed || self.state.get() != State::Handshake {
            return None;
        }
        let step = self.dialogue.borrow().as_ref().and_then(Dialogue::awaited_step)?;
        // A server that hangs up at the first word may want TLS; a database it may just not have.
        (step == Step::Select || self.heard.get()).then_some(Failure::HungUp(step))
    }

    /// The lookup that still waits for this reply, or for what came before it.
    fn owed(self: &Rc<Self>, slot: Slot) -> Option<Rc<Lookup>> {
        let (lookup, is_owed) = match slot {
            Slot::Value(lookup) | Slot::Done { lookup, last: true } => (lookup, true),
            // Its first reply was read, its second is lost: ask for both again.
            Slot::Ttl(lookup) => {
                let has_first = lookup.value.take().is_some();
                (lookup, has_first)
            }
            Slot::Route(_)
            | Slot::Done { .. }
            | Slot::Pinged
            | Slot::Touched { .. }
            | Slot::Role => return None,
        };
        (is_owed && lookup.is_carried_by(self)).then_some(lookup)
    }

    /// Closes the connection without blame, and returns the lookups that it owes an answer.
    pub(super) fn abandon(self: &Rc<Self>) -> Vec<Rc<Lookup>> {
        let slots = self.slots.take();
        self.close();
        self.servers.forget(self);
        let owed: Vec<_> = slots.into_iter().filter_map(|slot| self.owed(slot)).collect();
        for lookup in &owed {
            if let Some(carrier) = lookup.drop_carrier() {
                carrier.connection.release();
            }
        }
        owed
    }

    /// The failure, by another name where a server ended a connection without TLS before it had said anything.
    fn without_a_word(&self, failure: &Failure) -> Failure {
        let may_want_tls = self.tls.is_none() && !self.target.name().starts_with("unix:");
        match failure {
            Failure::Closed if may_want_tls && !self.heard.get() => Failure::Unanswered(0),
            Failure::Broken(errno) if may_want_tls && !self.heard.get() => {
                Failure::Unanswered(*errno)
            }
            failure => failure.clone(),
        }
    }

    fn stop_timer(&self) {
        if let Some(link) = ptr::NonNull::new(self.link.get()) {
            // SAFETY: the connection is open, its events with it.
            unsafe {
                let write = (*link.as_ptr()).write;
                if (*write).timer_set() != 0 {
                    ngx_del_timer(write);
                }
            }
        }
    }

    /// Gives the connection back to nginx. Lookups stay where they are.
    fn close(&self) {
        self.state.set(State::Closed);
        let resolving = self.resolving.replace(ptr::null_mut());
        if !resolving.is_null() {
            // SAFETY: the question is under way; nginx forgets it and does not call us.
            unsafe { ngx_resolve_name_done(resolving) };
        }
        self.close_link();
        self.origin.borrow().lose();
        // The handlers of events must not find a freed object.
        self.flush.take();
        self.watch_event.take();
    }

    fn close_link(&self) {
        let link = self.link.replace(ptr::null_mut());
        if !link.is_null() {
            // SAFETY: the connection is ours and open; its timers and posted events go with it.
            unsafe {
                if let Some(tls) = &self.tls {
                    tls.end(link);
                }
                ngx_close_connection(link);
            }
        }
    }

    /// The error of a connect under way, if it failed.
    fn connect_error(&self) -> Option<c_int> {
        let link = self.link.get();
        let mut error: c_int = 0;
        let mut len = size_of::<c_int>() as socklen_t;
        // SAFETY: the descriptor is open; the kernel writes an int.
        let rc = unsafe {
            getsockopt(
                (*link).fd,
                SOL_SOCKET as c_int,
                SO_ERROR as c_int,
                ptr::from_mut(&mut error).cast(),
                &mut len,
            )
        };
        match (rc, error) {
            (0, 0) => None,
            (0, error) => Some(error),
            _ => Some(ngx_errno()),
        }
    }

    /// The worker exits, or nginx wants the connection for another use.
    fn must_close(&self) -> bool {
        let link = self.link.get();
        // SAFETY: the caller saw that the connection is open; nginx writes both on this thread.
        self.waiting.get() == 0 && unsafe { (*link).close() != 0 || (*link).error() != 0 }
    }

    /// The time that the worker had for leaving is up.
    fn is_shut_down(&self) -> bool {
        let link = self.link.get();
        // SAFETY: as in `must_close`.
        unsafe { (*link).close() != 0 && (*link).error() != 0 }
    }

    /// A worker that is exiting keeps no connection that nobody waits for.
    pub(super) fn close_if_exiting(self: &Rc<Self>) {
        // SAFETY: nginx writes the variable on this thread only.
        let exiting = unsafe { ngx_exiting != 0 };
        if exiting && self.is_open() && self.waiting.get() == 0 {
            self.retire();
        }
    }

    /// Closes the connection without blame; touches that are not answered yet were sent at least.
    pub(super) fn retire(self: &Rc<Self>) {
        let _ = self.write();
        self.close();
        self.servers.forget(self);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

/// What a reply means to who asked for no session.
fn done(query: &Query, reply: Reply<'_>) -> Result<(), Failure> {
    match query {
        Query::Fetch { .. } => Err(Failure::Unexpected),
        Query::Delete { .. } => reply.deleted(),
        Query::Assign(_) => written(reply.of_redis()?),
        Query::Drained { drained, .. } => drained.take(reply.of_redis()?),
    }
}

/// The connection object of an event's connection.
///
/// # Safety
/// `link` must be the open connection of a `Connection`, which set itself as its data.
unsafe fn connection_of(link: *mut ngx_connection_t) -> Rc<Connection> {
    // SAFETY: an open connection is kept alive by the list of its server or by its resolver's question.
    unsafe { shared((*link).data) }
}

/// Another owner of the connection that `data` points to.
///
/// # Safety
/// `data` must come from `Rc::as_ptr` of a connection that is alive.
pub(super) unsafe fn shared(data: *mut c_void) -> Rc<Connection> {
    let connection = data.cast_const().cast::<Connection>();
    // SAFETY: the caller vouches that an owner exists.
    unsafe {
        Rc::increment_strong_count(connection);
        Rc::from_raw(connection)
    }
}

unsafe extern "C" fn on_read(event: *mut ngx_event_t) {
    // SAFETY: nginx calls the handler with the event of our open connection.
    let connection = unsafe { connection_of((*event).data.cast()) };
    if connection.must_close() {
        return connection.retire();
    }
    if connection.is_shut_down() {
        connection.servers.client().give_up();
        return connection.retire();
    }
    match connection.state.get() {
        State::Connecting => return,
        State::Securing => connection.secure(),
        _ => connection.read_or_fail(),
    }
    connection.close_if_exiting();
}

unsafe extern "C" fn on_write(event: *mut ngx_event_t) {
    // SAFETY: as in `on_read`.
    let (connection, timed_out) =
        unsafe { (connection_of((*event).data.cast()), (*event).timedout() != 0) };
    match (connection.state.get(), timed_out) {
        (State::Connecting, true) => return connection.connect_failed(Failure::ConnectTimeout),
        (State::Securing, true) => {
            return connection.connect_failed(Failure::Tls(TlsFailure::Timeout))
        }
        (_, true) => return connection.fail(&Failure::ConnectTimeout),
        (State::Connecting, false) => match connection.connect_error() {
            Some(error) => return connection.connect_failed(Failure::Connect(error)),
            None => connection.connected(),
        },
        (State::Securing, false) => return connection.secure(),
        _ => {}
    }
    if let Err(failure) = connection.write() {
        connection.fail(&failure);
    }
}

unsafe extern "C" fn on_watch(event: *mut ngx_event_t) {
    // SAFETY: as in `on_flush`.
    unsafe { shared((*event).data) }.look_after();
}

unsafe extern "C" fn on_flush(event: *mut ngx_event_t) {
    // SAFETY: the event is owned by the connection and goes with it.
    let connection = unsafe { shared((*event).data) };
    if let Err(failure) = connection.write() {
        connection.fail(&failure);
    }
}

const _: () = assert!(NGX_ERROR < 0);
