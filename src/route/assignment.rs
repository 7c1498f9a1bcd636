//! An assignment of a session to a server, as the store keeps it: its key, its value.

#![forbid(unsafe_code)]

use std::rc::Rc;

use memchr::memchr;
use sha2::{Digest, Sha256};

use crate::session::key::hex_digits;
use crate::store::fetched::Fetched;

/// What stands in the store: `10.0.0.11:8080 1764175000 1440`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment<'a> {
    /// The name of the server, its address mostly.
    pub server: &'a [u8],
    /// When it was written, in Unix seconds.
    pub written: u64,
    /// The life that it was given then, in seconds.
    pub life: u64,
}

/// The longest name of a server that can be assigned.
const LONGEST_NAME: usize = 255;
/// The most digits of a number.
const MOST_DIGITS: usize = 12;
/// A longer value is not looked at.
const LONGEST_VALUE: usize = 1024;
/// The bytes of the digest that name a session.
const DIGEST: usize = 16;

/// The keys of assignments that begin with one prefix.
#[derive(Debug)]
pub struct Keys {
    /// The prefix, and room for a digest.
    form: Box<[u8]>,
}

impl Keys {
    /// With this prefix.
    pub fn new(prefix: &str) -> Self {
        Self { form: [prefix.as_bytes(), &[b'0'; 2 * DIGEST]].concat().into() }
    }

    /// The key of a session's assignment. It does not tell the id.
    pub fn of(&self, id: &[u8]) -> Rc<[u8]> {
        let mut key: Rc<[u8]> = Rc::from(&*self.form);
        // Nobody shares it yet.
        let room = Rc::get_mut(&mut key).and_then(|key| key.last_chunk_mut::<{ 2 * DIGEST }>());
        let digest = Sha256::digest(id);
        for (place, digit) in room.into_iter().flatten().zip(hex_digits(&digest)) {
            *place = digit;
        }
        key
    }
}

/// Whether a server of this name can be assigned: it must stand in a value as one word.
pub fn is_name(server: &[u8]) -> bool {
    (1..=LONGEST_NAME).contains(&server.len()) && server.iter().all(u8::is_ascii_graphic)
}

impl<'a> Assignment<'a> {
    /// Reads a value. `None`: it is not as we write it.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (server, rest) = value.split_at_checked(memchr(b' ', value)?)?;
        let (written, rest) = number(rest.get(1..)?)?;
        let (life, rest) = number(rest.strip_prefix(b" ")?)?;
        (rest.is_empty() && is_name(server)).then_some(Self { server, written, life })
    }

    /// Seconds left at `now`.
    pub fn left(&self, now: u64) -> u64 {
        (self.written + self.life).saturating_sub(now)
    }

    /// Whether it is old enough to be written anew: a quarter of its life has passed.
    pub fn is_due(&self, now: u64) -> bool {
        now >= self.written + self.life.div_ceil(4)
    }
}

/// The number that a text begins with, and what follows it.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let (mut number, mut rest) = (0, text);
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        number = number * 10 + u64::from(digit - b'0');
        rest = after;
        if text.len() - rest.len() > MOST_DIGITS {
            return None;
        }
    }
    (rest.len() < text.len()).then_some((number, rest))
}

/// What the store said of an assignment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Standing {
    /// It was not asked, or did not say.
    #[default]
    Unknown,
    /// There is none.
    Absent,
    /// This stands there.
    Value(Stands),
}

/// What stands where an assignment belongs, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stands {
    value: Rc<[u8]>,
    /// The length of the server's name, when it was written, its life. `None`: it is no assignment.
    read: Option<(usize, u64, u64)>,
}

impl Stands {
    fn new(value: Rc<[u8]>) -> Self {
        let read = Assignment::parse(&value);
        let read = read.map(|read| (read.server.len(), read.written, read.life));
        Self { value, read }
    }

    /// As it stands there.
    pub fn value(&self) -> &Rc<[u8]> {
        &self.value
    }

    /// The assignment, if it is one.
    pub fn read(&self) -> Result<Assignment<'_>, Spoilt> {
        let (name, written, life) = self.read.ok_or(Spoilt)?;
        let server = self.value.get(..name).ok_or(Spoilt)?;
        Ok(Assignment { server, written, life })
    }
}

