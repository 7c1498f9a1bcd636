//! Limits that are keyed by what the lookup, which comes after them, finds.

use core::ffi::c_void;

use nginx_sys::{ngx_array_t, ngx_conf_t, ngx_http_complex_value_t, ngx_shm_zone_t};

use super::private::{
    self, session_redis_limit_conn_t, session_redis_limit_conn_zone_t, session_redis_limit_req_t,
    session_redis_limit_req_zone_t,
};
use super::{of_session, Finding, Location};
use crate::module::conf::{MainConf, Place};
use crate::module::plan::Plan;
use crate::module::template::indices;

/// Of each module that limits by a key: its directive, its name, the size of an element of a location's
/// list, and where the key stands in the data of a zone.
const MODULES: [(&str, &str, usize, usize); 2] = [
    (
        "limit_req",
        "ngx_http_limit_req_module",
        size_of::<session_redis_limit_req_t>(),
        core::mem::offset_of!(session_redis_limit_req_zone_t, key),
    ),
    (
        "limit_conn",
        "ngx_http_limit_conn_module",
        size_of::<session_redis_limit_conn_t>(),
        core::mem::offset_of!(session_redis_limit_conn_zone_t, key),
    ),
];

/// An empty key limits nothing: nobody would notice until it is needed.
pub(super) fn check(
    cf: *mut ngx_conf_t,
    main: &MainConf,
    location: &Location,
    plan: &Plan,
    place: &Place,
) -> Result<(), Finding> {
    for (directive, module, size, key) in MODULES {
        for (zone, data) in zones(cf, location, module, size) {
            // SAFETY: the data of such a module's zone holds its key there.
            let key = unsafe { &*data.byte_add(key).cast::<ngx_http_complex_value_t>() };
            let names = indices(key).filter_map(|index| private::variable(cf, index));
            if let Some(name) = names.into_iter().find(|name| of_session(main, plan, name)) {
                return Err(Finding {
                    place: place.clone(),
                    message: format!(
                        "{directive} zone \"{zone}\" is keyed by session variable \"${name}\", which is empty \
                         before the lookup; add \"session_redis_early on\" to {location}"
                    ),
                });
            }
        }
    }
    Ok(())
}

/// The names of the zones that count in a location, and the data of each.
fn zones(
    cf: *mut ngx_conf_t,
    location: &Location,
    module: &str,
    size: usize,
) -> Vec<(String, *const c_void)> {
    if cfg!(not(nginx_private_known)) {
        return Vec::new();
    }
    let conf = private::module(cf, module).and_then(|module| location.conf(module));
    // SAFETY: the first member of either module's structure is the list of limits in force, each of which
    // begins with its zone; nginx refuses a zone that was not declared.
    unsafe {
        let Some(list) = conf.and_then(|conf| conf.cast::<ngx_array_t>().as_ref()) else {
            return Vec::new();
        };
        if list.elts.is_null() || list.size != size {
            return Vec::new();
        }
        let element = |index| *list.elts.byte_add(index * size).cast::<*const ngx_shm_zone_t>();
        (0..list.nelts)
            .filter_map(|index| element(index).as_ref())
            .filter(|zone| !zone.data.is_null())
            .map(|zone| (zone.shm.name.to_string(), zone.data.cast_const()))
            .collect()
    }
}
