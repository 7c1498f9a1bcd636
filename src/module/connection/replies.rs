//! What a server says on a connection, and to whom it belongs.

use core::mem::MaybeUninit;
use core::ptr;
use std::rc::Rc;

use nginx_sys::{
    ngx_errno, ngx_handle_read_event, ngx_int_t, ngx_posted_next_events, NGX_AGAIN, NGX_OK,
};

use super::{Connection, Slot};
use crate::module::event::post_event;
use crate::module::lookup::{Lookup, Query};
use crate::route::write::written;
use crate::store::ability::Feature;
use crate::store::command;
use crate::store::dialect::Reply;
use crate::store::error::Failure;
use crate::store::fetched::{Changed, Fetched, Outcome, Ttl};
use crate::store::role::{classify_role, Role};

/// Bytes read at once.
const READ: usize = 32 * 1024;
/// Reads in one turn of the loop, so that one large value does not hold up the worker.
const READS: usize = 8;

impl Connection {
    pub(super) fn read_or_fail(self: &Rc<Self>) {
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
            unsafe { post_event((*link.as_ptr()).read, &raw mut ngx_posted_next_events) };
        }
        Ok(())
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
            Slot::Route(lookup) => self.take_route(lookup, reply),
            Slot::Value(lookup) => self.take_value(&lookup, reply),
            Slot::Length(lookup) => self.take_length(lookup, reply),
            Slot::Ttl(lookup) => self.take_life(lookup, reply),
            Slot::Done { lookup, last } => self.take_done(&lookup, last, reply),
            Slot::Touched { longer } => self.take_touched(longer, reply),
            Slot::Pinged => {
                self.pinged.set(false);
                reply.pong()
            }
            Slot::Role => {
                if let Ok(Role::Sentinel { master }) = reply.of_redis().and_then(classify_role) {
                    self.servers.note_sentinel(self.server, master.as_deref());
                }
                Ok(())
            }
        }
    }

    fn take_route(self: &Rc<Self>, lookup: Rc<Lookup>, reply: Reply<'_>) -> Result<(), Failure> {
        match reply.fetched(&[], false) {
            Fetched::Failed(failure) if failure.closes_connection() => {
                self.slots.borrow_mut().push_front(Slot::Route(lookup));
                return Err(failure);
            }
            fetched => {
                if let (Fetched::TooLarge(bytes), Some(route)) = (&fetched, lookup.query.route()) {
                    self.servers.client().note_size(route, *bytes);
                }
                if lookup.is_carried_by(self) {
                    *lookup.route.borrow_mut() = fetched.into();
                }
            }
        }
        Ok(())
    }

    fn take_value(self: &Rc<Self>, lookup: &Rc<Lookup>, reply: Reply<'_>) -> Result<(), Failure> {
        let fetched = match &lookup.query {
            Query::Fetch { key, hash, .. } => reply.fetched(key, *hash),
            _ => return Err(Failure::Unexpected),
        };
        if let Fetched::TooLarge(bytes) = fetched {
            self.servers.client().note_size(lookup.query.key(), bytes);
        }
        if lookup.is_done() {
            return self.late(&fetched);
        }
        self.late_since.set(None);
        let with_life = self.expects_life_of(lookup);
        match fetched.into() {
            Outcome::Failed(failure) => return self.refused(lookup, failure),
            // What stands behind it may not come any more.
            outcome @ Outcome::TooLarge(_) => self.answer(lookup, outcome, None),
            outcome if with_life => *lookup.value.borrow_mut() = Some(outcome),
            outcome => self.answer(lookup, outcome, None),
        }
        Ok(())
    }

    /// Asks for a value that is not too long, or of which that cannot be known.
    fn take_length(self: &Rc<Self>, lookup: Rc<Lookup>, reply: Reply<'_>) -> Result<(), Failure> {
        let Query::Fetch { key, hash, .. } = &lookup.query else { return Err(Failure::Unexpected) };
        let client = self.servers.client();
        match reply.excess(*hash, self.servers.limits()) {
            Err(failure) if failure.closes_connection() => {
                self.slots.borrow_mut().push_front(Slot::Length(lookup));
                return Err(failure);
            }
            Ok(Some(bytes)) => {
                client.note_size(key, bytes);
                if lookup.is_carried_by(self) {
                    self.answer(&lookup, Outcome::TooLarge(bytes), None);
                }
                return Ok(());
            }
            Ok(None) => client.clear_of_size(key),
            Err(_) => {}
        }
        if lookup.is_carried_by(self) {
            self.ask_all(&lookup);
            self.carry(&lookup);
        }
        Ok(())
    }

    fn take_life(self: &Rc<Self>, lookup: Rc<Lookup>, reply: Reply<'_>) -> Result<(), Failure> {
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
        Ok(())
    }

    fn take_done(
        self: &Rc<Self>,
        lookup: &Rc<Lookup>,
        last: bool,
        reply: Reply<'_>,
    ) -> Result<(), Failure> {
        match done(&lookup.query, reply) {
            Ok(()) => {
                if lookup.query.writes() {
                    self.servers.note_writable(self.server);
                }
                if last && lookup.is_carried_by(self) {
                    self.answer(lookup, Outcome::Missing, None);
                }
                Ok(())
            }
            Err(failure) if !lookup.is_carried_by(self) => self.late(&Fetched::Failed(failure)),
            Err(failure) => self.refused(lookup, failure),
        }
    }

    fn take_touched(&self, longer: bool, reply: Reply<'_>) -> Result<(), Failure> {
        match reply.touched() {
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

    pub(super) fn answer(&self, lookup: &Rc<Lookup>, outcome: Outcome, ttl: Option<Ttl>) {
        let origin = self.origin.borrow().clone();
        if origin.is_watched() {
            self.watch();
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
