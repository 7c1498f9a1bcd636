//! When the map of slots is asked for, and of whom.

#![forbid(unsafe_code)]

use crate::store::breaker::Breaker;
use crate::store::servers::TriedSet;

/// A map that nothing speaks against is asked for again after this time, in ms.
pub(super) const PERIOD: u64 = 10_000;

/// While a master is down, in ms: a replica takes its place after a second or so.
const WHILE_DOWN: u64 = 200;

/// Two questions for the map are not closer than this, in ms, whatever speaks against it: while slots are on their
/// way, something does all the time.
const CLOSEST: u64 = 50;

#[derive(Debug, Default)]
pub(super) struct MapWatch {
    known: bool,
    /// Nobody told it in the last round.
    lost: bool,
    /// When it is to be asked for, in ms.
    due: u64,
    /// The node that is being asked.
    asked: Option<usize>,
    /// When the last one was, in ms.
    last: u64,
    /// Those asked in this round.
    tried: TriedSet,
    /// Counts rounds, so that each begins at another node.
    round: usize,
    misses: Option<Breaker>,
}

impl MapWatch {
    pub(super) fn is_known(&self) -> bool {
        self.known
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    pub(super) fn want(&mut self, now: u64) {
        let soon = now.max(self.last.saturating_add(CLOSEST));
        // A cluster that nobody tells the map of is not asked more often for being needed.
        if self.misses.is_none() {
            self.due = self.due.min(soon);
        }
    }

    pub(super) fn is_due(&self, now: u64) -> bool {
        self.asked.is_none() && self.due <= now
    }

    /// When to look again; never while it is being asked for.
    pub(super) fn due(&self) -> u64 {
        if self.asked.is_some() {
            u64::MAX
        } else {
            self.due
        }
    }

    pub(super) fn first_of_round(&self) -> usize {
        self.round
    }

    pub(super) fn is_tried(&self, node: usize) -> bool {
        self.tried.contains(node)
    }

    pub(super) fn begin(&mut self, node: usize, now: u64) {
        self.tried.insert(node);
        self.asked = Some(node);
        self.last = now;
        self.due = u64::MAX;
    }

    /// Whether it is this node that was being asked. The next one of the round is due at once.
    pub(super) fn end(&mut self, node: usize) -> bool {
        let was_asked = self.asked.take_if(|asked| *asked == node).is_some();
        if was_asked {
            self.due = self.due.min(self.last);
        }
        was_asked
    }

    pub(super) fn round_failed(&mut self, now: u64, random: u32) {
        self.lost = true;
        self.end_round();
        match &mut self.misses {
            Some(misses) => misses.still_down(now, random),
            None => self.misses = Some(Breaker::open(now, random)),
        }
        self.due = self.misses.as_ref().map_or(now, |misses| misses.due(0));
    }

    pub(super) fn round_succeeded(&mut self, now: u64, is_any_down: bool) {
        self.known = true;
        self.lost = false;
        self.misses = None;
        self.end_round();
        self.due = now + if is_any_down { WHILE_DOWN } else { PERIOD };
    }

    fn end_round(&mut self) {
        self.tried = TriedSet::default();
        self.round = self.round.wrapping_add(1);
    }
}
