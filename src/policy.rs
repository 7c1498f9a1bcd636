//! Who may pass: the table of outcomes and the table of exceptions (see [`decide`]).

#![forbid(unsafe_code)]

use crate::config::{unknown, ConfigError};
use crate::require::{Condition, Preflight};

/// What became of a request's session: `$session_redis_status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The module is off here.
    Off,
    /// The lookup has not been made.
    Pending,
    /// The request names no session.
    None,
    /// Its id is malformed or its signature wrong.
    Invalid,
    /// Not in the store, or there but dead.
    Missing,
    /// There and read.
    Found,
    /// There but too large, of the wrong type, or not decodable.
    Undecodable,
    /// The store did not say: down, slow, overloaded, refusing.
    Error,
}

/// `session_redis_on_error`: what a store that fails does to a request that requires nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// It goes on without a session.
    Pass,
    /// It is answered 503.
    Fail,
    /// It goes on with what the near-cache still has; where that is nothing, as without the directive.
    Stale,
}

/// The answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'c> {
    /// It goes on; whether it may is for others to say.
    Abstain,
    /// It goes on, since all that is required holds: under `satisfy any` that is enough.
    Admit,
    /// It is refused.
    Refuse {
        /// The status of the answer.
        status: u16,
        /// Whether `Retry-After: 1` goes with it.
        retry_after: bool,
    },
    /// A browser is sent to this login page, a string with nginx variables.
    Login(&'c str),
}

/// What a decision may ask about the request; each is asked only where it matters.
pub trait Request {
    /// Whether `condition` holds in the session that was found.
    fn holds(&self, condition: &Condition) -> bool;
    /// Whether the request carries the cookie of the condition's `unless_cookie=`.
    fn is_excused(&self, condition: &Condition) -> bool;
    /// Whether the request is for this login page itself: see [`crate::login::at_login`].
    fn at_login(&self, login: &str) -> bool;
    /// Whether a browser navigates: see [`crate::login::Browser::is_navigation`].
    fn is_navigation(&self) -> bool;
    /// Whether this is a CORS preflight: see [`crate::login::Browser::is_preflight`].
    fn is_preflight(&self) -> bool;
    /// Whether an error page is being made.
    fn is_error_page(&self) -> bool;
    /// Whether nginx asks on behalf of another request: `auth_request`, SSI, `mirror` …
    fn is_subrequest(&self) -> bool;
    /// Whether `satisfy any` is in force, where only 401 and 403 leave others to admit the request.
    fn satisfies_any(&self) -> bool;
}

impl Status {
    /// The value of `$session_redis_status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Pending => "pending",
            Self::None => "none",
            Self::Invalid => "invalid",
            Self::Missing => "missing",
            Self::Found => "found",
            Self::Undecodable => "undecodable",
            Self::Error => "error",
        }
    }
}

impl OnError {
    /// Reads the argument of `session_redis_on_error`.
    pub fn parse(name: &str) -> Result<Self, ConfigError> {
        match name {
            "pass" => Ok(Self::Pass),
            "fail" => Ok(Self::Fail),
            "stale" => Ok(Self::Stale),
            _ => Err(unknown("way to go on", name, &["pass", "fail", "stale"])),
        }
    }
}

/// The decision. `conditions` are those of the location, `on_error` its setting if there is one.
///
/// | status | nothing required | something required |
/// | --- | --- | --- |
/// | none, invalid, missing | pass | the first condition's login or error |
/// | found | pass | the first that does not hold: its login or error |
/// | undecodable | pass | the first condition's error, never login |
/// | error | `on_error`, else pass | 503, whatever `on_error` says |
/// | off, pending | pass | 503: nothing is known of the session |
///
/// The exceptions, all of them:
///
/// | what | who may pass | why |
/// | --- | --- | --- |
/// | `preflight=pass` | a CORS preflight (`OPTIONS`, `Origin`, a token in `Access-Control-Request-Method`, no body), if every condition says so; without a session | browsers send it without cookies |
/// | `unless_cookie=` | whoever sends the cookie, past the conditions that say so; not while the store fails | the application knows "remember me" cookies, nginx does not |
/// | `satisfy any` | whomever another module admits; a refusal is 401 or 403 then, a store that fails 403 | only these leave others to admit |
/// | error page | nobody; it is never redirected to the login | a redirect would hide the error |
/// | login page | nobody; it is never redirected to itself | it would be so for ever |
/// | subrequest | nobody; it is never redirected to the login | whoever asked acts on 401 and 403 |
///
/// The first two abstain: they keep nobody in whom others refuse.
pub fn decide<'c>(
    status: Status,
    on_error: Option<OnError>,
    conditions: &'c [Condition],
    request: &impl Request,
) -> Decision<'c> {
    if conditions.is_empty() {
        return match (status, on_error) {
            (Status::Error, Some(OnError::Fail)) => unavailable(request),
            _ => Decision::Abstain,
        };
    }
    if is_free(conditions, request) {
        return Decision::Abstain;
    }
    if matches!(status, Status::Off | Status::Pending | Status::Error) {
        return unavailable(request);
    }
    let mut decision = Decision::Admit;
    for condition in conditions {
        if status == Status::Found && request.holds(condition) {
            continue;
        }
        if !request.is_excused(condition) {
            return match login(condition, request) {
                Some(login) if status != Status::Undecodable => login,
                _ => refuse(condition),
            };
        }
        decision = Decision::Abstain;
    }
    decision
}

