//! What the requests of one location need, worked out once from its settings.

use core::cell::Cell;
use core::ffi::c_char;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::borrow::Cow;
use std::rc::Rc;

use nginx_sys::{ngx_conf_t, ngx_http_core_loc_conf_t, NGX_HTTP_SATISFY_ANY};
use ngx::http::{HttpModuleLocationConf, HttpModuleMainConf, NgxHttpCoreModule};

use super::conf::{
    refuse, IdSource, IdSources, Key, KeyDigest, LocationConf, MainConf, Origin, Place,
    Requirement, RouteKind, SetHeader, SetVariable, Setting, StoreName, Touch,
};
use super::destroy;
use super::learn::Learns;
use super::near_cache::NearCache;
use super::request::Request;
use super::store::Store;
use super::template::{Template, Value};
use super::variables::Used;
use super::SessionRedis;
use crate::config::ConfigError;
use crate::format::{Pipeline, Wanted};
use crate::framework::{Framework, Refresh, User};
use crate::inject::{session_header, Unsafe};
use crate::pointer::{Pointer, Selected};
use crate::policy::OnError;
use crate::require::{Condition, Preflight};
use crate::session::cookie::Attributes;
use crate::session::identity::Verifier;
use crate::session::key::KeyForm;
use crate::session::source::Source;
use crate::stored::{Decoder, Header, HeaderValue, Headers, Shape};
use crate::value;

/// A location's plan.
pub(super) struct Plan {
    number: usize,
    pub(super) store: Option<Rc<Store>>,
    pub(super) verifier: Verifier,
    pub(super) sources: Vec<IdSource>,
    /// Of the cookies that a logout expires.
    pub(super) attributes: Attributes,
    pub(super) key: KeyRule,
    pub(super) key_digest: Setting<KeyDigest>,
    pub(super) decoder: Decoder,
    /// Whether sessions are hashes. Where that is not said, what the last one was.
    pub(super) hash: Cell<bool>,
    pub(super) user: Option<User>,
    pub(super) headers: Vec<(Reading, usize)>,
    header_settings: Setting<Vec<SetHeader>>,
    pub(super) sets: Vec<(Reading, usize)>,
    set_settings: Setting<Vec<SetVariable>>,
    pub(super) conditions: Vec<Condition>,
    pub(super) requirements: Vec<Required>,
    pub(super) touch: Option<Extension>,
    pub(super) on_error: Option<OnError>,
    pub(super) hide_cookie: bool,
    pub(super) early: bool,
    pub(super) route: Option<RouteRule>,
    /// Cookies that a logout expires.
    pub(super) logout_cookies: Vec<String>,
    /// What its own directives read of a session; see [`Plan::wanted`].
    own_wanted: Wanted,
    /// What the location's own directives need; see [`Plan::needs`].
    own_needs: Needs,
    /// What is read outside them, known when the whole configuration is.
    used: Rc<Cell<Used>>,
}

/// What a request of the location cannot do without.
#[derive(Clone, Copy, Default)]
pub(super) struct Needs {
    pub(super) session: bool,
    pub(super) id: bool,
    pub(super) ttl: bool,
}

/// From id to key.
pub(super) enum KeyRule {
    /// As the framework makes it, and the keys of what it keeps beside a session.
    Form(KeyForm, Vec<KeyForm>),
    Template(Setting<Key>),
    /// A location that never looks anything up.
    None,
}

/// Where a value comes from, with `@user` and the framework's root filled in.
pub(super) enum Reading {
    Session(Pointer),
    User(User),
    Text(String),
    Template(Rc<Template>),
}

/// What a condition reads, and its login address.
pub(super) struct Required {
    pub(super) reading: Reading,
    pub(super) login: Option<Rc<Template>>,
}

/// By how much a request extends a session's life.
pub(super) struct Extension {
    pub(super) life: Life,
    after_ms: Option<u64>,
}

pub(super) enum Life {
    Fixed(u64),
    OfFramework(Refresh),
}

/// Where `$session_redis_route` comes from.
pub(super) enum RouteRule {
    Value(Reading),
    JvmRoute,
    Learn(Learns),
}

