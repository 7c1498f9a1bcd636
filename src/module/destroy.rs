//! `session_redis_destroy`: the content handler of a logout.

use std::rc::Rc;

use nginx_sys::{
    ngx_http_discard_request_body, ngx_http_request_t, ngx_http_send_header, ngx_int_t,
    NGX_HTTP_FORBIDDEN, NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_HTTP_NOT_ALLOWED, NGX_HTTP_NO_CONTENT,
    NGX_HTTP_SEE_OTHER, NGX_HTTP_SERVICE_UNAVAILABLE, NGX_LOG_WARN, NGX_OK,
};
use ngx::http::HttpModuleLocationConf;

use super::conf::{Destroy, IdSource, LocationConf};
use super::content::{go_on, refuse, wait};
use super::context::{derive_key, Context};
use super::event::now;
use super::handler;
use super::identify::{identify, Identified};
use super::lookup::{Query, Ticket};
use super::plan::{KeyRule, Plan};
use super::request::{Header, Request, RETRY_AFTER};
use super::SessionRedis;
use crate::framework::Framework;
use crate::logout::Sender;
use crate::session::id::SessionId;
use crate::session::source::Source;
use crate::store::fetched::Outcome;

const OK: ngx_int_t = NGX_OK as ngx_int_t;
const INTERNAL: ngx_int_t = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;

/// The cookies that a logout expires: those of `cookie=`, else those that may hold the id, and what the
/// framework sets beside them.
pub(super) fn cookies(
    conf: &LocationConf,
    sources: &[IdSource],
    framework: &Framework,
) -> Vec<String> {
    let named = conf.destroy.value().map_or(&[][..], |destroy| destroy.cookies.as_slice());
    if !named.is_empty() {
        return named.to_vec();
    }
    let mut names = cookies_of(sources);
    let beside: Vec<String> =
        names.iter().filter_map(|name| framework.identity.scheme.beside(name)).collect();
    names.extend(beside);
    names
}

/// The cookies that may hold the id.
pub(super) fn cookies_of(sources: &[IdSource]) -> Vec<String> {
    let names = sources.iter().filter_map(|source| match &source.source {
        Source::Cookie(name) => Some(name.clone()),
        _ => None,
    });
    names.collect()
}

/// The location's content.
pub(super) unsafe extern "C" fn handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx calls content handlers with a live request.
    let r = unsafe { Request::from_raw(r) };
    let (Some(conf), Some(plan)) = (SessionRedis::location_conf(r.raw()), handler::plan(r)) else {
        return INTERNAL;
    };
    let Some(destroy) = conf.destroy.value() else { return INTERNAL };

    // A subrequest has no lookup of its own.
    if !r.is_main() {
        return refuse(r, NGX_HTTP_FORBIDDEN, None);
    }
    if r.method() & destroy.methods == 0 {
        return refuse(r, NGX_HTTP_NOT_ALLOWED, Some(&destroy.allow));
    }
    if let Err(refusal) = sender(r).may_log_out(&destroy.origins) {
        if let Some(count) = destroy.refused.count(now()) {
            let message =
                format_args!("session_redis_destroy: refused, {refusal}; {count} requests");
            r.write_log(NGX_LOG_WARN, message);
        }
        return refuse(r, NGX_HTTP_FORBIDDEN, None);
    }
    // SAFETY: the request is live.
    let rc = unsafe { ngx_http_discard_request_body(r.as_ptr()) };
    if rc != OK {
        return rc;
    }
    end_session(r, &plan, destroy)
}

/// Whose page the request comes from.
fn sender<'a>(r: Request) -> Sender<'a> {
    let values = |name| r.headers().filter(|it| it.is_called(name)).map(Header::value).collect();
    Sender {
        origins: values(&b"origin"[..]),
        fetch_sites: values(b"sec-fetch-site"),
        host: r.host(),
        is_https: r.is_https(),
    }
}

