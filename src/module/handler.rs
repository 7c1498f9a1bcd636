//! A request's way: strip, look up, decide, extend. Each phase handler is short; the story between
//! PREACCESS and ACCESS is `session`.

use core::ffi::c_void;
use core::ptr;
use std::rc::Rc;

use nginx_sys::{
    ngx_cidr_match, ngx_handle_read_event, ngx_http_block_reading, ngx_http_core_run_phases,
    ngx_http_request_empty_handler, ngx_http_request_t, ngx_http_run_posted_requests,
    ngx_http_test_reading, ngx_int_t, NGX_AGAIN, NGX_DECLINED, NGX_HTTP_INTERNAL_SERVER_ERROR,
    NGX_HTTP_MOVED_TEMPORARILY, NGX_HTTP_SATISFY_ANY, NGX_LOG_ERR, NGX_LOG_INFO, NGX_LOG_WARN,
    NGX_OK,
};
use ngx::http::{HttpModuleLocationConf, HttpModuleMainConf, HttpModuleServerConf};
use smallvec::SmallVec;

use super::conf::SetHeader;
use super::context::{derive_key, Context, LookedUp, Progress};
use super::event::now;
use super::identify::{has_cookie, hide_cookies, identify, Identified};
use super::learn;
use super::lookup::{Answer, Query, Ticket};
use super::plan::{Made, Plan, Reading, Required};
use super::request::{Request, RETRY_AFTER};
use super::store::Store;
use super::SessionRedis;
use crate::cache::CacheStatus;
use crate::inject::{header_value, Unsafe};
use crate::login::{at_login, Browser};
use crate::policy::{self, decide, is_free, Decision, OnError, Status};
use crate::require::Condition;
use crate::store::error::Failure;
use crate::store::fetched::{Outcome, Ttl};
use crate::stored::{Excerpt, Shape};

const OK: ngx_int_t = NGX_OK as ngx_int_t;
const AGAIN: ngx_int_t = NGX_AGAIN as ngx_int_t;
const DECLINED: ngx_int_t = NGX_DECLINED as ngx_int_t;
const INTERNAL: ngx_int_t = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t;

/// POST_READ, first: a client's copies of our headers are gone before anything can look at them.
pub(super) unsafe extern "C" fn post_read(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: nginx calls phase handlers with a live request.
    let r = unsafe { Request::from_raw(r) };
    if is_trusted(r) {
        return match Context::create(r) {
            Some(context) => {
                context.trusted.set(true);
                DECLINED
            }
            None => INTERNAL,
        };
    }
    strip(r)
}

/// PREACCESS, first: once more, since error redirects skip POST_READ and other modules may have set headers since; and
/// what another location has made of the request does not hold here.
pub(super) unsafe extern "C" fn preaccess_first(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: as above.
    let r = unsafe { Request::from_raw(r) };
    if !r.is_main() {
        return DECLINED;
    }
    let context = Context::of(r);
    if let Some(context) = context {
        // With "session_redis_early" a lookup comes back to here.
        if context.is_resumed() {
            return plan(r).map_or(DECLINED, |plan| session(r, &plan));
        }
        if take_back(r, context).is_none() {
            return INTERNAL;
        }
    }
    let trusted = context.is_some_and(|context| context.trusted.get());
    let rc = if trusted { DECLINED } else { strip(r) };
    match plan(r) {
        Some(plan) if rc == DECLINED && plan.early => session(r, &plan),
        _ => rc,
    }
}

/// What was made of the request in the location that it comes from. (Cookies that differ from the chosen one stay out.)
fn take_back(r: Request, context: &Context) -> Option<()> {
    context.progress.set(Progress::New);
    context.refusal.take();
    // A lookup that nobody has come back from: nginx runs "post_action" for a client that is gone.
    context.lookup.take();
    if let Some(cookies) = context.hidden.take() {
        r.set_cookies(&cookies)?;
    }
    let injected = context.injected.take();
    if !injected.is_empty() {
        r.remove_headers(|header| injected.contains(&header))?;
    }
    Some(())
}