impl Reading {
    fn of(value: &Value, framework: &Framework, user: Option<&User>) -> Result<Self, ConfigError> {
        Ok(match value {
            Value::Pointer(pointer) => Self::Session(framework.rooted(pointer)),
            Value::User => Self::User(user.cloned().ok_or_else(|| {
                ConfigError::new("\"@user\" stands for nothing here").hint(format!(
                    "framework \"{}\" knows no user: add \"session_redis_user /…\"",
                    framework.name
                ))
            })?),
            Value::Text(text) => Self::Text(text.clone()),
            Value::Template(template) => Self::Template(Rc::clone(template)),
        })
    }

    fn pointers(&self) -> Vec<Pointer> {
        match self {
            Self::Session(pointer) => vec![pointer.clone()],
            Self::User(user) => user.pointers().cloned().collect(),
            Self::Text(_) | Self::Template(_) => Vec::new(),
        }
    }

    /// The value as text, for variables and routes. None where there is none.
    pub(super) fn text<'a>(
        &'a self,
        r: Request,
        session: Option<&'a serde_json::Value>,
    ) -> Option<Cow<'a, str>> {
        match self {
            Self::Session(pointer) => value::text(&pointer.select(session?)),
            Self::User(user) => user.text(session?).map(Cow::Owned),
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Template(template) => template.evaluate(r).map(String::from_utf8_lossy),
        }
    }

    /// Makes a header of a session and hands it to `take`. None: it comes of anything else.
    pub(super) fn with_header<T>(
        &self,
        header: &SetHeader,
        session: &serde_json::Value,
        take: impl FnOnce(Made<'_>) -> T,
    ) -> Option<T> {
        let made =
            |found: &Selected| take(session_header(found, header.join.as_deref(), header.encode));
        match self {
            Self::Session(pointer) => Some(made(&pointer.select(session))),
            Self::User(user) => Some(user.with(session, made)),
            Self::Text(_) | Self::Template(_) => None,
        }
    }

    /// Hands the value to `judge`, in the form in which it is found in a session.
    pub(super) fn with_selected<T>(
        &self,
        r: Request,
        session: &serde_json::Value,
        judge: impl FnOnce(&Selected) -> T,
    ) -> T {
        match self {
            Self::Session(pointer) => judge(&pointer.select(session)),
            Self::User(user) => user.with(session, judge),
            other => match other.text(r, None) {
                Some(text) => {
                    let text = serde_json::Value::String(text.into_owned());
                    judge(&Selected::One(&text))
                }
                None => judge(&Selected::None),
            },
        }
    }
}

/// The value of a header, none where it is to be absent, or why it may not be sent.
pub(super) type Made<'v> = Result<Option<Cow<'v, [u8]>>, Unsafe>;

impl Extension {
    /// The life that the key is to have, in ms, if it is time: `left` is what it has. `after_ms`
    /// defaults to a tenth.
    pub(super) fn due(&self, left: u64, session: &serde_json::Value) -> Option<u64> {
        let life = match &self.life {
            Life::Fixed(ms) => *ms,
            Life::OfFramework(refresh) => refresh.ttl(session)?,
        };
        let after = self.after_ms.unwrap_or(life / 10);
        (left > 0 && left < life.saturating_sub(after)).then_some(life)
    }
}

/// A mistake, with the directive and the place that it is about.
pub(super) struct Mistake {
    directive: &'static str,
    place: Place,
    error: ConfigError,
}

impl Mistake {
    pub(super) fn new(directive: &'static str, place: &Place, error: ConfigError) -> Self {
        Self { directive, place: place.clone(), error }
    }

    /// Of a mistake that is reported where it was made.
    pub(super) fn into_error(self) -> ConfigError {
        self.error
    }

    /// Its place, and what is said of it.
    pub(super) fn told(self) -> (Place, String) {
        (self.place, format!("\"{}\" directive: {}", self.directive, self.error))
    }

    pub(super) fn report(&self, cf: *mut ngx_conf_t) -> *mut c_char {
        refuse(cf, self.directive, &self.place, &self.error)
    }
}

impl Plan {
    /// The plan of a location whose settings are merged. None where there is nothing to do.
    pub(super) fn of(
        cf: *mut ngx_conf_t,
        conf: &LocationConf,
        origin: Origin,
    ) -> Result<Option<Rc<Self>>, *mut c_char> {
        // SAFETY: `cf` is live; its contexts are those of the location that is merged.
        let (main, core) =
            unsafe { (SessionRedis::main_conf(&*cf), NgxHttpCoreModule::location_conf(&*cf)) };
        let Some(main) = main else { return Ok(None) };
        Self::draw(cf, main, conf, core, origin, conf.is_used())
            .map(|plan| plan.map(Rc::new))
            .map_err(|mistake| mistake.report(cf))
    }

