//! The variables: the table, then a reader each. Reading one never causes a lookup.

use core::sync::atomic::{AtomicBool, Ordering};
use std::borrow::Cow;

use nginx_sys::{
    ngx_conf_t, ngx_http_add_variable, ngx_http_get_variable_index, ngx_http_request_t,
    ngx_http_variable_t, ngx_http_variable_value_t, ngx_int_t, ngx_str_t, NGX_ERROR,
    NGX_HTTP_VAR_CHANGEABLE, NGX_HTTP_VAR_NOCACHEABLE, NGX_LOG_WARN, NGX_OK,
};
use ngx::http::{HttpModuleMainConf, NgxHttpCoreModule};

use super::bits::variable_value;
use super::conf::{MainConf, SetVariable};
use super::context::{Context, LookedUp, Progress};
use super::handler;
use super::identify::given;
use super::plan::Plan;
use super::request::Request;
use super::route::route_of;
use super::{pool, SessionRedis};
use crate::config::ConfigError;
use crate::login::return_to;
use crate::policy::Status;
use crate::session::key::key_digest;
use crate::session::source::mask;
use crate::stored::{Excerpt, Stored};

/// What a variable needs to be known before it has a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    Id,
    Session,
    /// The session's remaining life.
    Ttl,
    /// The whole session, decoded.
    Json,
}

type Read = for<'a> fn(&View<'a>) -> Option<Cow<'a, [u8]>>;

/// Name after `session_redis_`, what it needs, how it is read.
const VARIABLES: [(&str, Needs, Read); 16] = [
    ("status", Needs::Nothing, status),
    ("cache_status", Needs::Nothing, cache_status),
    ("user", Needs::Session, user),
    ("id", Needs::Id, id),
    ("id_hash", Needs::Id, id_hash),
    ("key", Needs::Id, key),
    ("key_digest", Needs::Nothing, digest),
    ("ttl", Needs::Ttl, ttl),
    ("time", Needs::Nothing, time),
    ("json", Needs::Json, json),
    ("raw", Needs::Session, raw),
    ("route", Needs::Nothing, route),
    ("server", Needs::Nothing, server),
    ("return_to", Needs::Nothing, back),
    ("no_cache", Needs::Nothing, no_cache),
    ("request_uri", Needs::Nothing, request_uri),
];

const PREFIX: &str = "session_redis_";

/// What the configuration reads outside the module's own directives: in `proxy_set_header`, `map`, logs …
#[derive(Clone, Copy, Default)]
pub(super) struct Used {
    pub(super) id: bool,
    session: bool,
    pub(super) ttl: bool,
    pub(super) json: bool,
    /// One of these variables, for messages.
    pub(super) first: Option<&'static str>,
}

impl Used {
    /// Whether a location that is on must look the session up for a variable's sake.
    pub(super) fn session(self) -> bool {
        self.session || self.ttl || self.json
    }

    /// Goes through the variables that the configuration refers to.
    pub(super) fn scan(cf: *mut ngx_conf_t) -> Self {
        let mut used = Self::default();
        // SAFETY: `cf` is live; the array holds nginx's variables that are referred to.
        let referred = unsafe {
            let Some(main) = NgxHttpCoreModule::main_conf(&*cf) else { return used };
            main.variables.as_slice::<ngx_http_variable_t>()
        };
        for variable in referred {
            let name = variable.name.to_string();
            let Some(name) = name.strip_prefix(PREFIX) else { continue };
            let known = VARIABLES.iter().find(|(known, ..)| *known == name);
            let Some((name, needs, _)) = known else { continue };
            let is_first = used.first.is_none() || *needs != Needs::Id && !used.session();
            match needs {
                Needs::Id => used.id = true,
                Needs::Session => used.session = true,
                Needs::Ttl => used.ttl = true,
                Needs::Json => used.json = true,
                Needs::Nothing => continue,
            }
            if is_first {
                used.first = Some(name);
            }
        }
        used
    }
}

/// Whether a variable has its value from the lookup: one of our own, or of `session_redis_set`.
pub(super) fn of_session(main: &MainConf, name: &str) -> bool {
    match name.strip_prefix(PREFIX) {
        Some(own) => {
            let known = VARIABLES.iter().find(|(known, ..)| *known == own);
            own == "route" || known.is_some_and(|(_, needs, _)| *needs != Needs::Nothing)
        }
        None => main.variables.iter().any(|known| known.eq_ignore_ascii_case(name)),
    }
}

