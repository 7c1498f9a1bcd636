//! What our content handlers have in common: a location has one, which may have to wait for the store.

use nginx_sys::{
    ngx_buf_t, ngx_chain_t, ngx_http_finalize_request, ngx_http_output_filter,
    ngx_http_request_empty_handler, ngx_http_request_t, ngx_http_run_posted_requests,
    ngx_http_send_header, ngx_http_test_reading, ngx_int_t, ngx_str_t, NGX_DONE, NGX_ERROR,
    NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_OK,
};

use super::bits::buf;
use super::conf::{LocationConf, Place};
use super::context::Context;
use super::lookup::Resume;
use super::request::{Request, ALLOW};
use super::{destroy, explain};

/// nginx's type of a content handler.
pub(super) type Handler = unsafe extern "C" fn(*mut ngx_http_request_t) -> ngx_int_t;

/// A directive that answers requests itself.
pub(super) struct Content<'c> {
    pub(super) directive: &'static str,
    pub(super) place: &'c Place,
    pub(super) handler: Handler,
    /// What a location without a store would not do.
    pub(super) purpose: &'static str,
}

impl LocationConf {
    /// What of ours answers in this location.
    pub(super) fn content(&self) -> Option<Content<'_>> {
        let destroy = self.destroy.get().map(|written| Content {
            directive: "session_redis_destroy",
            place: &written.place,
            handler: destroy::handler,
            purpose: "no session would end",
        });
        destroy.or_else(|| {
            self.explain.get().map(|written| Content {
                directive: "session_redis_explain",
                place: &written.place,
                handler: explain::handler,
                purpose: "there is nothing to explain",
            })
        })
    }
}

/// Refuses a request, which no cache may keep. `allow`: the methods that are not refused.
pub(super) fn refuse(r: Request, status: u32, allow: Option<&str>) -> ngx_int_t {
    let allowed = allow
        .map_or(Some(()), |methods| r.set_answer_header(&ALLOW, methods.as_bytes()).map(|_| ()));
    match allowed.and_then(|()| r.forbid_storing()) {
        Some(_) => status as ngx_int_t,
        None => NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t,
    }
}

/// Leaves a request to `resume`, which is called when its lookup is done.
pub(super) fn wait(r: Request, context: &Context, resume: Resume) -> ngx_int_t {
    let ticket = context.lookup.borrow();
    let Some(ticket) = &*ticket else { return NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t };
    // SAFETY: the request is kept by its count until `go_on` finalizes it, or else its pool goes,
    // and with it the context and the ticket.
    unsafe {
        ticket.wait(r.as_ptr(), resume);
        r.main().add_reference();
        (*r.as_ptr()).read_event_handler = Some(ngx_http_test_reading);
        (*r.as_ptr()).write_event_handler = Some(ngx_http_request_empty_handler);
    }
    NGX_DONE as ngx_int_t
}

/// Goes on with a request that `wait` left: `conclude` makes the answer.
///
/// # Safety
/// `r` must be a live request that `wait` left; it may be gone afterwards.
pub(super) unsafe fn go_on(
    r: *mut ngx_http_request_t,
    conclude: impl FnOnce(Request) -> ngx_int_t,
) {
    // SAFETY: the caller vouches for the request; its connection is kept until posted requests have run.
    unsafe {
        let connection = (*r).connection;
        let rc = conclude(Request::from_raw(r));
        ngx_http_finalize_request(r, rc);
        ngx_http_run_posted_requests(connection);
    }
}

/// Sends an answer of 200 with this body, which no cache keeps and no browser takes for another type.
pub(super) fn send(r: Request, content_type: &'static str, body: &[u8]) -> ngx_int_t {
    const INTERNAL: ngx_int_t = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;
    let headers = r.forbid_storing().and(r.forbid_sniffing());
    let (Some(_), Some(body)) = (headers, r.copy(&[body])) else { return INTERNAL };
    let content_type =
        ngx_str_t { len: content_type.len(), data: content_type.as_ptr().cast_mut() };
    // SAFETY: the request is live and no header was sent yet; the body is in its pool, buffer and chain
    // last until it was copied to the connection or sent.
    unsafe {
        let (request, r) = (r, r.as_ptr());
        (*r).headers_out.status = 200;
        (*r).headers_out.content_length_n = body.len as _;
        (*r).headers_out.content_type = content_type;
        (*r).headers_out.content_type_len = content_type.len;
        let rc = ngx_http_send_header(r);
        if rc == NGX_ERROR as ngx_int_t || rc > NGX_OK as ngx_int_t || request.is_header_only() {
            return rc;
        }
        let buffer: *mut ngx_buf_t =
            nginx_sys::ngx_pcalloc((*r).pool, size_of::<ngx_buf_t>()).cast();
        let link: *mut ngx_chain_t =
            nginx_sys::ngx_pcalloc((*r).pool, size_of::<ngx_chain_t>()).cast();
        if buffer.is_null() || link.is_null() {
            return NGX_ERROR as ngx_int_t;
        }
        (*buffer).pos = body.data;
        (*buffer).last = body.data.add(body.len);
        buf::MEMORY.set(&mut *buffer, 1);
        buf::LAST_BUF.set(&mut *buffer, 1);
        buf::LAST_IN_CHAIN.set(&mut *buffer, 1);
        (*link).buf = buffer;
        ngx_http_output_filter(r, link)
    }
}