    /// Where the sessions of the location are kept for further requests.
    pub(super) fn near_cache(&self) -> Option<&NearCache> {
        self.store.as_ref()?.client()?.cache()
    }

    /// What a location without a plan lacks to have one.
    pub(super) fn missing(
        cf: *mut ngx_conf_t,
        main: &MainConf,
        conf: &LocationConf,
        core: &ngx_http_core_loc_conf_t,
    ) -> Option<Mistake> {
        let origin = Origin { require: true, route: true };
        Self::draw(cf, main, conf, Some(core), origin, true).err()
    }

    /// A location that is not complete has no plan, or if `strict` it is a mistake.
    fn draw(
        cf: *mut ngx_conf_t,
        main: &MainConf,
        conf: &LocationConf,
        core: Option<&ngx_http_core_loc_conf_t>,
        origin: Origin,
        strict: bool,
    ) -> Result<Option<Self>, Mistake> {
        let store = find_store(cf, main, conf)?;
        let route_only = conf.route.value().is_some_and(|route| route.kind == RouteKind::JvmRoute);
        check_require(conf, core, store.is_some(), origin)?;
        check_stale(conf, store.as_deref())?;
        check_learn(conf, core, store.is_some(), origin)?;
        if store.is_none() && !route_only {
            return Ok(None);
        }

        let raw = Framework::raw();
        let framework = conf.framework.value().unwrap_or(&raw);
        let Some(sources) = conf.id_sources() else {
            return incomplete(strict, conf, "session_redis_cookie", "names no cookie or other id");
        };
        if framework.identity.scheme.needs_secret() && conf.secrets.get().is_none() {
            return match strict {
                false => Ok(None),
                true => Err(Mistake::new(
                    "session_redis_framework",
                    conf.place(),
                    ConfigError::new(format!(
                        "framework \"{}\" needs \"session_redis_secret_file\": without it every \
                         cookie would be refused",
                        framework.name
                    )),
                )),
            };
        }
        let key = match (conf.key.get(), &framework.key) {
            (Some(_), _) => KeyRule::Template(conf.key.clone()),
            (None, Some(form)) => KeyRule::Form(form.clone(), framework.keys_beside.clone()),
            (None, None) if store.is_none() => KeyRule::None,
            (None, None) => {
                return incomplete(strict, conf, "session_redis_key", "makes no key of the id");
            }
        };
        let format = match (conf.format.value(), &framework.format) {
            (Some(format), _) | (None, Some(format)) => format
                .clone()
                .with_secrets(conf.secrets.value(), framework.identity.scheme.cipher())
                .map_err(|error| Mistake::new("session_redis_format", conf.place(), error))?,
            (None, None) if store.is_none() => Pipeline::default(),
            (None, None) => {
                return incomplete(strict, conf, "session_redis_format", "reads no format");
            }
        };

        let user = match conf.user.value() {
            Some(user) => Some(User::at(framework.rooted(user))),
            None => framework.user.clone(),
        };
        let reading = |value: &Value, directive, place: &Place| {
            Reading::of(value, framework, user.as_ref())
                .map_err(|error| Mistake::new(directive, place, error))
        };

        // Without one only the id is looked at, whatever is inherited.
        let nothing = LocationConf::default();
        let of_session = if store.is_some() { conf } else { &nothing };
        let mut headers = Vec::new();
        for (index, header) in of_session.headers.items().iter().enumerate() {
            headers
                .push((reading(&header.value, "session_redis_set_header", &header.place)?, index));
        }
        let mut sets = Vec::new();
        if let Some(list) = of_session.sets.get() {
            for (index, set) in list.iter().enumerate() {
                sets.push((reading(&set.value, "session_redis_set", &list.place)?, index));
            }
        }
        let (mut conditions, mut requirements) = (Vec::new(), Vec::new());
        for Requirement { condition, value, login, place } in of_session.require.items() {
            conditions.push(condition.clone());
            let reading = reading(value, "session_redis_require", place)?;
            requirements.push(Required { reading, login: login.clone() });
        }
        let route = match conf.route.get() {
            None => None,
            Some(written) => match (&written.value, &written.learn, &store) {
                (Some(value), ..) => {
                    let reading = reading(value, "session_redis_route", &written.place)?;
                    Some(RouteRule::Value(reading))
                }
                (None, Some(learn), Some(store)) => {
                    let cookies = destroy::cookies_of(&sources);
                    let learns = Learns::new(main, store, learn, cookies).map_err(|error| {
                        Mistake::new("session_redis_route", &written.place, error)
                    })?;
                    Some(RouteRule::Learn(learns))
                }
                (None, Some(_), None) => None,
                (None, None, _) => Some(RouteRule::JvmRoute),
            },
        };
        let touch = extension(of_session, framework)?;

        let mut identity = framework.identity.clone();
        if let Some((min, max)) = conf.id_length.value() {
            identity.rule = identity.rule.with_length(*min, *max);
        }
        let verifier = identity.verifier(conf.secrets.value()).map_err(|error| {
            let place = conf.secrets.get().map_or(conf.place(), |written| &written.place);
            Mistake::new("session_redis_secret", place, error)
        })?;
        let max_size = store.as_ref().map_or(Pipeline::MAX_SIZE, |store| store.limits.max_size);
        let format = format.with_max_size(max_size);
        let decoder = Decoder { shape: framework.shape, format, life: framework.life.clone() };
        let hash = matches!(decoder.shape, Shape::Hash | Shape::Field(_));
        if hash && store.as_ref().is_some_and(|store| !store.dialect().has_hashes()) {
            return Err(Mistake::new(
                "session_redis_framework",
                conf.place(),
                no_hashes(framework),
            ));
        }
        // What answers here itself has no backend to hide anything from.
        let hide_cookie =
            conf.hide_cookie.value().copied().unwrap_or(false) && conf.content().is_none();
        let own_needs = Needs {
            session: !headers.is_empty()
                || !sets.is_empty()
                || !requirements.is_empty()
                || touch.is_some()
                || matches!(route, Some(RouteRule::Value(_) | RouteRule::Learn(_))),
            id: hide_cookie || matches!(route, Some(RouteRule::JvmRoute)),
            ttl: touch.is_some(),
        };
        static DRAWN: AtomicUsize = AtomicUsize::new(0);
        let mut plan = Self {
            number: DRAWN.fetch_add(1, Ordering::Relaxed),
            own_needs,
            used: Rc::clone(&main.used),
            store,
            verifier,
            logout_cookies: destroy::cookies(conf, &sources, framework),
            attributes: conf.sources.value().map(|ids| ids.attributes.clone()).unwrap_or_default(),
            sources,
            key,
            key_digest: conf.key_digest.clone(),
            hash: Cell::new(hash),
            decoder,
            user,
            headers,
            header_settings: conf.headers.clone(),
            sets,
            set_settings: conf.sets.clone(),
            conditions,
            requirements,
            touch,
            on_error: conf.on_error.value().copied(),
            hide_cookie,
            early: conf.early.value().copied().unwrap_or(false),
            route,
            own_wanted: Wanted::Nothing,
        };
        plan.own_wanted = plan.wanted_parts();
        Ok(Some(plan))
    }

