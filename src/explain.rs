//! What becomes of a request's session, told step by step for whoever wonders why it is not there.
//!
//! The steps are those of a request's way, in its order: id, key, store, format, life, what is in it, and what
//! a location makes of that. No step shows an id, a secret or a value: of a session only names and types. A server
//! that sessions are routed to is none of these.

#![forbid(unsafe_code)]

mod tree;

use std::fmt::Write;

use serde_json::{json, Value};

use crate::format::Wanted;
use crate::framework::User;
use crate::inject::{session_header, Encode};
use crate::pointer::Selected;
use crate::require::Condition;
use crate::route::assignment::{Spoilt, Standing};
use crate::route::jvm_route;
use crate::session::id::SessionId;
use crate::session::identity::{Choice, Verifier};
use crate::session::key::KeyForm;
use crate::session::scheme::Carried;
use crate::stored::{Decoder, Session, Stored};

/// The steps so far.
#[derive(Debug, Default)]
pub struct Report {
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    name: &'static str,
    /// `None`: it only tells.
    good: Option<bool>,
    says: String,
    lines: Vec<String>,
}

impl Report {
    /// A step that went as it should.
    pub fn good(&mut self, name: &'static str, says: impl Into<String>) {
        self.push(name, Some(true), says.into());
    }

    /// A step at which the session is lost, and why.
    pub fn bad(&mut self, name: &'static str, says: impl Into<String>) {
        self.push(name, Some(false), says.into());
    }

    /// Something worth knowing that decides nothing.
    pub fn note(&mut self, name: &'static str, says: impl Into<String>) {
        self.push(name, None, says.into());
    }

    fn push(&mut self, name: &'static str, good: Option<bool>, says: String) {
        self.steps.push(Step { name, good, says, lines: Vec::new() });
    }

    /// Lines below the last step.
    fn lines(&mut self, lines: impl IntoIterator<Item = String>) {
        if let Some(step) = self.steps.last_mut() {
            step.lines.extend(lines);
        }
    }

    /// Looks for the id in the values of one source. `source` names it: `cookie PHPSESSID`.
    pub fn identify(
        &mut self,
        source: &str,
        values: &[&[u8]],
        verifier: &Verifier,
        carried: &Carried<'_>,
    ) -> Option<SessionId> {
        let several = match values.len() {
            0 | 1 => String::new(),
            count => format!(" (of {count} values)"),
        };
        match verifier.choose(values, carried) {
            Choice::None => {
                self.note("id", format!("{source}: not in the request"));
                None
            }
            Choice::Invalid(reason) => {
                self.bad("id", format!("{source}{several}: refused, {reason}"));
                None
            }
            Choice::Valid { id, .. } => {
                let length = id.as_bytes().len();
                self.good("id", format!("{source}{several}: an id of {length} bytes"));
                Some(id)
            }
        }
    }

    /// The key that the framework makes of an id, which is left out.
    pub fn key(&mut self, form: &KeyForm) {
        self.good("key", form.to_string());
    }

    /// What a server has under the key; `left`: its time to live in ms, `None` where it has no end.
    pub fn stored(&mut self, server: &str, stored: Option<&Stored>, left: Option<u64>) {
        let life = match left {
            None => "no end".to_owned(),
            Some(ms) => format!("{} s left", ms / 1000),
        };
        match stored {
            Some(Stored::Text(value)) => {
                self.good("store", format!("{server}: a string of {} bytes, {life}", value.len()));
            }
            Some(Stored::Hash(fields)) => {
                self.good("store", format!("{server}: a hash of {} fields, {life}", fields.len()));
            }
            None => self.bad(
                "store",
                format!("{server}: no such key; it has expired, or prefix or database are others"),
            ),
        }
    }

    /// Reads what the store gave. `None`: it is no session, or one that has ended by `now`, in Unix ms.
    pub fn decode(&mut self, decoder: &Decoder, stored: &Stored, now: u64) -> Option<Session> {
        let read = decoder.decode(stored, &Wanted::Described);
        match &read {
            Ok(_) => self.good("format", "read"),
            Err(error) => self.bad("format", error.to_string()),
        }
        self.lines(decoder.tried(stored));
        let session = read.ok()?;
        match session.end {
            None => {}
            Some(_) if session.is_over(now) => {
                self.bad("life", "over, by what the session says of itself, though it is stored");
                return None;
            }
            Some(end) => self.note("life", format!("ends in {} s", (end - now) / 1000)),
        }
        Some(session)
    }

