//! The directives of `http`, `server` and `location`: the table, then a setter each.

use core::ffi::{c_char, c_void};
use core::ptr;
use std::rc::Rc;

use nginx_sys::{
    ngx_cidr_t, ngx_command_t, ngx_conf_t, ngx_http_core_loc_conf_t, ngx_msec_t, ngx_parse_time,
    ngx_ptocidr, ngx_str_t, NGX_CONF_1MORE, NGX_CONF_2MORE, NGX_CONF_ANY, NGX_CONF_BLOCK,
    NGX_CONF_FLAG, NGX_CONF_NOARGS, NGX_CONF_TAKE1, NGX_CONF_TAKE12, NGX_CONF_TAKE2,
    NGX_CONF_TAKE23, NGX_DONE, NGX_ERROR, NGX_HTTP_DELETE, NGX_HTTP_GET, NGX_HTTP_HEAD,
    NGX_HTTP_LMT_CONF, NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET, NGX_HTTP_MAIN_CONF,
    NGX_HTTP_MAIN_CONF_OFFSET, NGX_HTTP_PATCH, NGX_HTTP_POST, NGX_HTTP_PUT, NGX_HTTP_SRV_CONF,
    NGX_HTTP_SRV_CONF_OFFSET, NGX_HTTP_UPS_CONF, NGX_LOG_EMERG, NGX_LOG_WARN,
};
use ngx::core::{NGX_CONF_ERROR, NGX_CONF_OK};
use ngx::http::{HttpModuleLocationConf, HttpModuleMainConf, NgxHttpCoreModule};
use ngx::ngx_conf_log_error;

use super::conf::{
    Destroy, HeaderKey, IdSource, IdSources, Key, KeyDigest, Learn, LocationConf, MainConf, Place,
    Requirement, Route, RouteKind, ServerConf, SetHeader, SetVariable, StoreName, Touch,
};
use super::content::Handler;
use super::store::Store;
use super::template::{Template, Value};
use super::throttle::Throttle;
use super::{destroy, explain, files, pool, sticky, store_block, variables, SessionRedis};
use crate::config::{options, unknown, ConfigError};
use crate::format::Pipeline;
use crate::framework::Framework;
use crate::inject::{is_token, Encode, HeaderName};
use crate::logout::Origin;
use crate::pointer::Pointer;
use crate::policy::OnError;
use crate::require::Condition;
use crate::session::key::{Digest, IdHash};
use crate::session::secrets::Secrets;
use crate::session::source::Source;
use crate::store::endpoint;

/// http, server, location
const LEVELS: u32 = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF;
const LOCATION: usize = NGX_HTTP_LOC_CONF_OFFSET;

/// A row of a directive table: name, contexts and arity, level of the structure, setter.
macro_rules! directive {
    ($name:literal, $type:expr, $level:expr, $set:expr) => {{
        unsafe extern "C" fn set(
            cf: *mut ngx_conf_t,
            _command: *mut ngx_command_t,
            conf: *mut c_void,
        ) -> *mut c_char {
            // SAFETY: nginx calls a setter with the structure of the row's level.
            unsafe { $crate::module::directives::apply(cf, conf, $set) }
        }
        ngx_command_t {
            name: ::ngx::ngx_string!($name),
            type_: ($type) as ::nginx_sys::ngx_uint_t,
            set: Some(set),
            conf: $level,
            offset: 0,
            post: ptr::null_mut(),
        }
    }};
}
pub(super) use directive;

