//! What a fresh connection says before it serves: `AUTH`, `SELECT`, `ROLE` where only a master will do, and for a
//! probe a `GET`.
//!
//! All of it is written at once and answered in order, so that a handshake takes one round trip. No lookup may be
//! written behind it until it is done: after a refused `SELECT` it would read another database. The connection's name
//! comes last, since nobody waits for the reply to it.

#![forbid(unsafe_code)]

use std::fmt;

use super::ability::Feature;
use super::command;
use super::error::{serves_nobody, Failure, Step};
use super::resp::Reply;
use super::role::{classify_role, Role};
use super::server_error::ServerError;

/// Who a connection is and which database it reads: what the handshake says.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// An ACL user (Redis 6); without one the password is that of the server, or of its default user.
    pub username: Option<String>,
    /// The password; a user without one is a `nopass` user.
    pub password: Option<Vec<u8>>,
    /// The database; 0 is never selected, since a connection begins there and some servers know no `SELECT`.
    pub database: u32,
    /// How the connection shows in `CLIENT LIST`; a server that knows no names is not bothered about it.
    pub client_name: Option<String>,
    /// Whether the server is asked to say when what was read changes. One that cannot serves all the same.
    pub tracking: bool,
    /// The server must be the master: a replica is not taken.
    pub master_only: bool,
}

/// The password is not shown.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("database", &self.database)
            .field("client_name", &self.client_name)
            .field("tracking", &self.tracking)
            .field("master_only", &self.master_only)
            .finish()
    }
}

/// What a probe asks for; nobody is expected to have such a key.
const PROBE_KEY: &[u8] = b"session_redis_probe";

/// A handshake under way: the replies that are still awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialogue {
    awaited: [Option<Awaited>; 7],
    with_user: bool,
    resp3: bool,
    tracks: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    Must(Step),
    /// Whatever is answered does not matter.
    Name,
    /// A server before Redis 6 does not know it.
    Hello,
    /// It matters only for what is kept.
    Tracking,
}

impl Dialogue {
    /// Begins the handshake of a fresh connection: writes its commands to `out`. A `probe` ends with the command of a
    /// lookup, so that a server which is frozen, loads its data or lost its master does not count as up: some of
    /// these answer a `PING` nevertheless, and some proxies know none.
    pub fn begin(login: &Login, probe: bool, out: &mut Vec<u8>) -> Self {
        let mut awaited = [None; 7];
        let user = login.username.as_deref();
        if user.is_some() || login.password.is_some() {
            command::auth(out, user, login.password.as_deref().unwrap_or_default());
            awaited[0] = Some(Awaited::Must(Step::Auth));
        }
        if login.tracking {
            command::hello3(out);
            command::client_tracking(out);
            awaited[1] = Some(Awaited::Hello);
            awaited[2] = Some(Awaited::Tracking);
        }
        if login.database != 0 {
            command::select(out, login.database);
            awaited[3] = Some(Awaited::Must(Step::Select));
        }
        if login.master_only {
            command::role(out);
            awaited[4] = Some(Awaited::Must(Step::Role));
        }
        if probe {
            command::get(out, PROBE_KEY);
            awaited[5] = Some(Awaited::Must(Step::Probe));
        }
        if let Some(name) = &login.client_name {
            command::client_setname(out, name);
            awaited[6] = Some(Awaited::Name);
        }
        Self { awaited, with_user: user.is_some(), resp3: false, tracks: false }
    }

    /// Whether the connection may serve: every reply that matters has come and none was a refusal.
    pub fn is_done(&self) -> bool {
        self.awaited.iter().flatten().all(|awaited| *awaited == Awaited::Name)
    }

    /// Whether the next reply is one to the handshake.
    pub fn awaits_reply(&self) -> bool {
        self.next().is_some()
    }

    /// What the next reply is about, if the connection can do without.
    pub fn awaited_feature(&self) -> Option<Feature> {
        match self.next()? {
            Awaited::Name => Some(Feature::Name),
            Awaited::Hello | Awaited::Tracking => Some(Feature::Tracking),
            Awaited::Must(_) => None,
        }
    }

