//! The session id out of a request, by a location's plan.

use super::context::Context;
use super::event::time_of_day;
use super::plan::Plan;
use super::request::{Header, Request};
use crate::session::candidates::Candidates;
use crate::session::cookie::{self, Kept};
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

/// Looks through the sources in order until one gives a valid id. What a backend might read otherwise in the cookies
/// is taken out of the request, so that backend and edge see the same session.
pub(super) fn identify(r: Request, plan: &Plan) -> Option<Identified> {
    let mut outcome = Identified::None;
    let mut kept = Vec::new();
    for_each_source(r, plan, |source, offered| {
        let choice = plan.verifier.choose(offered.candidates.as_slice(), &offered.carried);
        if let Source::Cookie(name) = source {
            kept.extend(plan.verifier.kept(name, &offered.candidates, &choice));
        }
        if let Some((name, signatures)) = &offered.beside {
            kept.extend(plan.verifier.kept(name, signatures, &Choice::None));
        }
        match choice {
            Choice::None => {}
            Choice::Invalid(reason) => outcome = Identified::Invalid(reason),
            Choice::Valid { id, .. } => {
                outcome = Identified::Valid(id);
                return false;
            }
        }
        true
    })?;
    if !kept.is_empty() {
        rewrite_cookies(r, &kept)?;
    }
    Some(outcome)
}

/// The session id that `identify` would find, with nothing changed in the request.
pub(super) fn find(r: Request, plan: &Plan) -> Option<SessionId> {
    let mut found = None;
    for_each_source(r, plan, |_, offered| {
        let choice = plan.verifier.choose(offered.candidates.as_slice(), &offered.carried);
        if let Choice::Valid { id, .. } = choice {
            found = Some(id);
        }
        found.is_none()
    })?;
    found
}

/// Everything that the request gives as its session id, good or bad. None where that is nothing.
pub(super) fn given(r: Request, plan: &Plan) -> Option<Vec<u8>> {
    let mut given = Vec::new();
    for_each_source(r, plan, |_, offered| {
        for value in offered.candidates.as_slice() {
            given.extend_from_slice(value);
            given.push(0);
        }
        true
    })?;
    Some(given).filter(|given| !given.is_empty())
}

/// What one source offers.
pub(super) struct Offered<'a> {
    pub(super) candidates: Candidates<'a>,
    pub(super) carried: Carried<'a>,
    /// The cookies that sign the candidates, and their name.
    beside: Option<(String, Candidates<'a>)>,
}

/// Hands what each source offers, in order, to `visit`, until that is false. `None`: a source could not be read.
pub(super) fn for_each_source<'p>(
    r: Request,
    plan: &'p Plan,
    mut visit: impl FnMut(&'p Source, &Offered<'_>) -> bool,
) -> Option<()> {
    let verifier = &plan.verifier;
    for source in &plan.sources {
        let mut candidates = Candidates::new(verifier.pick());
        let mut carried = Carried { name: "", beside: None, now: time_of_day() / 1000 };
        let mut beside = None;
        match &source.source {
            Source::Cookie(name) => {
                candidates = verifier.cookies(cookie_lines(r), name);
                carried.name = name;
                beside = verifier.beside(name).map(|name| {
                    let found = verifier.signatures(cookie_lines(r), &name);
                    (name, found)
                });
                carried.beside = beside.as_ref().and_then(|(_, found)| found.preferred());
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
        if !visit(&source.source, &Offered { candidates, carried, beside }) {
            break;
        }
    }
    Some(())
}

/// Takes the session cookies out of the request that goes to the backend.
pub(super) fn hide_cookies(r: Request, context: &Context, plan: &Plan) -> Option<()> {
    context.hidden.replace(Some(r.cookies().map(Header::raw_value).collect()));
    let cookies = plan.sources.iter().filter_map(|source| match &source.source {
        Source::Cookie(name) => Some(Kept::none(name, plan.verifier.spelling())),
        _ => None,
    });
    rewrite_cookies(r, &cookies.collect::<Vec<_>>())
}

/// Whether the request carries a cookie of a name that matches.
pub(super) fn has_cookie(r: Request, mut matches: impl FnMut(&[u8]) -> bool) -> bool {
    cookie_lines(r).flat_map(cookie::pairs).any(|(name, _)| matches(name))
}

fn cookie_lines<'a>(r: Request) -> impl Iterator<Item = &'a [u8]> {
    r.cookies().map(Header::value)
}

fn rewrite_cookies(r: Request, kept: &[Kept]) -> Option<()> {
    let mut emptied = false;
    for header in r.cookies() {
        if let Some(line) = cookie::rewrite(header.value(), kept) {
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