/// The directives, in the order of the reference.
pub(super) static mut COMMANDS: [ngx_command_t; 29] = [
    directive!(
        "session_redis_store",
        NGX_HTTP_MAIN_CONF | NGX_CONF_BLOCK | NGX_CONF_TAKE1,
        NGX_HTTP_MAIN_CONF_OFFSET,
        store_block::parse
    ),
    directive!("session_redis", LEVELS | NGX_CONF_TAKE1, LOCATION, set_store),
    directive!("session_redis_framework", LEVELS | NGX_CONF_1MORE, LOCATION, set_framework),
    directive!("session_redis_id", LEVELS | NGX_CONF_1MORE, LOCATION, set_id),
    directive!("session_redis_cookie", LEVELS | NGX_CONF_1MORE, LOCATION, set_cookie),
    directive!("session_redis_id_length", LEVELS | NGX_CONF_TAKE12, LOCATION, set_id_length),
    directive!("session_redis_secret", LEVELS | NGX_CONF_1MORE, LOCATION, set_secret),
    directive!("session_redis_secret_file", LEVELS | NGX_CONF_TAKE1, LOCATION, set_secret_file),
    directive!("session_redis_key", LEVELS | NGX_CONF_TAKE12, LOCATION, set_key),
    directive!("session_redis_key_digest", LEVELS | NGX_CONF_2MORE, LOCATION, set_key_digest),
    directive!("session_redis_format", LEVELS | NGX_CONF_1MORE, LOCATION, set_format),
    directive!("session_redis_user", LEVELS | NGX_CONF_TAKE1, LOCATION, set_user),
    directive!("session_redis_set_header", LEVELS | NGX_CONF_2MORE, LOCATION, set_header),
    directive!("session_redis_strip_header", LEVELS | NGX_CONF_1MORE, LOCATION, strip_header),
    directive!(
        "session_redis_trust_headers",
        NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_CONF_2MORE,
        NGX_HTTP_SRV_CONF_OFFSET,
        trust_headers
    ),
    directive!("session_redis_hide_cookie", LEVELS | NGX_CONF_FLAG, LOCATION, set_hide_cookie),
    directive!("session_redis_set", LEVELS | NGX_CONF_TAKE23, LOCATION, set_variable),
    directive!(
        "session_redis_require",
        LEVELS | NGX_HTTP_LMT_CONF | NGX_CONF_1MORE,
        LOCATION,
        set_require
    ),
    directive!("session_redis_touch", LEVELS | NGX_CONF_TAKE12, LOCATION, set_touch),
    directive!("session_redis_destroy", NGX_HTTP_LOC_CONF | NGX_CONF_ANY, LOCATION, set_destroy),
    directive!("session_redis_explain", NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, LOCATION, set_explain),
    directive!("session_redis_on_error", LEVELS | NGX_CONF_TAKE1, LOCATION, set_on_error),
    directive!("session_redis_early", LEVELS | NGX_CONF_FLAG, LOCATION, set_early),
    directive!("session_redis_route", LEVELS | NGX_CONF_1MORE, LOCATION, set_route),
    directive!(
        "session_redis_sticky",
        NGX_HTTP_UPS_CONF | NGX_CONF_NOARGS | NGX_CONF_TAKE1,
        NGX_HTTP_SRV_CONF_OFFSET,
        sticky::set_sticky
    ),
    directive!(
        "session_redis_route_name",
        NGX_HTTP_UPS_CONF | NGX_CONF_TAKE2,
        NGX_HTTP_SRV_CONF_OFFSET,
        sticky::add_route_name
    ),
    directive!(
        "session_redis_drain",
        NGX_HTTP_UPS_CONF | NGX_CONF_1MORE,
        NGX_HTTP_SRV_CONF_OFFSET,
        sticky::drain
    ),
    directive!(
        "session_redis_hash_key_file",
        NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1,
        NGX_HTTP_MAIN_CONF_OFFSET,
        set_hash_key_file
    ),
    ngx_command_t::empty(),
];

/// A directive as it is parsed.
pub(super) struct Directive<'a> {
    pub(super) cf: *mut ngx_conf_t,
    pub(super) args: Vec<&'a str>,
    /// Whether a refusal was reported already, of a directive inside it.
    pub(super) reported: bool,
}

