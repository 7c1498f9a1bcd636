//! How an assignment is written: by compare-and-set in the store, so that of all who write at once one counts.

#![forbid(unsafe_code)]

use std::rc::Rc;

use super::lesson::Lesson;
use crate::store::command;
use crate::store::error::Failure;
use crate::store::resp::Reply;

/// An assignment that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Its key.
    pub route: Rc<[u8]>,
    /// The key of the session, whose life it takes.
    pub session: Rc<[u8]>,
    /// What is written.
    pub lesson: Lesson,
    /// The life, in seconds, where the session has no end or is not there yet.
    pub fallback: u64,
    /// In Unix seconds.
    pub now: u64,
}

/// `KEYS`: the assignment, the session. `ARGV`: what must stand there, the server, the time, the life where the session
/// tells none, the life at least; all in seconds; 1 where the session was found. Returns what stands then.
///
/// For a session that is gone nothing is written. One that is not there yet has no life to tell: with 0 the assignment
/// is due at once. It stays a quarter longer than it says, and a second for what is rounded: the session may have been
/// extended just before it was due.
///
/// At most ten years: what a value says must be a number that we read again.
const SCRIPT: &str = "\
local stands = redis.call('GET', KEYS[1]) or ''
if stands ~= ARGV[1] then return stands end
local ms = redis.call('PTTL', KEYS[2])
local missing = ms == -2
if missing and ARGV[6] == '1' then return stands end
if ms < 0 then ms = ARGV[4] * 1000 end
ms = math.min(math.max(ms, ARGV[5] * 1000, 1000), 315360000000)
local life = missing and 0 or math.floor(ms / 1000)
stands = ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. string.format('%.0f', life)
redis.call('SET', KEYS[1], stands, 'PX', string.format('%.0f', ms * 1.25 + 1000))
return stands";

impl Write {
    /// Appends the command; its reply is for [`written`].
    pub fn command(&self, out: &mut Vec<u8>) {
        let [now, fallback, life] =
            [self.now, self.fallback, self.lesson.life].map(|number| number.to_string());
        command::encode(
            out,
            &[
                b"EVAL",
                SCRIPT.as_bytes(),
                b"2",
                &self.route,
                &self.session,
                &self.lesson.expected,
                &self.lesson.server,
                now.as_bytes(),
                fallback.as_bytes(),
                life.as_bytes(),
                if self.lesson.found { b"1" } else { b"0" },
            ],
        );
    }
}

