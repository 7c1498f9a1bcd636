//! Whom of several Sentinels to believe, and when to ask them again.
//!
//! A master that serves is left only for one that a majority of all Sentinels name, whether they answer or not: one with
//! wrong or old answers does no harm, even where no other is left. Once the master is gone, or none was known yet, the
//! most votes count, and of equal ones who changed its mind last. An address that turned out to be a replica is not
//! believed again as long as anybody names another.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;

use crate::store::breaker::Breaker;
use crate::store::endpoint::Address;

/// A Sentinel that does not answer for so long, in ms, is not asked any further over this connection.
const ANSWER_WITHIN: u64 = 500;

/// How long fewer than a majority are not believed while others may still say something else, in ms.
const PATIENCE: u64 = 1_000;

/// A master that was not to be had for so long, in ms, is gone: one that stumbles comes back sooner.
const GONE_AFTER: u64 = 1_000;

/// A minority that names another master for so long, in ms, while the master serves, is worth a line in the log.
const ODD_AFTER: u64 = 5_000;

/// Between two questions to a Sentinel while the master does well, in ms; a random part comes on top.
const CALM: (u64, u64) = (8_000, 4_000);

/// The same while it does not, or is not known.
const TROUBLE: (u64, u64) = (100, 150);

/// While the master does well, a Sentinel that is lost is left alone for so long, in ms.
const LEFT_ALONE: u64 = 5_000;

/// Addresses that turned out to be replicas, remembered at most.
const MOST_REFUTED: usize = 8;

/// The Sentinels of a store and what a worker knows of them. A Sentinel is named by its place in the list.
#[derive(Debug, Clone)]
pub struct Sentinels {
    sentinels: Vec<Sentinel>,
    believed: Option<Address>,
    refuted: Vec<Address>,
    /// Another master than the believed one, which has the most votes.
    candidate: Option<Candidate>,
    /// When the verdict may change though nothing is reported, in ms.
    wakes: Option<u64>,
    /// Changes of mind so far, by which the latest is known.
    changes: u64,
    said_nobody: bool,
}

/// An address of a Sentinel. A name may stand for several Sentinels, and each of them may have an address of both families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which of the configured names the address is of.
    pub name: usize,
    /// Whether it is one of IPv6.
    pub is_v6: bool,
}

#[derive(Debug, Clone)]
struct Sentinel {
    place: Place,
    state: State,
    /// Says when it is tried again, as long as it has not answered since it was lost.
    breaker: Option<Breaker>,
    /// Its answer, as long as it is connected; it may be that it knows no such master.
    vote: Option<Option<Address>>,
    /// The last master that it named.
    named: Option<Address>,
    /// By the count of changes, when it named another one than before; 0: it never did.
    changed: u64,
    said: Said,
}

#[derive(Debug, Clone)]
struct Candidate {
    address: Address,
    /// When it had the most votes first, in ms.
    since: u64,
    /// The log was told that it is not believed.
    is_said: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Connecting,
    Asked {
        at: u64,
    },
    Answered {
        at: u64,
        random: u32,
    },
    /// Something has happened: to be asked at once.
    Hinted,
}

/// What the log was told of a Sentinel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    Lost,
    UnknownMaster,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Connect to this Sentinel, and report the result to [`Sentinels::ready`] or [`Sentinels::lost`].
    Connect(usize),
    /// Ask this one.
    Ask(usize),
    /// Close the connection to this one, which does not answer, and report it as lost.
    Close(usize),
    /// Nothing before this time, in ms.
    At(u64),
    /// Nothing before something is reported.
    Nothing,
}

/// How many Sentinels name a master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Votes {
    /// So many do.
    pub given: usize,
    /// Of so many that are configured.
    pub of: usize,
}

impl Votes {
    /// Whether these are more than half.
    pub fn are_majority(self) -> bool {
        self.given * 2 > self.of
    }
}

impl fmt::Display for Votes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} Sentinels", self.given, self.of)
    }
}

/// What is now believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The master is there now, as this Sentinel says.
    Master {
        /// Where.
        address: Address,
        /// The place of a Sentinel that says so.
        by: usize,
        /// How many say so: fewer than a majority only where the last master is gone, or none was known.
        votes: Votes,
    },
    /// The master serves and stays, though this Sentinel names another; said once.
    Outvoted {
        /// Where it would be.
        address: Address,
        /// The place of a Sentinel that says so.
        by: usize,
        /// How many say so, fewer than a majority.
        votes: Votes,
    },
    /// There is no master to ask, since no Sentinel names one; said once.
    Nobody,
}

