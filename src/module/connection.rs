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
    ngx_posted_next_events, ngx_resolve_name_done, ngx_resolver_ctx_t, ngx_set_errno, ngx_str_t,
    socklen_t, NGX_AGAIN, NGX_ERROR, NGX_OK, SOL_SOCKET, SO_ERROR,
};

use super::address::{SocketAddress, Target};
use super::event::{now, Event};
use super::lookup::{Carrier, Lookup, Query};
use super::resolver;
use super::store_servers::StoreServers;
use crate::cache::Origin;
use crate::store::command;
use crate::store::dialogue::Dialogue;
use crate::store::error::Failure;
use crate::store::fetched::{
    classify_count, classify_get, classify_hgetall, classify_pttl, classify_push, Changed, Fetched,
    Outcome, Ttl,
};
use crate::store::resp::{Reader, Reply};
use redis::Value;

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
    Handshake,
    Ready,
    Closed,
}

/// What a reply is for.
enum Slot {
    Value(Rc<Lookup>),
    Ttl(Rc<Lookup>),
    Deleted(Rc<Lookup>),
    /// Whether the server is still there.
    Pinged,
    /// A touch; `longer` when it was sent in the form that never shortens.
    Touched {
        longer: bool,
    },
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
        let connection = Rc::new(Self {
            servers,
            server,
            target,
            probe: Cell::new(probe),
            state: Cell::new(State::Resolving),
            link: Cell::new(ptr::null_mut()),
            resolving: Cell::new(ptr::null_mut()),
            unresolved: RefCell::new(None),
            dialogue: RefCell::new(None),
            password: RefCell::new(None),
            output: RefCell::default(),
            reader: RefCell::new(Reader::new(servers.limits())),
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
        peer.log = self.servers.quiet_log();

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
            // A worker that is exiting waits for lookups, by their deadline, not for a connect.
            (*(*link).write).set_cancelable(1);
            ngx_add_timer((*link).write, self.servers.connect_timeout() as ngx_msec_t);
        }
        self.note_waiting();
        if rc == NGX_OK as ngx_int_t {
            self.connected();
        }
        Ok(())
    }

    fn connected(self: &Rc<Self>) {
        let mut output = self.output.borrow_mut();
        let login = self.servers.login();
        let dialogue = Dialogue::begin(&login, self.probe.get(), &mut output.handshake);
        self.password.borrow_mut().clone_from(&login.password);
        drop((output, login));
        self.state.set(State::Handshake);
        *self.dialogue.borrow_mut() = Some(dialogue);
        self.end_handshake();
        self.post_flush();
    }

    /// Goes on to lookups if the handshake is over.
    fn end_handshake(self: &Rc<Self>) {
        match &*self.dialogue.borrow() {
            Some(dialogue) if dialogue.is_done() => {
                if dialogue.tracks() {
                    *self.origin.borrow_mut() = Origin::watched();
                }
            }
            _ => return,
        }
        self.state.set(State::Ready);
        self.stop_timer();
        self.post_flush();
        if self.probe.replace(false) {
            self.servers.probe_succeeded(self.server);
            self.used.set(true);
        }
    }

