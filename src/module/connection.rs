//! One pipelined connection to a server of a store, on nginx's event loop.

mod failing;
mod handshake;
mod replies;
mod watch;

use core::cell::{Cell, RefCell};
use core::ffi::c_void;
use core::ptr;
use std::collections::VecDeque;
use std::rc::Rc;

use nginx_sys::{
    ngx_close_connection, ngx_connection_t, ngx_errno, ngx_event_t, ngx_exiting,
    ngx_handle_write_event, ngx_int_t, ngx_resolve_name_done, ngx_resolver_ctx_t, NGX_AGAIN,
    NGX_OK,
};

use self::watch::on_watch;
use super::address::{SocketAddress, Target};
use super::event::{del_timer, now, time_of_day, Event};
use super::lookup::{Carrier, Lookup, Query};
use super::store_servers::StoreServers;
use super::tls::TlsLink;
use super::{bits, resolver};
use crate::cache::Origin;
use crate::store::ability::Feature;
use crate::store::command;
use crate::store::dialect::{Dialogue, Reader};
use crate::store::error::Failure;
use crate::store::oversized::Way;
use crate::store::tls::TlsFailure;

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

/// What a connection is opened for. Once it is ready it serves lookups, whatever it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    Lookups,
    /// To see whether the server is back.
    Probe,
    /// To see whether the server does know of tracking; no lookup waits for that.
    Trial,
}

/// What a reply is for.
enum Slot {
    /// The assignment of the session whose value is next.
    Route(Rc<Lookup>),
    Value(Rc<Lookup>),
    /// How long the value is that may be too long to be asked for.
    Length(Rc<Lookup>),
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
    purpose: Cell<Purpose>,
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
        purpose: Purpose,
    ) -> Result<Rc<Self>, Failure> {
        let target = servers.target(server).ok_or(Failure::NoServer)?;
        let link = |tls| TlsLink::new(tls, target.name(), servers.quiet_log());
        let tls = servers.tls().map(link);
        let connection = Rc::new(Self {
            servers,
            server,
            target,
            purpose: Cell::new(purpose),
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

    /// Whether lookups may go to it.
    pub(super) fn is_for_lookups(&self) -> bool {
        self.purpose.get() != Purpose::Trial
    }

    /// Lookups under way on it.
    pub(super) fn load(&self) -> usize {
        self.slots.borrow().len()
    }

    /// Sends something else than a lookup with the next flush.
    pub(super) fn say(&self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.output.borrow_mut().commands);
        self.post_flush();
    }

    /// Sends the commands of a lookup with the next flush: where its value may be far too large, that for its length.
    pub(super) fn ask(self: &Rc<Self>, lookup: &Rc<Lookup>) {
        if !self.ask_length(lookup) {
            self.ask_all(lookup);
        }
        self.waiting.set(self.waiting.get() + 1);
        self.note_waiting();
        self.carry(lookup);
    }

    /// Asks how long a value is that may be far too large. Whether it may.
    fn ask_length(&self, lookup: &Rc<Lookup>) -> bool {
        let Query::Fetch { key, hash, .. } = &lookup.query else { return false };
        // What is known to be too large by now was not when this was asked first.
        if self.servers.client().way_to_ask(key) == Way::Plain {
            return false;
        }
        let commands = &mut self.output.borrow_mut().commands;
        let can = self.servers.dialect().length(commands, key, *hash);
        if can {
            self.slots.borrow_mut().push_back(Slot::Length(Rc::clone(lookup)));
        }
        can
    }

    /// Writes the commands of a lookup.
    fn ask_all(&self, lookup: &Rc<Lookup>) {
        let dialect = self.servers.dialect();
        let mut output = self.output.borrow_mut();
        let mut slots = self.slots.borrow_mut();
        match &lookup.query {
            Query::Fetch { key, hash, ttl, route } => {
                let client = self.servers.client();
                let is_small = |route: &&Rc<[u8]>| client.way_to_ask(route) == Way::Plain;
                if let Some(route) = route.as_ref().filter(is_small) {
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
    }

    /// The connection carries the lookup, whose commands are the last ones.
    fn carry(self: &Rc<Self>, lookup: &Rc<Lookup>) {
        let (answered, asked) = (self.answered.get(), self.slots.borrow().len() as u64);
        let commands = answered + asked;
        lookup.carry(Carrier { connection: Rc::clone(self), answered, commands });
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
            unsafe {
                bits::connection::IDLE.set(&mut *link.as_ptr(), (self.waiting.get() == 0).into());
            }
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

    /// Why reading or writing failed.
    fn broken(&self) -> Failure {
        let errno = ngx_errno();
        let by_tls = self.tls.as_ref().and_then(|tls| tls.broke(self.heard.get()));
        by_tls.unwrap_or(Failure::Broken(errno))
    }

    fn stop_timer(&self) {
        if let Some(link) = ptr::NonNull::new(self.link.get()) {
            // SAFETY: the connection is open, its events with it.
            unsafe {
                let write = (*link.as_ptr()).write;
                del_timer(write);
            }
        }
    }

    /// Gives the connection back to nginx. Lookups stay where they are.
    fn close(&self) {
        self.state.set(State::Closed);
        if self.purpose.replace(Purpose::Lookups) == Purpose::Trial {
            self.servers.trial_ended();
        }
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

    /// The worker exits, or nginx wants the connection for another use.
    fn must_close(&self) -> bool {
        let link = self.link.get();
        // SAFETY: the caller saw that the connection is open; nginx writes both on this thread.
        self.waiting.get() == 0
            && unsafe {
                bits::connection::CLOSE.is_set(&*link) || bits::connection::ERROR.is_set(&*link)
            }
    }

    /// The time that the worker had for leaving is up.
    fn is_shut_down(&self) -> bool {
        let link = self.link.get();
        // SAFETY: as in `must_close`.
        unsafe { bits::connection::CLOSE.is_set(&*link) && bits::connection::ERROR.is_set(&*link) }
    }

    /// A worker that is exiting keeps no connection that nobody waits for.
    pub(super) fn close_if_exiting(self: &Rc<Self>) {
        // SAFETY: nginx writes the variable on this thread only.
        let exiting = unsafe { ngx_exiting != 0 };
        if exiting && self.is_open() && self.waiting.get() == 0 {
            self.retire();
        }
    }

    /// Others are told of changes. One that is not ends with the lookups that it carries, of which nothing stays fresh.
    pub(super) fn give_way(self: &Rc<Self>) {
        if self.origin.borrow().is_watched() {
            return;
        }
        let unwatched = Origin::watched();
        unwatched.lose();
        *self.origin.borrow_mut() = unwatched;
        match (self.purpose.get(), self.waiting.get()) {
            // The servers wait for what it finds.
            (Purpose::Probe, _) => {}
            (_, 0) => self.retire(),
            _ => self.servers.forget(self),
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

/// The connection object of an event's connection.
///
/// # Safety
/// `link` must be the open connection of a `Connection`, which set itself as its data.
unsafe fn connection_of(link: *mut ngx_connection_t) -> Rc<Connection> {
    // SAFETY: an open connection is kept alive by the list of its server, by its resolver's question, or, where it gave
    // way, by the lookups that it carries: the last of these closes it.
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
        unsafe { (connection_of((*event).data.cast()), bits::event::TIMEDOUT.is_set(&*event)) };
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

unsafe extern "C" fn on_flush(event: *mut ngx_event_t) {
    // SAFETY: the event is owned by the connection and goes with it.
    let connection = unsafe { shared((*event).data) };
    if let Err(failure) = connection.write() {
        connection.fail(&failure);
    }
}
