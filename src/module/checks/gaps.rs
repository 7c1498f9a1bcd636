//! What was written and comes to nothing, since a store, or what its sessions are read by, was not.

use std::collections::HashSet;

use nginx_sys::ngx_conf_t;

use super::{Finding, Location};
use crate::module::conf::{LocationConf, MainConf, Place, RouteKind, StoreName};
use crate::module::plan::Plan;

/// Said only of what comes to nothing everywhere: above the locations it may be meant for some of them.
pub(super) fn find(cf: *mut ngx_conf_t, main: &MainConf, locations: &[Location]) -> Vec<Finding> {
    let mut findings = storeless(locations, "session_redis_set_header", |conf| {
        conf.headers.get().map(|list| &list.place)
    });
    findings.extend(storeless(locations, "session_redis_route", |conf| {
        let route = conf.route.get().filter(|route| route.kind == RouteKind::Value);
        route.map(|route| &route.place)
    }));
    findings.extend(unread(cf, main, locations));
    findings
}

/// A directive that holds only where no store is named, nor "off" said.
fn storeless(
    locations: &[Location],
    directive: &str,
    place: fn(&LocationConf) -> Option<&Place>,
) -> Vec<Finding> {
    let (with, without): (Vec<_>, Vec<_>) =
        locations.iter().filter_map(Location::own).partition(|conf| conf.store.get().is_some());
    let heard: HashSet<_> = with.into_iter().filter_map(place).collect();
    let unheard = without.into_iter().filter_map(place).filter(|place| !heard.contains(place));
    unheard
        .map(|place| Finding {
            place: place.clone(),
            message: format!(
                "{directive} without session_redis: there is no store to read a session from"
            ),
        })
        .collect()
}

/// What is missing where a variable of ours, or a cookie to be hidden, is all that needs the session: a location's own
/// directives are refused without it.
fn unread(cf: *mut ngx_conf_t, main: &MainConf, locations: &[Location]) -> Vec<Finding> {
    let used = main.used.get();
    let is_needed =
        |conf: &LocationConf| used.id || used.session() || conf.hide_cookie.value() == Some(&true);
    let planned = locations.iter().filter_map(Location::own).filter(|conf| conf.plan.is_some());
    let read: HashSet<_> = planned.flat_map(LocationConf::places).collect();
    let is_unread = |conf: &LocationConf| {
        is_needed(conf)
            && conf.plan.is_none()
            && matches!(conf.store.value(), Some(StoreName::Name(_) | StoreName::Url(_)))
            && !read.contains(conf.place())
    };
    let mistake = |location: &Location| {
        let core = location.core().filter(|core| core.name.len > 0)?;
        let conf = location.own().filter(|conf| is_unread(conf))?;
        Plan::missing(cf, main, conf, core)
    };
    let findings = locations.iter().filter_map(mistake).map(|mistake| {
        let (place, message) = mistake.told();
        Finding { place, message }
    });
    findings.collect()
}