impl Sentinels {
    /// The Sentinels at these places, none of them asked yet.
    pub fn new(places: impl IntoIterator<Item = Place>) -> Self {
        let new = |place| Sentinel {
            place,
            state: State::Closed,
            breaker: None,
            vote: None,
            named: None,
            changed: 0,
            said: Said::Nothing,
        };
        Self {
            sentinels: places.into_iter().map(new).collect(),
            believed: None,
            refuted: Vec::new(),
            candidate: None,
            wakes: None,
            changes: 0,
            said_nobody: false,
        }
    }

    /// Where the master is believed to be.
    pub fn believed(&self) -> Option<&Address> {
        self.believed.as_ref()
    }

    /// What to do at `now` (ms), counted as begun. `in_trouble`: the master is not known, or does not do well.
    pub fn next(&mut self, now: u64, in_trouble: bool) -> Step {
        let dues = self.sentinels.iter().enumerate();
        let dues = dues.filter_map(|(at, sentinel)| Some((sentinel.due(in_trouble)?, at)));
        let wakes = self.wakes.map(|wakes| wakes.max(now));
        match (dues.min(), wakes) {
            (Some((due, at)), _) if due <= now => self.begin(at, now),
            (Some((due, _)), Some(wakes)) => Step::At(due.min(wakes)),
            (Some((due, _)), None) => Step::At(due),
            (None, Some(wakes)) => Step::At(wakes),
            (None, None) => Step::Nothing,
        }
    }

    fn begin(&mut self, at: usize, now: u64) -> Step {
        let Some(sentinel) = self.sentinels.get_mut(at) else { return Step::Nothing };
        match sentinel.state {
            State::Closed => {
                sentinel.state = State::Connecting;
                Step::Connect(at)
            }
            State::Answered { .. } | State::Hinted => {
                sentinel.state = State::Asked { at: now };
                Step::Ask(at)
            }
            State::Asked { .. } | State::Connecting => Step::Close(at),
        }
    }

    /// The connection to this one serves; it is asked at `now` (ms).
    pub fn ready(&mut self, sentinel: usize, now: u64) {
        if let Some(sentinel) = self.sentinels.get_mut(sentinel) {
            sentinel.state = State::Asked { at: now };
        }
    }

    /// It has answered at `now` (ms): where the master is, or that it knows no such master. `random` spreads the
    /// questions of several workers. Whether the log is to be told that it knows no such master.
    pub fn answered(&mut self, at: usize, master: Option<Address>, now: u64, random: u32) -> bool {
        let is_unknown = master.is_none();
        self.vote(at, master);
        let Some(sentinel) = self.sentinels.get_mut(at) else { return false };
        sentinel.state = State::Answered { at: now, random };
        sentinel.breaker = None;
        let said = if is_unknown { Said::UnknownMaster } else { Said::Nothing };
        std::mem::replace(&mut sentinel.said, said) != said && is_unknown
    }

    /// It has said without being asked that the master is there now.
    pub fn switched(&mut self, sentinel: usize, master: Address) {
        self.vote(sentinel, Some(master));
    }

    /// Something has happened to the master, as it says: it is to be asked at once.
    pub fn hinted(&mut self, sentinel: usize) {
        if let Some(sentinel) = self.sentinels.get_mut(sentinel) {
            sentinel.ask_soon();
        }
    }

    /// There is no connection to it any more, at `now` (ms). Whether the log is to be told.
    pub fn lost(&mut self, at: usize, now: u64, random: u32) -> bool {
        let Some(sentinel) = self.sentinels.get_mut(at) else { return false };
        sentinel.state = State::Closed;
        sentinel.vote = None;
        match &mut sentinel.breaker {
            Some(breaker) => breaker.still_down(now, random),
            None => sentinel.breaker = Some(Breaker::open(now, random)),
        }
        std::mem::replace(&mut sentinel.said, Said::Lost) != Said::Lost
    }

    /// What is believed to be the master says that it is a replica.
    pub fn refute(&mut self) {
        let Some(believed) = &self.believed else { return };
        if !self.refuted.contains(believed) {
            self.refuted.truncate(MOST_REFUTED - 1);
            self.refuted.insert(0, believed.clone());
        }
        self.sentinels.iter_mut().for_each(Sentinel::ask_soon);
    }