    /// Sends the commands of a lookup with the next flush.
    pub(super) fn ask(self: &Rc<Self>, lookup: &Rc<Lookup>) {
        let mut output = self.output.borrow_mut();
        let mut slots = self.slots.borrow_mut();
        match &lookup.query {
            Query::Fetch { key, hash, ttl } => {
                match hash {
                    true => command::hgetall(&mut output.commands, key),
                    false => command::get(&mut output.commands, key),
                }
                slots.push_back(Slot::Value(Rc::clone(lookup)));
                if *ttl {
                    command::pttl(&mut output.commands, key);
                    slots.push_back(Slot::Ttl(Rc::clone(lookup)));
                }
            }
            Query::Delete { keys } => {
                let keys: Vec<&[u8]> = keys.iter().map(|key| &**key).collect();
                command::del(&mut output.commands, &keys);
                slots.push_back(Slot::Deleted(Rc::clone(lookup)));
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
        let mut output = self.output.borrow_mut();
        match longer {
            true => command::pexpire_longer(&mut output.commands, key, ms),
            false => command::pexpire(&mut output.commands, key, ms),
        }
        drop(output);
        self.slots.borrow_mut().push_back(Slot::Touched { longer });
        self.post_flush();
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
                    _ => return Err(Failure::Broken(ngx_errno())),
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
                Err(_) => return Err(Failure::Broken(ngx_errno())),
            }
        }
        if let Some(link) = ptr::NonNull::new(self.link.get()) {
            // SAFETY: the connection is open; closing it takes the event out of the queue.
            unsafe { ngx_post_event((*link.as_ptr()).read, &raw mut ngx_posted_next_events) };
        }
        Ok(())
    }

    fn digest(self: &Rc<Self>, mut input: &[u8]) -> Result<(), Failure> {
        while self.is_open() {
            let reply = self.reader.borrow_mut().next(&mut input).map_err(Failure::Protocol)?;
            match reply {
                None => return Ok(()),
                Some(Reply::Push(push)) => self.told(push),
                Some(reply) if self.state.get() == State::Handshake => {
                    let mut dialogue = self.dialogue.borrow_mut();
                    if let Some(dialogue) = &mut *dialogue {
                        dialogue.take(reply)?;
                    }
                    drop(dialogue);
                    self.end_handshake();
                }
                Some(reply) => self.hand_out(reply)?,
            }
        }
        Ok(())
    }