impl From<Fetched<'_>> for Standing {
    fn from(fetched: Fetched<'_>) -> Self {
        match fetched {
            Fetched::Value(value) if value.len() <= LONGEST_VALUE => {
                Self::Value(Stands::new((&*value).into()))
            }
            Fetched::Missing => Self::Absent,
            _ => Self::Unknown,
        }
    }
}

impl Standing {
    /// The assignment. `Err`: there is something, but no assignment.
    pub fn read(&self) -> Result<Option<Assignment<'_>>, Spoilt> {
        match self {
            Self::Value(stands) => stands.read().map(Some),
            Self::Unknown | Self::Absent => Ok(None),
        }
    }
}

/// What stands there is no assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spoilt;

impl std::fmt::Display for Spoilt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("what is stored as a session's route is none")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_names_the_session_and_does_not_tell_its_id() {
        let keys = Keys::new("srr:");
        assert_eq!(&*keys.of(b"abc"), b"srr:ba7816bf8f01cfea414140de5dae2223");
        assert_ne!(keys.of(b"abc"), keys.of(b"abd"));
    }

    #[test]
    fn what_we_write_is_read() {
        let read = Assignment::parse(b"10.0.0.11:8080 1764175000 1440").unwrap();
        assert_eq!(
            read,
            Assignment { server: b"10.0.0.11:8080", written: 1_764_175_000, life: 1440 }
        );
        assert_eq!(read.left(1_764_175_001), 1439);
        assert_eq!(read.left(1_764_185_000), 0);
        for server in ["[::1]:80", "unix:/run/app.sock", "app1"] {
            let value = format!("{server} 1 2");
            assert_eq!(
                Assignment::parse(value.as_bytes()).map(|it| it.server),
                Some(server.as_bytes())
            );
        }
    }

    #[test]
    fn a_quarter_of_its_life_later_it_is_due() {
        let at = |life, now| Assignment { server: b"a", written: 1000, life }.is_due(now);
        assert!(!at(1440, 1000) && !at(1440, 1359) && at(1440, 1360) && at(1440, 9999));
        assert!(!at(1440, 500), "written by a host whose clock is ahead");
        assert!(!at(3, 1000) && at(3, 1001));
    }

    #[test]
    fn what_is_spoilt_is_none() {
        let long = format!("{} 1 2", "a".repeat(256));
        for value in [
            "",
            " ",
            "a",
            "a 1",
            "a 1 ",
            "a  1 2",
            "a 1 2 3",
            "a 1 2 ",
            " a 1 2",
            "a -1 2",
            "a 1 +2",
            "a 1 2\n",
            "a\t1 2",
            "é 1 2",
            "a 1.5 2",
            "a 1234567890123 2",
            &long,
        ] {
            assert_eq!(Assignment::parse(value.as_bytes()), None, "{value:?}");
        }
    }

    #[test]
    fn a_reply_says_what_stands() {
        let value = |bytes: &'static [u8]| Standing::from(Fetched::Value(bytes.into()));
        assert_eq!(value(b"a 1 2").read().unwrap().unwrap().server, b"a");
        assert_eq!(value(b"a").read(), Err(Spoilt));
        assert_eq!(Standing::from(Fetched::Missing), Standing::Absent);
        for unknown in
            [Fetched::WrongType, Fetched::TooLarge(9), Fetched::Value(vec![b'a'; 1025].into())]
        {
            assert_eq!(Standing::from(unknown), Standing::Unknown);
        }
        assert_eq!(Standing::Absent.read(), Ok(None));
    }

    proptest! {
        #[test]
        fn any_assignment_reads_back(server in "[!-~]{1,255}", written in 0..1_000_000_000_000_u64, life in 0..1_000_000_000_000_u64) {
            let value = format!("{server} {written} {life}");
            let read = Assignment::parse(value.as_bytes());
            prop_assert_eq!(read, Some(Assignment { server: server.as_bytes(), written, life }));
        }

        #[test]
        fn any_bytes_are_looked_at(value: Vec<u8>, now: u64) {
            if let Some(read) = Assignment::parse(&value) {
                prop_assert!(is_name(read.server));
                let _ = (read.is_due(now), read.left(now));
            }
        }
    }
}