/// PREACCESS, last: the store is asked after `limit_req` and `limit_conn` have protected it. A subrequest is judged here,
/// since nginx runs no access phase for it.
pub(super) unsafe extern "C" fn preaccess_last(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: as above.
    let r = unsafe { Request::from_raw(r) };
    let Some(plan) = plan(r) else { return DECLINED };
    if r.is_main() {
        return session(r, &plan);
    }
    if plan.conditions.is_empty() {
        return DECLINED;
    }
    match guard(r, &plan) {
        OK => DECLINED,
        rc => rc,
    }
}

/// ACCESS: decides; looks up itself where another module cut PREACCESS short.
pub(super) unsafe extern "C" fn access(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: as above.
    let r = unsafe { Request::from_raw(r) };
    match plan(r) {
        Some(plan) if r.is_main() => guard(r, &plan),
        _ => DECLINED,
    }
}

/// Answers a request that may not pass: NGX_OK where what is required holds, NGX_DECLINED where others decide.
fn guard(r: Request, plan: &Rc<Plan>) -> ngx_int_t {
    match session(r, plan) {
        DECLINED => {}
        rc => return rc,
    }
    let Some(context) = Context::of(r) else { return DECLINED };
    match judgement(r, context, plan) {
        Decision::Abstain => DECLINED,
        Decision::Admit => OK,
        Decision::Refuse { status, retry_after } => refuse(r, context, status, retry_after),
        Decision::Login(login) => match login_address(r, plan, login) {
            Some(address) => redirect_to_login(r, address),
            None => INTERNAL,
        },
    }
}

/// Whether the request may pass, as far as its session goes.
fn judgement<'p>(r: Request, context: &Context, plan: &'p Plan) -> Decision<'p> {
    let decided = |session: Option<&serde_json::Value>| {
        let facts = Facts { r, plan, session };
        decide(context.status(r, plan), plan.on_error, &plan.conditions, &facts)
    };
    // Only conditions look at the session.
    let by_session = match plan.conditions.is_empty() {
        true => None,
        false => context.with_session(r, plan, |read| decided(Some(&read.session.value))),
    };
    by_session.unwrap_or_else(|| decided(None))
}

/// PRECONTENT: a request that may pass extends the life of its session.
pub(super) unsafe extern "C" fn precontent(r: *mut ngx_http_request_t) -> ngx_int_t {
    // SAFETY: as above.
    let r = unsafe { Request::from_raw(r) };
    let Some(plan) = plan(r).filter(|_| r.is_main()) else { return DECLINED };
    let Some(context) = Context::of(r) else { return DECLINED };
    // With "satisfy any" another module may have admitted what we have refused, or were not asked about.
    context.refusal.take().into_iter().for_each(|header| r.withdraw(header));
    let Some(extension) = &plan.touch else { return DECLINED };
    let (left, server) =
        context.result.borrow().as_ref().map_or((None, None), |result| (result.ttl, result.server));
    let Some(left) = left.filter(|_| !context.touched.get()) else { return DECLINED };
    let due = context.with_session(r, &plan, |read| extension.due(left, &read.session.value));
    let may_pass = || matches!(judgement(r, context, &plan), Decision::Abstain | Decision::Admit);
    if let Some(life) = due.flatten().filter(|_| may_pass()) {
        context.touched.set(true);
        if let Some(client) = plan.store.as_ref().and_then(|store| store.client()) {
            if let Some(key) = &*context.key.borrow() {
                client.touch(key, life, server);
            }
        }
    }
    DECLINED
}

/// The plan of the location that the request is in.
pub(super) fn plan(r: Request) -> Option<Rc<Plan>> {
    SessionRedis::location_conf(r.raw())?.plan.clone()
}

/// Takes the names that are injected anywhere out of what the client sent.
fn strip(r: Request) -> ngx_int_t {
    let Some(main) = SessionRedis::main_conf(r.raw()) else { return DECLINED };
    if main.stripped.is_empty() {
        return DECLINED;
    }
    match r.remove_headers(|header| main.stripped.contains(header.name())) {
        Some(_) => DECLINED,
        None => INTERNAL,
    }
}

