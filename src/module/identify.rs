//! The session id out of a request, by a location's plan.

use super::context::Context;
use super::event::time_of_day;
use super::plan::Plan;
use super::request::{Header, Request};
use crate::session::candidates::Candidates;
use crate::session::cookie;
use crate::session::id::{Invalid, SessionId};
use crate::session::identity::Choice;
use crate::session::scheme::Carried;
use crate::session::source::{argument, path_parameter, Source};

/// What the request says of its session.
pub(super) enum Identified {
    /// It names none.
    None,
    /// What it names is no id.
    Invalid(Invalid),
    Valid(SessionId),
}

/// Looks through the sources in order until one gives a valid id. Of several cookies of one name that
/// differ, those not chosen are taken out of the request, so that backend and edge see the same session.
pub(super) fn identify(r: Request, plan: &Plan) -> Option<Identified> {
    let mut outcome = Identified::None;
    let mut chosen = None;
    for_each_source(r, plan, |source, candidates, carried| {
        match plan.verifier.choose(candidates.as_slice(), carried) {
            Choice::None => {}
            Choice::Invalid(reason) => outcome = Identified::Invalid(reason),
            Choice::Valid { id, value } => {
                if let (true, Source::Cookie(name)) = (candidates.differ(), source) {
                    chosen = Some((name, value.to_vec()));
                }
                outcome = Identified::Valid(id);
                return false;
            }
        }
        true
    })?;
    if let Some((name, chosen)) = chosen {
        rewrite_cookies(r, |other, value| {
            !cookie::is_alike(other, name.as_bytes()) || value == chosen.as_slice()
        })?;
    }
    Some(outcome)
}

/// Hands the values of each source, in order, to `visit`, until that is false. `None`: a source could not be
/// read.
pub(super) fn for_each_source<'p>(
    r: Request,
    plan: &'p Plan,
    mut visit: impl FnMut(&'p Source, &Candidates<'_>, &Carried<'_>) -> bool,
) -> Option<()> {
    for source in &plan.sources {
        let mut candidates = Candidates::new(plan.verifier.pick());
        let mut carried = Carried { name: "", beside: None, now: time_of_day() / 1000 };
        match &source.source {
            Source::Cookie(name) => {
                cookie::values(cookie_lines(r), name.as_bytes(), &mut |is, value| {
                    candidates.push_cookie(is, value);
                });
                let beside = plan.verifier.beside(name);
                carried.name = name;
                carried.beside =
                    beside.and_then(|name| cookie::first(cookie_lines(r), name.as_bytes()));
            }
            Source::Header(name) => candidates.extend(r.header(name.as_bytes())),
            Source::Arg(name) => candidates.extend(argument(r.original_args(), name.as_bytes())),
            Source::Path(name) => {
                candidates.extend(path_parameter(r.original_uri(), name.as_bytes()));
            }
            Source::Template(_) => {
                let text = source.template.as_ref()?.evaluate(r)?;
                candidates.extend(Some(text).filter(|text| !text.is_empty()));
            }
        }
        if !visit(&source.source, &candidates, &carried) {
            break;
        }
    }
    Some(())
}

/// Takes the session cookies out of the request that goes to the backend.
pub(super) fn hide_cookies(r: Request, context: &Context, plan: &Plan) -> Option<()> {
    context.hidden.replace(Some(r.cookies().map(Header::raw_value).collect()));
    rewrite_cookies(r, |name, _| {
        !plan.sources.iter().any(|source| {
            matches!(&source.source, Source::Cookie(session) if cookie::is_alike(name, session.as_bytes()))
        })
    })
}

/// Whether the request carries a cookie of a name that matches.
pub(super) fn has_cookie(r: Request, mut matches: impl FnMut(&[u8]) -> bool) -> bool {
    let mut found = false;
    for header in r.cookies() {
        // Nothing is taken out: this only visits the pairs.
        let _ = cookie::rewrite(header.value(), |name, _| {
            found |= matches(name);
            true
        });
    }
    found
}

fn cookie_lines<'a>(r: Request) -> impl Iterator<Item = &'a [u8]> {
    r.cookies().map(Header::value)
}

fn rewrite_cookies(r: Request, mut keep: impl FnMut(&[u8], &[u8]) -> bool) -> Option<()> {
    let mut emptied = false;
    for header in r.cookies() {
        if let Some(line) = cookie::rewrite(header.value(), &mut keep) {
            emptied |= line.is_empty();
            r.replace_value(header, &line)?;
        }
    }
    if emptied {
        r.remove_headers(|header| {
            header.value().is_empty() && header.name().eq_ignore_ascii_case(b"cookie")
        })?;
    }
    Some(())
}
