//! `session_redis_explain`: the content handler that tells what becomes of the request's own session.

use std::rc::Rc;

use nginx_sys::{
    ngx_http_discard_request_body, ngx_http_request_t, ngx_int_t, NGX_HTTP_FORBIDDEN, NGX_HTTP_GET,
    NGX_HTTP_HEAD, NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_HTTP_NOT_ALLOWED, NGX_OK,
};

use super::content::{go_on, refuse, send, wait};
use super::context::{derive_key, Context};
use super::event::time_of_day;
use super::handler::{self, asks_again};
use super::identify::for_each_source;
use super::learn;
use super::lookup::{Answer, Query, Ticket};
use super::plan::{KeyRule, Plan, Reading, RouteRule};
use super::request::Request;
use crate::explain::Report;
use crate::pointer::Selected;
use crate::route::assignment::Standing;
use crate::session::id::SessionId;
use crate::session::source::argument;
use crate::store::fetched::{Outcome, Ttl};
use crate::stored::Stored;

const INTERNAL: ngx_int_t = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;

/// The location's content.
pub(super) unsafe extern "C" fn handler(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx calls content handlers with a live request.
    let r = unsafe { Request::from_raw(r) };
    // A subrequest has no lookup of its own.
    if !r.is_main() {
        return refuse(r, NGX_HTTP_FORBIDDEN, None);
    }
    if r.method() & (NGX_HTTP_GET | NGX_HTTP_HEAD) as usize == 0 {
        return refuse(r, NGX_HTTP_NOT_ALLOWED, Some("GET, HEAD"));
    }
    // SAFETY: the request is live.
    let rc = unsafe { ngx_http_discard_request_body(r.as_ptr()) };
    if rc != NGX_OK as ngx_int_t {
        return rc;
    }
    let (Some(plan), Some(context)) = (handler::plan(r), Context::create(r)) else {
        return INTERNAL;
    };
    let mut report = Report::default();
    let Some(id) = identify(r, &plan, &mut report) else { return answer(r, &report) };
    context.asks_hash.set(plan.hash.get());
    match derive_key(r, &plan, &id) {
        Some(key) => {
            *context.id.borrow_mut() = Some(id);
            *context.route_key.borrow_mut() = learn::route_key(r, context, &plan);
            ask(r, context, &plan, key)
        }
        None => {
            report.bad("key", "the store can have no key of this id");
            answer(r, &report)
        }
    }
}

fn ask(r: Request, context: &Context, plan: &Plan, key: Rc<[u8]>) -> ngx_int_t {
    let Some(client) = plan.store.as_ref().and_then(|store| store.client()) else {
        return INTERNAL;
    };
    context.key.replace(Some(Rc::clone(&key)));
    let route = context.route_key.borrow().clone();
    let query = Query::Fetch { key, hash: context.asks_hash.get(), ttl: true, route };
    match context.ask(client, query) {
        true => conclude(r),
        false => wait(r, context, resume),
    }
}

/// # Safety
/// `r` must be a live request that `handler` left; it may be gone afterwards.
unsafe fn resume(r: *mut ngx_http_request_t) {
    // SAFETY: the caller vouches for the request.
    unsafe { go_on(r, conclude) };
}

/// The store has answered, or failed.
fn conclude(r: Request) -> ngx_int_t {
    let (Some(context), Some(plan)) = (Context::of(r), handler::plan(r)) else { return INTERNAL };
    let ticket = context.lookup.take();
    let Some(result) = ticket.as_ref().and_then(Ticket::answer) else { return INTERNAL };
    let asked = context.key.borrow().clone();
    if let Some(asked) = asked.filter(|_| asks_again(context, &plan, result)) {
        return ask(r, context, &plan, asked);
    }
    // Told from the beginning: nothing of the report was kept while waiting.
    let mut report = Report::default();
    if let Some(id) = identify(r, &plan, &mut report) {
        key(r, &plan, &id, &mut report);
        if let Some(RouteRule::JvmRoute) = plan.route {
            report.jvm_route(&id);
        }
    }
    if let Some(stored) = fetched(&plan, result, &mut report) {
        read(r, &plan, stored, &result.route, &mut report);
    }
    answer(r, &report)
}