/// Whether the peer is one that may name the user itself: an nginx in front of this one.
fn is_trusted(r: Request) -> bool {
    let Some(conf) = SessionRedis::server_conf(r.raw()) else { return false };
    let Some(trusted) = conf.trusted.value().filter(|trusted| !trusted.is_empty()) else {
        return false;
    };
    // SAFETY: the connection has an address; the array only describes the list during the call.
    unsafe {
        let mut networks: nginx_sys::ngx_array_t = core::mem::zeroed();
        networks.elts = trusted.as_ptr().cast_mut().cast::<c_void>();
        networks.nelts = trusted.len();
        networks.size = size_of::<nginx_sys::ngx_cidr_t>();
        networks.nalloc = trusted.len();
        ngx_cidr_match((*r.connection()).sockaddr, &mut networks) == OK
    }
}

/// Id, key, lookup, headers: NGX_DECLINED when done, NGX_AGAIN while waiting.
fn session(r: Request, plan: &Rc<Plan>) -> ngx_int_t {
    if !plan.needs().id {
        return DECLINED;
    }
    let context = if r.is_main() { Context::create(r) } else { Context::create_own(r) };
    let Some(context) = context else { return INTERNAL };
    match context.progress.get() {
        Progress::Settled => return DECLINED,
        Progress::Waiting => {}
        Progress::New => match ask(r, context, plan) {
            Some(Asked::Settled(status)) => return settle(r, context, plan, status),
            Some(Asked::Waiting) => {}
            None => return INTERNAL,
        },
    }

    loop {
        let Some(ticket) = context.lookup.take() else { return INTERNAL };
        let Some(answer) = ticket.answer() else { return suspend(r, context, ticket) };
        if !asks_again(context, plan, answer) {
            let status = take_in(r, context, plan, answer).unwrap_or(Status::Error);
            return settle(r, context, plan, status);
        }
        if look_up(context, plan).is_none() {
            return INTERNAL;
        }
    }
}

enum Asked {
    /// The status is known without a lookup.
    Settled(Status),
    Waiting,
}

/// Finds the session's id and asks the store for it.
fn ask(r: Request, context: &Context, plan: &Rc<Plan>) -> Option<Asked> {
    context.begin(plan);
    if is_free(&plan.conditions, &Facts { r, plan, session: None }) {
        return Some(Asked::Settled(Status::None));
    }
    let identified = identify(r, plan)?;
    if !matches!(identified, Identified::None) || is_remembered(r, plan) {
        Context::create(r.main())?.named.set(true);
    }
    match identified {
        Identified::None => return Some(Asked::Settled(Status::None)),
        Identified::Invalid(reason) => {
            r.write_log(NGX_LOG_INFO, format_args!("session id refused: {reason}"));
            return Some(Asked::Settled(Status::Invalid));
        }
        Identified::Valid(id) => *context.id.borrow_mut() = Some(id),
    }
    let key = context.id.borrow().as_ref().and_then(|id| derive_key(r, plan, id));
    let has_key = key.is_some();
    *context.key.borrow_mut() = key;
    if !plan.needs().session {
        return Some(Asked::Settled(Status::Pending));
    }
    if !has_key {
        return Some(Asked::Settled(Status::Invalid));
    }
    *context.route_key.borrow_mut() = learn::route_key(r, context, plan);
    if context.is_answered(plan) {
        let status = context.result.borrow().as_ref().map_or(Status::Pending, |it| it.status);
        return Some(Asked::Settled(status));
    }
    context.result.take();
    if let Some(status) = recall(r, context, plan) {
        return Some(Asked::Settled(status));
    }
    look_up(context, plan)?;
    context.progress.set(Progress::Waiting);
    Some(Asked::Waiting)
}

/// Whether a requirement would leave the visitor to the application, for a cookie.
fn is_remembered(r: Request, plan: &Plan) -> bool {
    let mut patterns = plan.conditions.iter().filter_map(|it| it.unless_cookie.as_ref());
    patterns.any(|pattern| has_cookie(r, |name| pattern.matches(name)))
}

