//! The session id out of a request, by a location's plan.

use super::plan::Plan;
use super::request::{Header, Request};
use crate::session::cookie::{self, MAX_CANDIDATES};
use crate::session::id::{Invalid, SessionId};
use crate::session::identity::Choice;
use crate::session::source::{argument, path_parameter, Source};

/// What the request says of its session.
pub(super) enum Identified {
    /// It names none.
    None,
    /// What it names is no id.
    Invalid(Invalid),
    Valid(SessionId),
}

/// The values of one source, on the stack: there is hardly ever more than one.
#[derive(Default)]
struct Candidates<'a> {
    values: [&'a [u8]; MAX_CANDIDATES],
    count: usize,
}

impl<'a> Candidates<'a> {
    fn push(&mut self, value: &'a [u8]) {
        if let Some(place) = self.values.get_mut(self.count) {
            *place = value;
            self.count += 1;
        }
    }

    fn extend(&mut self, value: Option<&'a [u8]>) {
        if let Some(value) = value {
            self.push(value);
        }
    }

    fn as_slice(&self) -> &[&'a [u8]] {
        &self.values[..self.count]
    }
}

/// Looks through the sources in order until one gives a valid id. Of several cookies of one name that
/// differ, those not chosen are taken out of the request, so that backend and edge see the same session.
pub(super) fn identify(r: Request, plan: &Plan) -> Option<Identified> {
    let mut outcome = Identified::None;
    for source in &plan.sources {
        let mut candidates = Candidates::default();
        match &source.source {
            Source::Cookie(name) => {
                cookie::values(cookies(r).map(Header::value), name.as_bytes(), &mut |value| {
                    candidates.push(value);
                });
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
        match plan.identity.choose(candidates.as_slice(), plan.secrets.value()) {
            Choice::None => {}
            Choice::Invalid(reason) => outcome = Identified::Invalid(reason),
            Choice::Valid { id, value, differ } => {
                if let (true, Source::Cookie(name)) = (differ, &source.source) {
                    let chosen = value.to_vec();
                    rewrite_cookies(r, |other, value| {
                        other != name.as_bytes() || value == chosen.as_slice()
                    })?;
                }
                return Some(Identified::Valid(id));
            }
        }
    }
    Some(outcome)
}

/// Takes the session cookies out of the request that goes to the backend.
pub(super) fn hide_cookies(r: Request, plan: &Plan) -> Option<()> {
    rewrite_cookies(r, |name, _| {
        !plan.sources.iter().any(|source| {
            matches!(&source.source, Source::Cookie(session) if session.as_bytes() == name)
        })
    })
}

/// Whether the request carries a cookie of a name that matches.
pub(super) fn has_cookie(r: Request, mut matches: impl FnMut(&[u8]) -> bool) -> bool {
    let mut found = false;
    for header in cookies(r) {
        // Nothing is taken out: this only visits the pairs.
        let _ = cookie::rewrite(header.value(), |name, _| {
            found |= matches(name);
            true
        });
    }
    found
}

fn cookies(r: Request) -> impl Iterator<Item = Header> {
    r.headers().filter(|header| header.name().eq_ignore_ascii_case(b"cookie"))
}

fn rewrite_cookies(r: Request, mut keep: impl FnMut(&[u8], &[u8]) -> bool) -> Option<()> {
    let mut emptied = false;
    for header in cookies(r) {
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
