//! The server that a request belongs to: what `$session_redis_route` holds, and what a sticky upstream goes by.

use super::context::Context;
use super::handler;
use super::learn::with_standing;
use super::plan::RouteRule;
use super::request::Request;
use crate::route::jvm_route;
use crate::stored::Excerpt;

/// The route of the request's session; none where there is none, or it is empty.
pub(super) fn route_of(r: Request) -> Option<Vec<u8>> {
    let r = r.main();
    let plan = handler::plan(r)?;
    let context = Context::of(r)?;
    let route = match plan.route.as_ref()? {
        RouteRule::JvmRoute => jvm_route(context.id(r, &plan)?.as_bytes())?.to_vec(),
        RouteRule::Value(reading) => {
            let text = |read: &Excerpt| {
                Some(reading.text(r, Some(&read.session.value))?.into_owned().into_bytes())
            };
            context.with_session(r, &plan, text)??
        }
        RouteRule::Learn(_) => with_standing(r, context, &plan, |result| {
            Some(result.route.read().ok()??.server.to_vec())
        })?,
    };
    (!route.is_empty()).then_some(route)
}