/// Whether the request passes as a CORS preflight, to which no session belongs.
pub fn is_free(conditions: &[Condition], request: &impl Request) -> bool {
    let exempt = |condition: &Condition| condition.preflight == Preflight::Pass;
    !conditions.is_empty() && conditions.iter().all(exempt) && request.is_preflight()
}

fn unavailable<'c>(request: &impl Request) -> Decision<'c> {
    let status = if request.satisfies_any() { 403 } else { 503 };
    Decision::Refuse { status, retry_after: true }
}

fn refuse<'c>(condition: &Condition) -> Decision<'c> {
    Decision::Refuse { status: condition.error, retry_after: false }
}

fn login<'c>(condition: &'c Condition, request: &impl Request) -> Option<Decision<'c>> {
    let login = condition.login.as_deref()?;
    let useful = request.is_navigation()
        && !request.is_subrequest()
        && !request.is_error_page()
        && !request.at_login(login);
    useful.then_some(Decision::Login(login))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request told by what is true of it.
    #[derive(Default)]
    struct Told {
        held: Vec<&'static str>,
        excused: bool,
        at_login: bool,
        navigation: bool,
        preflight: bool,
        error_page: bool,
        subrequest: bool,
        any: bool,
    }

    impl Request for Told {
        fn holds(&self, condition: &Condition) -> bool {
            let crate::value::Expression::Pointer(pointer) = &condition.value else { return false };
            self.held.contains(&pointer.as_str())
        }
        fn is_excused(&self, condition: &Condition) -> bool {
            self.excused && condition.unless_cookie.is_some()
        }
        fn at_login(&self, _: &str) -> bool {
            self.at_login
        }
        fn is_navigation(&self) -> bool {
            self.navigation
        }
        fn is_preflight(&self) -> bool {
            self.preflight
        }
        fn is_error_page(&self) -> bool {
            self.error_page
        }
        fn is_subrequest(&self) -> bool {
            self.subrequest
        }
        fn satisfies_any(&self) -> bool {
            self.any
        }
    }

    const ALL: [Status; 8] = [
        Status::Off,
        Status::Pending,
        Status::None,
        Status::Invalid,
        Status::Missing,
        Status::Found,
        Status::Undecodable,
        Status::Error,
    ];

    const UNAVAILABLE: Decision<'_> = Decision::Refuse { status: 503, retry_after: true };

    fn conditions(lines: &[&str]) -> Vec<Condition> {
        lines
            .iter()
            .map(|line| Condition::parse(&line.split(' ').collect::<Vec<_>>()).unwrap())
            .collect()
    }

    fn error(status: u16) -> Decision<'static> {
        Decision::Refuse { status, retry_after: false }
    }

    #[test]
    fn where_nothing_is_required_only_fail_refuses() {
        for status in ALL {
            for on_error in [None, Some(OnError::Pass), Some(OnError::Fail)] {
                let expected = if status == Status::Error && on_error == Some(OnError::Fail) {
                    UNAVAILABLE
                } else {
                    Decision::Abstain
                };
                assert_eq!(decide(status, on_error, &[], &Told::default()), expected, "{status:?}");
            }
        }
    }

    #[test]
    fn pass_never_satisfies_a_requirement() {
        let required = conditions(&["/v unless_cookie=remember"]);
        let told = || Told { excused: true, held: vec!["/v"], ..Told::default() };
        for on_error in [None, Some(OnError::Pass), Some(OnError::Fail)] {
            assert_eq!(decide(Status::Error, on_error, &required, &told()), UNAVAILABLE);
            let any = Told { any: true, ..told() };
            let expected = Decision::Refuse { status: 403, retry_after: true };
            assert_eq!(decide(Status::Error, on_error, &required, &any), expected);
        }
        assert_eq!(decide(Status::Pending, None, &required, &told()), UNAVAILABLE);
        assert_eq!(decide(Status::Off, None, &required, &told()), UNAVAILABLE);
    }

    #[test]
    fn without_a_session_the_first_condition_answers() {
        let required = conditions(&["/v error=404", "/w login=/login"]);
        let told = Told { held: vec!["/v", "/w"], navigation: true, ..Told::default() };
        for status in [Status::None, Status::Invalid, Status::Missing, Status::Undecodable] {
            assert_eq!(decide(status, None, &required, &told), error(404), "{status:?}");
        }
    }

    #[test]
    fn a_session_must_meet_every_condition() {
        let required = conditions(&["/v", "/w error=403"]);
        let with = |held| decide(Status::Found, None, &required, &Told { held, ..Told::default() });
        assert_eq!(with(vec!["/v", "/w"]), Decision::Admit);
        assert_eq!(with(vec!["/v"]), error(403));
        assert_eq!(with(vec![]), error(401));
    }

    #[test]
    fn a_login_is_for_navigating_browsers() {
        let required = conditions(&["/v error=403 login=/login"]);
        let browser = || Told { navigation: true, ..Told::default() };
        for status in [Status::None, Status::Invalid, Status::Missing, Status::Found] {
            assert_eq!(
                decide(status, None, &required, &browser()),
                Decision::Login("/login"),
                "{status:?}"
            );
            for told in [
                Told::default(),
                Told { at_login: true, ..browser() },
                Told { error_page: true, ..browser() },
                Told { subrequest: true, ..browser() },
            ] {
                assert_eq!(decide(status, None, &required, &told), error(403), "{status:?}");
            }
        }
        assert_eq!(decide(Status::Undecodable, None, &required, &browser()), error(403));
        assert_eq!(decide(Status::Error, None, &required, &browser()), UNAVAILABLE);
    }

    #[test]
    fn a_remembered_visitor_is_left_to_the_application() {
        let required = conditions(&["/v unless_cookie=remember_*", "/w error=403"]);
        let told = |held| Told { excused: true, held, ..Told::default() };
        let remembered = |status, required, held| decide(status, None, required, &told(held));
        for status in [Status::None, Status::Invalid, Status::Missing, Status::Undecodable] {
            assert_eq!(remembered(status, &required[..1], vec![]), Decision::Abstain, "{status:?}");
            assert_eq!(remembered(status, &required, vec!["/v", "/w"]), error(403), "{status:?}");
        }
        assert_eq!(remembered(Status::Found, &required, vec!["/w"]), Decision::Abstain);
        assert_eq!(remembered(Status::Found, &required, vec!["/v"]), error(403));
        assert_eq!(remembered(Status::Found, &required, vec!["/v", "/w"]), Decision::Admit);
    }

    #[test]
    fn a_preflight_is_refused_like_everything_else() {
        let told = || Told { preflight: true, held: vec!["/v"], ..Told::default() };
        let required = conditions(&["/v", "/w"]);
        for status in [Status::None, Status::Invalid, Status::Missing, Status::Undecodable] {
            assert_eq!(decide(status, None, &required, &told()), error(401), "{status:?}");
        }
        assert_eq!(decide(Status::Found, None, &required, &told()), error(401));
        for status in [Status::Off, Status::Pending, Status::Error] {
            assert_eq!(decide(status, None, &required, &told()), UNAVAILABLE, "{status:?}");
        }
        assert_eq!(decide(Status::Error, Some(OnError::Fail), &[], &told()), UNAVAILABLE);
    }

    #[test]
    fn a_preflight_passes_where_every_condition_says_so() {
        let required = conditions(&["/v preflight=pass", "/w preflight=pass"]);
        let one = conditions(&["/v preflight=pass", "/w"]);
        for status in ALL {
            let told = Told { preflight: true, ..Told::default() };
            assert_eq!(decide(status, None, &required, &told), Decision::Abstain, "{status:?}");
            assert!(is_free(&required, &told));
            assert_ne!(decide(status, None, &one, &told), Decision::Abstain, "{status:?}");
            let other = Told::default();
            assert_ne!(decide(status, None, &required, &other), Decision::Abstain, "{status:?}");
        }
        assert!(!is_free(&[], &Told { preflight: true, ..Told::default() }));
    }
}
