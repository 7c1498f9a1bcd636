//! The keys that are known to hold far more than is read, or suspected to, so that no server is made to answer with it again
//! and again: making 300 MB ready takes a Redis longer than a lookup may take, and all others wait.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::resp::MOST_READ_OVER;

/// How long a key is not asked for, in ms.
const FOR: u64 = 60_000;

/// Of more keys some are forgotten.
const MOST: usize = 4096;

/// What is known of such keys. Times are in ms of a clock that never goes back.
#[derive(Debug, Default)]
pub struct Oversized {
    /// By the hashes of the keys.
    known: HashMap<u64, Known, RandomState>,
    keys: RandomState,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    /// None where it is only suspected.
    bytes: Option<u64>,
    noted: u64,
}

/// How to ask for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As for any.
    Plain,
    /// For its length first.
    LengthFirst,
    /// Not at all: it holds this many bytes.
    Not(u64),
}

impl Oversized {
    /// Notes that a key holds this many bytes, more than is read. One whose value is read over when it comes is as well asked
    /// for again.
    pub fn note(&mut self, key: &[u8], bytes: u64, now: u64) {
        if bytes > MOST_READ_OVER {
            self.insert(key, Known { bytes: Some(bytes), noted: now });
        }
    }

    /// Notes that a key was asked for when its server fell silent.
    pub fn suspect(&mut self, key: &[u8], now: u64) {
        self.insert(key, Known { bytes: None, noted: now });
    }

    /// A key is not too large.
    pub fn clear(&mut self, key: &[u8]) {
        if !self.known.is_empty() {
            self.known.remove(&self.keys.hash_one(key));
        }
    }

    /// How to ask for a key.
    pub fn way(&self, key: &[u8], now: u64) -> Way {
        if self.known.is_empty() {
            return Way::Plain;
        }
        match self.known.get(&self.keys.hash_one(key)) {
            None => Way::Plain,
            Some(Known { bytes: Some(bytes), noted }) if now < noted + FOR => Way::Not(*bytes),
            Some(_) => Way::LengthFirst,
        }
    }

    fn insert(&mut self, key: &[u8], known: Known) {
        if self.known.len() >= MOST {
            self.make_room();
        }
        self.known.insert(self.keys.hash_one(key), known);
    }

    /// Keeps those that were noted last.
    fn make_room(&mut self) {
        let mut noted: Vec<u64> = self.known.values().map(|known| known.noted).collect();
        let middle = noted.len() / 2;
        let (_, middle, _) = noted.select_nth_unstable(middle);
        let middle = *middle;
        self.known.retain(|_, known| known.noted > middle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: u64 = MOST_READ_OVER + 1;

    #[test]
    fn a_key_is_not_asked_for_again_for_a_while_and_then_for_its_length() {
        let mut oversized = Oversized::default();
        assert_eq!(oversized.way(b"a", 0), Way::Plain);
        oversized.note(b"a", LARGE, 1_000);
        assert_eq!(oversized.way(b"a", 60_999), Way::Not(LARGE));
        assert_eq!(oversized.way(b"a", 61_000), Way::LengthFirst);
        assert_eq!(oversized.way(b"b", 1_000), Way::Plain);
        oversized.note(b"a", 2 * LARGE, 70_000);
        assert_eq!(oversized.way(b"a", 70_000), Way::Not(2 * LARGE));
    }

    #[test]
    fn what_is_read_over_is_asked_for_again() {
        let mut oversized = Oversized::default();
        oversized.note(b"a", MOST_READ_OVER, 0);
        assert_eq!(oversized.way(b"a", 0), Way::Plain);
    }

    #[test]
    fn what_is_suspected_is_asked_for_its_length_until_that_is_known() {
        let mut oversized = Oversized::default();
        oversized.clear(b"a");
        oversized.suspect(b"a", 0);
        oversized.suspect(b"b", 0);
        oversized.clear(b"a");
        assert_eq!(
            (oversized.way(b"a", 1), oversized.way(b"b", 1)),
            (Way::Plain, Way::LengthFirst)
        );
    }

    #[test]
    fn no_more_is_known_than_there_is_room_for() {
        let mut oversized = Oversized::default();
        for number in 0..20 * MOST {
            let now = number as u64 / 100;
            oversized.note(&number.to_le_bytes(), LARGE, now);
            assert!(oversized.known.len() <= MOST);
            assert_eq!(oversized.way(&number.to_le_bytes(), now), Way::Not(LARGE));
        }
        assert!(oversized.known.len() > MOST / 4, "{}", oversized.known.len());
        for number in 0..2 * MOST {
            oversized.suspect(&number.to_le_bytes(), 0);
        }
        assert!(oversized.known.len() <= MOST, "all of one moment");
    }
}