impl Directive<'_> {
    pub(super) fn place(&self) -> Place {
        Place::current(self.cf)
    }

    pub(super) fn warn(&self, message: impl core::fmt::Display) {
        ngx_conf_log_error!(NGX_LOG_WARN, self.cf, "{message}");
    }

    pub(super) fn main(&self) -> Result<&'static mut MainConf, ConfigError> {
        // SAFETY: `cf` is live; the directives are parsed inside http{}.
        let cf = unsafe { &*self.cf };
        SessionRedis::main_conf_mut(cf).ok_or_else(|| ConfigError::new("stands outside http{}"))
    }

    /// A flag's value.
    pub(super) fn flag(&self) -> Result<bool, ConfigError> {
        match self.args.first() {
            Some(value) if value.eq_ignore_ascii_case("on") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("off") => Ok(false),
            Some(value) => {
                Err(ConfigError::new(format!("\"{value}\" is neither \"on\" nor \"off\"")))
            }
            None => Err(ConfigError::new("needs \"on\" or \"off\"")),
        }
    }
}

/// What a setter says when its directive stands twice at one level.
pub(super) fn once(set: bool) -> Result<(), ConfigError> {
    set.then_some(()).ok_or_else(|| ConfigError::new("is duplicate"))
}

/// Runs a setter and reports what it refuses with file, line and directive.
///
/// # Safety
/// `cf` must be the live configuration of a directive being parsed, `conf` point to a `C`.
pub(super) unsafe fn apply<C>(
    cf: *mut ngx_conf_t,
    conf: *mut c_void,
    set: fn(&mut Directive, &mut C) -> Result<(), ConfigError>,
) -> *mut c_char {
    // SAFETY: the words of the directive live in the configuration's pool; the first is its name. A
    // block's own directives overwrite the array, not the words.
    let words = unsafe { (*(*cf).args).as_slice::<ngx_str_t>() };
    let text = |word: &ngx_str_t| -> Result<&str, ConfigError> {
        // SAFETY: as above.
        let bytes = unsafe { core::slice::from_raw_parts(word.data, word.len) };
        core::str::from_utf8(bytes).map_err(|_| ConfigError::new("an argument is not UTF-8"))
    };

    let name = words.first().map(ngx_str_t::to_string).unwrap_or_default();
    let mut reported = false;
    let result = words.iter().skip(1).map(text).collect::<Result<Vec<_>, _>>().and_then(|args| {
        let mut directive = Directive { cf, args, reported: false };
        // SAFETY: the caller vouches for `conf`; nobody else refers to it while it is parsed.
        let result = set(&mut directive, unsafe { &mut *conf.cast::<C>() });
        reported = directive.reported;
        result
    });
    match result {
        Ok(()) => NGX_CONF_OK,
        Err(_) if reported => NGX_CONF_ERROR,
        Err(error) => {
            ngx_conf_log_error!(NGX_LOG_EMERG, cf, "\"{name}\" directive: {error}");
            NGX_CONF_ERROR
        }
    }
}

fn set_store(d: &mut Directive, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let name = match d.args[0] {
        "off" => StoreName::Off,
        "" => return Err(ConfigError::new("names no store")),
        url if endpoint::is_url(url) => StoreName::Url(Store::anonymous(d, url)?),
        name => StoreName::Name(name.to_owned()),
    };
    once(conf.store.set(name, d.place()))
}

fn set_framework(d: &mut Directive, conf: &mut LocationConf) -> Result<(), ConfigError> {
    once(conf.framework.set(Framework::parse(&d.args)?, d.place()))
}

fn set_id(d: &mut Directive, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let mut ids = IdSources::default();
    for arg in &d.args {
        let source = Source::parse(arg)?;
        let template = match &source {
            Source::Template(text) => Some(Rc::new(Template::compile(d.cf, text)?)),
            _ => None,
        };
        ids.sources.push(IdSource { source, template });
    }
    // Of this and session_redis_cookie the one written later counts.
    conf.sources.replace(ids, d.place());
    Ok(())
}

fn set_cookie(d: &mut Directive, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let mut ids = IdSources::default();
    for arg in &d.args {
        if !ids.attributes.parse_option(arg)? {
            let source = Source::Cookie(cookie_name(arg)?);
            ids.sources.push(IdSource { source, template: None });
        }
    }
    if ids.sources.is_empty() {
        return Err(ConfigError::new("names no cookie"));
    }
    conf.sources.replace(ids, d.place());
    Ok(())
}

