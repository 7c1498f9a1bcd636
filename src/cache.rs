//! The near-cache of a worker: what a store said of a key, until the store says that it has changed.
//!
//! An entry belongs to the connection that read it ([`Origin`]): the store tells that connection, and no other, when
//! the key changes. So an entry is fresh only while its connection is there, and never for longer than the life that was
//! read with it. Which entries stay when there is no more room is the matter of `quick_cache` (S3-FIFO), so that a flood
//! of sessions that come once does not drive out those that come often.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::rc::Rc;

use foldhash::fast::RandomState;
use quick_cache::unsync::{self, DefaultLifecycle};
use quick_cache::Weighter;
use smallvec::SmallVec;

use crate::store::fetched::Ttl;

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all entries, with what it takes to keep them.
    pub size: usize,
    /// `valid=`: the age of a session at which it is asked for again, in ms.
    pub valid: Option<u64>,
    /// `negative=`: the age of an absence at which it is asked for again, in ms.
    pub negative: Option<u64>,
    /// `stale=`: the age, in ms, up to which a session may stand in for a store that fails.
    pub stale: u64,
}

/// `valid=` where the store tells of changes, in ms.
const VALID_WATCHED: u64 = 60_000;
/// `valid=` where it does not, or where the life of a session could not be read, in ms.
const VALID_UNWATCHED: u64 = 1_000;
/// `negative=` where the store tells of changes, in ms. Elsewhere an absence is never kept: a framework may adopt the
/// absent id in the next moment.
const NEGATIVE_WATCHED: u64 = 1_000;

/// The connection that an entry was read by.
#[derive(Debug, Clone, Default)]
pub struct Origin(Option<Rc<Cell<bool>>>);

impl Origin {
    /// A connection that is told of changes, until [`Self::lose`].
    pub fn watched() -> Self {
        Self(Some(Rc::new(Cell::new(true))))
    }

    /// Nobody tells it of changes any more: what it has read is no longer fresh.
    pub fn lose(&self) {
        if let Some(watched) = &self.0 {
            watched.set(false);
        }
    }

    /// Whether changes are told.
    pub fn is_watched(&self) -> bool {
        self.0.as_ref().is_some_and(|watched| watched.get())
    }

    /// Whether changes are told no more that once were.
    fn is_lost(&self) -> bool {
        self.0.as_ref().is_some_and(|watched| !watched.get())
    }
}

/// What the cache had to do with the outcome of a lookup: `$session_redis_cache_status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStatus {
    /// The store has no cache: it was asked.
    Bypass,
    /// The session was in the cache.
    Hit,
    /// It was not, and the store was asked.
    Miss,
    /// It was known that there is none.
    Negative,
    /// The store had been asked already, by another request.
    Shared,
    /// The store failed, and an older session stood in.
    Stale,
}

impl CacheStatus {
    /// The value of the variable.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "BYPASS",
            Self::Hit => "HIT",
            Self::Miss => "MISS",
            Self::Negative => "NEGATIVE",
            Self::Shared => "SHARED",
            Self::Stale => "STALE",
        }
    }
}

/// What is kept for a key.
pub trait Kept {
    /// Whether it says that there is no session.
    fn is_absent(&self) -> bool;
    /// The bytes that it holds, those on the heap included; they may become more with use.
    fn bytes(&self) -> usize;
}

/// What was found in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit<V> {
    /// What is kept for the key.
    pub value: V,
    /// The life that the key has left, in ms; `None`: it has no end, or that is not known.
    pub left: Option<u64>,
}

/// The cache. Times are in ms of a clock that never goes back.
pub struct Cache<V, S = RandomState> {
    /// By the hashes of their keys. What is kept lies together, key and all, since hardly anything of it is in the
    /// processor's cache when a request comes for it; of two keys with one hash only the later is kept.
    entries: unsync::Cache<u64, Rc<Entry<V>>, ByBytes, BuildHasherDefault<Hashed>>,
    keys: S,
    limits: Limits,
}

struct Entry<V> {
    /// In place, since hardly any is longer.
    key: SmallVec<[u8; 96]>,
    value: V,
    /// What the value held when it was weighed: the tables count on it.
    bytes: Cell<usize>,
    origin: Origin,
    read: u64,
    /// Until when it is fresh.
    fresh: u64,
    /// When the key ends.
    end: Option<u64>,
}