/// What the reply means: an assignment stands, ours or that of another who was faster.
pub fn written(reply: Reply<'_>) -> Result<(), Failure> {
    match reply {
        Reply::Bulk(_) | Reply::TooLarge(_) => Ok(()),
        Reply::Error(error) => Err(Failure::Server(error)),
        _ => Err(Failure::Unexpected),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use super::*;
    use crate::store::resp::{Limits, Reader};
    use crate::store::server_error::{Code, ServerError};

    /// A Redis of the test's own, where one is installed.
    struct Redis {
        process: Child,
        link: TcpStream,
    }

    impl Redis {
        fn start() -> Option<Self> {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let process = Command::new("redis-server")
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
                .stdout(Stdio::null())
                .spawn()
                .ok()?;
            let connect = || {
                std::thread::sleep(Duration::from_millis(20));
                TcpStream::connect(("127.0.0.1", port)).ok()
            };
            let link = (0..250).find_map(|_| connect()).unwrap();
            Some(Self { process, link })
        }

        fn say(&mut self, command: &[u8]) -> Result<String, ServerError> {
            self.link.write_all(command).unwrap();
            let mut reader = Reader::new(Limits { bulk: 1 << 16, other: 1 << 16 });
            let mut buffer = [0; 4096];
            loop {
                let n = self.link.read(&mut buffer).unwrap();
                assert_ne!(n, 0, "the server has closed the connection");
                match reader.next(&mut &buffer[..n]).unwrap() {
                    None => {}
                    Some(Reply::Bulk(text)) => return Ok(String::from_utf8(text.into()).unwrap()),
                    Some(Reply::Int(number)) => return Ok(number.to_string()),
                    Some(Reply::Error(error)) => return Err(error),
                    Some(_) => return Ok(String::new()),
                }
            }
        }

        fn cmd(&mut self, words: &[&str]) -> String {
            let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            let mut out = Vec::new();
            command::encode(&mut out, &words);
            self.say(&out).unwrap()
        }

        /// Writes for a session that the response creates.
        fn write(
            &mut self,
            expected: &str,
            server: &str,
            life: u64,
        ) -> Result<String, ServerError> {
            self.write_of(false, expected, server, life)
        }

        fn write_of(
            &mut self,
            found: bool,
            expected: &str,
            server: &str,
            life: u64,
        ) -> Result<String, ServerError> {
            let lesson = Lesson {
                expected: expected.as_bytes().into(),
                server: server.as_bytes().into(),
                life,
                first: true,
                found,
            };
            let (route, session) = (b"r".as_slice().into(), b"s".as_slice().into());
            let mut out = Vec::new();
            Write { route, session, lesson, fallback: 86_400, now: 1000 }.command(&mut out);
            self.say(&out)
        }

        /// The assignment stays as long as one of this life must, in seconds.
        fn lives(&mut self, seconds: u64) {
            let left: u64 = self.cmd(&["PTTL", "r"]).parse().unwrap();
            let whole = seconds * 1250 + 1000;
            assert!((whole - 2000..=whole).contains(&left), "{left} of {whole}");
        }
    }

    impl Drop for Redis {
        fn drop(&mut self) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }

    #[test]
    fn one_of_all_who_write_counts() {
        let Some(mut redis) = Redis::start() else { return };
        assert_eq!(redis.write("", "a:1", 0).unwrap(), "a:1 1000 0");
        redis.lives(86_400);
        assert_eq!(redis.write("", "b:1", 0).unwrap(), "a:1 1000 0", "the first");
        assert_eq!(redis.write("a:1 1000 0", "b:1", 0).unwrap(), "b:1 1000 0", "a move");
        assert_eq!(redis.write("a:1 1000 0", "c:1", 0).unwrap(), "b:1 1000 0", "one");
        redis.cmd(&["DEL", "r"]);
        assert_eq!(redis.write("b:1 1000 0", "c:1", 0).unwrap(), "", "it is gone");
        redis.cmd(&["SET", "r", "junk"]);
        assert_eq!(redis.write("junk", "c:1", 0).unwrap(), "c:1 1000 0", "mended");
    }

    #[test]
    fn its_life_is_that_of_the_session() {
        let Some(mut redis) = Redis::start() else { return };
        redis.cmd(&["SET", "s", "x", "EX", "1440"]);
        let written = redis.write("", "a", 0).unwrap();
        assert!(["a 1000 1440", "a 1000 1439"].contains(&written.as_str()), "{written}");
        redis.lives(1440);
        assert_eq!(redis.write(&written, "a", 3600).unwrap(), "a 1000 3600", "never less");
        redis.lives(3600);
        redis.cmd(&["PERSIST", "s"]);
        assert_eq!(redis.write("a 1000 3600", "a", 3600).unwrap(), "a 1000 86400", "no end");
        redis.cmd(&["DEL", "r"]);
        redis.cmd(&["PEXPIRE", "s", "4000000000000000"]);
        assert_eq!(redis.write("", "a", 0).unwrap(), "a 1000 315360000", "ten years at most");
        redis.lives(315_360_000);
        redis.cmd(&["DEL", "r"]);
        redis.cmd(&["PEXPIRE", "s", "300"]);
        assert_eq!(redis.write("", "a", 0).unwrap(), "a 1000 1", "a second at least");
    }

    #[test]
    fn a_session_that_is_gone_gets_none() {
        let Some(mut redis) = Redis::start() else { return };
        assert_eq!(redis.write_of(true, "", "a", 0).unwrap(), "");
        redis.cmd(&["SET", "r", "b 1 2", "EX", "100"]);
        assert_eq!(redis.write_of(true, "b 1 2", "a", 2).unwrap(), "b 1 2", "nor is it moved");
        assert_eq!(redis.cmd(&["TTL", "r"]), "100", "nor lengthened");
        redis.cmd(&["SET", "s", "x"]);
        assert_eq!(
            redis.write_of(true, "b 1 2", "a", 2).unwrap(),
            "a 1000 86400",
            "one that is there"
        );
    }

    #[test]
    fn a_refusal_is_told() {
        let Some(mut redis) = Redis::start() else { return };
        redis.cmd(&["HSET", "r", "a", "b"]);
        assert_eq!(redis.write("", "a", 0).unwrap_err().code(), Code::WrongType);
        redis.cmd(&["DEL", "r"]);
        redis.cmd(&["REPLICAOF", "127.0.0.1", "1"]);
        redis.cmd(&["CONFIG", "SET", "replica-serve-stale-data", "yes"]);
        assert_eq!(redis.write("", "a", 0).unwrap_err().code(), Code::ReadOnly);
        let error = ServerError::parse(b"NOPERM no");
        assert_eq!(written(Reply::Error(error.clone())), Err(Failure::Server(error)));
        assert_eq!(written(Reply::Int(1)), Err(Failure::Unexpected));
        assert_eq!(written(Reply::Bulk(b"a"[..].into())), Ok(()));
    }
}