    /// The command whose reply is next, but for that of a probe.
    pub fn awaited_step(&self) -> Option<Step> {
        match self.next() {
            Some(Awaited::Must(step)) if step != Step::Probe => Some(step),
            _ => None,
        }
    }

    fn next(&self) -> Option<Awaited> {
        self.awaited.iter().find_map(|awaited| *awaited)
    }

    /// Whether the server says when what was read changes.
    pub fn tracks(&self) -> bool {
        self.tracks
    }

    /// Takes the next reply. After a failure the connection is to be closed.
    pub fn take(&mut self, reply: Reply<'_>) -> Result<(), Failure> {
        if let Reply::Push(_) = reply {
            return Ok(());
        }
        let awaited = self.awaited.iter_mut().find_map(Option::take);
        match (awaited, reply) {
            (
                Some(Awaited::Must(Step::Probe)),
                Reply::Null | Reply::Bulk(_) | Reply::TooLarge(_),
            ) => Ok(()),
            (Some(Awaited::Must(Step::Auth | Step::Select)), Reply::Status) => Ok(()),
            (Some(Awaited::Must(step)), Reply::Error(error)) => self.refused(step, error),
            (Some(Awaited::Must(Step::Role)), reply) => match classify_role(reply)? {
                Role::Master => Ok(()),
                Role::Replica => Err(Failure::Replica),
                Role::Sentinel { .. } => Err(Failure::Unexpected),
            },
            // Refuses not the name, but whoever comes.
            (Some(Awaited::Name), Reply::Error(error)) if serves_nobody(error.code()) => {
                Err(Failure::Server(error))
            }
            (Some(Awaited::Name), Reply::Status | Reply::Error(_)) => Ok(()),
            (Some(Awaited::Hello), Reply::Other(_)) => {
                self.resp3 = true;
                Ok(())
            }
            (Some(Awaited::Hello), Reply::Error(_)) => Ok(()),
            // Over RESP2 a server takes it, and never says anything.
            (Some(Awaited::Tracking), Reply::Status) => {
                self.tracks = self.resp3;
                Ok(())
            }
            (Some(Awaited::Tracking), Reply::Error(_)) => Ok(()),
            _ => Err(Failure::Unexpected),
        }
    }