/// What the near-cache says.
fn recall(r: Request, context: &Context, plan: &Rc<Plan>) -> Option<Status> {
    let cache = plan.near_cache()?;
    let (mut answer, cached) = cache.fresh(context.key.borrow().as_ref()?)?;
    if let (Some(route), Outcome::Found(_)) = (&*context.route_key.borrow(), &answer.outcome) {
        answer.route = cache.route(route)?;
    }
    context.cached.set(Some(cached));
    take_in(r, context, plan, &answer)
}

fn look_up(context: &Context, plan: &Plan) -> Option<()> {
    let client = plan.store.as_ref().and_then(|store| store.client())?;
    let key = context.key.borrow().clone()?;
    let ttl = plan.needs().ttl || client.cache().is_some();
    let route = context.route_key.borrow().clone();
    let query = Query::Fetch { key, hash: context.asks_hash.get(), ttl, route };
    context.ask(client, query);
    Some(())
}

/// Whether what was asked for as a string may be a hash, or the other way round: once a request.
pub(super) fn asks_again(context: &Context, plan: &Plan, answer: &Answer) -> bool {
    let again = plan.decoder.shape == Shape::Any
        && matches!(answer.outcome, Outcome::WrongType)
        && !context.asked_again.replace(true);
    if again {
        let hash = !context.asks_hash.get();
        context.asks_hash.set(hash);
        plan.hash.set(hash);
    }
    again
}

/// Leaves the request until its lookup is done, or its client gone.
fn suspend(r: Request, context: &Context, ticket: Ticket) -> ngx_int_t {
    // SAFETY: the request lives until its pool goes, and with it the context and the ticket.
    unsafe {
        let read = (*r.connection()).read;
        if ngx_handle_read_event(read, 0) != OK {
            return INTERNAL;
        }
        ticket.wait(r.as_ptr(), resume);
        (*r.as_ptr()).read_event_handler = Some(ngx_http_test_reading);
        (*r.as_ptr()).write_event_handler = Some(ngx_http_request_empty_handler);
    }
    context.lookup.replace(Some(ticket));
    AGAIN
}

/// Goes on where `suspend` left off.
///
/// # Safety
/// `r` must be a live request that `suspend` left; it may be gone afterwards.
unsafe fn resume(r: *mut ngx_http_request_t) {
    // SAFETY: the caller vouches for the request; its connection outlives it, or is kept by nginx
    // until posted requests have run.
    unsafe {
        let connection = (*r).connection;
        (*r).read_event_handler = Some(ngx_http_block_reading);
        (*r).write_event_handler = Some(ngx_http_core_run_phases);
        ngx_http_core_run_phases(r);
        ngx_http_run_posted_requests(connection);
    }
}

/// Keeps what the store answered, and says what it means.
fn take_in(r: Request, context: &Context, plan: &Rc<Plan>, answer: &Answer) -> Option<Status> {
    let store = plan.store.as_ref()?;
    let mut result = LookedUp {
        plan: Rc::clone(plan),
        key: context.key.borrow().clone()?,
        status: Status::Error,
        kept: None,
        ttl: match answer.ttl {
            Some(Ttl::Left(ms)) => Some(ms),
            _ => None,
        },
        route: answer.route.clone(),
        route_key: context.route_key.borrow().clone(),
        server: answer.server,
        elapsed: answer.elapsed,
    };
    result.status = match &answer.outcome {
        Outcome::Found(session) => {
            result.kept = Some(Rc::clone(session));
            let status = judge(store, &result, plan);
            result.weigh();
            status
        }
        Outcome::Missing => Status::Missing,
        Outcome::WrongType => undecodable(store, &plan.decoder.shape),
        Outcome::TooLarge(bytes) => {
            undecodable(store, &format_args!("{bytes} bytes are more than \"max_size\""))
        }
        Outcome::Failed(failure) => {
            if let Some(answer) = stand_in(context, plan) {
                return take_in(r, context, plan, &answer);
            }
            log_failure(r, store, answer.server, failure, "reading session from");
            Status::Error
        }
    };
    if let Some(client) = store.client() {
        client.note(result.status);
        if let Err(spoilt) = result.route.read() {
            client.note_spoilt_route(spoilt);
        }
    }
    let status = result.status;
    *context.result.borrow_mut() = Some(result);
    Some(status)
}

