//! What the configuration says, level by level, as the directives wrote it.

use core::cell::{Cell, RefCell};
use core::ffi::{c_char, c_void};
use core::ptr;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use nginx_sys::{
    ngx_cidr_t, ngx_conf_t, ngx_http_upstream_init_peer_pt, ngx_http_upstream_init_pt,
    NGX_LOG_EMERG,
};
use ngx::core::{NGX_CONF_ERROR, NGX_CONF_OK};
use ngx::http::{HttpModuleLocationConf, HttpModuleMainConf, NgxHttpCoreModule};
use ngx::ngx_log_error;

use super::bits::http_core_loc_conf;
use super::checks::Location;
use super::learn::Learner;
use super::plan::Plan;
use super::shared_memory::SharedMemory;
use super::store::Store;
use super::template::{Template, Value};
use super::throttle::Throttle;
use super::{pool, variables, SessionRedis};
use crate::config::ConfigError;
use crate::format::Pipeline;
use crate::framework::Framework;
use crate::inject::{Encode, HeaderName, NameSet};
use crate::logout;
use crate::pointer::Pointer;
use crate::policy::OnError;
use crate::require::Condition;
use crate::session::cookie::Attributes;
use crate::session::key::{Digest, IdHash};
use crate::session::secrets::Secrets;
use crate::session::source::Source;

/// A place in the configuration, for messages that come after parsing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    file: String,
    line: usize,
}