    /// The server says something unasked.
    fn told(&self, push: Value) {
        let (Some(changed), Some(cache)) = (classify_push(push), self.servers.client().cache())
        else {
            return;
        };
        cache.changed(&changed);
        // Of all lookups under way only the first may have been answered in part, and so before the change.
        if let Some(Slot::Ttl(lookup)) = self.slots.borrow().front() {
            let is_of = |key: &[u8]| lookup.query.key().is_some_and(|own| own == key);
            match &changed {
                Changed::All => lookup.outdated.set(true),
                Changed::Keys(keys) if keys.iter().any(|key| is_of(key)) => {
                    lookup.outdated.set(true);
                }
                Changed::Keys(_) => {}
            }
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
        let slot = self.slots.borrow_mut().pop_front();
        // Answers nobody asked for: from here on replies and commands may no longer belong together.
        let Some(slot) = slot else { return Err(unasked(reply)) };
        self.answered.set(self.answered.get() + 1);
        self.used.set(true);

        match slot {
            Slot::Value(lookup) => {
                let fetched = match lookup.query {
                    Query::Fetch { hash: true, .. } => classify_hgetall(reply),
                    _ => classify_get(reply),
                };
                if lookup.is_done() {
                    return self.late(&fetched);
                }
                self.late_since.set(None);
                let two = matches!(lookup.query, Query::Fetch { ttl: true, .. });
                match fetched.into() {
                    Outcome::Failed(failure) => return self.refused(&lookup, failure),
                    outcome if two => *lookup.value.borrow_mut() = Some(outcome),
                    outcome => self.answer(&lookup, outcome, None),
                }
            }
            Slot::Ttl(lookup) => {
                let ttl = match classify_pttl(reply) {
                    Err(failure) if failure.closes_connection() => {
                        self.slots.borrow_mut().push_front(Slot::Ttl(lookup));
                        return Err(failure);
                    }
                    ttl => ttl.ok(),
                };
                // The first of the two replies may have ended the lookup, or sent it elsewhere.
                if lookup.is_carried_by(self) {
                    if let Some(outcome) = lookup.value.take() {
                        self.answer(&lookup, outcome, ttl);
                    }
                }
            }
            Slot::Deleted(lookup) => match classify_count(reply) {
                Ok(_) => {
                    self.servers.note_writable(self.server);
                    if !lookup.is_done() {
                        self.answer(&lookup, Outcome::Missing, None);
                    }
                }
                Err(failure) if lookup.is_done() => return self.late(&Fetched::Failed(failure)),
                Err(failure) => return self.refused(&lookup, failure),
            },
            Slot::Pinged => match reply {
                Reply::Status => self.pinged.set(false),
                reply => return Err(unasked(reply)),
            },
            Slot::Touched { longer } => match classify_count(reply) {
                Ok(_) => self.servers.note_writable(self.server),
                Err(failure) if failure.closes_connection() => return Err(failure),
                Err(Failure::Server(error)) => {
                    self.servers.touch_refused(self.server, &error, longer);
                }
                Err(_) => {}
            },
        }
        Ok(())
    }

    fn answer(&self, lookup: &Rc<Lookup>, outcome: Outcome, ttl: Option<Ttl>) {
        if let Some(cache) = self.servers.client().cache() {
            let origin = self.origin.borrow();
            if cache.keep(lookup, &outcome, ttl, Some(self.server), &origin) && origin.is_watched()
            {
                self.watch(PING_EVERY);
            }
        }
        self.servers.client().end(lookup, outcome, ttl, Some(self.server));
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
        if failure.counts_against_server() {
            self.servers.server_failed(self.server, &failure);
        }
        if failure.is_read_only() {
            self.servers.note_read_only(self.server);
        }
        self.servers.try_again(lookup, &failure, self.server, false);
        Ok(())
    }

    /// Closes the connection and sends its lookups elsewhere, or fails them.
    pub(super) fn fail(self: &Rc<Self>, failure: &Failure) {
        if !self.is_open() {
            return;
        }
        let again = (self.used.get() && failure.is_retryable_on_fresh_connection())
            || (failure.is_about_password()
                && self.servers.has_newer_password(self.password.borrow().as_deref()));
        let slots = self.slots.take();
        self.close();
        self.servers.forget(self);

        if self.probe.replace(false) {
            self.servers.probe_failed(self.server);
        } else if !again
            && failure.counts_against_server()
            && !(slots.is_empty() && matches!(failure, Failure::Closed | Failure::Broken(_)))
        {
            self.servers.server_failed(self.server, failure);
        }

        for slot in slots {
            if let Slot::Value(lookup) | Slot::Deleted(lookup) = slot {
                if !lookup.is_done() {
                    self.servers.try_again(&lookup, failure, self.server, again);
                }
            } else if let Slot::Ttl(lookup) = slot {
                // Its first reply was read, its second is lost: ask for both again.
                if lookup.is_carried_by(self) && lookup.value.take().is_some() {
                    self.servers.try_again(&lookup, failure, self.server, again);
                }
            }
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
            unsafe { ngx_close_connection(link) };
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

/// A server that refuses the connection itself says so unasked.
fn unasked(reply: Reply<'_>) -> Failure {
    match reply {
        Reply::Error(error) => Failure::Server(error),
        _ => Failure::Unexpected,
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
    if connection.state.get() == State::Connecting {
        return;
    }
    if let Err(failure) = connection.read() {
        connection.fail(&failure);
    }
    connection.close_if_exiting();
}

unsafe extern "C" fn on_write(event: *mut ngx_event_t) {
    // SAFETY: as in `on_read`.
    let (connection, timed_out) =
        unsafe { (connection_of((*event).data.cast()), (*event).timedout() != 0) };
    let connecting = connection.state.get() == State::Connecting;
    if timed_out && connecting {
        return connection.connect_failed(Failure::ConnectTimeout);
    }
    if timed_out {
        return connection.fail(&Failure::ConnectTimeout);
    }
    if connecting {
        match connection.connect_error() {
            Some(error) => return connection.connect_failed(Failure::Connect(error)),
            None => connection.connected(),
        }
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