/// Adds the module's variables to nginx's table.
pub(super) fn register(cf: *mut ngx_conf_t) -> Result<(), ConfigError> {
    for (index, (name, ..)) in VARIABLES.iter().enumerate() {
        add(cf, &format!("{PREFIX}{name}"), 0, get, index)?;
    }
    Ok(())
}

/// Adds the variable of a `session_redis_set`; its index in the list of these.
pub(super) fn declare(
    cf: *mut ngx_conf_t,
    main: &mut MainConf,
    name: &str,
) -> Result<usize, ConfigError> {
    // nginx's names differ by more than case.
    if let Some(index) = main.variables.iter().position(|known| known.eq_ignore_ascii_case(name)) {
        return Ok(index);
    }
    if name.to_ascii_lowercase().starts_with(PREFIX) {
        return Err(ConfigError::new(format!("\"${name}\" would look like the module's own")));
    }
    let index = main.variables.len();
    add(cf, name, NGX_HTTP_VAR_CHANGEABLE, get_set, index)?;
    main.variables.push(name.to_owned());
    Ok(index)
}

type Getter = unsafe extern "C" fn(
    *mut ngx_http_request_t,
    *mut ngx_http_variable_value_t,
    usize,
) -> ngx_int_t;

fn add(
    cf: *mut ngx_conf_t,
    name: &str,
    flags: u32,
    getter: Getter,
    data: usize,
) -> Result<(), ConfigError> {
    let variable = in_table(cf, name, flags)
        .ok_or_else(|| ConfigError::new(format!("the variable \"${name}\" cannot be added")))?;
    if variable.get_handler.is_some() && !is_of_set(cf, variable) {
        let taken = format!("\"${name}\" has its values from nginx or another directive already");
        return Err(ConfigError::new(taken).hint("choose another name"));
    }
    variable.get_handler = Some(getter);
    variable.data = data;
    Ok(())
}

/// Whether the variable is one that "set" writes, in some location: it goes on to. What it holds elsewhere is its own
/// place among a request's values, by its number.
fn is_of_set(cf: *mut ngx_conf_t, variable: &mut ngx_http_variable_t) -> bool {
    // SAFETY: `cf` is live, and the name is the variable's own.
    let index = unsafe { ngx_http_get_variable_index(cf, &mut variable.name) };
    variable.set_handler.is_none() && usize::try_from(index) == Ok(variable.data)
}

/// The entry of nginx's table, made if need be.
fn in_table(
    cf: *mut ngx_conf_t,
    name: &str,
    flags: u32,
) -> Option<&'static mut ngx_http_variable_t> {
    // SAFETY: `cf` is live; the name is a copy in its pool, and the variable lives there too.
    unsafe {
        let mut name: ngx_str_t = pool::copy((*cf).pool, &[name.as_bytes()])?;
        ngx_http_add_variable(cf, &mut name, (flags | NGX_HTTP_VAR_NOCACHEABLE) as usize).as_mut()
    }
}

/// A variable of these sets to which another directive gave its own values later, as "map" may.
pub(super) fn overridden<'m>(
    cf: *mut ngx_conf_t,
    main: &'m MainConf,
    sets: &[SetVariable],
) -> Option<&'m str> {
    let ours = get_set as *const ();
    let mut names = sets.iter().filter_map(|set| main.variables.get(set.variable));
    let name = names.find(|name| {
        let variable = in_table(cf, name, NGX_HTTP_VAR_CHANGEABLE);
        variable.and_then(|it| it.get_handler).is_none_or(|other| other as *const () != ours)
    });
    name.map(String::as_str)
}

/// A request as a variable sees it.
struct View<'a> {
    r: Request,
    context: Option<&'a Context>,
    plan: Option<&'a Plan>,
}

unsafe extern "C" fn get(
    r: *mut ngx_http_request_t,
    value: *mut ngx_http_variable_value_t,
    data: usize,
) -> ngx_int_t {
    // SAFETY: nginx calls getters with a live request.
    let r = unsafe { Request::from_raw(r) };
    let Some((name, needs, read)) = VARIABLES.get(data) else { return NGX_ERROR as ngx_int_t };
    // A location that is off has what the client's request has.
    let plan = handler::plan(r).or_else(|| handler::plan(r.main()));
    let context = Context::of(r);
    let view = View { r, context, plan: plan.as_deref() };
    let text = read(&view);
    if text.is_none() && *needs != Needs::Nothing {
        view.warn_if_early(name);
    }
    // SAFETY: as above, with the value to be set.
    unsafe { fill(r, value, text) }
}