impl Place {
    /// The line that is being parsed.
    pub(super) fn current(cf: *mut ngx_conf_t) -> Self {
        // SAFETY: while a directive is parsed, its configuration file is open and described.
        let (file, line) = unsafe {
            let conf_file = (*cf).conf_file;
            ((*conf_file).file.name, (*conf_file).line)
        };
        Self { file: String::from_utf8_lossy(file.as_bytes()).into_owned(), line }
    }

    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// For messages that name a second directive.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// Of a setting that nobody wrote.
    pub(super) fn unknown() -> Self {
        Self { file: String::new(), line: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Writes a message about a place of the configuration in nginx's form.
pub(super) fn log_at(level: u32, cf: *mut ngx_conf_t, place: &Place, message: impl fmt::Display) {
    // SAFETY: `cf` is live while the configuration is read.
    let log = unsafe { (*cf).log };
    ngx_log_error!(level, log, "{message} in {place}");
}

/// The refusal of a configuration after parsing: `"directive" directive: reason in file:line`.
pub(super) fn refuse(
    cf: *mut ngx_conf_t,
    directive: &str,
    place: &Place,
    error: &ConfigError,
) -> *mut c_char {
    log_at(NGX_LOG_EMERG, cf, place, format_args!("\"{directive}\" directive: {error}"));
    NGX_CONF_ERROR
}

/// A value with the place where it was written.
pub(super) struct Written<T> {
    value: T,
    pub(super) place: Place,
}

impl<T> Deref for Written<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A directive's value at one level: none where it was not written there or above.
pub(super) struct Setting<T>(Option<Rc<Written<T>>>);

impl<T> Default for Setting<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Clone for Setting<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Setting<T> {
    pub(super) fn get(&self) -> Option<&Written<T>> {
        self.0.as_deref()
    }

    pub(super) fn value(&self) -> Option<&T> {
        self.get().map(Deref::deref)
    }

    /// False where this level has a value already.
    #[must_use]
    pub(super) fn set(&mut self, value: T, place: Place) -> bool {
        if self.0.is_some() {
            return false;
        }
        self.0 = Some(Rc::new(Written { value, place }));
        true
    }

    /// Replaces what this level said.
    pub(super) fn replace(&mut self, value: T, place: Place) {
        self.0 = Some(Rc::new(Written { value, place }));
    }

    fn inherit(&mut self, above: &Self) {
        if self.0.is_none() {
            self.0.clone_from(&above.0);
        }
    }

    fn is_inherited_from(&self, above: &Self) -> bool {
        match (&self.0, &above.0) {
            (Some(own), Some(above)) => Rc::ptr_eq(own, above),
            _ => false,
        }
    }
}

impl<T> Setting<Vec<T>> {
    /// Adds to the list of this level.
    pub(super) fn push(&mut self, value: T, place: Place) {
        let list = self.0.get_or_insert_with(|| Rc::new(Written { value: Vec::new(), place }));
        // Nobody shares the list before the levels are merged.
        if let Some(list) = Rc::get_mut(list) {
            list.value.push(value);
        }
    }

    pub(super) fn items(&self) -> &[T] {
        self.value().map_or(&[], Vec::as_slice)
    }
}

/// `session_redis`
pub(super) enum StoreName {
    Off,
    Name(String),
    Url(Rc<Store>),
}

/// `session_redis_id` and `session_redis_cookie`
#[derive(Clone, Default)]
pub(super) struct IdSources {
    pub(super) sources: Vec<IdSource>,
    pub(super) attributes: Attributes,
}

/// One place of the request that may hold the session id.
#[derive(Clone)]
pub(super) struct IdSource {
    pub(super) source: Source,
    /// Of a source with variables: the string, compiled.
    pub(super) template: Option<Rc<Template>>,
}

/// `session_redis_key`
pub(super) struct Key {
    pub(super) template: Template,
    pub(super) digest: Option<Digest>,
}

/// `session_redis_key_digest`
pub(super) struct KeyDigest {
    pub(super) digest: Digest,
    pub(super) json: bool,
    pub(super) parts: Vec<Template>,
}

/// `session_redis_set_header`
pub(super) struct SetHeader {
    pub(super) name: HeaderName,
    pub(super) key: HeaderKey,
    pub(super) value: Value,
    pub(super) encode: Encode,
    pub(super) join: Option<String>,
    pub(super) place: Place,
    /// Values that could not be sent.
    pub(super) unsent: Throttle,
}

/// A header's name as nginx wants it, in the configuration's pool.
pub(super) struct HeaderKey {
    pub(super) name: nginx_sys::ngx_str_t,
    pub(super) lowercase: *mut u8,
    pub(super) hash: nginx_sys::ngx_uint_t,
}

/// `session_redis_set`
pub(super) struct SetVariable {
    /// Index into the main configuration's `variables`.
    pub(super) variable: usize,
    pub(super) value: Value,
    pub(super) default: Option<String>,
}

/// `session_redis_require`
pub(super) struct Requirement {
    pub(super) condition: Condition,
    pub(super) value: Value,
    pub(super) login: Option<Rc<Template>>,
    pub(super) place: Place,
}

/// `session_redis_touch`
pub(super) enum Touch {
    Off,
    Auto { after_ms: Option<u64> },
    Fixed { time_ms: u64, after_ms: Option<u64> },
}

/// `session_redis_destroy`
#[derive(Default)]
pub(super) struct Destroy {
    pub(super) redirect: Option<Template>,
    /// nginx's method bits, and their names as `Allow` lists them.
    pub(super) methods: usize,
    pub(super) allow: String,
    pub(super) cookies: Vec<String>,
    /// Other hosts whose pages may log out.
    pub(super) origins: Vec<logout::Origin>,
    /// Logouts that other pages asked for.
    pub(super) refused: Throttle,
}

/// `session_redis_route`
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RouteKind {
    Value,
    JvmRoute,
    Learn,
}

pub(super) struct Route {
    pub(super) kind: RouteKind,
    pub(super) value: Option<Value>,
    pub(super) learn: Option<Learn>,
}

/// `session_redis_route learn`
pub(super) struct Learn {
    /// The cookie by which a response creates a session, if it is not that of the framework.
    pub(super) create: Option<String>,
    /// In seconds.
    pub(super) life: u64,
    pub(super) prefix: String,
}

/// `http {}`
#[derive(Default)]
pub(crate) struct MainConf {
    pub(super) stores: Vec<Rc<Store>>,
    /// Every name that is injected or stripped anywhere.
    pub(super) stripped: NameSet,
    /// Names of the variables of `session_redis_set`, in the order of their first mention.
    pub(super) variables: Vec<String>,
    pub(super) hash_key: Setting<IdHash>,
    /// What the configuration reads of the session outside the module's own directives; known when
    /// all of it is merged, since some modules name their variables only then.
    pub(super) used: Rc<Cell<variables::Used>>,
    /// What learns where sessions belong, once for each store and prefix.
    pub(super) learners: RefCell<Vec<Rc<Learner>>>,
    /// Each level that was merged, for the checks that follow.
    pub(super) locations: RefCell<Vec<Location>>,
    /// Memory that all workers share.
    pub(super) shared: SharedMemory,
    /// Where ids stand in addresses, anywhere.
    pub(super) in_addresses: RefCell<Vec<Source>>,
}

impl MainConf {
    /// A request may go from location to location: what one reads as an id none may tell.
    fn note_addresses(&self, sources: Vec<IdSource>) {
        let mut known = self.in_addresses.borrow_mut();
        for source in sources.iter().flat_map(|sources| sources.source.in_address()) {
            if !known.contains(&source) {
                known.push(source);
            }
        }
    }
}

/// `server {}`, and `upstream {}`, which has structures of the same level
#[derive(Default)]
pub(crate) struct ServerConf {
    pub(super) trusted: Setting<Vec<ngx_cidr_t>>,
    pub(super) upstream: UpstreamConf,
}

/// `upstream {}`
#[derive(Default)]
pub(crate) struct UpstreamConf {
    pub(super) sticky: Setting<Sticky>,
    pub(super) route_names: Setting<Vec<RouteName>>,
    pub(super) drained: Setting<Vec<Drained>>,
    /// Of the block's own balancing method, which ours calls.
    pub(super) init_upstream: Cell<ngx_http_upstream_init_pt>,
    /// Likewise; there once the block was made ready with our method in its place.
    pub(super) init_peer: Cell<ngx_http_upstream_init_peer_pt>,
}

/// `session_redis_sticky`
pub(super) struct Sticky {
    /// Where the server of a session cannot be had no other will do.
    pub(super) strict: bool,
    /// Requests refused for that reason.
    pub(super) refused: Throttle,
}

/// `session_redis_route_name`
pub(super) struct RouteName {
    pub(super) name: String,
    /// As in a `server` line.
    pub(super) server: String,
    pub(super) place: Place,
}

/// A server of `session_redis_drain`, as in its `server` line.
pub(super) struct Drained {
    pub(super) server: String,
    pub(super) place: Place,
}

/// `location {}`
#[derive(Default)]
pub(crate) struct LocationConf {
    pub(super) store: Setting<StoreName>,
    pub(super) framework: Setting<Framework>,
    pub(super) sources: Setting<IdSources>,
    pub(super) id_length: Setting<(usize, usize)>,
    pub(super) secrets: Setting<Secrets>,
    pub(super) key: Setting<Key>,
    pub(super) key_digest: Setting<KeyDigest>,
    pub(super) format: Setting<Pipeline>,
    pub(super) user: Setting<Pointer>,
    pub(super) headers: Setting<Vec<SetHeader>>,
    pub(super) sets: Setting<Vec<SetVariable>>,
    pub(super) require: Setting<Vec<Requirement>>,
    pub(super) touch: Setting<Touch>,
    pub(super) destroy: Setting<Destroy>,
    pub(super) explain: Setting<()>,
    pub(super) on_error: Setting<OnError>,
    pub(super) hide_cookie: Setting<bool>,
    pub(super) early: Setting<bool>,
    pub(super) route: Setting<Route>,
    /// What a request does here; none where the module is off or incomplete without need.
    pub(super) plan: Option<Rc<Plan>>,
}

/// Merges the settings of one location with those of the level above and plans its requests.
pub(super) unsafe extern "C" fn merge_location(
    cf: *mut ngx_conf_t,
    above: *mut c_void,
    own: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx hands over two different structures that `create_location` made.
    let (above, own) =
        unsafe { (&*above.cast::<LocationConf>(), &mut *own.cast::<LocationConf>()) };

    macro_rules! inherit {
        ($($field:ident)+) => { $(own.$field.inherit(&above.$field);)+ };
    }
    inherit!(store framework sources id_length secrets key key_digest format user);
    inherit!(headers sets require touch on_error hide_cookie early route);

    inherit_content(cf, above, own);

    let inherited = Origin {
        require: own.require.is_inherited_from(&above.require),
        route: own.route.is_inherited_from(&above.route),
    };
    // SAFETY: `cf` is live.
    if let Some(main) = SessionRedis::main_conf(unsafe { &*cf }) {
        let requires = own.require.get().is_some() && !inherited.require;
        main.locations.borrow_mut().push(Location::current(cf, requires));
        main.note_addresses(own.id_sources().unwrap_or_default());
    }
    match Plan::of(cf, own, inherited) {
        Ok(plan) => {
            own.plan = plan;
            NGX_CONF_OK
        }
        Err(refused) => refused,
    }
}

/// nginx hands a content handler on to nobody: `if` and `limit_except` blocks take their location's, as with
/// proxy_pass.
fn inherit_content(cf: *mut ngx_conf_t, above: &LocationConf, own: &mut LocationConf) {
    // SAFETY: `cf` is live; its context is that of the level that is merged, to which nobody else refers.
    let core = unsafe { NgxHttpCoreModule::location_conf_mut(&*cf) };
    let Some(core) =
        core.filter(|core| http_core_loc_conf::NONAME.is_set(core) && core.handler.is_none())
    else {
        return;
    };
    if let Some(content) = above.content() {
        core.handler = Some(content.handler);
        own.destroy.inherit(&above.destroy);
        own.explain.inherit(&above.explain);
    }
}

/// Which settings came from the level above.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub(super) require: bool,
    pub(super) route: bool,
}

/// Merges the settings of one server with those of the level above.
pub(super) unsafe extern "C" fn merge_server(
    _cf: *mut ngx_conf_t,
    above: *mut c_void,
    own: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx hands over two different structures that `create_server` made.
    let (above, own) = unsafe { (&*above.cast::<ServerConf>(), &mut *own.cast::<ServerConf>()) };
    own.trusted.inherit(&above.trusted);
    NGX_CONF_OK
}

/// A fresh structure of a level, dropped with the configuration.
pub(super) unsafe extern "C" fn create<T: Default>(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: the configuration's pool lives as long as what is configured.
    unsafe { pool::give((*cf).pool, T::default()) }
        .map_or(ptr::null_mut(), |conf| conf.as_ptr().cast())
}
