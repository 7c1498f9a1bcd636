//! Whether what makes an `upstream` block sticky has its place, and something to go by.

use std::fs;

use nginx_sys::{
    ngx_conf_t, ngx_http_conf_ctx_t, ngx_http_upstream_server_t, ngx_http_upstream_srv_conf_t,
};
use ngx::http::{HttpModuleMainConf, NgxHttpUpstreamModule};

use super::passing::blocks;
use super::{private, Finding, Location};
use crate::config::unknown;
use crate::module::conf::{Place, UpstreamConf};
use crate::module::sticky::conf_of;
use crate::sticky::method_behind;

/// All blocks.
pub(super) fn check(cf: *mut ngx_conf_t, locations: &[Location]) -> Result<(), Finding> {
    // SAFETY: `cf` is live; the blocks live as long as the configuration.
    let all = unsafe {
        let Some(main) = NgxHttpUpstreamModule::main_conf(&*cf) else { return Ok(()) };
        main.upstreams.as_slice::<*mut ngx_http_upstream_srv_conf_t>()
    };
    // SAFETY: as above.
    for block in all.iter().filter_map(|block| unsafe { block.as_ref() }) {
        let Some(conf) = conf_of(block) else { continue };
        known_servers(block, conf)?;
        match conf.sticky.get() {
            None => nothing_alone(conf)?,
            Some(sticky) => {
                in_its_place(cf, block, conf, &sticky.place)?;
                has_routes(cf, block, &sticky.place, locations)?;
            }
        }
    }
    Ok(())
}

/// "keepalive" before ours would be kept from its connections. It stands in the block that is being read.
pub(in crate::module) fn has_keepalive(cf: *mut ngx_conf_t) -> bool {
    let Some(module) = private::module(cf, "ngx_http_upstream_keepalive_module") else {
        return false;
    };
    // SAFETY: while a block is read, the context is its own, with the structure of each module of http{}.
    let conf =
        unsafe { *(*(*cf).ctx.cast::<ngx_http_conf_ctx_t>()).srv_conf.add(module.ctx_index) };
    written_keepalive(conf)
}

#[cfg(nginx_private_known)]
fn written_keepalive(conf: *const core::ffi::c_void) -> bool {
    // SAFETY: the structure is the module's; where nothing is written it holds 0, or -1 since 1.29.7.
    let kept = unsafe { (*conf.cast::<private::session_redis_keepalive_t>()).max_cached };
    kept != 0 && kept != usize::MAX
}

#[cfg(not(nginx_private_known))]
fn written_keepalive(_conf: *const core::ffi::c_void) -> bool {
    false
}

/// Another method behind ours takes its place; nginx's own stickiness beside it would go by other routes.
fn in_its_place(
    cf: *mut ngx_conf_t,
    block: &ngx_http_upstream_srv_conf_t,
    conf: &UpstreamConf,
    place: &Place,
) -> Result<(), Finding> {
    let found = |message| Err(Finding { place: place.clone(), message });
    if conf.init_peer.get().is_none() {
        let text = fs::read(place.file()).unwrap_or_default();
        let method = method_behind(&String::from_utf8_lossy(&text), place.line());
        let method = method.map_or("the balancing method".to_owned(), |name| format!("\"{name}\""));
        return found(format!("{method} must come before \"session_redis_sticky\""));
    }
    if has_nginx_sticky(cf, block) {
        return found(
            "\"sticky\" and \"session_redis_sticky\" do not go together; leave one of them out, \
             \"sticky route $session_redis_route\" goes by the same"
                .to_owned(),
        );
    }
    Ok(())
}

#[cfg(nginx_private_known)]
fn has_nginx_sticky(cf: *mut ngx_conf_t, block: &ngx_http_upstream_srv_conf_t) -> bool {
    private::module(cf, "ngx_http_upstream_sticky_module").is_some_and(|module| {
        // SAFETY: a block has a structure of each module; this one's begins so.
        let init = unsafe {
            let conf = *block.srv_conf.add(module.ctx_index);
            (*conf.cast::<private::session_redis_nginx_sticky_t>()).original_init_upstream
        };
        init.is_some()
    })
}

#[cfg(not(nginx_private_known))]
fn has_nginx_sticky(_cf: *mut ngx_conf_t, _block: &ngx_http_upstream_srv_conf_t) -> bool {
    false
}

/// Names and drained servers are those of `server` lines.
fn known_servers(block: &ngx_http_upstream_srv_conf_t, conf: &UpstreamConf) -> Result<(), Finding> {
    // SAFETY: the servers of a block are an array of this structure, null where it was not read.
    let lines = unsafe { block.servers.as_ref() };
    let lines = lines.map(|lines| {
        // SAFETY: as above.
        let lines = unsafe { lines.as_slice::<ngx_http_upstream_server_t>() };
        lines.iter().map(|line| line.name.to_string()).collect::<Vec<_>>()
    });
    let lines = lines.unwrap_or_default();
    let known: Vec<&str> = lines.iter().map(String::as_str).collect();

    let named = conf.route_names.items().iter();
    let named = named.map(|named| ("session_redis_route_name", &named.server, &named.place));
    let drained = conf.drained.items().iter();
    let drained = drained.map(|drained| ("session_redis_drain", &drained.server, &drained.place));
    match named.chain(drained).find(|(_, server, _)| !known.contains(&server.as_str())) {
        None => Ok(()),
        Some((directive, server, place)) => Err(Finding {
            place: place.clone(),
            message: format!("\"{directive}\" directive: {}", unknown("server", server, &known)),
        }),
    }
}

fn nothing_alone(conf: &UpstreamConf) -> Result<(), Finding> {
    let named = conf.route_names.get().map(|names| ("session_redis_route_name", &names.place));
    let drained = conf.drained.get().map(|drained| ("session_redis_drain", &drained.place));
    match named.or(drained) {
        None => Ok(()),
        Some((directive, place)) => Err(Finding {
            place: place.clone(),
            message: format!("{directive} without session_redis_sticky: no request would go by it"),
        }),
    }
}

/// A location that passes to the block says where a session belongs. One with a route whose "proxy_pass" holds variables
/// may be that.
fn has_routes(
    cf: *mut ngx_conf_t,
    block: &ngx_http_upstream_srv_conf_t,
    place: &Place,
    locations: &[Location],
) -> Result<(), Finding> {
    let passes = |location: &Location| {
        blocks(cf, location).any(|other| core::ptr::eq(other.cast_const(), block))
    };
    let routes = |location: &&Location| {
        let plan = location.own().and_then(|conf| conf.plan.as_ref());
        plan.is_some_and(|plan| plan.route.is_some())
    };
    let unknown = |location: &Location| {
        location.core().is_some_and(|core| core.handler.is_some())
            && blocks(cf, location).next().is_none()
    };
    let mut routed = locations.iter().filter(routes);
    if !locations.iter().any(passes) || routed.any(|one| passes(one) || unknown(one)) {
        return Ok(());
    }
    Err(Finding {
        place: place.clone(),
        message: format!(
            "upstream \"{}\" is session_redis_sticky, but no location that passes to it has \
             \"session_redis_route\"",
            block.host.as_bytes().escape_ascii()
        ),
    })
}