impl<V: Kept + Clone> Cache<V> {
    /// An empty cache.
    pub fn new(limits: Limits) -> Self {
        Self::with_hasher(limits, RandomState::default())
    }
}

impl<V: Kept + Clone, S: BuildHasher> Cache<V, S> {
    fn with_hasher(limits: Limits, keys: S) -> Self {
        let expected = limits.size / EXPECTED;
        let room = limits.size - expected / REMEMBERED * IN_TABLES;
        let entries = unsync::Cache::with(
            expected,
            room as u64,
            ByBytes,
            BuildHasherDefault::default(),
            DefaultLifecycle::default(),
        );
        Self { entries, keys, limits }
    }

    /// What is known of a key at `now`.
    pub fn fresh(&self, key: &[u8], now: u64) -> Option<Hit<V>> {
        let entry = self.entries.get(&self.hash(key)).filter(|entry| *entry.key == *key)?;
        (now < entry.fresh && !entry.origin.is_lost()).then(|| entry.hit(now))
    }

    /// The session that a key held not longer than `stale=` ago, for want of a newer one. One that was changed or has
    /// ended since is not there.
    pub fn stale(&self, key: &[u8], now: u64) -> Option<Hit<V>> {
        let entry = self.entries.peek(&self.hash(key)).filter(|entry| *entry.key == *key)?;
        let old = entry.read.saturating_add(self.limits.stale);
        let until = entry.end.map_or(old, |end| end.min(old));
        (now < until && !entry.value.is_absent()).then(|| entry.hit(now))
    }

    /// Keeps what was read at `now`, and the life read with it. Whether it is kept at all.
    pub fn insert(
        &mut self,
        key: &[u8],
        value: V,
        origin: &Origin,
        ttl: Option<Ttl>,
        now: u64,
    ) -> bool {
        let valid = self.valid(value.is_absent(), origin, ttl);
        let end = match ttl {
            Some(Ttl::Left(ms)) => Some(now.saturating_add(ms)),
            _ => None,
        };
        let fresh = now.saturating_add(valid);
        let fresh = end.map_or(fresh, |end| end.min(fresh));
        if fresh <= now {
            self.invalidate(key);
            return false;
        }
        let entry = Entry {
            key: SmallVec::from_slice(key),
            bytes: Cell::new(value.bytes()),
            value,
            origin: origin.clone(),
            read: now,
            fresh,
            end,
        };
        self.entries.insert(self.hash(key), Rc::new(entry));
        true
    }

    fn hash(&self, key: &[u8]) -> u64 {
        self.keys.hash_one(key)
    }

    fn valid(&self, absent: bool, origin: &Origin, ttl: Option<Ttl>) -> u64 {
        match (absent, origin.is_watched()) {
            (true, false) => 0,
            (true, true) => self.limits.negative.unwrap_or(NEGATIVE_WATCHED),
            // It ended between the two questions.
            (false, _) if ttl == Some(Ttl::Missing) => 0,
            (false, true) if ttl.is_some() => self.limits.valid.unwrap_or(VALID_WATCHED),
            (false, _) => self.limits.valid.unwrap_or(VALID_UNWATCHED),
        }
    }

    /// The value of a key holds more bytes by now, for which others go, or it itself where it is too much for the cache.
    pub fn weigh(&mut self, key: &[u8]) {
        let hash = self.hash(key);
        let Some(weighed) = self.entries.peek_mut(&hash).map(|entry| {
            entry.bytes.set(entry.value.bytes());
            Rc::clone(&entry)
        }) else {
            return;
        };
        // Only what is put there makes room for itself; this is put in place of itself, and does not count as asked for.
        let _ = self.entries.replace(hash, weighed, true);
    }

    /// A key has changed. (One of the same hash then goes with it.)
    pub fn invalidate(&mut self, key: &[u8]) {
        self.entries.remove(&self.hash(key));
    }

    /// Everything has changed.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all entries.
    pub fn size(&self) -> u64 {
        self.entries.weight()
    }
}

impl<V: Clone> Entry<V> {
    fn hit(&self, now: u64) -> Hit<V> {
        Hit { value: self.value.clone(), left: self.end.map(|end| end.saturating_sub(now)) }
    }
}