    /// How the location learns where sessions belong, if it does.
    pub(super) fn learns(&self) -> Option<&Learns> {
        match &self.route {
            Some(RouteRule::Learn(learns)) => Some(learns),
            _ => None,
        }
    }

    /// A number that no other plan has, nor has had.
    pub(super) fn name(&self) -> usize {
        self.number
    }

    /// Whether a request has the same id by both.
    pub(super) fn finds_ids_as(&self, other: &Self) -> bool {
        let others = other.sources.iter().map(|id| &id.source);
        self.sources.iter().map(|id| &id.source).eq(others) && self.verifier == other.verifier
    }

    /// Whether the store can have this key.
    pub(super) fn is_key(&self, key: &[u8]) -> bool {
        self.store.as_ref().is_none_or(|store| store.dialect().is_key(key))
    }

    /// What a request of the location cannot do without.
    pub(super) fn needs(&self) -> Needs {
        let used = self.used.get();
        let session = self.own_needs.session || self.store.is_some() && used.session();
        Needs {
            session,
            id: session || self.own_needs.id || used.id,
            ttl: self.own_needs.ttl || used.ttl,
        }
    }

    /// What must be decoded of a session.
    pub(super) fn wanted(&self) -> &Wanted {
        static ALL: Wanted = Wanted::All;
        if self.used.get().json {
            &ALL
        } else {
            &self.own_wanted
        }
    }