/// A cookie's name: a token (RFC 6265, section 4.1.1).
fn cookie_name(text: &str) -> Result<String, ConfigError> {
    match is_token(text.as_bytes()) {
        true => Ok(text.to_owned()),
        false => Err(ConfigError::new(format!("\"{text}\" is not a cookie's name"))),
    }
}

fn set_id_length(d: &mut Directive, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let number = |text: &str| match text.parse::<usize>() {
        Ok(number) if (1..=4096).contains(&number) => Ok(number),
        _ => Err(ConfigError::new(format!("\"{text}\" is not a length between 1 and 4096"))),
    };
    let min = number(d.args[0])?;
    let max = d.args.get(1).map_or(Ok(256.max(min)), |text| number(text))?;
    if min > max {
        return Err(ConfigError::new(format!("the minimum {min} is above the maximum {max}")));
    }
    once(conf.id_length.set((min, max), d.place()))
}

fn set_secret(d: &mut Directive, conf: &mut LocationConf) -> Result<(), ConfigError> {
    set_secrets(conf, Secrets::parse_args(&d.args)?, d)?;
    d.warn(format_args!(
        "\"session_redis_secret\" shows in \"nginx -T\"; move the secrets to \"session_redis_secret_file\""
    ));
    Ok(())
}

fn set_secret_file(d: &mut Directive, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let (content, name) = files::read_secret(d, d.args[0])?;
    set_secrets(conf, Secrets::parse_file(&content, &name)?, d)
}

fn set_secrets(
    conf: &mut LocationConf,
    secrets: Secrets,
    d: &Directive,
) -> Result<(), ConfigError> {
    once(conf.secrets.set(secrets, d.place())).map_err(|_| {
        ConfigError::new("this level has its secrets already")
            .hint("write all of them, newest first, in one \"session_redis_secret_file\"")
    })
}

fn set_key(d: &mut Directive, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let text = d.args[0];
    if !text.contains('$') {
        return Err(ConfigError::new("the key would be the same for every session")
            .hint(format!("did you mean \"{text}$session_redis_id\"?")));
    }
    let option = options(&d.args[1..], &["digest="], &[])?.pop();
    let digest = option.map(|(_, name)| Digest::parse(name)).transpose()?;
    let key = Key { template: Template::compile(d.cf, text)?, digest };
    once(conf.key.set(key, d.place()))
}

fn set_key_digest(d: &mut Directive, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let digest = Digest::parse(d.args[0])?;
    let json = d.args[1] == "json";
    let strings = &d.args[1 + usize::from(json)..];
    if strings.is_empty() {
        return Err(ConfigError::new("needs at least one string to digest"));
    }
    let parts =
        strings.iter().map(|text| Template::compile(d.cf, text)).collect::<Result<_, _>>()?;
    once(conf.key_digest.set(KeyDigest { digest, json, parts }, d.place()))
}

fn set_format(d: &mut Directive, conf: &mut LocationConf) -> Result<(), ConfigError> {
    once(conf.format.set(Pipeline::parse(&d.args)?, d.place()))
}

fn set_user(d: &mut Directive, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let text = d.args[0];
    if !text.starts_with('/') {
        return Err(ConfigError::new(format!("\"{text}\" is not a JSON pointer"))
            .hint(format!("did you mean \"/{text}\"?")));
    }
    once(conf.user.set(Pointer::parse(text)?, d.place()))
}