impl<V, S> fmt::Debug for Cache<V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Bytes of an entry of usual size: so many entries are expected.
const EXPECTED: usize = 1024;

/// One in so many of those expected is the number of entries that went and are remembered: `quick_cache` keeps their
/// places in the tables.
const REMEMBERED: usize = 2;

/// What an entry takes in the tables of the cache, apart from itself: its hash and address, its neighbours in the list, and
/// its place in the hash table with the room that this has to grow.
const IN_TABLES: usize = 48;

/// The bytes that an allocation takes of the heap: `mimalloc` has four sizes to each power of two, and none between
/// those that 16 divides.
pub fn allocated(size: usize) -> usize {
    const GRAIN: usize = 16;
    let step = size.checked_next_power_of_two().unwrap_or(size) / 8;
    size.max(1).next_multiple_of(step.max(GRAIN))
}

#[derive(Debug, Clone)]
struct ByBytes;

impl<V> Weighter<u64, Rc<Entry<V>>> for ByBytes {
    fn weight(&self, _: &u64, entry: &Rc<Entry<V>>) -> u64 {
        const COUNTS: usize = 2 * size_of::<usize>();
        let key = if entry.key.spilled() { allocated(entry.key.capacity()) } else { 0 };
        let own = IN_TABLES + allocated(size_of::<Entry<V>>() + COUNTS) + key;
        (own + entry.bytes.get()) as u64
    }
}