/// What the near-cache still has for a store that fails, where that is allowed.
fn stand_in(context: &Context, plan: &Plan) -> Option<Answer> {
    if plan.on_error != Some(OnError::Stale) {
        return None;
    }
    let cache = plan.near_cache()?;
    let mut answer = cache.stale(context.key.borrow().as_ref()?)?;
    let route = context.route_key.borrow();
    answer.route = route.as_ref().and_then(|key| cache.stale_route(key)).unwrap_or_default();
    context.cached.set(Some(CacheStatus::Stale));
    Some(answer)
}

/// What is stored is a session, one that has ended, or none.
fn judge(store: &Store, result: &LookedUp, plan: &Plan) -> Status {
    match result.read(plan) {
        Ok(Some(_)) => Status::Found,
        Ok(None) => Status::Missing,
        Err(error) => undecodable(store, &error),
    }
}

fn undecodable(store: &Store, why: &dyn core::fmt::Display) -> Status {
    if let Some(client) = store.client() {
        client.note_unreadable(why);
    }
    Status::Undecodable
}

/// A request failed for the store's sake, `doing` what.
pub(super) fn log_failure(
    r: Request,
    store: &Store,
    server: Option<usize>,
    failure: &Failure,
    doing: &str,
) {
    let client = store.client();
    let server = server.and_then(|server| client.map(|client| client.server_name(server)));
    let (name, server) = (&store.name, server.as_deref().unwrap_or("none"));
    match failure {
        // Said once, when the store or the server went down, or was found not to be there.
        Failure::Down | Failure::ServerDown | Failure::Uncovered => {
            r.debug(format_args!("session store \"{name}\" is down"));
        }
        failure => {
            r.write_log(
                NGX_LOG_ERR,
                format_args!("{failure} while {doing} store \"{name}\", server: {server}"),
            );
        }
    }
}

/// The outcome is known: the backend's headers are made. A subrequest has those of the client's request.
fn settle(r: Request, context: &Context, plan: &Plan, status: Status) -> ngx_int_t {
    context.progress.set(Progress::Settled);
    context.status.set(status);
    if !r.is_main() {
        return DECLINED;
    }
    if status == Status::Found {
        let injected = context.with_session(r, plan, |excerpt| inject(r, context, plan, excerpt));
        if injected == Some(None) {
            return INTERNAL;
        }
    }
    if plan.hide_cookie && hide_cookies(r, context, plan).is_none() {
        return INTERNAL;
    }
    DECLINED
}

/// Makes the headers, each from the session or from what its string stands for.
fn inject(r: Request, context: &Context, plan: &Plan, excerpt: &Excerpt) -> Option<()> {
    let kept = plan.near_cache().and(context.result.borrow().as_ref()?.kept.clone());
    let ready = kept.as_ref().map(|kept| kept.headers(excerpt, |it| plan.session_headers(it)));
    for (place, (reading, index)) in plan.headers.iter().enumerate() {
        let header = plan.header(*index)?;
        let set = |made: &Made| push(r, context, header, made.as_ref().map(Option::as_deref));
        match (reading, ready.and_then(|ready| ready.get(place))) {
            (Reading::Session(_) | Reading::User(_), Some(ready)) => {
                push(r, context, header, ready.as_ref().map(Option::as_deref))?;
            }
            (Reading::Session(_) | Reading::User(_), None) => {
                reading.with_header(header, &excerpt.session.value, |made| set(&made))??;
            }
            (Reading::Text(_) | Reading::Template(_), _) => {
                let text = reading.text(r, None).filter(|text| !text.is_empty());
                set(&text.map(|text| header_value(text, header.encode)).transpose())?;
            }
        }
    }
    Some(())
}