    /// Whether something else is to be believed at `now` (ms). `down_since`: when the believed master ceased to serve, by
    /// the store's own connections. To be asked after each report, and when [`Self::next`] says so.
    pub fn verdict(&mut self, now: u64, down_since: Option<u64>) -> Option<Verdict> {
        self.wakes = None;
        if down_since.is_none() {
            // It may have been a replica once, but serves as the master now.
            let believed = self.believed.as_ref();
            self.refuted.retain(|refuted| Some(refuted) != believed);
        }
        let Some((address, given, by)) = self.favourite(down_since.is_some()) else {
            self.candidate = None;
            let is_news = self.believed.is_none() && !self.is_any_asked() && !self.said_nobody;
            self.said_nobody |= is_news;
            return is_news.then_some(Verdict::Nobody);
        };
        if self.believed.as_ref() == Some(&address) {
            self.candidate = None;
            return None;
        }
        let votes = Votes { given, of: self.count(|_| true) };
        let since = self.candidate_since(&address, now);
        if votes.are_majority() {
            return Some(self.believe(address, by, votes));
        }
        let gone = match (&self.believed, down_since) {
            (None, _) => 0,
            (Some(_), Some(down_since)) => down_since.saturating_add(GONE_AFTER),
            (Some(_), None) => return self.outvoted(now, by, votes),
        };
        let heard = if self.is_any_asked() { since.saturating_add(PATIENCE) } else { 0 };
        let settled = gone.max(heard);
        if now >= settled {
            return Some(self.believe(address, by, votes));
        }
        self.wakes = Some(settled);
        None
    }

    fn believe(&mut self, address: Address, by: usize, votes: Votes) -> Verdict {
        self.candidate = None;
        self.said_nobody = false;
        self.believed = Some(address.clone());
        Verdict::Master { address, by, votes }
    }

    /// Since when this address has the most votes.
    fn candidate_since(&mut self, address: &Address, now: u64) -> u64 {
        match &self.candidate {
            Some(candidate) if candidate.address == *address => candidate.since,
            _ => {
                let address = address.clone();
                self.candidate = Some(Candidate { address, since: now, is_said: false });
                now
            }
        }
    }

    /// Says once that the candidate is not believed. In a failover the others follow soon, and nothing is said.
    fn outvoted(&mut self, now: u64, by: usize, votes: Votes) -> Option<Verdict> {
        let candidate = self.candidate.as_mut().filter(|candidate| !candidate.is_said)?;
        let due = candidate.since.saturating_add(ODD_AFTER);
        if now < due {
            self.wakes = Some(due);
            return None;
        }
        candidate.is_said = true;
        Some(Verdict::Outvoted { address: candidate.address.clone(), by, votes })
    }

    /// Who has the most votes, how many these are, and one who gave it.
    fn favourite(&self, in_trouble: bool) -> Option<(Address, usize, usize)> {
        let named = || {
            let sentinels = self.sentinels.iter().enumerate();
            sentinels.filter_map(|(at, sentinel)| Some((at, sentinel, sentinel.master()?)))
        };
        let is_any_fresh = named().any(|(_, _, address)| !self.refuted.contains(address));
        let rank = |address: &Address| {
            let votes = named().filter(|(_, _, other)| *other == address);
            let changed = votes.map(|(_, sentinel, _)| sentinel.changed).max();
            let count = self.count(|sentinel| sentinel.master() == Some(address));
            let is_believed = self.believed.as_ref() == Some(address);
            (count, is_believed && !in_trouble, changed, is_believed)
        };
        named()
            .filter(|(_, _, address)| !is_any_fresh || !self.refuted.contains(address))
            .max_by_key(|(at, _, address)| (rank(address), std::cmp::Reverse(*at)))
            .map(|(at, _, address)| (address.clone(), rank(address).0, at))
    }

    /// How many Sentinels there are of those for which `is_one` holds. Of a name, the family with more of them counts: a
    /// Sentinel that has an address of both is one.
    fn count(&self, is_one: impl Fn(&Sentinel) -> bool) -> usize {
        let mut by_name: BTreeMap<usize, [usize; 2]> = BTreeMap::new();
        for sentinel in self.sentinels.iter().filter(|sentinel| is_one(sentinel)) {
            let [v4, v6] = by_name.entry(sentinel.place.name).or_default();
            *(if sentinel.place.is_v6 { v6 } else { v4 }) += 1;
        }
        by_name.values().map(|[v4, v6]| v4.max(v6)).sum()
    }

