//! What the modules that pass requests on would do to the headers of the session.

use core::ffi::c_void;

use nginx_sys::{
    ngx_conf_t, ngx_http_upstream_conf_t, ngx_http_upstream_param_t, ngx_http_upstream_srv_conf_t,
    ngx_keyval_t, ngx_module_t,
};

use super::{private, Finding, Location};
use crate::module::conf::SetHeader;
use crate::module::plan::Plan;

/// The modules that pass requests on, the directives by which they set headers, and whether these name
/// headers as CGI does.
const MODULES: [(&str, &str, bool); 5] = [
    ("ngx_http_proxy_module", "proxy_set_header", false),
    ("ngx_http_grpc_module", "grpc_set_header", false),
    ("ngx_http_fastcgi_module", "fastcgi_param", true),
    ("ngx_http_uwsgi_module", "uwsgi_param", true),
    ("ngx_http_scgi_module", "scgi_param", true),
];

/// A location that may pass requests on.
#[cfg_attr(not(nginx_private_known), allow(dead_code))]
pub(super) struct Passing<'a> {
    pub(super) cf: *mut ngx_conf_t,
    pub(super) location: &'a Location,
    pub(super) plan: &'a Plan,
}

impl Passing<'_> {
    /// What is probably not meant.
    pub(super) fn doubts(&self) -> Vec<Finding> {
        let handled = self.location.core().is_some_and(|core| core.handler.is_some());
        if self.plan.headers.is_empty() || !handled {
            return Vec::new();
        }
        self.overridden()
    }

    /// Headers that the passing module sets itself: its own win.
    fn overridden(&self) -> Vec<Finding> {
        let mut doubts = Vec::new();
        for (directive, name) in self.passed_headers() {
            let cgi = !directive.ends_with("_header");
            let overrides = |header: &&SetHeader| match cgi {
                true => is_cgi_name(&name, header.name.as_str()),
                false => name.eq_ignore_ascii_case(header.name.as_str()),
            };
            doubts.extend(self.headers().find(overrides).map(|header| Finding {
                place: header.place.clone(),
                message: format!(
                    "\"{directive} {name}\" overrides \"session_redis_set_header {}\" of line {}",
                    header.name.as_str(),
                    header.place.line()
                ),
            }));
        }
        doubts
    }

    fn headers(&self) -> impl Iterator<Item = &SetHeader> {
        self.plan.headers.iter().filter_map(|(_, index)| self.plan.header(*index))
    }

    /// Directive and name of each header that the module, or each of the modules, that the location passes
    /// to would set. Which it is does not show where the address holds variables.
    fn passed_headers(&self) -> Vec<(&'static str, String)> {
        let all: Vec<_> = MODULES
            .iter()
            .filter_map(|(name, directive, cgi)| {
                let (module, conf, block) = passer(self.cf, self.location, name)?;
                Some((!block.is_null(), *directive, header_names(module, conf, directive, *cgi)))
            })
            .collect();
        let known = all.iter().any(|(passes, ..)| *passes);
        all.into_iter()
            .filter(|(passes, ..)| *passes || !known)
            .flat_map(|(_, directive, names)| names.into_iter().map(move |name| (directive, name)))
            .collect()
    }
}

/// The `upstream` blocks, or implicit ones, that a location passes to. Without those whose names hold variables.
pub(super) fn blocks(
    cf: *mut ngx_conf_t,
    location: &Location,
) -> impl Iterator<Item = *mut ngx_http_upstream_srv_conf_t> + '_ {
    let passers = MODULES.iter().filter_map(move |(name, ..)| passer(cf, location, name));
    passers.map(|(.., block)| block).filter(|block| !block.is_null())
}

/// A module that passes requests on, its structure in the location, and the block that it passes to.
fn passer(
    cf: *mut ngx_conf_t,
    location: &Location,
    name: &str,
) -> Option<(&'static ngx_module_t, *const c_void, *mut ngx_http_upstream_srv_conf_t)> {
    let module = private::module(cf, name)?;
    let conf = location.conf(module)?;
    // SAFETY: the first member of the structures of all these modules is this one.
    let block = unsafe { (*conf.cast::<ngx_http_upstream_conf_t>()).upstream };
    Some((module, conf, block))
}

fn header_names(
    module: &ngx_module_t,
    conf: *const c_void,
    directive: &str,
    cgi: bool,
) -> Vec<String> {
    let Some(offset) = private::offset(module, directive) else { return Vec::new() };
    // SAFETY: the directives' setters fill arrays of these.
    unsafe {
        match cgi {
            true => private::list::<ngx_http_upstream_param_t>(conf, offset)
                .iter()
                .map(|param| param.key.to_string())
                .collect(),
            false => private::list::<ngx_keyval_t>(conf, offset)
                .iter()
                .map(|pair| pair.key.to_string())
                .collect(),
        }
    }
}

/// Whether `param` is the name of a header in CGI's spelling (RFC 3875, section 4.1.18).
fn is_cgi_name(param: &str, header: &str) -> bool {
    let spelled = |b: u8| match b {
        b'-' => b'_',
        b => b.to_ascii_uppercase(),
    };
    let name = param.strip_prefix("HTTP_").unwrap_or_default();
    !name.is_empty() && name.bytes().eq(header.bytes().map(spelled))
}
