//! The keys that are known to hold far more than is read, so that no server is asked for them again and again: each time it
//! would make, and we would end a connection over, what nobody reads.

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
    bytes: u64,
    until: u64,
}

impl Oversized {
    /// Notes that a key holds this many bytes, more than is read. One whose value is read over when it comes is as well asked
    /// for again.
    pub fn note(&mut self, key: &[u8], bytes: u64, now: u64) {
        if bytes <= MOST_READ_OVER {
            return;
        }
        if self.known.len() >= MOST {
            self.make_room(now);
        }
        self.known.insert(self.keys.hash_one(key), Known { bytes, until: now + FOR });
    }

    /// How many bytes a key is known to hold.
    pub fn bytes(&self, key: &[u8], now: u64) -> Option<u64> {
        if self.known.is_empty() {
            return None;
        }
        let known = self.known.get(&self.keys.hash_one(key))?;
        (now < known.until).then_some(known.bytes)
    }

    /// A key has changed.
    pub fn forget(&mut self, key: &[u8]) {
        if !self.known.is_empty() {
            self.known.remove(&self.keys.hash_one(key));
        }
    }

    /// Keeps those that were noted last.
    fn make_room(&mut self, now: u64) {
        let mut ends: Vec<u64> = self.known.values().map(|known| known.until).collect();
        let middle = ends.len() / 2;
        let (_, middle, _) = ends.select_nth_unstable(middle);
        let last = now.max(*middle);
        self.known.retain(|_, known| known.until > last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: u64 = MOST_READ_OVER + 1;

    #[test]
    fn a_key_is_not_asked_for_again_for_a_while() {
        let mut oversized = Oversized::default();
        assert_eq!(oversized.bytes(b"a", 0), None);
        oversized.note(b"a", LARGE, 1_000);
        assert_eq!(oversized.bytes(b"a", 60_999), Some(LARGE));
        assert_eq!(oversized.bytes(b"a", 61_000), None);
        assert_eq!(oversized.bytes(b"b", 1_000), None);
        oversized.note(b"a", 2 * LARGE, 70_000);
        assert_eq!(oversized.bytes(b"a", 70_000), Some(2 * LARGE));
    }

    #[test]
    fn what_is_read_over_is_asked_for_again() {
        let mut oversized = Oversized::default();
        oversized.note(b"a", MOST_READ_OVER, 0);
        assert_eq!(oversized.bytes(b"a", 0), None);
    }

    #[test]
    fn a_key_that_has_changed_is_asked_for() {
        let mut oversized = Oversized::default();
        oversized.forget(b"a");
        oversized.note(b"a", LARGE, 0);
        oversized.note(b"b", LARGE, 0);
        oversized.forget(b"a");
        assert_eq!((oversized.bytes(b"a", 1), oversized.bytes(b"b", 1)), (None, Some(LARGE)));
    }

    #[test]
    fn no_more_is_known_than_there_is_room_for() {
        let mut oversized = Oversized::default();
        for number in 0..20 * MOST {
            let now = number as u64 / 100;
            oversized.note(&number.to_le_bytes(), LARGE, now);
            assert!(oversized.known.len() <= MOST);
            assert!(oversized.bytes(&number.to_le_bytes(), now).is_some());
        }
        assert!(oversized.known.len() > MOST / 4, "{}", oversized.known.len());
        for number in 0..2 * MOST {
            oversized.note(&number.to_le_bytes(), LARGE, 0);
        }
        assert!(oversized.known.len() <= MOST, "all of one moment");
    }
}