/// Hashes what is a hash already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = self.0.rotate_left(8) ^ u64::from(byte));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq)]
    enum Value {
        Session(u32, Rc<Cell<usize>>),
        Absent,
    }

    impl Kept for Value {
        fn is_absent(&self) -> bool {
            *self == Self::Absent
        }

        fn bytes(&self) -> usize {
            match self {
                Self::Session(_, bytes) => bytes.get(),
                Self::Absent => 0,
            }
        }
    }

    fn session(number: u32) -> Value {
        Value::Session(number, Rc::new(Cell::new(100)))
    }

    fn key(number: u32) -> Rc<[u8]> {
        format!("sess:{number:016}").into_bytes().into()
    }

    const LIMITS: Limits = Limits { size: 1 << 20, valid: None, negative: None, stale: 5_000 };
    const LONG: Option<Ttl> = Some(Ttl::Left(3_600_000));

    #[test]
    fn a_session_is_fresh_until_it_is_old_or_its_key_ends() {
        let cases = [
            (LIMITS, Origin::watched(), LONG, 60_000),
            (LIMITS, Origin::watched(), Some(Ttl::Endless), 60_000),
            (LIMITS, Origin::watched(), Some(Ttl::Left(300)), 300),
            (LIMITS, Origin::watched(), None, 1_000),
            (LIMITS, Origin::default(), LONG, 1_000),
            (LIMITS, Origin::default(), Some(Ttl::Left(300)), 300),
            (Limits { valid: Some(200), ..LIMITS }, Origin::watched(), LONG, 200),
            (Limits { valid: Some(90_000), ..LIMITS }, Origin::default(), LONG, 90_000),
        ];
        for (limits, origin, ttl, valid) in cases {
            let mut cache = Cache::new(limits);
            assert!(cache.insert(&key(1), session(1), &origin, ttl, 1_000));
            assert_eq!(
                cache.fresh(&key(1), 1_000 + valid - 1).map(|hit| hit.value),
                Some(session(1))
            );
            assert_eq!(cache.fresh(&key(1), 1_000 + valid), None, "{limits:?} {origin:?} {ttl:?}");
            assert_eq!(cache.fresh(&key(2), 1_000), None);
        }
    }

    #[test]
    fn a_session_that_ended_while_it_was_read_is_not_kept() {
        for origin in [Origin::watched(), Origin::default()] {
            let mut cache = Cache::new(Limits { valid: Some(90_000), ..LIMITS });
            cache.insert(&key(1), session(1), &origin, LONG, 0);
            assert!(!cache.insert(&key(1), session(2), &origin, Some(Ttl::Missing), 0));
            assert_eq!((cache.fresh(&key(1), 0), cache.stale(&key(1), 0)), (None, None));
        }
    }

    #[test]
    fn an_absence_is_kept_only_where_its_end_is_told() {
        let mut cache = Cache::new(LIMITS);
        assert!(cache.insert(&key(1), Value::Absent, &Origin::watched(), Some(Ttl::Missing), 0));
        assert!(cache.fresh(&key(1), 999).is_some());
        assert_eq!(cache.fresh(&key(1), 1_000), None);
        assert_eq!(cache.stale(&key(1), 1), None, "nobody is nobody for want of a store");
        assert!(!cache.insert(&key(1), Value::Absent, &Origin::default(), None, 0));
        assert_eq!(cache.fresh(&key(1), 0), None, "what was known before is not kept either");
        let mut cache = Cache::new(Limits { negative: Some(0), ..LIMITS });
        assert!(!cache.insert(&key(1), Value::Absent, &Origin::watched(), None, 0));
    }

    #[test]
    fn the_life_left_is_told() {
        let mut cache = Cache::new(LIMITS);
        cache.insert(&key(1), session(1), &Origin::watched(), Some(Ttl::Left(5_000)), 1_000);
        assert_eq!(cache.fresh(&key(1), 2_500).map(|hit| hit.left), Some(Some(3_500)));
        cache.insert(&key(1), session(1), &Origin::watched(), Some(Ttl::Endless), 1_000);
        assert_eq!(cache.fresh(&key(1), 2_500).map(|hit| hit.left), Some(None));
    }

    #[test]
    fn what_has_changed_is_gone() {
        let mut cache = Cache::new(LIMITS);
        let origin = Origin::watched();
        for number in 0..3 {
            cache.insert(&key(number), session(number), &origin, LONG, 0);
        }
        cache.invalidate(&key(1));
        cache.invalidate(&key(9));
        assert!(cache.fresh(&key(0), 1).is_some());
        assert_eq!((cache.fresh(&key(1), 1), cache.stale(&key(1), 1)), (None, None));
        cache.clear();
        assert!(cache.is_empty());
        assert_eq!(cache.stale(&key(0), 1), None);
    }

    #[test]
    fn keys_of_one_hash_are_told_apart() {
        /// Says the same of all keys.
        #[derive(Default)]
        struct Alike;
        impl Hasher for Alike {
            fn write(&mut self, _: &[u8]) {}
            fn finish(&self) -> u64 {
                1
            }
        }
        let mut cache = Cache::with_hasher(LIMITS, BuildHasherDefault::<Alike>::default());
        cache.insert(&key(1), session(1), &Origin::watched(), LONG, 0);
        assert_eq!((cache.fresh(&key(2), 1), cache.stale(&key(2), 1)), (None, None));
        cache.insert(&key(2), session(2), &Origin::watched(), LONG, 0);
        assert_eq!(cache.fresh(&key(2), 1).map(|hit| hit.value), Some(session(2)));
        assert_eq!((cache.fresh(&key(1), 1), cache.stale(&key(1), 1)), (None, None));
    }

    #[test]
    fn what_a_lost_connection_has_read_only_stands_in() {
        let mut cache = Cache::new(LIMITS);
        let (lost, kept) = (Origin::watched(), Origin::watched());
        cache.insert(&key(1), session(1), &lost, LONG, 0);
        cache.insert(&key(2), session(2), &kept, LONG, 0);
        cache.insert(&key(3), session(3), &lost, Some(Ttl::Left(2_000)), 0);
        lost.lose();
        assert!(lost.clone().is_lost() && !lost.is_watched());
        assert_eq!(cache.fresh(&key(1), 1), None);
        assert!(cache.fresh(&key(2), 1).is_some());
        assert!(cache.stale(&key(1), 4_999).is_some());
        assert_eq!(cache.stale(&key(1), 5_000), None, "older than stale=");
        assert_eq!(cache.stale(&key(3), 2_000), None, "its key has ended");
        let mut cache = Cache::new(Limits { stale: 0, ..LIMITS });
        cache.insert(&key(1), session(1), &kept, LONG, 0);
        assert_eq!(cache.stale(&key(1), 0), None);
    }

    #[test]
    fn a_value_that_grows_weighs_more() {
        let mut cache = Cache::new(LIMITS);
        let bytes = Rc::new(Cell::new(100));
        cache.insert(&key(1), Value::Session(1, Rc::clone(&bytes)), &Origin::watched(), LONG, 0);
        let before = cache.size();
        bytes.set(1_100);
        cache.weigh(&key(1));
        assert_eq!(cache.size(), before + 1_000);
    }

    #[test]
    fn values_that_grow_drive_out_others() {
        let mut cache = Cache::new(Limits { size: 100_000, ..LIMITS });
        let sizes: Vec<_> = (0..200).map(|_| Rc::new(Cell::new(100))).collect();
        for (number, bytes) in (0..).zip(&sizes) {
            let value = Value::Session(number, Rc::clone(bytes));
            cache.insert(&key(number), value, &Origin::watched(), LONG, 0);
        }
        for round in 1..=16 {
            for (number, bytes) in (0..).zip(&sizes) {
                if cache.fresh(&key(number), 1).is_some() {
                    bytes.set(round * 2_000);
                    cache.weigh(&key(number));
                    assert!(cache.size() <= 100_000, "{} in round {round}", cache.size());
                }
            }
        }
        assert!(cache.size() > 50_000, "{}", cache.size());
    }

    #[test]
    fn what_outgrows_the_cache_is_not_kept() {
        let mut cache = Cache::new(Limits { size: 100_000, ..LIMITS });
        let bytes = Rc::new(Cell::new(100));
        cache.insert(&key(1), Value::Session(1, Rc::clone(&bytes)), &Origin::watched(), LONG, 0);
        cache.insert(&key(2), session(2), &Origin::watched(), LONG, 0);
        bytes.set(200_000);
        cache.weigh(&key(1));
        assert_eq!((cache.fresh(&key(1), 1), cache.stale(&key(1), 1)), (None, None));
        assert!(cache.fresh(&key(2), 1).is_some(), "the others stay");
        cache.weigh(&key(1));
    }

    #[test]
    fn a_flood_of_strangers_does_not_drive_out_the_regulars() {
        let mut cache = Cache::new(Limits { size: 200_000, ..LIMITS });
        let origin = Origin::watched();
        let mut found = 0;
        for turn in 0..200 {
            for number in 0..100 {
                match cache.fresh(&key(number), 1) {
                    Some(_) => found += 1,
                    None => drop(cache.insert(&key(number), session(number), &origin, LONG, 0)),
                }
            }
            for stranger in 0..500 {
                let number = 1_000 + turn * 500 + stranger;
                cache.insert(&key(number), session(number), &origin, LONG, 0);
            }
        }
        assert!(found > 15_000, "{found} of 20000");
    }

    proptest! {
        #[test]
        fn it_never_holds_more_than_it_may(
            size in 0..20_000_usize,
            steps in proptest::collection::vec((0..50_u32, 0..3_000_usize, any::<bool>()), 1..200),
        ) {
            let mut cache = Cache::new(Limits { size, ..LIMITS });
            let origin = Origin::watched();
            let mut sizes = std::collections::HashMap::new();
            for (number, bytes, grows) in steps {
                let known = sizes.entry(number).or_insert_with(|| Rc::new(Cell::new(0)));
                if grows {
                    known.set(known.get() + bytes);
                    cache.weigh(&key(number));
                } else {
                    *known = Rc::new(Cell::new(bytes));
                    cache.insert(&key(number), Value::Session(number, Rc::clone(known)), &origin, LONG, 0);
                }
                prop_assert!(cache.size() <= size as u64);
            }
        }

        #[test]
        fn what_is_fresh_is_what_was_put_there_last(
            steps in proptest::collection::vec((0..4_u32, 0..6_u8), 1..100),
        ) {
            let mut cache = Cache::new(LIMITS);
            let mut origin = Origin::watched();
            let mut model = std::collections::HashMap::new();
            for (turn, (number, step)) in steps.into_iter().enumerate() {
                match step {
                    0..=2 => {
                        let value = session(turn as u32);
                        cache.insert(&key(number), value.clone(), &origin, LONG, 0);
                        model.insert(number, value);
                    }
                    3 => {
                        cache.invalidate(&key(number));
                        model.remove(&number);
                    }
                    4 => {
                        cache.clear();
                        model.clear();
                    }
                    _ => {
                        origin.lose();
                        origin = Origin::watched();
                        model.clear();
                    }
                }
                for number in 0..4 {
                    let found = cache.fresh(&key(number), 1).map(|hit| hit.value);
                    prop_assert_eq!(found.as_ref(), model.get(&number));
                }
            }
        }
    }
}