    /// Names and types of what is in a session that was read for [`Wanted::Described`].
    pub fn session(&mut self, value: &Value) {
        self.good("session", tree::kind(value));
        self.lines(tree::lines(value));
    }

    /// The framework's user.
    pub fn user(&mut self, user: Option<&User>, session: &Value) {
        let says = match user {
            None => "the framework knows no user; \"session_redis_user\" would say where it stands"
                .to_owned(),
            Some(user) => user.with(session, kind_of),
        };
        self.note("user", says);
    }

    /// A header of the location.
    pub fn header(&mut self, name: &str, join: Option<&str>, encode: Encode, found: &Selected<'_>) {
        let says = match session_header(found, join, encode) {
            Ok(Some(value)) => format!("sent, {} bytes", value.len()),
            Ok(None) => format!("absent: {}", kind_of(found)),
            Err(reason) => format!("dropped: {reason}"),
        };
        self.note("header", format!("{name}: {says}"));
    }

    /// A header whose value is none of the session.
    pub fn other_header(&mut self, name: &str) {
        self.note("header", format!("{name}: sent, not from the session"));
    }

    /// A requirement of the location; `written` is the directive's arguments.
    pub fn requirement(&mut self, condition: &Condition, found: &Selected<'_>) {
        let found_kind = kind_of(found);
        match condition.holds(found) {
            true => self.good("require", format!("{condition}: holds ({found_kind})")),
            false => self.bad("require", format!("{condition}: does not hold ({found_kind})")),
        }
    }

    /// The server that the id names, as `session_redis_route jvmroute` reads it.
    pub fn jvm_route(&mut self, id: &SessionId) {
        let says = jvm_route(id.as_bytes()).map_or_else(
            || "the id names no server".to_owned(),
            |route| format!("the id names server \"{}\"", route.escape_ascii()),
        );
        self.note("route", says);
    }

    /// What `session_redis_route learn` finds; `now` in Unix seconds.
    pub fn learnt_route(&mut self, standing: &Standing, now: u64) {
        let says = match (standing.read(), standing) {
            (Ok(Some(assignment)), _) => format!(
                "server \"{}\", assigned {} s ago for {} s",
                assignment.server.escape_ascii(),
                now.saturating_sub(assignment.written),
                assignment.life
            ),
            (Ok(None), Standing::Absent) => "none was learnt yet".to_owned(),
            (Ok(None), _) => "the store did not say".to_owned(),
            (Err(Spoilt), _) => Spoilt.to_string(),
        };
        self.note("route", says);
    }

    /// What stands in the session where `session_redis_route` looks.
    pub fn route_value(&mut self, found: &Selected<'_>) {
        self.note("route", kind_of(found));
    }

    /// Whether no step lost the session.
    pub fn is_good(&self) -> bool {
        self.steps.iter().all(|step| step.good != Some(false))
    }

    /// A line for each step, and what belongs to it below.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for step in &self.steps {
            let mark = match step.good {
                Some(true) => "ok",
                Some(false) => "FAILED",
                None => "",
            };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{:<9} {mark:<7} {}", step.name, step.says);
            for line in &step.lines {
                let _ = writeln!(text, "{:18}{line}", "");
            }
        }
        text
    }

    /// `{"ok": …, "steps": [{"step", "ok", "says", "lines"}, …]}`; `ok` of a step that only tells is null.
    pub fn json(&self) -> String {
        let step = |step: &Step| json!({"step": step.name, "ok": step.good, "says": step.says, "lines": step.lines});
        let steps: Vec<Value> = self.steps.iter().map(step).collect();
        json!({"ok": self.is_good(), "steps": steps}).to_string()
    }
}

