//! Responses that wait until their session's assignment is written: a client that has one may ask another nginx at once.
//!
//! The filters stand where all other filters have done their part, right before the response becomes bytes. To them,
//! and to whoever passes it on, a response that is held looks like one whose client does not read at the moment.

use core::cell::Cell;
use core::ptr;

use nginx_sys::{
    ngx_chain_add_copy, ngx_chain_t, ngx_http_output_body_filter_pt,
    ngx_http_output_header_filter_pt, ngx_http_request_t, ngx_http_top_body_filter,
    ngx_http_top_header_filter, ngx_int_t, ngx_posted_events, NGX_AGAIN, NGX_ERROR, NGX_HTTP_HEAD,
    NGX_HTTP_NOT_MODIFIED, NGX_HTTP_NO_CONTENT, NGX_OK,
};

use super::bits::{connection, event};
use super::context::Context;
use super::event::post_event;
use super::learn::learn;
use super::lookup::Ticket;
use super::request::Request;

/// The bit of a connection's `buffered` that says that something is held. nginx has no such, nor do its modules.
const HELD: u64 = 0x40;

/// What is held of a response: its header, and of its body what has come since.
pub(super) struct Held {
    _ticket: Ticket,
    body: Cell<*mut ngx_chain_t>,
}

static mut NEXT_HEADER: ngx_http_output_header_filter_pt = None;
static mut NEXT_BODY: ngx_http_output_body_filter_pt = None;

/// Puts the filters before those that are there.
///
/// # Safety
/// To be called while a configuration is read.
pub(super) unsafe fn register() {
    // SAFETY: nginx writes these on this thread only, while it reads a configuration.
    unsafe {
        NEXT_HEADER = ngx_http_top_header_filter;
        ngx_http_top_header_filter = Some(header_filter);
        NEXT_BODY = ngx_http_top_body_filter;
        ngx_http_top_body_filter = Some(body_filter);
    }
}

unsafe extern "C" fn header_filter(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx calls filters with a live request.
    let request = unsafe { Request::from_raw(r) };
    if request.is_main() {
        if let Some(ticket) = learn(request) {
            // SAFETY: as above.
            if unsafe { hold(request, ticket) } {
                return NGX_OK as ngx_int_t;
            }
        }
    }
    // SAFETY: as above.
    unsafe { next_header(r) }
}

unsafe extern "C" fn body_filter(r: *mut ngx_http_request_t, chain: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: nginx calls filters with a live request, which has a connection.
    let is_held = unsafe { connection::BUFFERED.get(&*(*r).connection) & HELD != 0 };
    if is_held {
        // SAFETY: as above.
        let request = unsafe { Request::from_raw(r) }.main();
        if let Some(held) = Context::of(request).and_then(|context| context.held.try_borrow().ok())
        {
            if let Some(held) = &*held {
                return held.add(request, chain);
            }
        }
    }
    // SAFETY: as above.
    unsafe { next_body(r, chain) }
}

/// Keeps the response back. False: it is not to be.
///
/// # Safety
/// The request's header must be about to be sent.
unsafe fn hold(r: Request, ticket: Ticket) -> bool {
    // What is upgraded goes past the filters from now on, and must not come before its header.
    let Some(context) = Context::of(r).filter(|_| !r.is_upgraded()) else { return false };
    // SAFETY: the request lives until its pool goes, and with it the context and the ticket. Its connection is there, and
    // nginx holds no reference to it.
    unsafe {
        ticket.wait(r.as_ptr(), release);
        let raw = r.as_ptr();
        let status = (*raw).headers_out.status as u32;
        // As nginx's own last filter would say only when the header has passed.
        if (*raw).method as u32 == NGX_HTTP_HEAD
            || matches!(status, NGX_HTTP_NO_CONTENT | NGX_HTTP_NOT_MODIFIED)
        {
            r.set_header_only();
        }
        let connection = &mut *(*raw).connection;
        connection::BUFFERED.set(connection, connection::BUFFERED.get(connection) | HELD);
        // As "limit_rate" does: nobody tries to send until it is taken back.
        event::DELAYED.set(&mut *connection.write, 1);
    }
    *context.held.borrow_mut() = Some(Held { _ticket: ticket, body: Cell::new(ptr::null_mut()) });
    true
}

impl Held {
    /// Holds more of the body. The links of a chain are the caller's, what they link stays until it is sent.
    fn add(&self, r: Request, chain: *mut ngx_chain_t) -> ngx_int_t {
        let mut body = self.body.get();
        // SAFETY: the pool of a live request is live; the chain is one that nginx wants to have sent.
        let added = unsafe { ngx_chain_add_copy(r.pool(), &mut body, chain) };
        self.body.set(body);
        match added == NGX_OK as ngx_int_t {
            true => NGX_AGAIN as ngx_int_t,
            false => NGX_ERROR as ngx_int_t,
        }
    }
}

/// The assignment is written, or will not be: sends what is held, and wakes whoever has more.
///
/// # Safety
/// `r` must be a live request whose response `hold` has kept back.
unsafe fn release(r: *mut ngx_http_request_t) {
    // SAFETY: the caller vouches for the request.
    let held = Context::of(unsafe { Request::from_raw(r) }).and_then(|context| context.held.take());
    let Some(held) = held else { return };
    // SAFETY: as above; sending does not end the request. Its connection's event is posted, and nginx takes it back
    // where the connection is closed before.
    unsafe {
        let connection = (*r).connection;
        let held_no_more = connection::BUFFERED.get(&*connection) & !HELD;
        connection::BUFFERED.set(&mut *connection, held_no_more);
        event::DELAYED.set(&mut *(*connection).write, 0);

        let mut rc = next_header(r);
        if rc != NGX_ERROR as ngx_int_t && rc <= NGX_OK as ngx_int_t && !held.body.get().is_null() {
            rc = next_body(r, held.body.get());
        }
        // Whoever has more finds it so.
        if rc == NGX_ERROR as ngx_int_t || rc > NGX_OK as ngx_int_t {
            connection::ERROR.set(&mut *connection, 1);
        }
        post_event((*connection).write, &raw mut ngx_posted_events);
    }
}

/// # Safety
/// `r` must be a live request whose header is to be sent.
unsafe fn next_header(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: the caller vouches for the request; filters are written only while a configuration is read.
    unsafe { NEXT_HEADER.map_or(NGX_ERROR as ngx_int_t, |next| next(r)) }
}

/// # Safety
/// `r` must be a live request, `chain` null or a chain of its body.
unsafe fn next_body(r: *mut ngx_http_request_t, chain: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: as above.
    unsafe { NEXT_BODY.map_or(NGX_ERROR as ngx_int_t, |next| next(r, chain)) }
}