fn set_header(d: &mut Directive, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let name = HeaderName::parse(d.args[0])?;
    let value = Value::compile(d.cf, d.args[1])?;
    let (mut encode, mut join) = (Encode::Raw, None);
    for (option, text) in options(&d.args[2..], &["encode=", "join="], &[])? {
        match option {
            "encode=" => encode = Encode::parse(text)?,
            _ => join = Some(text.to_owned()),
        }
    }
    let main = d.main()?;
    main.stripped.insert(&name);
    let key = header_key(d, &name)?;
    if let Some(other) = conf.headers.items().iter().find(|other| other.name.is_like(&name)) {
        return Err(ConfigError::new(format!(
            "\"{}\" is set at this level already, by line {}",
            other.name.as_str(),
            other.place.line()
        )));
    }
    let header =
        SetHeader { name, key, value, encode, join, place: d.place(), unsent: Throttle::default() };
    conf.headers.push(header, d.place());
    Ok(())
}

fn header_key(d: &Directive, name: &HeaderName) -> Result<HeaderKey, ConfigError> {
    let lowercase = name.as_str().to_ascii_lowercase();
    // SAFETY: the configuration's pool is live.
    let strings = unsafe {
        let pool = (*d.cf).pool;
        pool::copy(pool, &[name.as_str().as_bytes()]).zip(pool::copy(pool, &[lowercase.as_bytes()]))
    };
    let (name, lowercase) = strings.ok_or_else(|| ConfigError::new("out of memory"))?;
    // SAFETY: the string was just copied, to the pool of the configuration.
    let hash = unsafe { nginx_sys::ngx_hash_key(lowercase.data, lowercase.len) };
    Ok(HeaderKey { name, lowercase: lowercase.data, hash })
}

fn strip_header(d: &mut Directive, _conf: &mut LocationConf) -> Result<(), ConfigError> {
    for name in &d.args {
        let name = HeaderName::parse(name)?;
        d.main()?.stripped.insert(&name);
    }
    Ok(())
}

fn trust_headers(d: &mut Directive, conf: &mut ServerConf) -> Result<(), ConfigError> {
    if d.args[0] != "from" {
        return Err(ConfigError::new(format!("\"{}\" stands where \"from\" belongs", d.args[0]))
            .hint("write \"session_redis_trust_headers from 10.0.0.0/8\""));
    }
    for text in &d.args[1..] {
        let mut word = ngx_str_t { len: text.len(), data: text.as_ptr().cast_mut() };
        // SAFETY: all zeroes are a valid ngx_cidr_t, which ngx_ptocidr fills; it only reads `word`.
        let (rc, cidr) = unsafe {
            let mut cidr: ngx_cidr_t = core::mem::zeroed();
            (ngx_ptocidr(&mut word, ptr::from_mut(&mut cidr).cast()), cidr)
        };
        if rc == NGX_ERROR as isize {
            return Err(ConfigError::new(format!("\"{text}\" is not an address or network"))
                .hint("networks are written 10.0.0.0/8 or fd00::/8"));
        }
        if rc == NGX_DONE as isize {
            d.warn(format_args!("low address bits of {text} are meaningless"));
        }
        conf.trusted.push(cidr, d.place());
    }
    Ok(())
}

fn set_hide_cookie(d: &mut Directive, conf: &mut LocationConf) -> Result<(), ConfigError> {
    once(conf.hide_cookie.set(d.flag()?, d.place()))
}

fn set_variable(d: &mut Directive, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let name = match d.args[0].strip_prefix('$') {
        Some(name) if !name.is_empty() && name.bytes().all(word) => name,
        Some(_) => {
            return Err(ConfigError::new(format!("\"{}\" is not a variable", d.args[0]))
                .hint("its name is made of letters, digits and \"_\""))
        }
        None => {
            return Err(ConfigError::new(format!("\"{}\" is not a variable", d.args[0]))
                .hint(format!("did you mean \"${}\"?", d.args[0])))
        }
    };
    let variable = variables::declare(d.cf, d.main()?, name)?;
    let value = Value::compile(d.cf, d.args[1])?;
    let default = d.args.get(2).map(|&text| text.to_owned());
    if conf.sets.items().iter().any(|other| other.variable == variable) {
        return Err(ConfigError::new(format!("\"${name}\" is set at this level already")));
    }
    conf.sets.push(SetVariable { variable, value, default }, d.place());
    Ok(())
}

