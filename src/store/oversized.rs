//! The keys that are known to hold far more than is read, or suspected to, so that no server is made to answer with it again
//! and again: making 300 MB ready takes a Redis longer than a lookup may take, and all others wait.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;

use super::resp::MOST_READ_OVER;

/// How long a key is not asked for, in ms.
const FOR: u64 = 60_000;

/// Of more keys some are forgotten.
const MOST: usize = 4096;

/// What is known of such keys. Times are in ms of a clock that never goes back.
#[derive(Debug)]
pub struct Oversized<'s> {
    /// By the hashes of the keys.
    known: HashMap<u64, Known, RandomState>,
    keys: RandomState,
    shared: Shared<'s>,
}

/// The keys that any worker has met: the hash of each, in the place that it names; a later one overwrites it. The first
/// place is for no key: it is 0 until there is any.
#[derive(Debug)]
struct Shared<'s>(&'s [AtomicU64]);

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

impl<'s> Oversized<'s> {
    /// Nothing yet. Workers that hash their `keys` alike tell each other in `shared`, which may be empty.
    pub fn new(keys: RandomState, shared: &'s [AtomicU64]) -> Self {
        Self { known: HashMap::default(), keys, shared: Shared(shared) }
    }

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
        if !self.is_empty() {
            let key = self.keys.hash_one(key);
            self.known.remove(&key);
            self.shared.remove(key);
        }
    }

    /// How to ask for a key.
    pub fn way(&self, key: &[u8], now: u64) -> Way {
        if self.is_empty() {
            return Way::Plain;
        }
        let key = self.keys.hash_one(key);
        match self.known.get(&key) {
            None if self.shared.contains(key) => Way::LengthFirst,
            None => Way::Plain,
            Some(Known { bytes: Some(bytes), noted }) if now < noted + FOR => Way::Not(*bytes),
            Some(_) => Way::LengthFirst,
        }
    }

    fn insert(&mut self, key: &[u8], known: Known) {
        if self.known.len() >= MOST {
            self.make_room();
        }
        let key = self.keys.hash_one(key);
        self.known.insert(key, known);
        self.shared.insert(key);
    }

    fn is_empty(&self) -> bool {
        self.known.is_empty() && self.shared.is_empty()
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

impl Shared<'_> {
    fn is_empty(&self) -> bool {
        self.0.first().is_none_or(|any| any.load(Ordering::Relaxed) == 0)
    }

    /// The place of a key, if there is any.
    fn place(&self, key: u64) -> Option<&AtomicU64> {
        let (_, places) = self.0.split_first()?;
        let count = u64::try_from(places.len()).ok()?;
        places.get(usize::try_from(key.checked_rem(count)?).ok()?)
    }

    fn contains(&self, key: u64) -> bool {
        self.place(key).is_some_and(|place| place.load(Ordering::Relaxed) == key)
    }

    fn insert(&self, key: u64) {
        if let (Some(any), Some(place)) = (self.0.first(), self.place(key)) {
            place.store(key, Ordering::Relaxed);
            any.store(1, Ordering::Relaxed);
        }
    }

    fn remove(&self, key: u64) {
        if let Some(place) = self.place(key) {
            // Another key that came meanwhile stays.
            let _ = place.compare_exchange(key, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Default for Oversized<'_> {
        fn default() -> Self {
            Self::new(RandomState::default(), &[])
        }
    }

    const LARGE: u64 = MOST_READ_OVER + 1;

    #[test]
    fn workers_tell_each_other() {
        let places: Vec<AtomicU64> = (0..64).map(|_| AtomicU64::new(0)).collect();
        let keys = RandomState::default();
        let worker = || Oversized::new(keys.clone(), &places);
        let (mut one, mut other) = (worker(), worker());
        let of_another_store = Oversized::new(RandomState::default(), &places);
        one.note(b"a", LARGE, 0);
        one.suspect(b"b", 0);
        assert_eq!((one.way(b"a", 1), other.way(b"a", 1)), (Way::Not(LARGE), Way::LengthFirst));
        assert_eq!((other.way(b"b", 1), other.way(b"c", 1)), (Way::LengthFirst, Way::Plain));
        assert_eq!(of_another_store.way(b"a", 1), Way::Plain);
        other.clear(b"b");
        assert_eq!(worker().way(b"b", 1), Way::Plain);
        other.note(b"a", LARGE, 2);
        assert_eq!(other.way(b"a", 3), Way::Not(LARGE));
    }

    #[test]
    fn a_place_is_taken_by_the_latest() {
        let places = [const { AtomicU64::new(0) }; 2];
        let keys = RandomState::default();
        let mut one = Oversized::new(keys.clone(), &places);
        let other = Oversized::new(keys, &places);
        one.suspect(b"a", 0);
        one.suspect(b"b", 0);
        assert_eq!((other.way(b"a", 1), other.way(b"b", 1)), (Way::Plain, Way::LengthFirst));
        one.clear(b"a");
        assert_eq!(other.way(b"b", 1), Way::LengthFirst);
    }

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