unsafe extern "C" fn get_set(
    r: *mut ngx_http_request_t,
    value: *mut ngx_http_variable_value_t,
    data: usize,
) -> ngx_int_t {
    // SAFETY: nginx calls getters with a live request.
    let r = unsafe { Request::from_raw(r) };
    let (context, plan) = (Context::of(r), handler::plan(r));
    let mut text = None;
    if let Some(plan) = &plan {
        View { r, context, plan: Some(plan) }.warn_if_early("set");
        let of_this = plan.sets.iter().find_map(|(reading, index)| {
            let set = plan.set(*index).filter(|set| set.variable == data)?;
            Some((reading, set))
        });
        if let Some((reading, set)) = of_this {
            // Like headers, values stand only where a session was found.
            let found = context.and_then(|context| {
                let text =
                    |read: &Excerpt| Some(reading.text(r, Some(&read.session.value))?.into_owned());
                context.with_session(r, plan, text)?
            });
            text = found.or_else(|| set.default.clone()).map(String::into_bytes);
        }
    }
    // SAFETY: as above.
    unsafe { fill(r, value, text.map(Cow::Owned)) }
}

/// # Safety
/// `value` must point to the value that nginx wants to have set.
unsafe fn fill(
    r: Request,
    value: *mut ngx_http_variable_value_t,
    text: Option<Cow<'_, [u8]>>,
) -> ngx_int_t {
    let copy = match &text {
        None => None,
        Some(text) => match r.copy(&[text]) {
            None => return NGX_ERROR as ngx_int_t,
            copy => copy,
        },
    };
    // SAFETY: the caller vouches for `value`.
    let value = unsafe { &mut *value };
    variable_value::VALID.set(value, copy.is_some().into());
    variable_value::NOT_FOUND.set(value, copy.is_none().into());
    variable_value::NO_CACHEABLE.set(value, 1);
    variable_value::ESCAPE.set(value, 0);
    if let Some(copy) = copy {
        variable_value::LEN.set(value, copy.len as u64);
        value.data = copy.data;
    }
    NGX_OK as ngx_int_t
}

impl<'a> View<'a> {
    /// A session variable read in the rewrite phase is empty, which is easily overlooked.
    fn warn_if_early(&self, name: &str) {
        static WARNED: AtomicBool = AtomicBool::new(false);
        let pending = self.status() == Status::Pending;
        let looks = self.plan.is_some_and(|plan| plan.needs().session);
        if pending && looks && !self.r.is_header_sent() && !WARNED.swap(true, Ordering::Relaxed) {
            self.r.write_log(
                NGX_LOG_WARN,
                format_args!(
                    "session variable \"{name}\" is read before the lookup and empty, \
                     in the rewrite phase for instance"
                ),
            );
        }
    }

    fn status(&self) -> Status {
        match (self.context, self.plan) {
            (Some(context), Some(plan)) => context.status(self.r, plan),
            (_, None) => Status::Off,
            (None, Some(_)) => Status::Pending,
        }
    }

    /// What is known of the request, where the module is on: after a redirect it may be off.
    fn known(&self) -> Option<(&'a Context, &'a Plan)> {
        self.context.zip(self.plan)
    }

    /// The id and what follows from it, where one was found.
    fn with_id<T>(&self, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let (context, plan) = self.known()?;
        context.id(self.r, plan).map(|id| read(id.as_bytes()))
    }

    /// Whether the request says who the user is, by a header that only the module may set.
    fn is_told(&self) -> bool {
        SessionRedis::main_conf(self.r.raw()).is_some_and(|main| {
            self.r.headers().any(|header| main.stripped.contains(header.name()))
        })
    }

    fn with_result<T>(&self, read: impl FnOnce(&LookedUp) -> Option<T>) -> Option<T> {
        let (context, plan) = self.known()?;
        context.with_result(self.r, plan, read)
    }

    fn with_session<T>(&self, read: impl FnOnce(&Excerpt) -> Option<T>) -> Option<T> {
        let (context, plan) = self.known()?;
        context.with_session(self.r, plan, read)?
    }
}

