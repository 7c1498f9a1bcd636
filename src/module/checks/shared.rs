//! Responses that depend on the session, kept for everyone: caches and copies on disk.

use core::mem::offset_of;
use core::ptr;

use nginx_sys::{
    ngx_array_t, ngx_conf_t, ngx_hash_key_t, ngx_http_complex_value_t, ngx_http_core_main_conf_t,
    ngx_http_script_code_pt, ngx_http_script_copy_code_t, ngx_http_script_copy_len_code,
    ngx_http_script_copy_var_len_code, ngx_http_script_engine_t, ngx_http_script_var_code_t,
    ngx_http_upstream_conf_t, ngx_http_variable_t, ngx_module_t, NGX_HTTP_VAR_CHANGEABLE,
};
use ngx::http::{HttpModuleMainConf, NgxHttpCoreModule};

use super::private::{
    self, session_redis_fastcgi_t as FastCgi, session_redis_proxy_t as Proxy,
    session_redis_uwsgi_t as Uwsgi,
};
use super::{of_session, Finding, Location};
use crate::module::bits::http_upstream_conf as upstream_conf;
use crate::module::conf::{LocationConf, MainConf, Place};
use crate::module::plan::{Plan, RouteRule};
use crate::module::template::indices;
use crate::session::source::Source;

/// A module that keeps responses.
struct Keeper {
    module: &'static str,
    /// What its directives begin with.
    prefix: &'static str,
    /// The directive from whose place in the structure the address with variables is so many pointers on, or back: nginx
    /// 1.30 has one more behind "proxy_set_header".
    address: (&'static str, isize),
}

const KEEPERS: [Keeper; 4] = [
    Keeper { module: "ngx_http_proxy_module", prefix: "proxy", address: ("proxy_method", -6) },
    Keeper {
        module: "ngx_http_fastcgi_module",
        prefix: "fastcgi",
        address: ("fastcgi_catch_stderr", 1),
    },
    Keeper { module: "ngx_http_uwsgi_module", prefix: "uwsgi", address: ("uwsgi_param", 1) },
    Keeper { module: "ngx_http_scgi_module", prefix: "scgi", address: ("scgi_param", 1) },
];

/// A location that is on.
struct Shared<'a> {
    cf: *mut ngx_conf_t,
    main: &'a MainConf,
    location: &'a Location,
    conf: &'a LocationConf,
    plan: &'a Plan,
}

/// Where others may be given what one visitor got.
pub(super) fn find(
    cf: *mut ngx_conf_t,
    main: &MainConf,
    location: &Location,
    conf: &LocationConf,
    plan: &Plan,
) -> Vec<Finding> {
    let shared = Shared { cf, main, location, conf, plan };
    let Some((place, reader)) = shared.reader() else { return Vec::new() };
    let messages = KEEPERS.iter().filter_map(|keeper| shared.doubt(keeper, &reader));
    messages.map(|message| Finding { place: place.clone(), message }).collect()
}

