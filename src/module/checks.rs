//! What can only be seen once the whole configuration is known: other directives that would undo ours.

mod files;
mod gaps;
mod limits;
mod passing;
pub(super) mod private;
mod rewrite;
#[cfg(all(nginx_private_known, ngx_feature = "http_cache"))]
mod shared;
mod sticky;

use core::ffi::c_void;

use nginx_sys::{
    ngx_conf_t, ngx_http_conf_ctx_t, ngx_http_core_loc_conf_t, ngx_int_t, ngx_module_t,
    NGX_LOG_EMERG, NGX_LOG_WARN,
};
use ngx::http::{HttpModule, HttpModuleMainConf, NgxHttpCoreModule};
use ngx::ngx_conf_log_error;

use super::conf::{log_at, LocationConf, MainConf, Place};
use super::content::Content;
use super::plan::Plan;
use super::{variables, SessionRedis, ERROR, OK};
use passing::Passing;
use rewrite::returns;
pub(super) use sticky::has_keepalive;

/// A location, a server outside its locations, or an `if` or `limit_except` block.
pub(super) struct Location {
    /// The structures of all modules.
    confs: *mut *mut c_void,
    /// Whether `session_redis_require` stands in it, not above.
    requires: bool,
}

/// What is wrong, and where.
struct Finding {
    place: Place,
    message: String,
}

/// All checks; refuses the configuration or warns.
pub(super) fn all(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: nginx calls us with the live configuration of http{}.
    let Some(main) = SessionRedis::main_conf(unsafe { &*cf }) else { return OK };
    if cfg!(not(nginx_private_known)) {
        ngx_conf_log_error!(
            NGX_LOG_WARN,
            cf,
            "this nginx is newer than session_redis knows: nothing is checked of limit_req, limit_conn, keepalive and \
             proxy_cache beside it"
        );
    }
    match find(cf, main) {
        Ok(warnings) => {
            warn(cf, &warnings);
            OK
        }
        Err(Finding { place, message }) => {
            log_at(NGX_LOG_EMERG, cf, &place, message);
            ERROR
        }
    }
}

fn find(cf: *mut ngx_conf_t, main: &MainConf) -> Result<Vec<Finding>, Finding> {
    let mut warnings: Vec<Finding> = files::unreadable(cf, main);
    let locations = main.locations.borrow();
    for location in locations.iter() {
        warnings.extend(check(cf, main, location)?);
    }
    sticky::check(cf, &locations)?;
    warnings.extend(gaps::find(cf, main, &locations));
    Ok(warnings)
}

/// Says each thing once, however many locations inherit it.
fn warn(cf: *mut ngx_conf_t, warnings: &[Finding]) {
    for (index, Finding { place, message }) in warnings.iter().enumerate() {
        let said = warnings.iter().take(index);
        if !said.into_iter().any(|other| other.message == *message && other.place == *place) {
            log_at(NGX_LOG_WARN, cf, place, message);
        }
    }
}

/// The first mistake, or else what is doubtful.
fn check(
    cf: *mut ngx_conf_t,
    main: &MainConf,
    location: &Location,
) -> Result<Vec<Finding>, Finding> {
    let Some(conf) = location.own() else { return Ok(Vec::new()) };
    if returns(cf, location) {
        nothing_after_return(location, conf)?;
    }
    content_alone(location, conf)?;
    own_variables(cf, main, conf)?;
    let Some(plan) = &conf.plan else { return Ok(Vec::new()) };
    if plan.store.is_some() && !plan.early {
        limits::check(cf, main, location, plan, conf.place())?;
    }
    let mut doubts = Passing { cf, location, plan }.doubts();
    #[cfg(all(nginx_private_known, ngx_feature = "http_cache"))]
    doubts.extend(shared::find(cf, main, location, conf, plan));
    Ok(doubts)
}

