//! How a connection comes to serve: an address that takes it, TLS, and who we are.

use core::ffi::c_int;
use core::ptr;
use std::rc::Rc;

use nginx_sys::{
    getsockopt, ngx_errno, ngx_event_connect_peer, ngx_event_get_peer, ngx_int_t, ngx_msec_t,
    ngx_peer_connection_t, ngx_posted_events, ngx_set_errno, ngx_str_t, ngx_tcp_nodelay, socklen_t,
    NGX_AGAIN, NGX_OK, SOL_SOCKET, SO_ERROR,
};

use super::{on_read, on_write, Connection, Purpose, State};
use crate::cache::Origin;
use crate::module::address::SocketAddress;
use crate::module::bits;
use crate::module::event::{add_timer, post_event};
use crate::store::ability::Feature;
use crate::store::dialect::Dialogue;
use crate::store::error::Failure;

impl Connection {
    /// Connects to the first of these addresses that takes it, beginning at the last.
    pub(in crate::module) fn connect_to_any(
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
    pub(super) fn connect_failed(self: &Rc<Self>, failure: Failure) {
        self.close_link();
        if let Err(failure) = self.connect_elsewhere(failure) {
            self.fail(&failure);
        }
    }

    /// Connects to an address.
    pub(super) fn connect(self: &Rc<Self>, address: &SocketAddress) -> Result<(), Failure> {
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
            bits::connection::IDLE.set(&mut *link, 1);
            // What a turn of the loop sends does not wait for the replies to the one before. (No matter of Unix sockets.)
            ngx_tcp_nodelay(link);
            // A worker that is exiting waits for lookups, by their deadline, not for a connect.
            bits::event::CANCELABLE.set(&mut *(*link).write, 1);
            add_timer((*link).write, self.servers.connect_timeout() as ngx_msec_t);
        }
        self.note_waiting();
        match (rc == NGX_OK as ngx_int_t, &self.tls) {
            (true, None) => self.log_in(),
            // Whoever opens the connection is not called back within the call.
            // SAFETY: the connection is open; closing it takes the event out of the queue.
            (true, Some(_)) => unsafe {
                post_event((*link).write, &raw mut ngx_posted_events);
            },
            (false, _) => {}
        }
        Ok(())
    }

    /// The error of a connect under way, if it failed.
    pub(super) fn connect_error(&self) -> Option<c_int> {
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

    /// An address has taken the connection.
    pub(super) fn connected(self: &Rc<Self>) {
        let Some(tls) = &self.tls else { return self.log_in() };
        self.state.set(State::Securing);
        // SAFETY: the connection is open, and was opened with this log.
        match unsafe { tls.begin(self.link.get()) } {
            Ok(()) => self.secure(),
            Err(failure) => self.connect_failed(failure),
        }
    }

    /// Goes on with the handshake of TLS.
    pub(super) fn secure(self: &Rc<Self>) {
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
        let mut login = self.servers.login();
        let purpose = self.purpose.get();
        login.tracking |= purpose == Purpose::Trial;
        let dialect = self.servers.dialect();
        let dialogue = dialect.greet(&login, purpose == Purpose::Probe, &mut output.handshake);
        *self.password.borrow_mut() = login.password;
        drop(output);
        if purpose == Purpose::Probe {
            self.wait_as_a_lookup_may();
        }
        self.state.set(State::Handshake);
        *self.dialogue.borrow_mut() = Some(dialogue);
        self.end_handshake();
        self.post_flush();
    }

    /// Gives a probe, which asks as a lookup does, as long as a lookup has: a server that is busy is up as soon as it answers.
    fn wait_as_a_lookup_may(&self) {
        let patience = self.servers.timeout().max(self.servers.connect_timeout());
        if let Some(link) = ptr::NonNull::new(self.link.get()) {
            // SAFETY: the connection is open until `close`.
            unsafe { add_timer((*link.as_ptr()).write, patience as ngx_msec_t) };
        }
    }

    pub(super) fn awaits_greeting(&self) -> bool {
        self.dialogue.borrow().as_ref().is_some_and(Dialogue::awaits_reply)
    }

    /// Goes on to lookups if the handshake is over.
    pub(super) fn end_handshake(self: &Rc<Self>) {
        let is_done = self.dialogue.borrow().as_ref().is_some_and(Dialogue::is_done);
        if is_done && !self.awaits_greeting() {
            self.servers.answered(Feature::Name);
        }
        if !is_done || self.state.get() != State::Handshake {
            return;
        }
        if self.dialogue.borrow().as_ref().is_some_and(Dialogue::tracks) {
            *self.origin.borrow_mut() = Origin::watched();
            self.servers.answered(Feature::Tracking);
        }
        self.state.set(State::Ready);
        self.stop_timer();
        self.post_flush();
        if self.purpose.replace(Purpose::Lookups) == Purpose::Probe {
            self.servers.probe_succeeded(self.server);
            self.used.set(true);
        }
        if let Some(watch) = self.servers.watched_by() {
            watch.ready(self);
        }
    }
}