impl Shared<'_> {
    /// By what the location looks at a session: the directive or variable, and its place.
    fn reader(&self) -> Option<(&Place, String)> {
        let (conf, plan) = (self.conf, self.plan);
        if let Some(header) = plan.headers.iter().find_map(|(_, index)| plan.header(*index)) {
            let text = format!("session_redis_set_header {}", header.name.as_str());
            return Some((&header.place, text));
        }
        if let (Some((_, index)), Some(list)) = (plan.sets.first(), conf.sets.get()) {
            let name = self.main.variables.get(plan.set(*index)?.variable)?;
            return Some((&list.place, format!("session_redis_set ${name}")));
        }
        if let Some(required) = conf.require.items().first().filter(|_| !plan.conditions.is_empty())
        {
            return Some((&required.place, "session_redis_require".to_owned()));
        }
        if let (Some(rule), Some(route)) = (&plan.route, conf.route.get()) {
            let text = match rule {
                RouteRule::JvmRoute => "session_redis_route jvmroute",
                RouteRule::Learn(_) => "session_redis_route learn",
                RouteRule::Value(_) => "session_redis_route",
            };
            return Some((&route.place, text.to_owned()));
        }
        if let (Some(_), Some(touch)) = (&plan.touch, conf.touch.get()) {
            return Some((&touch.place, "session_redis_touch".to_owned()));
        }
        let variable = self.main.used.get().first.filter(|_| plan.store.is_some())?;
        Some((conf.place(), format!("$session_redis_{variable}")))
    }

    fn doubt(&self, keeper: &Keeper, reader: &str) -> Option<String> {
        let module = private::module(self.cf, keeper.module)?;
        let conf = self.location.conf(module)?;
        // SAFETY: the structure of each of these modules begins with this one, and so far from the member of its directive
        // there is a pointer.
        let (upstream, address) = unsafe {
            let (directive, pointers) = keeper.address;
            let member = conf.byte_add(private::offset(module, directive)?);
            let address = *member.cast::<*const ngx_array_t>().offset(pointers);
            (&*conf.cast::<ngx_http_upstream_conf_t>(), address)
        };
        if upstream.upstream.is_null() && address.is_null() {
            return None;
        }
        let Keeper { prefix, .. } = keeper;
        let location = self.location;
        if upstream_conf::STORE.get(upstream) == 1 && !self.is_stored_apart(upstream) {
            return Some(format!(
                "\"{prefix}_store\" in {location} names no session variable, but responses depend on \"{reader}\"; \
                 add $session_redis_id_hash to its path, or write \"{prefix}_store off\""
            ));
        }
        if upstream_conf::CACHE.get(upstream) != 1 || self.is_kept_out(upstream) {
            return None;
        }
        // SAFETY: the structure is that of the module.
        let key = unsafe { cache_key(module, prefix, conf)?.as_ref() }?;
        let names = match key.value.len {
            // nginx's default holds the whole address.
            0 if *prefix == "proxy" => vec!["request_uri".to_owned()],
            _ => self.names(key),
        };
        let (lacks, add) = match (self.tell_apart(&names), self.tell_remembered_apart(&names)) {
            (true, true) => return None,
            (true, false) => ("no cookie of \"unless_cookie=\"", "that cookie"),
            (false, _) => ("no session variable", "$session_redis_id_hash"),
        };
        Some(format!(
            "\"{prefix}_cache_key\" in {location} names {lacks}, but responses depend on \"{reader}\"; add {add} to it, \
             or $session_redis_no_cache to \"{prefix}_no_cache\" and \"{prefix}_cache_bypass\""
        ))
    }

    /// Whether responses to whoever has a session are neither kept nor taken from the cache.
    fn is_kept_out(&self, upstream: &ngx_http_upstream_conf_t) -> bool {
        let by_session = |predicates: *const ngx_array_t| {
            // SAFETY: lists of predicates are null, -1 or arrays of complex values.
            let values = unsafe {
                private::list::<ngx_http_complex_value_t>((&raw const predicates).cast(), 0)
            };
            let names: Vec<_> = values.iter().flat_map(|value| self.names(value)).collect();
            names.iter().any(|name| name == "session_redis_no_cache")
                || self.tell_apart(&names) && self.tell_remembered_apart(&names)
        };
        by_session(upstream.no_cache) && by_session(upstream.cache_bypass)
    }

    /// Whether the path of stored responses is of one session.
    fn is_stored_apart(&self, upstream: &ngx_http_upstream_conf_t) -> bool {
        // SAFETY: null, or the instructions by which the length of a path with variables is found.
        let Some(lengths) = (unsafe { upstream.store_lengths.as_ref() }) else { return false };
        // SAFETY: as above; they end with null.
        let indices = unsafe { script_indices(lengths) };
        let names: Vec<_> =
            indices.into_iter().filter_map(|index| private::variable(self.cf, index)).collect();
        self.tell_apart(&names)
    }

    fn names(&self, value: &ngx_http_complex_value_t) -> Vec<String> {
        indices(value).filter_map(|index| private::variable(self.cf, index)).collect()
    }

    /// Whether the values of these variables differ between any two sessions, as far as can be seen. What others define,
    /// "map" for instance, is given the benefit of the doubt.
    fn tell_apart(&self, names: &[String]) -> bool {
        let told = |source: &Source| names.iter().any(|name| holds_id(source, name));
        names.iter().any(|name| self.is_of_one(name) || self.is_of_others(name))
            || self.plan.sources.iter().all(|source| told(&source.source))
    }

    /// The same of visitors whom a requirement leaves to the application for a cookie.
    fn tell_remembered_apart(&self, names: &[String]) -> bool {
        let mut patterns = self.plan.conditions.iter().filter_map(|it| it.unless_cookie.as_ref());
        patterns.all(|pattern| {
            let is_of = |cookie: &str| pattern.matches(cookie.as_bytes());
            names.iter().any(|name| {
                name == "http_cookie"
                    || name.strip_prefix("cookie_").is_some_and(is_of)
                    || self.is_of_others(name)
            })
        })
    }

    /// Whether a variable of ours is of one session, or of one user.
    fn is_of_one(&self, name: &str) -> bool {
        if let Some(own) = name.strip_prefix("session_redis_") {
            return ["id", "id_hash", "key", "key_digest", "user", "json", "raw"].contains(&own);
        }
        let is_set = |index| {
            let variable =
                self.plan.set(index).and_then(|set| self.main.variables.get(set.variable));
            variable.is_some_and(|variable| variable.eq_ignore_ascii_case(name))
        };
        match name.starts_with("http_") {
            true => of_session(self.main, self.plan, name),
            false => self.plan.sets.iter().any(|(_, index)| is_set(*index)),
        }
    }

    /// Whether another directive defines it: nginx's own variables, but those, cannot be changed.
    fn is_of_others(&self, name: &str) -> bool {
        const CHANGEABLE: [&str; 7] = [
            "args",
            "limit_rate",
            "proxy_host",
            "proxy_port",
            "msie",
            "modern_browser",
            "ancient_browser",
        ];
        const PREFIXES: [&str; 6] =
            ["arg_", "http_", "cookie_", "sent_", "upstream_", "session_redis_"];
        let own = CHANGEABLE.contains(&name)
            || name.starts_with("ssl_") && !name.starts_with("ssl_client_")
            || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || self.main.variables.iter().any(|known| known.eq_ignore_ascii_case(name));
        !own && !is_fixed(self.cf, name)
    }
}