    fn vote(&mut self, at: usize, master: Option<Address>) {
        let Some(sentinel) = self.sentinels.get_mut(at) else { return };
        if let Some(master) = &master {
            let before = sentinel.named.replace(master.clone());
            if before.is_some_and(|before| before != *master) {
                self.changes += 1;
                sentinel.changed = self.changes;
                self.refuted.retain(|refuted| refuted != master);
            }
        }
        sentinel.vote = Some(master);
    }

    /// Whether any may still answer for the first time, or anew.
    fn is_any_asked(&self) -> bool {
        self.sentinels.iter().any(|sentinel| match sentinel.state {
            State::Closed => sentinel.breaker.is_none(),
            State::Connecting | State::Asked { .. } | State::Hinted => true,
            State::Answered { .. } => false,
        })
    }
}

impl Sentinel {
    fn master(&self) -> Option<&Address> {
        self.vote.as_ref()?.as_ref()
    }

    fn ask_soon(&mut self) {
        // The answer to a question under way comes after what has happened.
        if let State::Answered { .. } = self.state {
            self.state = State::Hinted;
        }
    }

    fn due(&self, in_trouble: bool) -> Option<u64> {
        match self.state {
            State::Closed => {
                let at_least = if in_trouble { 0 } else { LEFT_ALONE };
                Some(self.breaker.as_ref().map_or(0, |breaker| breaker.due(at_least)))
            }
            State::Connecting => None,
            State::Asked { at } => Some(at.saturating_add(ANSWER_WITHIN)),
            State::Answered { at, random } => {
                let (least, spread) = if in_trouble { TROUBLE } else { CALM };
                Some(at.saturating_add(least + u64::from(random) % (spread + 1)))
            }
            State::Hinted => Some(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn host(number: u8) -> Address {
        Address::Host { host: format!("10.0.0.{number}"), port: Some(6379) }
    }

    fn sentinels(count: usize) -> Sentinels {
        Sentinels::new((0..count).map(|name| Place { name, is_v6: name == 1 }))
    }

    const SERVES: Option<u64> = None;

    /// For so long that it is gone.
    fn down(now: u64) -> Option<u64> {
        Some(now.saturating_sub(GONE_AFTER))
    }

    fn master(number: u8, by: usize, given: usize, of: usize) -> Option<Verdict> {
        Some(Verdict::Master { address: host(number), by, votes: Votes { given, of } })
    }

    /// All connected and asked at 0.
    fn asked(count: usize) -> Sentinels {
        let mut sentinels = sentinels(count);
        for at in 0..count {
            assert_eq!(sentinels.next(0, true), Step::Connect(at));
        }
        (0..count).for_each(|at| sentinels.ready(at, 0));
        sentinels
    }

    /// All have named these at 0, and the first was believed.
    fn answered(masters: &[u8]) -> Sentinels {
        let mut sentinels = asked(masters.len());
        for (at, &number) in masters.iter().enumerate() {
            sentinels.answered(at, Some(host(number)), 0, 0);
        }
        let votes = masters.iter().filter(|&&number| number == masters[0]).count();
        assert_eq!(sentinels.verdict(0, down(0)), master(masters[0], 0, votes, masters.len()));
        sentinels
    }

    #[test]
    fn the_first_answers_that_agree_are_enough() {
        let mut sentinels = asked(3);
        assert_eq!(sentinels.verdict(0, down(0)), None);
        sentinels.answered(1, Some(host(6)), 1, 0);
        assert_eq!(sentinels.verdict(1, down(1)), None);
        sentinels.answered(0, Some(host(6)), 2, 0);
        assert_eq!(sentinels.verdict(2, down(2)), master(6, 0, 2, 3));
        assert_eq!(sentinels.verdict(2, SERVES), None, "said once");
        sentinels.answered(2, Some(host(9)), 3, 0);
        assert_eq!(sentinels.verdict(3, SERVES), None, "one against two");
    }

    #[test]
    fn one_answer_is_enough_at_first_when_no_other_comes() {
        let mut sentinels = asked(3);
        assert!(sentinels.lost(0, 0, 0));
        sentinels.answered(1, Some(host(6)), 5, 0);
        assert_eq!(sentinels.verdict(5, down(5)), None, "the third may say something else");
        assert_eq!(sentinels.next(5, true), Step::At(25), "the first is tried again before");
        assert!(sentinels.lost(2, 30, 0));
        assert_eq!(sentinels.verdict(30, down(30)), master(6, 1, 1, 3));
    }

    #[test]
    fn a_silent_sentinel_is_waited_for_a_little() {
        let mut sentinels = asked(2);
        sentinels.answered(1, Some(host(6)), 5, 0);
        assert_eq!(sentinels.verdict(5, down(5)), None);
        assert_eq!(sentinels.next(499, false), Step::At(500));
        assert_eq!(sentinels.next(500, false), Step::Close(0));
        assert_eq!(sentinels.verdict(1004, down(1004)), None, "as long as it is not lost");
        assert_eq!(sentinels.next(1004, false), Step::Close(0));
        assert_eq!(sentinels.verdict(1005, down(1005)), master(6, 1, 1, 2), "but not for ever");
    }

    #[test]
    fn one_that_is_connected_to_for_long_is_waited_for_a_little() {
        let mut sentinels = sentinels(2);
        assert_eq!(
            (sentinels.next(0, true), sentinels.next(0, true)),
            (Step::Connect(0), Step::Connect(1))
        );
        sentinels.ready(1, 0);
        sentinels.answered(1, Some(host(6)), 5, u32::MAX);
        assert_eq!(sentinels.verdict(5, down(5)), None);
        for now in [5, 300, 600, 900] {
            sentinels.answered(1, Some(host(6)), now, u32::MAX);
            assert_eq!(sentinels.verdict(now, down(now)), None);
        }
        assert_eq!(sentinels.verdict(1005, down(1005)), master(6, 1, 1, 2));
    }

    #[test]
    fn a_lone_sentinel_moves_no_master_that_serves() {
        let mut sentinels = answered(&[5, 5, 5]);
        assert!(sentinels.lost(0, 10, 0) && sentinels.lost(1, 10, 0));
        sentinels.switched(2, host(6));
        for now in [20, 1_020, 5_019] {
            assert_eq!(sentinels.verdict(now, SERVES), None);
        }
        assert_eq!(sentinels.next(5_019, false), Step::Connect(0));
        let outvoted =
            Verdict::Outvoted { address: host(6), by: 2, votes: Votes { given: 1, of: 3 } };
        assert_eq!(sentinels.verdict(5_020, SERVES), Some(outvoted));
        assert_eq!(sentinels.verdict(9_000, SERVES), None, "said once");

        assert_eq!(sentinels.verdict(9_000, Some(9_000)), None, "it may only have stumbled");
        assert_eq!(sentinels.verdict(9_100, SERVES), None);
        assert_eq!(sentinels.verdict(9_200, Some(9_200)), None);
        assert_eq!(sentinels.verdict(10_199, Some(9_200)), None);
        assert_eq!(sentinels.verdict(10_200, Some(9_200)), master(6, 2, 1, 3), "it is gone");

        sentinels.ready(0, 10_300);
        sentinels.answered(0, Some(host(5)), 10_300, 0);
        assert_eq!(sentinels.verdict(10_300, SERVES), None);
        sentinels.ready(1, 10_400);
        sentinels.answered(1, Some(host(5)), 10_400, 0);
        assert_eq!(
            sentinels.verdict(10_400, SERVES),
            master(5, 0, 2, 3),
            "a majority is right at once"
        );
    }

    #[test]
    fn a_sentinel_with_addresses_of_both_families_is_one() {
        let of_names = |names: &[(usize, usize)]| {
            Sentinels::new(names.iter().enumerate().flat_map(|(name, &(v4, v6))| {
                (0..v4 + v6).map(move |at| Place { name, is_v6: at >= v4 })
            }))
        };
        // Three names, of which no Sentinel listens on IPv6.
        let mut three = of_names(&[(1, 1), (1, 1), (1, 1)]);
        three.answered(0, Some(host(6)), 1, 0);
        three.answered(2, Some(host(6)), 1, 0);
        assert_eq!(three.verdict(1, SERVES), master(6, 0, 2, 3));
        // One name of three Sentinels: the first alone is no more by two addresses.
        let mut three = of_names(&[(3, 3)]);
        three.answered(0, Some(host(6)), 1, 0);
        three.answered(3, Some(host(6)), 1, 0);
        assert_eq!(three.verdict(1, SERVES), None);
        three.answered(5, Some(host(6)), 1, 0);
        assert_eq!(three.verdict(1, SERVES), master(6, 0, 2, 3));
    }

    #[test]
    fn one_sentinel_alone_is_a_majority_of_one() {
        let mut sentinels = answered(&[5]);
        sentinels.switched(0, host(6));
        assert_eq!(sentinels.verdict(10, SERVES), master(6, 0, 1, 1));
    }

    #[test]
    fn a_change_is_believed_when_most_say_so() {
        let mut sentinels = answered(&[5, 5, 5]);
        sentinels.switched(2, host(6));
        assert_eq!(sentinels.verdict(10, down(10)), None);
        sentinels.switched(1, host(6));
        assert_eq!(sentinels.verdict(20, SERVES), master(6, 1, 2, 3));
        assert_eq!(sentinels.believed(), Some(&host(6)));
    }

    #[test]
    fn a_tie_moves_nobody_unless_the_master_is_gone() {
        let mut sentinels = answered(&[5, 5]);
        sentinels.switched(1, host(6));
        assert_eq!(sentinels.verdict(1000, SERVES), None);
        assert_eq!(
            sentinels.verdict(1000, down(1000)),
            master(6, 1, 1, 2),
            "who changed its mind is right"
        );
        assert_eq!(sentinels.verdict(1000, down(1000)), None);
        sentinels.switched(0, host(5));
        assert_eq!(
            sentinels.verdict(2000, down(2000)),
            None,
            "the same as ever is no change of mind"
        );
    }

    #[test]
    fn who_comes_back_with_an_old_answer_changes_nothing() {
        let mut sentinels = answered(&[5, 5]);
        assert!(sentinels.lost(0, 10, 0));
        sentinels.switched(1, host(6));
        assert_eq!(sentinels.verdict(20, Some(10)), None);
        assert_eq!(sentinels.verdict(1_010, Some(10)), master(6, 1, 1, 2));
        sentinels.ready(0, 1_030);
        sentinels.answered(0, Some(host(5)), 1_031, 0);
        assert_eq!(sentinels.verdict(2000, down(2000)), None);
    }

    #[test]
    fn a_replica_is_believed_only_when_nobody_names_another() {
        let mut sentinels = answered(&[5, 5, 6]);
        sentinels.refute();
        for at in 0..3 {
            assert_eq!(sentinels.next(1, true), Step::Ask(at), "asked again at once");
            sentinels.answered(at, Some(host(if at == 2 { 6 } else { 5 })), 2, 0);
        }
        assert_eq!(sentinels.verdict(2, Some(1)), None);
        assert_eq!(sentinels.verdict(1_001, Some(1)), master(6, 2, 1, 3));
        sentinels.refute();
        assert_eq!(
            sentinels.verdict(2000, down(2000)),
            master(5, 0, 2, 3),
            "of two replicas the one of most"
        );
        sentinels.switched(0, host(6));
        assert_eq!(
            sentinels.verdict(2000, down(2000)),
            master(6, 0, 2, 3),
            "it may have been promoted since"
        );
    }

    #[test]
    fn a_replica_that_was_promoted_is_a_master_like_any() {
        let mut sentinels = answered(&[5, 5, 5]);
        sentinels.refute();
        assert_eq!(sentinels.verdict(10, down(10)), None);
        assert_eq!(sentinels.verdict(20, SERVES), None, "it does well now");
        sentinels.switched(2, host(6));
        assert_eq!(sentinels.verdict(1000, down(1000)), None, "one against two");
    }

    #[test]
    fn without_any_answer_there_is_nobody() {
        let mut sentinels = asked(2);
        assert!(sentinels.lost(0, 0, 0));
        assert_eq!(sentinels.verdict(0, down(0)), None);
        assert!(sentinels.answered(1, None, 0, 0), "it knows no such master");
        assert!(!sentinels.answered(1, None, 0, 0), "which is said once");
        assert_eq!(sentinels.verdict(0, down(0)), Some(Verdict::Nobody));
        assert_eq!(sentinels.verdict(0, down(0)), None, "and so is this");
        sentinels.answered(1, Some(host(6)), 900, 0);
        assert_eq!(sentinels.verdict(900, down(900)), master(6, 1, 1, 2));
        assert!(sentinels.lost(1, 1000, 0));
        assert_eq!(sentinels.verdict(1000, down(1000)), None, "the last master known stays");
    }

    #[test]
    fn a_sentinel_is_told_lost_once() {
        let mut sentinels = asked(1);
        assert!(sentinels.lost(0, 0, 0));
        assert!(!sentinels.lost(0, 100, 0));
        sentinels.answered(0, Some(host(5)), 200, 0);
        assert!(sentinels.lost(0, 300, 0));
    }

    #[test]
    fn questions_come_fast_while_there_is_trouble() {
        let mut sentinels = answered(&[5]);
        assert_eq!(sentinels.next(0, false), Step::At(8_000));
        assert_eq!(sentinels.next(0, true), Step::At(100));
        assert_eq!(sentinels.next(100, true), Step::Ask(0));
        assert_eq!(sentinels.next(100, true), Step::At(600), "an answer is waited for");
        assert_eq!(sentinels.next(600, true), Step::Close(0));
        assert!(sentinels.lost(0, 600, 0));
        assert_eq!(sentinels.next(600, true), Step::At(625));
        assert_eq!(sentinels.next(600, false), Step::At(5_600));
        assert_eq!(sentinels.next(5_600, false), Step::Connect(0));
        assert_eq!(sentinels.next(5_600, false), Step::Nothing);
    }

    #[test]
    fn an_event_brings_a_question() {
        let mut sentinels = answered(&[5, 5]);
        sentinels.hinted(1);
        assert_eq!(sentinels.next(1, false), Step::Ask(1));
        sentinels.hinted(1);
        assert_eq!(sentinels.next(1, false), Step::At(501), "whose answer comes behind the event");
    }

    proptest! {
        /// Whatever happens: a master is believed only if somebody names it, as many as name any other unless it is
        /// refuted, and with time there is always something to do.
        #[test]
        fn the_belief_is_coherent(
            count in 1..5_usize,
            events in vec((0..5_usize, 0..6_u8, 0..3_u8, any::<bool>(), any::<u32>(), 0..700_u64), 0..200),
        ) {
            let mut sentinels = sentinels(count);
            let mut now = 0;
            for (at, event, number, in_trouble, random, passed) in events {
                now += passed;
                match event {
                    0 => { sentinels.answered(at, Some(host(number)), now, random); }
                    1 => { sentinels.answered(at, None, now, random); }
                    2 => { sentinels.lost(at, now, random); }
                    3 => sentinels.switched(at, host(number)),
                    4 => sentinels.refute(),
                    _ => sentinels.ready(at, now),
                }
                let down_since = in_trouble.then(|| now.saturating_sub(passed * 3));
                let believed = sentinels.believed().cloned();
                if let Some(Verdict::Master { address, by, votes: stated }) = sentinels.verdict(now, down_since) {
                    let may_leave = believed.is_none() || down_since.is_some_and(|since| now >= since + GONE_AFTER);
                    prop_assert!(stated.given * 2 > count || may_leave, "a minority moves nobody");
                    let votes = |address: &Address| {
                        sentinels.sentinels.iter().filter(|s| s.master() == Some(address)).count()
                    };
                    prop_assert_eq!(sentinels.sentinels[by].master(), Some(&address));
                    prop_assert_eq!(stated, Votes { given: votes(&address), of: count });
                    let refuted = &sentinels.refuted;
                    for other in (0..3).map(host).filter(|other| !refuted.contains(other)) {
                        prop_assert!(votes(&other) <= votes(&address) && !(refuted.contains(&address) && votes(&other) > 0));
                    }
                }
                let mut steps = 0;
                loop {
                    match sentinels.next(now, in_trouble) {
                        Step::Close(at) => { sentinels.lost(at, now, random); }
                        Step::Connect(at) | Step::Ask(at) => sentinels.ready(at, now),
                        Step::At(time) => {
                            prop_assert!(time >= now && time <= now + CALM.0 + CALM.1);
                            break;
                        }
                        Step::Nothing => break,
                    }
                    steps += 1;
                    prop_assert!(steps <= 3 * count, "steps end");
                }
            }
        }
    }
}