    fn refused(&self, step: Step, error: ServerError) -> Result<(), Failure> {
        match step {
            Step::Auth if self.with_user && error.is_wrong_arity() => Err(Failure::UsersUnknown),
            // A server that lets us not read this key, or has another type there, is alive.
            Step::Probe if !serves_nobody(error.code()) => Ok(()),
            _ => Err(Failure::Handshake { step, error }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::Value;

    fn login(username: Option<&str>, password: Option<&str>, database: u32) -> Login {
        Login {
            username: username.map(str::to_owned),
            password: password.map(|password| password.as_bytes().to_vec()),
            database,
            client_name: None,
            tracking: false,
            master_only: false,
        }
    }

    fn begin(login: &Login, probe: bool) -> (Dialogue, String) {
        let mut out = Vec::new();
        let dialogue = Dialogue::begin(login, probe, &mut out);
        let words: Vec<_> = str::from_utf8(&out)
            .unwrap()
            .split("\r\n")
            .filter(|line| !line.is_empty() && !line.starts_with(['*', '$']))
            .collect();
        (dialogue, words.join(" "))
    }

    fn error(text: &str) -> ServerError {
        ServerError::parse(text.as_bytes())
    }

    fn refused(login: &Login, replies_before: usize, text: &str) -> Option<Failure> {
        let (mut dialogue, _) = begin(login, true);
        for _ in 0..replies_before {
            dialogue.take(Reply::Status).unwrap();
        }
        dialogue.take(Reply::Error(error(text))).err()
    }

    #[test]
    fn only_what_is_needed_is_said() {
        let cases = [
            (login(None, None, 0), false, ""),
            (login(None, None, 0), true, "GET session_redis_probe"),
            (login(None, Some("pw"), 0), false, "AUTH pw"),
            (login(Some("web"), Some("pw"), 0), false, "AUTH web pw"),
            (login(Some("web"), None, 0), false, "AUTH web"),
            (login(None, None, 3), false, "SELECT 3"),
            (
                login(Some("web"), Some("pw"), 3),
                true,
                "AUTH web pw SELECT 3 GET session_redis_probe",
            ),
            (
                Login { client_name: Some("nginx".into()), ..login(None, Some("pw"), 3) },
                true,
                "AUTH pw SELECT 3 GET session_redis_probe CLIENT SETNAME nginx",
            ),
            (
                Login { tracking: true, ..login(None, Some("pw"), 3) },
                false,
                "AUTH pw HELLO 3 CLIENT TRACKING ON SELECT 3",
            ),
        ];
        for (login, probe, said) in cases {
            let (mut dialogue, words) = begin(&login, probe);
            assert_eq!(words, said);
            while let Some(next) = dialogue.next() {
                let reply = match next {
                    Awaited::Must(Step::Probe) => Reply::Null,
                    Awaited::Hello => Reply::Other(Value::Map(Vec::new())),
                    _ => Reply::Status,
                };
                dialogue.take(reply).unwrap();
            }
            assert!(dialogue.is_done());
        }
    }

    #[test]
    fn a_connection_serves_after_the_last_reply_only() {
        let (mut dialogue, _) = begin(&login(None, Some("pw"), 3), true);
        for reply in [Reply::Status, Reply::Status, Reply::Null] {
            assert!(!dialogue.is_done());
            dialogue.take(reply).unwrap();
        }
        assert!(dialogue.is_done());
        assert_eq!(dialogue.take(Reply::Status), Err(Failure::Unexpected));
    }

    #[test]
    fn changes_are_told_over_resp3_only() {
        let hello = || Reply::Other(Value::Map(Vec::new()));
        let unknown = || Reply::Error(error("ERR unknown command 'HELLO'"));
        let cases = [
            (hello(), Reply::Status, true),
            (unknown(), Reply::Status, false),
            (hello(), Reply::Error(error("NOPERM no permission")), false),
            (unknown(), unknown(), false),
        ];
        for (hello, tracking, tracks) in cases {
            let login = Login { tracking: true, ..Login::default() };
            let (mut dialogue, _) = begin(&login, false);
            dialogue.take(hello).unwrap();
            dialogue.take(tracking).unwrap();
            assert!(dialogue.is_done());
            assert_eq!(dialogue.tracks(), tracks);
        }
    }

    #[test]
    fn where_only_a_master_will_do_no_replica_is_taken() {
        let master = Login { master_only: true, ..login(None, Some("pw"), 3) };
        let (_, words) = begin(&master, true);
        assert_eq!(words, "AUTH pw SELECT 3 ROLE GET session_redis_probe");
        let role = |name: &str| {
            let parts = vec![redis::Value::BulkString(name.into()), redis::Value::Int(1)];
            let (mut dialogue, _) = begin(&master, false);
            dialogue.take(Reply::Status).unwrap();
            dialogue.take(Reply::Status).unwrap();
            assert!(!dialogue.is_done());
            let result = dialogue.take(Reply::Other(redis::Value::Array(parts)));
            result.map(|()| dialogue.is_done())
        };
        assert_eq!(role("master"), Ok(true));
        assert_eq!(role("slave"), Err(Failure::Replica));
        assert_eq!(role("sentinel"), Err(Failure::Unexpected));
        let noperm = "NOPERM this user has no permissions to run the 'role' command";
        let failure = refused(&master, 2, noperm);
        assert_eq!(failure, Some(Failure::Handshake { step: Step::Role, error: error(noperm) }));
    }

    #[test]
    fn a_refusal_names_its_step() {
        let cases = [
            (0, Step::Auth, "WRONGPASS invalid username-password pair or user is disabled."),
            (0, Step::Auth, "ERR Client sent AUTH, but no password is set"),
            (1, Step::Select, "ERR DB index is out of range"),
            (1, Step::Select, "NOPERM this user has no permissions"),
            (2, Step::Probe, "LOADING Redis is loading the dataset in memory"),
            (2, Step::Probe, "MASTERDOWN Link with MASTER is down"),
            (2, Step::Probe, "NOAUTH Authentication required."),
        ];
        for (before, step, text) in cases {
            let failure = refused(&login(None, Some("pw"), 3), before, text);
            assert_eq!(failure, Some(Failure::Handshake { step, error: error(text) }));
        }
    }

    #[test]
    fn a_server_without_users_is_named() {
        let text = "ERR wrong number of arguments for 'auth' command";
        let failure = refused(&login(Some("web"), Some("pw"), 0), 0, text);
        assert_eq!(failure, Some(Failure::UsersUnknown));
        let failure = refused(&login(None, Some("pw"), 0), 0, text);
        assert_eq!(failure, Some(Failure::Handshake { step: Step::Auth, error: error(text) }));
    }

    #[test]
    fn a_server_that_refuses_the_probe_for_its_own_sake_is_up() {
        for text in ["NOPERM this user has no permissions", "WRONGTYPE Operation against a key"] {
            assert_eq!(refused(&login(None, None, 0), 0, text), None);
        }
        for reply in [Reply::Null, Reply::Bulk(b"x".into()), Reply::TooLarge(1 << 20)] {
            let (mut dialogue, _) = begin(&login(None, None, 0), true);
            assert_eq!(dialogue.take(reply), Ok(()));
            assert!(dialogue.is_done());
        }
        for reply in [Reply::Status, Reply::Int(1)] {
            let (mut dialogue, _) = begin(&login(None, None, 0), true);
            assert_eq!(dialogue.take(reply), Err(Failure::Unexpected));
        }
    }

    #[test]
    fn a_server_that_knows_no_names_serves() {
        let named = Login { client_name: Some("nginx".into()), ..Login::default() };
        for text in ["ERR unknown command 'CLIENT'", "NOPERM this user has no permissions"] {
            let (mut dialogue, _) = begin(&named, false);
            assert!(dialogue.is_done() && dialogue.awaits_reply(), "nobody waits for it");
            dialogue.take(Reply::Error(error(text))).unwrap();
            assert!(!dialogue.awaits_reply());
        }
        for text in ["DENIED Redis is running in protected mode", "NOAUTH Authentication required."]
        {
            let (mut dialogue, _) = begin(&named, false);
            let failure = dialogue.take(Reply::Error(error(text)));
            assert_eq!(failure, Err(Failure::Server(error(text))));
        }
    }

    #[test]
    fn what_is_next_is_known() {
        let login = Login {
            client_name: Some("nginx".into()),
            tracking: true,
            ..login(None, Some("pw"), 3)
        };
        let (mut dialogue, _) = begin(&login, true);
        let mut steps = Vec::new();
        while dialogue.awaits_reply() {
            steps.push((dialogue.awaited_feature(), dialogue.awaited_step()));
            let reply = match steps.len() {
                2 => Reply::Error(error("ERR unknown command 'HELLO'")),
                5 => Reply::Null,
                _ => Reply::Status,
            };
            dialogue.take(reply).unwrap();
        }
        let (auth, select) = ((None, Some(Step::Auth)), (None, Some(Step::Select)));
        let (tracking, name) = ((Some(Feature::Tracking), None), (Some(Feature::Name), None));
        assert_eq!(steps, [auth, tracking, tracking, select, (None, None), name]);
        assert_eq!((dialogue.awaited_feature(), dialogue.awaited_step()), (None, None));
    }

    #[test]
    fn replies_of_another_type_end_it() {
        for reply in [Reply::Null, Reply::Int(1), Reply::TooLarge(1 << 20)] {
            let (mut dialogue, _) = begin(&login(None, Some("pw"), 0), false);
            assert_eq!(dialogue.take(reply), Err(Failure::Unexpected));
        }
    }

    #[test]
    fn a_push_is_no_reply() {
        let (mut dialogue, _) = begin(&login(None, Some("pw"), 0), false);
        dialogue.take(Reply::Push(redis::Value::Nil)).unwrap();
        assert!(!dialogue.is_done());
        dialogue.take(Reply::Status).unwrap();
        assert!(dialogue.is_done());
    }

    #[test]
    fn a_password_does_not_show() {
        assert!(!format!("{:?}", login(Some("web"), Some("pw"), 0)).contains("pw"));
    }
}