fn set_require(d: &mut Directive, conf: &mut LocationConf) -> Result<(), ConfigError> {
    if d.args == ["off"] {
        if conf.require.get().is_some() {
            return Err(ConfigError::new("\"off\" stands beside other conditions of this level"));
        }
        conf.require.replace(Vec::new(), d.place());
        return Ok(());
    }
    if conf.require.value().is_some_and(Vec::is_empty) {
        return Err(ConfigError::new("stands beside \"session_redis_require off\""));
    }
    if conf.on_error.value() == Some(&OnError::Pass) {
        return Err(contradiction("session_redis_on_error pass"));
    }
    let condition = Condition::parse(&d.args)?;
    let value = Value::compile(d.cf, d.args[0])?;
    let login = condition.login.as_deref().map(|uri| Template::compile(d.cf, uri).map(Rc::new));
    let login = login.transpose()?;
    conf.require.push(Requirement { condition, value, login, place: d.place() }, d.place());
    Ok(())
}

fn set_touch(d: &mut Directive, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let after = options(&d.args[1..], &["after="], &[])?.pop();
    let after_ms = after.map(|(_, time)| milliseconds(time)).transpose()?;
    let touch = match d.args[0] {
        "off" if after_ms.is_some() => return Err(ConfigError::new("\"off\" takes no \"after=\"")),
        "off" => Touch::Off,
        "auto" => Touch::Auto { after_ms },
        time => {
            let time_ms = milliseconds(time)?;
            if time_ms == 0 || after_ms.is_some_and(|after| after >= time_ms) {
                return Err(ConfigError::new("the time must be above 0 and above \"after=\""));
            }
            Touch::Fixed { time_ms, after_ms }
        }
    };
    once(conf.touch.set(touch, d.place()))
}

/// A time in nginx's syntax.
pub(super) fn milliseconds(text: &str) -> Result<u64, ConfigError> {
    let mut word = ngx_str_t { len: text.len(), data: text.as_ptr().cast_mut() };
    // SAFETY: ngx_parse_time only reads the string.
    let time = unsafe { ngx_parse_time(&mut word, 0) };
    match ngx_msec_t::try_from(time) {
        Ok(time) => Ok(time as u64),
        Err(_) => Err(ConfigError::new(format!("\"{text}\" is not a time"))
            .hint("times are written 250ms, 30s, 30m")),
    }
}

const DESTROY_OPTIONS: [&str; 4] = ["redirect=", "methods=", "cookie=", "origin="];

fn set_destroy(d: &mut Directive, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let mut destroy = Destroy::default();
    (destroy.methods, destroy.allow) = methods("POST,DELETE")?;
    for (option, value) in options(&d.args, &DESTROY_OPTIONS, &["cookie=", "origin="])? {
        match option {
            "redirect=" if value.is_empty() => {
                return Err(ConfigError::new("\"redirect=\" is empty"))
            }
            "redirect=" => destroy.redirect = Some(Template::compile(d.cf, value)?),
            "methods=" => (destroy.methods, destroy.allow) = methods(value)?,
            "origin=" => destroy.origins.push(Origin::parse_argument(value)?),
            _ => destroy.cookies.push(cookie_name(value)?),
        }
    }
    once(conf.destroy.set(destroy, d.place()))?;
    answers(d, destroy::handler)
}

fn set_explain(d: &mut Directive, conf: &mut LocationConf) -> Result<(), ConfigError> {
    once(conf.explain.set((), d.place()))?;
    answers(d, explain::handler)
}

/// Makes `handler` the one that answers in the location.
fn answers(d: &mut Directive, handler: Handler) -> Result<(), ConfigError> {
    // SAFETY: `cf` is live; a location has nginx's own structure, which nobody refers to now.
    let core = unsafe { NgxHttpCoreModule::location_conf_mut(&*d.cf) };
    let core: &mut ngx_http_core_loc_conf_t =
        core.ok_or_else(|| ConfigError::new("stands outside a location"))?;
    if core.handler.is_some() {
        return Err(ConfigError::new("the location has a handler already")
            .hint("it stands in a location of its own, without \"proxy_pass\""));
    }
    core.handler = Some(handler);
    Ok(())
}