/// Deletes the session of the request, if it names one, and answers.
fn end_session(r: Request, plan: &Plan, destroy: &Destroy) -> ngx_int_t {
    let id = match identify(r, plan) {
        None => return INTERNAL,
        Some(Identified::None | Identified::Invalid(_)) => return answer(r, plan, destroy),
        Some(Identified::Valid(id)) => id,
    };
    let Some(context) = Context::create(r) else { return INTERNAL };
    let Some(key) = derive_key(r, plan, &id) else { return answer(r, plan, destroy) };
    let route = plan.learns().map(|learns| learns.route_key(&id));
    let keys = keys_beside(plan, &id).chain(route).chain([Rc::clone(&key)]).collect();
    *context.id.borrow_mut() = Some(id);
    *context.key.borrow_mut() = Some(key);

    let Some(client) = plan.store.as_ref().and_then(|store| store.client()) else {
        return INTERNAL;
    };
    match context.ask(client, Query::Delete { keys }) {
        true => conclude(r, context, plan, destroy),
        false => wait(r, context, resume),
    }
}

/// The keys of what the framework keeps beside a session.
fn keys_beside<'a>(plan: &'a Plan, id: &'a SessionId) -> impl Iterator<Item = Rc<[u8]>> + 'a {
    let forms = match &plan.key {
        KeyRule::Form(_, beside) => beside.as_slice(),
        KeyRule::Template(_) | KeyRule::None => &[],
    };
    forms.iter().map(|form| form.key(id)).filter(|key: &Rc<[u8]>| plan.is_key(key))
}

/// # Safety
/// `r` must be a live request that `end_session` left; it may be gone afterwards.
unsafe fn resume(r: *mut ngx_http_request_t) {
    let conclude = |r: Request| {
        let conf = SessionRedis::location_conf(r.raw());
        let destroy = conf.and_then(|conf| conf.destroy.value());
        match (Context::of(r), handler::plan(r), destroy) {
            (Some(context), Some(plan), Some(destroy)) => conclude(r, context, &plan, destroy),
            _ => INTERNAL,
        }
    };
    // SAFETY: the caller vouches for the request.
    unsafe { go_on(r, conclude) };
}

/// The store has answered, or failed.
fn conclude(r: Request, context: &Context, plan: &Plan, destroy: &Destroy) -> ngx_int_t {
    let ticket = context.lookup.take();
    let result = ticket.as_ref().and_then(Ticket::answer);
    let (Some(result), Some(store)) = (result, &plan.store) else { return INTERNAL };
    match &result.outcome {
        Outcome::Failed(failure) => {
            handler::log_failure(r, store, result.server, failure, "ending session in");
            unavailable(r)
        }
        _ => answer(r, plan, destroy),
    }
}

/// The cookie is left alone: whoever tries again is still the one who logs out.
fn unavailable(r: Request) -> ngx_int_t {
    match r.set_answer_header(&RETRY_AFTER, b"1") {
        Some(_) => refuse(r, NGX_HTTP_SERVICE_UNAVAILABLE, None),
        None => INTERNAL,
    }
}

/// Expires the cookies; 204, or 303 to `redirect=`.
fn answer(r: Request, plan: &Plan, destroy: &Destroy) -> ngx_int_t {
    let Some(()) = answer_headers(r, plan) else { return INTERNAL };
    match &destroy.redirect {
        Some(template) => {
            let address = template.evaluate(r).map(<[u8]>::to_vec);
            match address.and_then(|address| r.set_location(&address)) {
                Some(()) => NGX_HTTP_SEE_OTHER as ngx_int_t,
                None => INTERNAL,
            }
        }
        None => {
            // SAFETY: the request is live, and no header was sent yet.
            unsafe {
                (*r.as_ptr()).headers_out.status = NGX_HTTP_NO_CONTENT as usize;
                r.set_header_only();
                ngx_http_send_header(r.as_ptr())
            }
        }
    }
}

fn answer_headers(r: Request, plan: &Plan) -> Option<()> {
    r.forbid_storing()?;
    for name in &plan.logout_cookies {
        let cookie = plan.attributes.expire(name, r.is_https());
        r.push_answer_header("Set-Cookie", cookie.as_bytes())?;
    }
    Some(())
}