/// What a pointer found, without its value.
fn kind_of(found: &Selected<'_>) -> String {
    match found {
        Selected::None => "nothing is there".to_owned(),
        Selected::One(value) => tree::kind(value),
        Selected::Many(values) => format!("{} values", values.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framework::Framework;
    use crate::pointer::Pointer;
    use crate::session::secrets::Secrets;

    const COOKIE: &str =
        "s%3AcHpUiV7wDyBcQkpfsYRiyLq-GQSIlbB8.5ioZhFw2%2F25127zq6w0dbcsHqltBe%2FDEe14YLImDUDE";
    const SESSION: &[u8] =
        b"{\"cookie\":{},\"passport\":{\"user\":\"s3cret\"},\"roles\":[\"s3cret\",\"b\"]}";

    /// The report on Express, with this secret and value.
    fn express(secret: &str, stored: &[u8]) -> Report {
        let framework = Framework::parse(&["express"]).unwrap();
        let secrets = Secrets::parse_args(&[secret]).unwrap();
        let verifier = framework.identity.clone().verifier(Some(&secrets)).unwrap();
        let carried = Carried { name: "connect.sid", beside: None, now: 0 };
        let mut report = Report::default();
        let values = [COOKIE.as_bytes()];
        if report.identify("cookie connect.sid", &values, &verifier, &carried).is_none() {
            return report;
        }
        report.key(framework.key.as_ref().unwrap());
        let format = framework.format.clone().unwrap();
        let decoder = Decoder { shape: framework.shape, format, life: Vec::new() };
        let Some(session) = report.decode(&decoder, &Stored::Text(stored.to_vec()), 0) else {
            return report;
        };
        report.session(&session.value);
        report.user(framework.user.as_ref(), &session.value);
        let roles = Pointer::parse("/roles").unwrap();
        report.header("X-Roles", Some(","), Encode::Raw, &roles.select(&session.value));
        report.header("X-None", None, Encode::Raw, &Selected::None);
        let condition = Condition::parse(&["/roles", "has", "admin"]).unwrap();
        report.requirement(&condition, &roles.select(&session.value));
        report
    }

    #[test]
    fn a_session_that_is_read() {
        let report = express("keyboard cat", SESSION);
        assert_eq!(
            report.text(),
            "id        ok      cookie connect.sid: an id of 32 bytes\n\
             key       ok      sess:***\n\
             format    ok      read\n                  json: read\n\
             session   ok      object of 3\n\
             \x20                 cookie: object of 0\n\
             \x20                 passport: object of 1\n\
             \x20                   user: string of 6 bytes\n\
             \x20                 roles: array of 2\n\
             \x20                   0: string of 6 bytes\n\
             \x20                   1: string of 1 bytes\n\
             user              string of 6 bytes\n\
             header            X-Roles: sent, 8 bytes\n\
             header            X-None: absent: nothing is there\n\
             require   FAILED  /roles has admin: does not hold (array of 2)\n"
        );
        assert!(!report.is_good());
        let told: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(told["steps"][0]["step"], "id");
        assert_eq!(told["steps"][2]["lines"], json!(["json: read"]));
        assert_eq!(told["ok"], false);
    }

    #[test]
    fn where_the_session_belongs() {
        use crate::session::id::IdRule;
        use crate::store::fetched::Fetched;

        let mut report = Report::default();
        let rule = IdRule::default();
        report.jvm_route(&rule.parse(b"0123456789ABCDEF.app1").unwrap());
        report.jvm_route(&rule.parse(b"0123456789ABCDEF").unwrap());
        for fetched in [
            Fetched::Value(b"10.0.0.11:8080 1000 1440"[..].into()),
            Fetched::Value(b"s3cret"[..].into()),
            Fetched::Missing,
            Fetched::WrongType,
        ] {
            report.learnt_route(&fetched.into(), 1035);
        }
        report.route_value(&Selected::One(&json!("s3cret")));
        let told: Vec<_> = report.steps.iter().map(|step| step.says.as_str()).collect();
        assert_eq!(
            told,
            [
                "the id names server \"app1\"",
                "the id names no server",
                "server \"10.0.0.11:8080\", assigned 35 s ago for 1440 s",
                "what is stored as a session's route is none",
                "none was learnt yet",
                "the store did not say",
                "string of 6 bytes",
            ]
        );
    }

    #[test]
    fn the_step_that_fails_says_why() {
        assert_eq!(
            express("another", SESSION).text(),
            "id        FAILED  cookie connect.sid: refused, wrong signature\n"
        );
        let report = express("keyboard cat", b"uid|i:5;").text();
        assert!(report.contains(
            "format    FAILED  value of format \"json\" expected, it begins like \"php\"\n"
        ));
    }

    #[test]
    fn nothing_secret_is_told() {
        for stored in [SESSION, b"s3cret", b"{\"s3cret"] {
            let report = express("keyboard cat", stored);
            for text in [report.text(), report.json()] {
                for secret in ["s3cret", "cHpUiV7w", "5ioZhFw2", "keyboard"] {
                    assert!(!text.contains(secret), "{text}");
                }
            }
        }
    }
}