/// nginx's method bits of a list of names, and the list as `Allow` writes it.
fn methods(names: &str) -> Result<(usize, String), ConfigError> {
    const METHODS: [(&str, u32); 6] = [
        ("GET", NGX_HTTP_GET),
        ("HEAD", NGX_HTTP_HEAD),
        ("POST", NGX_HTTP_POST),
        ("PUT", NGX_HTTP_PUT),
        ("PATCH", NGX_HTTP_PATCH),
        ("DELETE", NGX_HTTP_DELETE),
    ];
    let mut bits = 0;
    for name in names.split(',') {
        match METHODS.iter().find(|(known, _)| *known == name) {
            Some((_, bit)) => bits |= *bit as usize,
            None => return Err(unknown("method", name, &METHODS.map(|(known, _)| known))),
        }
    }
    Ok((bits, names.replace(',', ", ")))
}

fn set_on_error(d: &mut Directive, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let on_error = OnError::parse(d.args[0])?;
    if on_error == OnError::Pass && !conf.require.items().is_empty() {
        return Err(contradiction("session_redis_require"));
    }
    once(conf.on_error.set(on_error, d.place()))
}

/// Of what is required and "pass" at one level. (From above it acts as "fail".)
fn contradiction(other: &str) -> ConfigError {
    ConfigError::new(format!("\"{other}\" stands beside it"))
        .hint("a store that fails never satisfies a requirement; leave one of the two out")
}

fn set_early(d: &mut Directive, conf: &mut LocationConf) -> Result<(), ConfigError> {
    once(conf.early.set(d.flag()?, d.place()))
}

fn set_route(d: &mut Directive, conf: &mut LocationConf) -> Result<(), ConfigError> {
    let route = match d.args.as_slice() {
        ["jvmroute"] => Route { kind: RouteKind::JvmRoute, value: None, learn: None },
        ["learn", parameters @ ..] => {
            Route { kind: RouteKind::Learn, value: None, learn: Some(learn(parameters)?) }
        }
        [value] if value.starts_with('/') || value.starts_with('@') || value.contains('$') => {
            let value = Some(Value::compile(d.cf, value)?);
            Route { kind: RouteKind::Value, value, learn: None }
        }
        [other] => {
            return Err(ConfigError::new(format!("unknown route \"{other}\"")).hint(format!(
            "write \"/{other}\" for a value of the session, \"jvmroute\" for the suffix of the id, \
             \"learn\" for an assignment in Redis"
        )))
        }
        _ => return Err(ConfigError::new("takes one argument, or \"learn\" with parameters")),
    };
    once(conf.route.set(route, d.place()))
}

fn learn(parameters: &[&str]) -> Result<Learn, ConfigError> {
    const DAY: u64 = 24 * 60 * 60;
    let mut learn = Learn { create: None, life: DAY, prefix: "srr:".to_owned() };
    for (option, value) in options(parameters, &["create=", "ttl=", "prefix="], &[])? {
        match option {
            "create=" => learn.create = Some(cookie_name(value)?),
            "ttl=" => learn.life = milliseconds(value)? / 1000,
            _ => learn.prefix = value.to_owned(),
        }
    }
    if learn.life == 0 {
        return Err(ConfigError::new("\"ttl=\" must be a second at least"));
    }
    if learn.prefix.is_empty() {
        return Err(ConfigError::new(
            "\"prefix=\" is empty, routes would stand among the sessions",
        ));
    }
    Ok(learn)
}

fn set_hash_key_file(d: &mut Directive, conf: &mut MainConf) -> Result<(), ConfigError> {
    let (content, name) = files::read_secret(d, d.args[0])?;
    let key = content.trim_ascii_end();
    if key.len() < 16 {
        return Err(ConfigError::new(format!("{name}: the key has less than 16 bytes")));
    }
    once(conf.hash_key.set(IdHash::new(key), d.place()))
}