    /// What must be decoded for everything that the location's own directives read.
    fn wanted_parts(&self) -> Wanted {
        let readings = self.headers.iter().chain(&self.sets).map(|(reading, _)| reading);
        let readings = readings.chain(self.requirements.iter().map(|required| &required.reading));
        let route = match &self.route {
            Some(RouteRule::Value(reading)) => Some(reading),
            _ => None,
        };
        let mut pointers: Vec<Pointer> =
            readings.chain(route).flat_map(Reading::pointers).collect();
        pointers.extend(self.user.iter().flat_map(User::pointers).cloned());
        pointers.extend(self.decoder.pointers().cloned());
        if let Some(Extension { life: Life::OfFramework(refresh), .. }) = &self.touch {
            pointers.extend(refresh.pointer());
        }
        Wanted::of(&pointers)
    }

    /// The headers that come of a session, to be kept: one for each of the location's, none for those that come of
    /// anything else.
    pub(super) fn session_headers(&self, session: &serde_json::Value) -> Headers {
        let owned =
            |made: Made<'_>| -> Header { Ok(made?.map(|value| HeaderValue::from_slice(&value))) };
        let header = |(reading, index): &(Reading, usize)| {
            let header = self.header(*index);
            header
                .and_then(|header| reading.with_header(header, session, owned))
                .unwrap_or(Ok(None))
        };
        self.headers.iter().map(header).collect()
    }

    pub(super) fn header(&self, index: usize) -> Option<&SetHeader> {
        self.header_settings.items().get(index)
    }

    pub(super) fn set(&self, index: usize) -> Option<&SetVariable> {
        self.set_settings.items().get(index)
    }
}

impl LocationConf {
    /// Whether anything here cannot work without a whole configuration.
    fn is_used(&self) -> bool {
        !self.headers.items().is_empty()
            || !self.sets.items().is_empty()
            || !self.require.items().is_empty()
            || self.content().is_some()
            || self.route.get().is_some()
            || matches!(self.touch.value(), Some(Touch::Auto { .. } | Touch::Fixed { .. }))
    }

    /// Where the request holds an id, as written or as the framework has it. None where nothing says so.
    pub(super) fn id_sources(&self) -> Option<Vec<IdSource>> {
        if let Some(IdSources { sources, .. }) = self.sources.value() {
            return Some(sources.clone());
        }
        let framework = self.framework.value()?;
        let cookies = framework.cookies.iter().cloned().map(Source::Cookie);
        let paths = framework.paths.iter().cloned().map(Source::Path);
        let sources: Vec<IdSource> =
            cookies.chain(paths).map(|source| IdSource { source, template: None }).collect();
        (!sources.is_empty()).then_some(sources)
    }

    /// Where the module was turned on, or else what it should read was said.
    pub(super) fn place(&self) -> &Place {
        static NOWHERE: std::sync::OnceLock<Place> = std::sync::OnceLock::new();
        self.places().next().unwrap_or_else(|| NOWHERE.get_or_init(Place::unknown))
    }

    /// The places by which it is known that a location reads sessions.
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        let framework = self.framework.get().map(|written| &written.place);
        let store = self.store.get().map(|written| &written.place);
        let route = self.route.get().map(|written| &written.place);
        framework.into_iter().chain(store).chain(route)
    }
}

fn find_store(
    cf: *mut ngx_conf_t,
    main: &MainConf,
    conf: &LocationConf,
) -> Result<Option<Rc<Store>>, Mistake> {
    let Some(written) = conf.store.get() else { return Ok(None) };
    match &**written {
        StoreName::Off => Ok(None),
        StoreName::Url(store) => Ok(Some(Rc::clone(store))),
        StoreName::Name(name) => Store::named(cf, main, name)
            .map(Some)
            .map_err(|error| Mistake::new("session_redis", &written.place, error)),
    }
}

/// What stands in for a store must be kept.
fn check_stale(conf: &LocationConf, store: Option<&Store>) -> Result<(), Mistake> {
    let (Some(on_error), Some(store)) = (conf.on_error.get(), store) else { return Ok(()) };
    let keeps = store.cache.is_some_and(|cache| cache.stale > 0);
    if **on_error != OnError::Stale || keeps {
        return Ok(());
    }
    let error = ConfigError::new(format!(
        "\"session_redis_on_error stale\" needs \"cache … stale=time\" in store \"{}\"",
        store.name
    ));
    Err(Mistake::new("session_redis_on_error", &on_error.place, error))
}

