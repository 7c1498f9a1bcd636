//! What a fresh connection says before it serves: who we are, where the server wants to know (`-Y authfile`), and for
//! a probe a `get`.

#![forbid(unsafe_code)]

use super::reader::{Reply, Word};
use super::{classify_get, get};
use crate::store::command::{decimal, DIGITS};
use crate::store::dialogue::Login;
use crate::store::error::{serves_nobody, Failure, Step};
use crate::store::fetched::Fetched;

/// What a probe asks for; nobody is expected to have such a key.
const PROBE_KEY: &[u8] = b"session_redis_probe";

/// A handshake under way: the replies that are still awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialogue {
    auth: bool,
    probe: bool,
}

impl Dialogue {
    /// Begins the handshake of a fresh connection: writes its commands to `out`.
    pub fn begin(login: &Login, probe: bool, out: &mut Vec<u8>) -> Self {
        let auth = match (&login.username, &login.password) {
            (Some(user), Some(password)) => {
                authenticate(out, user.as_bytes(), password);
                true
            }
            _ => false,
        };
        if probe {
            get(out, PROBE_KEY);
        }
        Self { auth, probe }
    }

    /// Whether the connection may serve: every reply has come and none was a refusal.
    pub fn is_done(&self) -> bool {
        !self.auth && !self.probe
    }

    /// The command whose reply is next, but for that of a probe.
    pub fn awaited_step(&self) -> Option<Step> {
        self.auth.then_some(Step::Auth)
    }

    /// Takes the next reply. After a failure the connection is to be closed.
    pub fn take(&mut self, reply: Reply<'_>) -> Result<(), Failure> {
        if std::mem::take(&mut self.auth) {
            return match reply {
                Reply::Word(Word::Stored) => Ok(()),
                Reply::Error(error) => Err(Failure::Handshake { step: Step::Auth, error }),
                _ => Err(Failure::Unexpected),
            };
        }
        if !std::mem::take(&mut self.probe) {
            return Err(Failure::Unexpected);
        }
        match classify_get(reply, PROBE_KEY) {
            Fetched::Failed(Failure::Server(error)) if serves_nobody(error.code()) => {
                Err(Failure::Handshake { step: Step::Probe, error })
            }
            Fetched::Failed(Failure::Server(_)) => Ok(()),
            Fetched::Failed(failure) => Err(failure),
            _ => Ok(()),
        }
    }
}

/// The first command of a connection, whose key and times such a server does not look at. One that wants no password
/// takes it for an item: this one is past its end at once, so that nobody can read the password there.
fn authenticate(out: &mut Vec<u8>, user: &[u8], password: &[u8]) {
    let length = (user.len() + 1 + password.len()) as u64;
    out.extend_from_slice(b"set session_redis_auth 0 -1 ");
    out.extend_from_slice(decimal(length, &mut [0; DIGITS]));
    for part in [b"\r\n", user, b" ", password, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memcached::error;

    fn begin(user: Option<&str>, password: Option<&str>, probe: bool) -> (Dialogue, String) {
        let login = Login {
            username: user.map(str::to_owned),
            password: password.map(|password| password.as_bytes().to_vec()),
            ..Login::default()
        };
        let mut out = Vec::new();
        let dialogue = Dialogue::begin(&login, probe, &mut out);
        (dialogue, String::from_utf8(out).unwrap())
    }

    fn item(key: &[u8]) -> Reply<'_> {
        Reply::Item { key: key.into(), flags: 0, value: b"x".into() }
    }

    #[test]
    fn only_what_is_needed_is_said() {
        const AUTH: &str = "set session_redis_auth 0 -1 6\r\nweb pw\r\n";
        const GET: &str = "get session_redis_probe\r\n";
        for (user, password, probe, said) in [
            (None, None, false, String::new()),
            (None, None, true, GET.to_owned()),
            (Some("web"), Some("pw"), false, AUTH.to_owned()),
            (Some("web"), Some("pw"), true, format!("{AUTH}{GET}")),
        ] {
            let (mut dialogue, words) = begin(user, password, probe);
            assert_eq!(words, said);
            assert_eq!(dialogue.awaited_step(), user.map(|_| Step::Auth));
            if user.is_some() {
                assert!(!dialogue.is_done());
                dialogue.take(Reply::Word(Word::Stored)).unwrap();
            }
            if probe {
                assert!(!dialogue.is_done());
                dialogue.take(Reply::Word(Word::End)).unwrap();
            }
            assert!(dialogue.is_done());
            assert_eq!(dialogue.take(Reply::Word(Word::End)), Err(Failure::Unexpected));
        }
    }

    #[test]
    fn a_refusal_names_its_step() {
        let take = |user: bool, line: &[u8]| {
            let (mut dialogue, _) = begin(user.then_some("web"), user.then_some("pw"), true);
            dialogue.take(Reply::Error(error(line)))
        };
        let refused = |step, line: &[u8]| Err(Failure::Handshake { step, error: error(line) });
        for (user, step, line) in [
            (true, Step::Auth, &b"CLIENT_ERROR authentication failure"[..]),
            (true, Step::Auth, b"ERROR"),
            (false, Step::Probe, b"CLIENT_ERROR unauthenticated"),
            (false, Step::Probe, b"ERROR Too many open connections"),
        ] {
            assert_eq!(take(user, line), refused(step, line));
        }
        assert!(refused(Step::Auth, b"CLIENT_ERROR authentication failure")
            .unwrap_err()
            .is_about_password());
        assert_eq!(take(false, b"SERVER_ERROR Connection refused"), Ok(()), "a proxy is up");
    }

    #[test]
    fn a_probe_is_answered_with_its_own_item_or_none() {
        for (reply, up) in [
            (item(PROBE_KEY), true),
            (Reply::TooLarge { key: PROBE_KEY.into(), bytes: 70_000 }, true),
            (item(b"other"), false),
            (Reply::Word(Word::Miss), false),
        ] {
            let (mut dialogue, _) = begin(None, None, true);
            let result = dialogue.take(reply);
            assert_eq!(result, if up { Ok(()) } else { Err(Failure::Unexpected) });
        }
    }
}
