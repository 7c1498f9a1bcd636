//! What a response teaches of where its session belongs.

#![forbid(unsafe_code)]

use std::rc::Rc;

use super::assignment::{is_name, Spoilt, Standing};

/// A backend's response to a request of a session that the store has.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// What stood in the store when the request came.
    pub standing: &'a Standing,
    /// The name of the server that has answered.
    pub server: &'a [u8],
    /// The server that the session belongs to is down.
    pub displaced: bool,
    /// The life of the session has just been extended.
    pub touched: bool,
    /// In Unix seconds.
    pub now: u64,
}

/// An assignment that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lesson {
    /// Only in place of this; empty: where there is none.
    pub expected: Rc<[u8]>,
    /// To whom.
    pub server: Box<[u8]>,
    /// The life that it must have at least, in seconds.
    pub life: u64,
    /// Whether the client may see the response only when it is written: its next request may come to another nginx.
    pub first: bool,
    /// The store had the session when the request came: where it is gone meanwhile, nothing is to be written.
    pub found: bool,
}

impl Lesson {
    /// What is learnt of a session that the response has created, or named anew.
    pub fn of_new(server: &[u8]) -> Option<Self> {
        Some(Self { found: false, ..Self::new(Rc::default(), server, 0, true)? })
    }

    fn new(expected: Rc<[u8]>, server: &[u8], life: u64, first: bool) -> Option<Self> {
        is_name(server).then(|| Self { expected, server: server.into(), life, first, found: true })
    }
}

impl Answered<'_> {
    /// What is to be written, if anything: a first assignment, a move, or the old one anew.
    pub fn lesson(&self) -> Option<Lesson> {
        let standing = match self.standing {
            Standing::Unknown => return None,
            Standing::Absent => return Lesson::new(Rc::default(), self.server, 0, true),
            Standing::Value(stands) => stands,
        };
        let expected = || Rc::clone(standing.value());
        match standing.read() {
            Err(Spoilt) => Lesson::new(expected(), self.server, 0, true),
            Ok(old) if self.displaced && old.server != self.server => {
                Lesson::new(expected(), self.server, old.life, true)
            }
            // A server that was only tried once in vain, or was full, keeps its sessions.
            Ok(old) if self.touched || old.is_due(self.now) => {
                Lesson::new(expected(), old.server, old.life, false)
            }
            Ok(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fetched::Fetched;

    const NOW: u64 = 10_000;

    fn value(text: &str) -> Standing {
        Fetched::Value(text.as_bytes().into()).into()
    }

    fn lesson(standing: &Standing, server: &str, displaced: bool, touched: bool) -> Option<String> {
        let server = server.as_bytes();
        let answered = Answered { standing, server, displaced, touched, now: NOW };
        answered.lesson().map(|lesson| {
            assert!(lesson.found);
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let expected = text(&lesson.expected);
            let first = if lesson.first { "first" } else { "renewed" };
            format!("{} {} for [{expected}] {first}", text(&lesson.server), lesson.life)
        })
    }

    #[test]
    fn what_is_learnt() {
        let fresh = value("a 9900 1440");
        let old = value("a 9000 1440");
        let first = Some("b 0 for [] first".to_owned());
        assert_eq!(lesson(&Standing::Absent, "b", false, false), first);
        assert_eq!(lesson(&Standing::Absent, "b", true, true), first);
        assert_eq!(lesson(&Standing::Unknown, "b", true, true), None);
        assert_eq!(lesson(&fresh, "a", false, false), None);
        assert_eq!(lesson(&fresh, "b", false, false), None, "one failed try moves nobody");
        let moved = Some("b 1440 for [a 9900 1440] first".to_owned());
        assert_eq!(lesson(&fresh, "b", true, false), moved);
        assert_eq!(lesson(&fresh, "a", true, false), None, "it has answered after all");
        let renewed = Some("a 1440 for [a 9000 1440] renewed".to_owned());
        assert_eq!(lesson(&old, "a", false, false), renewed);
        assert_eq!(lesson(&old, "b", false, false), renewed, "the same server");
        let touched = Some("a 1440 for [a 9900 1440] renewed".to_owned());
        assert_eq!(lesson(&fresh, "a", false, true), touched);
        let mended = Some("b 0 for [junk] first".to_owned());
        assert_eq!(lesson(&value("junk"), "b", false, false), mended);
    }

    #[test]
    fn a_name_that_is_no_word_is_not_learnt() {
        assert_eq!(lesson(&Standing::Absent, "unix:/my socket", false, false), None);
        assert_eq!(lesson(&Standing::Absent, "", false, false), None);
        assert_eq!(Lesson::of_new(b"a b"), None);
        assert!(Lesson::of_new(b"a").is_some_and(|lesson| lesson.first && !lesson.found));
    }
}