fn text<'a>(text: impl Into<String>) -> Cow<'a, [u8]> {
    Cow::Owned(text.into().into_bytes())
}

fn status<'a>(view: &View<'a>) -> Option<Cow<'a, [u8]>> {
    Some(Cow::Borrowed(view.status().as_str().as_bytes()))
}

fn cache_status<'a>(view: &View<'a>) -> Option<Cow<'a, [u8]>> {
    view.known()?.0.cached.get().map(|cached| Cow::Borrowed(cached.as_str().as_bytes()))
}

fn user<'a>(view: &View<'a>) -> Option<Cow<'a, [u8]>> {
    let user = view.plan?.user.as_ref()?;
    view.with_session(|read| user.text(&read.session.value).map(text))
}

fn id<'a>(view: &View<'a>) -> Option<Cow<'a, [u8]>> {
    view.with_id(|id| Cow::Owned(id.to_vec()))
}

fn id_hash<'a>(view: &View<'a>) -> Option<Cow<'a, [u8]>> {
    let main = SessionRedis::main_conf(view.r.raw())?;
    let hash = main.hash_key.value()?;
    let known = view.with_id(|id| text(hash.of(id)));
    // Nor are those whose ids were refused one visitor.
    let is_refused = known.is_none() && view.status() == Status::Invalid;
    known.or_else(|| Some(text(hash.of(&given(view.r, view.plan?).filter(|_| is_refused)?))))
}

fn key<'a>(view: &View<'a>) -> Option<Cow<'a, [u8]>> {
    let (context, plan) = view.known()?;
    context.key(view.r, plan).map(|key| Cow::Owned(key.to_vec()))
}

fn digest<'a>(view: &View<'a>) -> Option<Cow<'a, [u8]>> {
    let rule = view.plan?.key_digest.value()?;
    let parts = rule.parts.iter().map(|part| part.evaluate(view.r)).collect::<Option<Vec<_>>>()?;
    key_digest(rule.digest, rule.json, &parts).map(text)
}

fn ttl<'a>(view: &View<'a>) -> Option<Cow<'a, [u8]>> {
    view.with_result(|result| result.ttl).map(|ms| text((ms / 1000).to_string()))
}

fn time<'a>(view: &View<'a>) -> Option<Cow<'a, [u8]>> {
    view.with_result(|result| Some(text(format!("{:.6}", result.elapsed.as_secs_f64()))))
}

fn json<'a>(view: &View<'a>) -> Option<Cow<'a, [u8]>> {
    view.with_session(|read| serde_json::to_vec(&read.session.value).ok().map(Cow::Owned))
}

fn raw<'a>(view: &View<'a>) -> Option<Cow<'a, [u8]>> {
    view.with_session(|_| Some(()))?;
    view.with_result(|result| match result.kept.as_ref()?.stored() {
        Stored::Text(raw) => Some(Cow::Owned(raw.clone())),
        Stored::Hash(_) => None,
    })
}

fn route<'a>(view: &View<'a>) -> Option<Cow<'a, [u8]>> {
    route_of(view.r).map(Cow::Owned)
}

fn server<'a>(view: &View<'a>) -> Option<Cow<'a, [u8]>> {
    view.with_result(|result| {
        let client = result.plan.store.as_ref()?.client()?;
        Some(text(&*client.server_name(result.server?)))
    })
}

fn back<'a>(view: &View<'a>) -> Option<Cow<'a, [u8]>> {
    Some(text(return_to(view.r.main().original_uri())))
}

/// Whether the response may be for one visitor only, as it may be where that is not known yet.
fn no_cache<'a>(view: &View<'a>) -> Option<Cow<'a, [u8]>> {
    let of_client = Context::of(view.r.main());
    let is_named = of_client.is_some_and(|context| context.named.get());
    let is_told = || of_client.is_some_and(|context| context.trusted.get()) && view.is_told();
    let is_settled = || view.context.is_some_and(|it| it.progress.get() == Progress::Settled);
    let looks = view.plan.is_some_and(|plan| plan.needs().id);
    let personal = is_named || looks && !is_settled() || is_told();
    Some(Cow::Borrowed(if personal { b"1" } else { b"" }))
}

fn request_uri<'a>(view: &View<'a>) -> Option<Cow<'a, [u8]>> {
    let main = SessionRedis::main_conf(view.r.raw())?;
    Some(Cow::Owned(mask(view.r.main().original_uri(), &main.in_addresses.borrow())))
}