fn push(
    r: Request,
    context: &Context,
    header: &SetHeader,
    value: Result<Option<&[u8]>, &Unsafe>,
) -> Option<()> {
    let name = header.name.as_str();
    match value {
        Ok(None) => return Some(()),
        Ok(Some(value)) => {
            if context.trusted.get() {
                r.remove_headers(|other| other.name().eq_ignore_ascii_case(name.as_bytes()))?;
            }
            let pushed = r.push_header(&header.key, value)?;
            context.injected.borrow_mut().push(pushed);
        }
        Err(reason) => {
            if let Some(count) = header.unsent.count(now()) {
                let message = format_args!(
                    "session_redis_set_header {name}: not sent, {reason}; {count} requests"
                );
                r.write_log(NGX_LOG_WARN, message);
            }
        }
    }
    Some(())
}

/// What a decision may ask about a request.
struct Facts<'a> {
    r: Request,
    plan: &'a Plan,
    session: Option<&'a serde_json::Value>,
}

impl Facts<'_> {
    fn required(&self, condition: &Condition) -> Option<&Required> {
        let index = self.plan.conditions.iter().position(|other| ptr::eq(other, condition))?;
        self.plan.requirements.get(index)
    }

    fn browser(&self) -> Browser<'_> {
        let line = self.r.bytes(self.r.raw().request_line);
        Browser {
            method: line.split(|&byte| byte == b' ').next().unwrap_or_default(),
            accept: self.r.header(b"accept"),
            sec_fetch_mode: self.r.header(b"sec-fetch-mode"),
            origin: self.r.header(b"origin"),
            access_control_request_method: self.r.header(b"access-control-request-method"),
            has_body: self.r.has_body(),
        }
    }
}

impl policy::Request for Facts<'_> {
    fn holds(&self, condition: &Condition) -> bool {
        let (Some(required), Some(session)) = (self.required(condition), self.session) else {
            return false;
        };
        required.reading.with_selected(self.r, session, |selected| condition.holds(selected))
    }

    fn is_excused(&self, condition: &Condition) -> bool {
        let pattern = condition.unless_cookie.as_ref();
        pattern.is_some_and(|pattern| has_cookie(self.r, |name| pattern.matches(name)))
    }

    fn at_login(&self, login: &str) -> bool {
        let address = login_address(self.r, self.plan, login).unwrap_or_default();
        at_login(address, self.r.bytes(self.r.raw().headers_in.server), self.r.uri())
    }

    fn is_navigation(&self) -> bool {
        self.browser().is_navigation()
    }

    fn is_preflight(&self) -> bool {
        self.browser().is_preflight()
    }

    fn is_error_page(&self) -> bool {
        self.r.is_error_page()
    }

    fn is_subrequest(&self) -> bool {
        !self.r.is_main()
    }

    fn satisfies_any(&self) -> bool {
        self.r.core_location().is_some_and(|core| core.satisfy == NGX_HTTP_SATISFY_ANY as usize)
    }
}

/// A login address with its variables filled in.
fn login_address<'a>(r: Request, plan: &Plan, login: &str) -> Option<&'a [u8]> {
    let by_login = |condition: &Condition| condition.login.as_deref() == Some(login);
    let index = plan.conditions.iter().position(by_login)?;
    let template = plan.requirements.get(index)?.login.as_ref()?;
    template.evaluate(r)
}

fn refuse(r: Request, context: &Context, status: u16, retry_after: bool) -> ngx_int_t {
    let mut refusal = SmallVec::new();
    refusal.extend(r.forbid_storing());
    if retry_after {
        refusal.extend(r.set_answer_header(&RETRY_AFTER, b"1"));
    }
    let is_complete = refusal.len() == 1 + usize::from(retry_after);
    context.refusal.replace(refusal);
    if is_complete {
        ngx_int_t::from(status as i16)
    } else {
        INTERNAL
    }
}

fn redirect_to_login(r: Request, address: &[u8]) -> ngx_int_t {
    let answer = r.forbid_storing().and_then(|_| r.set_location(address));
    answer.map_or(INTERNAL, |()| NGX_HTTP_MOVED_TEMPORARILY as ngx_int_t)
}