/// What is learnt is kept in a store. (Above the locations one may be named later.)
fn check_learn(
    conf: &LocationConf,
    core: Option<&ngx_http_core_loc_conf_t>,
    on: bool,
    origin: Origin,
) -> Result<(), Mistake> {
    let is_location = core.is_some_and(|core| core.name.len > 0);
    match conf.route.get().filter(|route| route.kind == RouteKind::Learn) {
        Some(route) if !on && is_location && !origin.route => Err(Mistake::new(
            "session_redis_route",
            &route.place,
            ConfigError::new(
                "\"learn\" without session_redis: there is no store to keep routes in",
            )
            .hint("name the store: \"session_redis redis://127.0.0.1:6379\""),
        )),
        _ => Ok(()),
    }
}

/// A location that requires must be able to refuse.
fn check_require(
    conf: &LocationConf,
    core: Option<&ngx_http_core_loc_conf_t>,
    on: bool,
    origin: Origin,
) -> Result<(), Mistake> {
    let Some(list) = conf.require.get().filter(|list| !list.is_empty()) else { return Ok(()) };
    let mistake = |error| Err(Mistake::new("session_redis_require", &list.place, error));

    let passes = |it: &&Requirement| it.condition.preflight == Preflight::Pass;
    if (1..list.len()).contains(&list.iter().filter(passes).count()) {
        return mistake(
            ConfigError::new(
                "\"preflight=pass\" lets nothing pass, since another condition does not say so",
            )
            .hint("write it behind every condition of the level, or behind none"),
        );
    }

    let switched_off = matches!(conf.store.value(), Some(StoreName::Off)) && origin.require;
    if !on && !switched_off {
        return mistake(ConfigError::new(
            "session_redis_require without session_redis: the location would be open to everyone",
        ));
    }
    let Some(core) = core else { return Ok(()) };
    let any = core.satisfy == NGX_HTTP_SATISFY_ANY as usize;
    for requirement in list.iter().filter(|_| any) {
        let Condition { error, login, .. } = &requirement.condition;
        if !matches!(error, 401 | 403) || login.is_some() {
            return Err(Mistake::new(
                "session_redis_require",
                &requirement.place,
                ConfigError::new("\"error=404\", \"error=503\" and \"login=\" end the request before other modules are asked")
                    .hint("with \"satisfy any\" use \"error=401\" or \"error=403\""),
            ));
        }
    }
    Ok(())
}

fn incomplete(
    strict: bool,
    conf: &LocationConf,
    missing: &str,
    what: &str,
) -> Result<Option<Plan>, Mistake> {
    if !strict {
        return Ok(None);
    }
    let name = conf.framework.value().map_or("raw", |framework| framework.name);
    Err(Mistake::new(
        "session_redis",
        conf.place(),
        ConfigError::new(format!("framework \"{name}\" {what}"))
            .hint(format!("add \"{missing}\" or name another \"session_redis_framework\"")),
    ))
}

fn extension(conf: &LocationConf, framework: &Framework) -> Result<Option<Extension>, Mistake> {
    let Some(written) = conf.touch.get() else { return Ok(None) };
    match &**written {
        Touch::Off => Ok(None),
        _ if !framework.life.is_empty() => Err(Mistake::new(
            "session_redis_touch",
            &written.place,
            ConfigError::new(format!(
                "framework \"{}\" keeps the life of a session in its data, a key that lives on would not \
                 prolong it",
                framework.name
            )),
        )),
        Touch::Fixed { time_ms, after_ms } => {
            Ok(Some(Extension { life: Life::Fixed(*time_ms), after_ms: *after_ms }))
        }
        Touch::Auto { after_ms } => match &framework.refresh {
            Some(refresh) => Ok(Some(Extension {
                life: Life::OfFramework(refresh.clone()),
                after_ms: *after_ms,
            })),
            None => Err(Mistake::new(
                "session_redis_touch",
                &written.place,
                ConfigError::new(format!(
                    "with framework \"{}\" reading a session does not extend its life, or by what only the application knows",
                    framework.name
                ))
                .hint("write a time, for instance \"session_redis_touch 30m\""),
            )),
        },
    }
}

fn no_hashes(framework: &Framework) -> ConfigError {
    ConfigError::new(format!(
        "framework \"{}\" keeps its sessions in hashes, which memcached does not have",
        framework.name
    ))
}
