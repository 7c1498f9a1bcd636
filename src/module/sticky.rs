//! `session_redis_sticky` in an `upstream` block: its balancing method behind one that first goes where the request's
//! session belongs.

mod balancer;
mod drain;
mod peers;

use nginx_sys::{
    ngx_conf_t, ngx_http_upstream_init_round_robin, ngx_http_upstream_srv_conf_t, ngx_int_t,
};
use ngx::http::{HttpModuleServerConf, NgxHttpUpstreamModule};

use super::checks::has_keepalive;
use super::conf::{Drained, RouteName, ServerConf, Sticky, UpstreamConf};
use super::directives::{once, Directive};
use super::throttle::Throttle;
use super::{SessionRedis, ERROR, OK};
use crate::config::{unknown, ConfigError};

pub(super) fn set_sticky(d: &mut Directive, conf: &mut ServerConf) -> Result<(), ConfigError> {
    let strict = match d.args.first() {
        None => false,
        Some(&"strict") => true,
        Some(other) => return Err(unknown("parameter", other, &["strict"])),
    };
    let conf = &mut conf.upstream;
    once(conf.sticky.set(Sticky { strict, refused: Throttle::default() }, d.place()))?;
    if has_keepalive(d.cf) {
        return Err(ConfigError::new("\"keepalive\" must come after it"));
    }
    // SAFETY: `cf` is live; a block has nginx's own structure, to which nobody refers now.
    let block = unsafe { NgxHttpUpstreamModule::server_conf_mut(&*d.cf) };
    let block = block.ok_or_else(|| ConfigError::new("stands outside an upstream"))?;
    conf.init_upstream.set(block.peer.init_upstream);
    block.peer.init_upstream = Some(init_upstream);
    Ok(())
}

pub(super) fn add_route_name(d: &mut Directive, conf: &mut ServerConf) -> Result<(), ConfigError> {
    let (name, server) = (d.args[0], d.args[1]);
    let names = &mut conf.upstream.route_names;
    if name.is_empty() {
        return Err(ConfigError::new("the name is empty"));
    }
    if let Some(other) = names.items().iter().find(|other| other.name == name) {
        return Err(ConfigError::new(format!(
            "\"{name}\" is the name of \"{}\" already, by line {}",
            other.server,
            other.place.line()
        )));
    }
    let named = RouteName { name: name.to_owned(), server: server.to_owned(), place: d.place() };
    names.push(named, d.place());
    Ok(())
}

pub(super) fn drain(d: &mut Directive, conf: &mut ServerConf) -> Result<(), ConfigError> {
    for server in &d.args {
        let drained = Drained { server: (*server).to_owned(), place: d.place() };
        conf.upstream.drained.push(drained, d.place());
    }
    Ok(())
}

/// Our settings of an `upstream` block. None of the implicit ones that a "proxy_pass" makes.
pub(super) fn conf_of(block: &ngx_http_upstream_srv_conf_t) -> Option<&'static UpstreamConf> {
    SessionRedis::server_conf(block).map(|conf| &conf.upstream)
}

/// Makes a block ready when all of the configuration is read.
unsafe extern "C" fn init_upstream(
    cf: *mut ngx_conf_t,
    block: *mut ngx_http_upstream_srv_conf_t,
) -> ngx_int_t {
    // SAFETY: nginx calls us with the live configuration and the block that our directive stands in.
    unsafe {
        let Some(conf) = conf_of(&*block) else { return ERROR };
        let rc = match conf.init_upstream.get() {
            Some(init) => init(cf, block),
            None => ngx_http_upstream_init_round_robin(cf, block),
        };
        if rc == OK {
            conf.init_peer.set((*block).peer.init);
            (*block).peer.init = Some(balancer::init_peer);
        }
        rc
    }
}