fn identify(r: Request, plan: &Plan, report: &mut Report) -> Option<SessionId> {
    let mut found = None;
    for_each_source(r, plan, |source, offered| {
        let (source, values) = (source.to_string(), offered.candidates.as_slice());
        found = report.identify(&source, values, &plan.verifier, &offered.carried);
        found.is_none()
    })?;
    found
}

fn key(r: Request, plan: &Plan, id: &SessionId, report: &mut Report) {
    match &plan.key {
        KeyRule::Form(form, _) => report.key(form),
        KeyRule::Template(rule) => {
            let digest = rule.value().is_some_and(|rule| rule.digest.is_some());
            let key = derive_key(r, plan, id).unwrap_or_default();
            let key = String::from_utf8_lossy(&key).replace(id.as_str(), "***");
            match digest {
                true => report.good("key", "a digest, as session_redis_key says"),
                false => report.good("key", key),
            }
        }
        KeyRule::None => {}
    }
}

/// What the store has. `None`: no session.
fn fetched<'a>(plan: &Plan, answer: &'a Answer, report: &mut Report) -> Option<&'a Stored> {
    let client = plan.store.as_ref().and_then(|store| store.client())?;
    let server = answer.server.map(|server| client.server_name(server));
    let server = server.as_deref().unwrap_or("no server");
    let left = match answer.ttl {
        Some(Ttl::Left(ms)) => Some(ms),
        _ => None,
    };
    let stored = match &answer.outcome {
        Outcome::Found(session) => Some(session.stored()),
        Outcome::Missing => None,
        Outcome::WrongType => {
            report.bad("store", format!("{server}: {}", plan.decoder.shape));
            return None;
        }
        Outcome::TooLarge(bytes) => {
            report.bad("store", format!("{server}: {bytes} bytes are more than \"max_size\""));
            return None;
        }
        Outcome::Failed(failure) => {
            report.bad("store", format!("{server}: {failure}"));
            return None;
        }
    };
    report.stored(server, stored, left);
    stored
}

/// What is in a session, and what the location makes of it; `standing` is what was learnt of its server.
fn read(r: Request, plan: &Plan, stored: &Stored, standing: &Standing, report: &mut Report) {
    let Some(session) = report.decode(&plan.decoder, stored, time_of_day()) else { return };
    let session = session.value;
    report.session(&session);
    report.user(plan.user.as_ref(), &session);
    for (reading, index) in &plan.headers {
        let Some(header) = plan.header(*index) else { continue };
        let (name, join) = (header.name.as_str(), header.join.as_deref());
        match reading {
            Reading::Session(_) | Reading::User(_) => reading.with_selected(r, &session, |found| {
                report.header(name, join, header.encode, found);
            }),
            Reading::Text(_) | Reading::Template(_) => report.other_header(name),
        }
    }
    for (condition, required) in plan.conditions.iter().zip(&plan.requirements) {
        required.reading.with_selected(r, &session, |found: &Selected| {
            report.requirement(condition, found);
        });
    }
    match &plan.route {
        Some(RouteRule::Value(reading)) => {
            reading.with_selected(r, &session, |found| report.route_value(found));
        }
        Some(RouteRule::Learn(_)) => report.learnt_route(standing, time_of_day() / 1000),
        Some(RouteRule::JvmRoute) | None => {}
    }
}

/// Text, or JSON for whoever asks for it.
fn answer(r: Request, report: &Report) -> ngx_int_t {
    let json = argument(r.original_args(), b"format") == Some(b"json");
    match json {
        true => send(r, "application/json", report.json().as_bytes()),
        false => send(r, "text/plain; charset=utf-8", report.text().as_bytes()),
    }
}