/// Whether a variable has its value from the session here, be it as a header that we set.
fn of_session(main: &MainConf, plan: &Plan, name: &str) -> bool {
    let header = name.strip_prefix("http_").is_some_and(|header| {
        let spelled = |b: u8| if b == b'-' { b'_' } else { b.to_ascii_lowercase() };
        let mut names = plan.headers.iter().filter_map(|(_, index)| plan.header(*index));
        names.any(|set| set.name.as_str().bytes().map(spelled).eq(header.bytes()))
    });
    header || variables::of_session(main, name)
}

/// "return" is of the rewrite phase.
fn nothing_after_return(location: &Location, conf: &LocationConf) -> Result<(), Finding> {
    let require = conf.require.get().filter(|list| location.requires && !list.is_empty());
    let require = require.map(|list| ("session_redis_require", &list.place));
    let content = conf.content().map(|content| (content.directive, content.place));
    match require.or(content) {
        None => Ok(()),
        Some((directive, place)) => Err(Finding {
            place: place.clone(),
            message: format!(
                "\"return\" answers before the access phase, \"{directive}\" in {location} would never run"
            ),
        }),
    }
}

/// A variable of ours that became another's has lost its values everywhere.
fn own_variables(cf: *mut ngx_conf_t, main: &MainConf, conf: &LocationConf) -> Result<(), Finding> {
    let Some(list) = conf.sets.get() else { return Ok(()) };
    match variables::overridden(cf, main, list) {
        None => Ok(()),
        Some(name) => Err(Finding {
            place: list.place.clone(),
            message: format!(
                "\"session_redis_set ${name}\" is overridden by another directive that gives \"${name}\" its \
                 values; choose another name"
            ),
        }),
    }
}

/// A content handler that is named after ours silently takes its place; without a store ours has nothing
/// to do.
fn content_alone(location: &Location, conf: &LocationConf) -> Result<(), Finding> {
    let Some(Content { directive, place, handler: ours, purpose }) = conf.content() else {
        return Ok(());
    };
    if conf.plan.as_ref().is_none_or(|plan| plan.store.is_none()) {
        return Err(Finding {
            place: place.clone(),
            message: format!("{directive} without session_redis: in {location} {purpose}"),
        });
    }
    let handler = location.core().and_then(|core| core.handler);
    let ours = ours as *const () as usize;
    if handler.is_some_and(|handler| handler as *const () as usize == ours) {
        return Ok(());
    }
    Err(Finding {
        place: place.clone(),
        message: format!(
            "another directive answers in {location}, \"{directive}\" would never run; it stands in a \
             location of its own, without \"proxy_pass\""
        ),
    })
}

impl Location {
    /// The level that is being merged.
    pub(super) fn current(cf: *mut ngx_conf_t, requires: bool) -> Self {
        // SAFETY: while locations are merged, the context is that of one of http{}'s levels.
        let confs = unsafe { (*(*cf).ctx.cast::<ngx_http_conf_ctx_t>()).loc_conf };
        Self { confs, requires }
    }

    /// The structure of a module at this level.
    fn conf(&self, module: &ngx_module_t) -> Option<*const c_void> {
        // SAFETY: the array has a place for each module of http{}, those without a structure hold null.
        let conf = unsafe { *self.confs.add(module.ctx_index) };
        (!conf.is_null()).then_some(conf.cast_const())
    }

    fn own(&self) -> Option<&LocationConf> {
        // SAFETY: our structure of the level lives as long as the configuration.
        self.conf(SessionRedis::module())
            .and_then(|conf| unsafe { conf.cast::<LocationConf>().as_ref() })
    }

    fn core(&self) -> Option<&ngx_http_core_loc_conf_t> {
        // SAFETY: as above, with nginx's own structure.
        self.conf(NgxHttpCoreModule::module())
            .and_then(|conf| unsafe { conf.cast::<ngx_http_core_loc_conf_t>().as_ref() })
    }
}

/// As messages call it: `"/x"`.
impl core::fmt::Display for Location {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.core().map(|core| core.name).filter(|name| name.len > 0) {
            Some(name) => write!(f, "\"{name}\""),
            None => f.write_str("a server outside its locations"),
        }
    }
}