/// Whether a variable holds the id that a source gives.
fn holds_id(source: &Source, name: &str) -> bool {
    let dashed = |b: u8| if b == b'-' { b'_' } else { b.to_ascii_lowercase() };
    match source {
        Source::Cookie(cookie) => {
            let value = name.strip_prefix("cookie_");
            name == "http_cookie" || value.is_some_and(|name| name.eq_ignore_ascii_case(cookie))
        }
        Source::Header(header) => name
            .strip_prefix("http_")
            .is_some_and(|name| header.bytes().map(dashed).eq(name.bytes())),
        Source::Arg(arg) => {
            ["request_uri", "args", "query_string", "request"].contains(&name)
                || name.strip_prefix("arg_").is_some_and(|name| name.eq_ignore_ascii_case(arg))
        }
        Source::Path(_) => ["request_uri", "uri", "document_uri", "request"].contains(&name),
        Source::Template(_) => false,
    }
}

/// Whether a variable has its values from a module and no directive can give it others.
fn is_fixed(cf: *mut ngx_conf_t, name: &str) -> bool {
    // SAFETY: `cf` is live; while the configuration is read the table of all variables is there, an array of names with
    // variables.
    unsafe {
        let main: Option<&ngx_http_core_main_conf_t> = NgxHttpCoreModule::main_conf(&*cf);
        let Some(table) = main.and_then(|main| main.variables_keys.as_ref()) else { return true };
        table.keys.as_slice::<ngx_hash_key_t>().iter().any(|entry| {
            let variable = entry.value.cast::<ngx_http_variable_t>().as_ref();
            entry.key.as_bytes() == name.as_bytes()
                && variable.is_some_and(|it| it.flags & NGX_HTTP_VAR_CHANGEABLE as usize == 0)
        })
    }
}

/// The variables of a string by the instructions that find its length.
///
/// # Safety
/// `codes` must hold such instructions, null at their end.
unsafe fn script_indices(codes: &ngx_array_t) -> Vec<usize> {
    type Code = unsafe extern "C" fn(*mut ngx_http_script_engine_t) -> usize;
    let (mut at, mut found) = (0, Vec::new());
    while at + size_of::<usize>() <= codes.nelts {
        // SAFETY: an instruction begins here, with its function, which says what follows.
        unsafe {
            let ip = codes.elts.cast::<u8>().add(at);
            let Some(code) = ip.cast::<ngx_http_script_code_pt>().read() else { break };
            let is = |known: Code| ptr::eq(code as *const (), known as *const ());
            at += match () {
                () if is(ngx_http_script_copy_var_len_code) => {
                    found.push((*ip.cast::<ngx_http_script_var_code_t>()).index);
                    size_of::<ngx_http_script_var_code_t>()
                }
                () if is(ngx_http_script_copy_len_code) => size_of::<ngx_http_script_copy_code_t>(),
                () => break,
            };
        }
    }
    found
}

/// The key as it was compiled; empty where none was written.
///
/// # Safety
/// `conf` must be a structure of this module.
unsafe fn cache_key(
    module: &ngx_module_t,
    prefix: &str,
    conf: *const core::ffi::c_void,
) -> Option<*const ngx_http_complex_value_t> {
    let at = |directive| private::offset(module, directive);
    let (start, is_known) = match prefix {
        "proxy" => {
            let start = at("proxy_method")?;
            let between = offset_of!(Proxy, http_version) - offset_of!(Proxy, method);
            let is_known = at("proxy_http_version")?.checked_sub(start) == Some(between);
            (start + offset_of!(Proxy, cache_key), is_known)
        }
        "fastcgi" => {
            let start = at("fastcgi_keep_conn")?;
            let between = offset_of!(FastCgi, keep_conn) - offset_of!(FastCgi, catch_stderr);
            let is_known = start.checked_sub(at("fastcgi_catch_stderr")?) == Some(between);
            (start + offset_of!(FastCgi, cache_key) - offset_of!(FastCgi, keep_conn), is_known)
        }
        "uwsgi" => {
            let start = at("uwsgi_param")?;
            let is_known =
                at("uwsgi_string")?.checked_sub(start) == Some(offset_of!(Uwsgi, string));
            (start + offset_of!(Uwsgi, cache_key), is_known)
        }
        _ => (at("scgi_param")? + offset_of!(Uwsgi, cache_key), true),
    };
    // SAFETY: the distances between the directives' members show that the structure is the one we know.
    is_known.then(|| unsafe { conf.byte_add(start).cast() })
}
