//! The nodes of a cluster as a worker knows them: who serves a key, who is down, and when to look again.
//!
//! A node that is down costs only the keys that it alone has. It is not asked until a probe has found it well, and
//! until then the map is asked for again and again, so that a replica that took its place is found.

#![forbid(unsafe_code)]

mod watch;

use self::watch::MapWatch;
use super::map::{SlotMap, MOST_NODES};
use super::slot::{slot_of, SLOTS};
use super::NodeAddress;
use crate::store::breaker::Breaker;
use crate::store::error::Failure;
use crate::store::servers::{TriedSet, Went};

/// The nodes. A node is named by its place in the list, which it keeps while it is of the cluster.
#[derive(Debug)]
pub struct Nodes {
    nodes: Vec<Node>,
    shards: Vec<Shard>,
    /// By slot, the shard's place in the list, or [`NOBODY`].
    owners: Box<[u16]>,
    read_from_replicas: bool,
    map: MapWatch,
    /// The log was told that the whole store is down.
    down: bool,
    /// Counts reads, to take replicas by turns.
    turn: usize,
}

#[derive(Debug)]
struct Node {
    address: NodeAddress,
    /// Open while the node is down.
    breaker: Option<Breaker>,
    /// A probe is under way.
    probed: bool,
    /// As configured: where the map may be asked for.
    seed: bool,
    /// It is in the map.
    member: bool,
}

#[derive(Debug)]
struct Shard {
    master: usize,
    replicas: Vec<usize>,
}

/// The owner of a slot that nobody serves.
const NOBODY: u16 = u16::MAX;

/// Where to go with a question about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// To this node.
    To(usize),
    /// To one that only reads, and may be behind: if it has no such key, its master is to be asked.
    ToReplica(usize),
    /// Not known yet: the first map is on its way.
    Wait,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Ask this node for the map, and report [`Nodes::adopt`] or [`Nodes::map_failed`].
    Map(usize),
    /// Probe this node, and report [`Nodes::probe_failed`] or [`Nodes::probe_succeeded`].
    Probe(usize),
    /// Ask again at this time, in ms.
    At(u64),
}

impl Nodes {
    /// Of the nodes that are configured; the map is due at once.
    pub fn new(seeds: Vec<NodeAddress>, read_from_replicas: bool) -> Self {
        let seed =
            |address| Node { address, breaker: None, probed: false, seed: true, member: false };
        Self {
            nodes: seeds.into_iter().map(seed).collect(),
            shards: Vec::new(),
            owners: vec![NOBODY; usize::from(SLOTS)].into(),
            read_from_replicas,
            map: MapWatch::default(),
            down: false,
            turn: 0,
        }
    }

    /// Where a node listens.
    pub fn address(&self, node: usize) -> Option<&NodeAddress> {
        self.nodes.get(node).map(|node| &node.address)
    }

    /// The node that listens there.
    pub fn find(&self, address: &NodeAddress) -> Option<usize> {
        self.nodes.iter().position(|node| node.address == *address)
    }

    /// Whether any node can be asked for a key.
    pub fn is_up(&self) -> bool {
        self.map.is_known() && self.nodes.iter().any(|node| node.member && node.breaker.is_none())
    }

    /// Whom to ask about a key at `now` (ms); one to `write` to takes writes. Those `tried` are not asked again.
    pub fn route(
        &mut self,
        key: &[u8],
        write: bool,
        tried: &TriedSet,
        now: u64,
    ) -> Result<Route, Failure> {
        if !self.map.is_known() {
            return if self.map.is_lost() { Err(Failure::Down) } else { Ok(Route::Wait) };
        }
        let owner = self.owners.get(usize::from(slot_of(key))).copied().unwrap_or(NOBODY);
        let Some(shard) = self.shards.get(usize::from(owner)) else {
            self.map.want(now);
            return Err(Failure::Uncovered);
        };
        let may = |node: usize| {
            !tried.contains(node) && self.nodes.get(node).is_some_and(|node| node.breaker.is_none())
        };
        if self.read_from_replicas && !write && !shard.replicas.is_empty() {
            self.turn = self.turn.wrapping_add(1);
            let count = shard.replicas.len();
            let mut by_turns = (0..count).map(|n| shard.replicas[(self.turn + n) % count]);
            if let Some(replica) = by_turns.find(|&replica| may(replica)) {
                return Ok(Route::ToReplica(replica));
            }
        }
        match may(shard.master) {
            true => Ok(Route::To(shard.master)),
            false if self.is_up() => Err(Failure::ServerDown),
            false => Err(Failure::Down),
        }
    }

    /// A node failed for its own sake, at `now` (ms). `random` spreads the probes of several workers.
    pub fn failed(&mut self, node: usize, now: u64, random: u32) -> Option<Went> {
        let failed =
            self.nodes.get_mut(node).filter(|node| node.member && node.breaker.is_none())?;
        failed.breaker = Some(Breaker::open(now, random));
        self.map.want(now);
        Some(Went::Down { store: self.goes_down() })
    }

    /// Whether the whole store is down, which is not known to the log yet.
    fn goes_down(&mut self) -> bool {
        !self.is_up() && !std::mem::replace(&mut self.down, true)
    }

    /// Whether the store is back, which is not known to the log yet.
    fn comes_up(&mut self) -> bool {
        self.is_up() && std::mem::take(&mut self.down)
    }

    /// The probe of this node found it well.
    pub fn probe_succeeded(&mut self, node: usize) -> Option<Went> {
        let probed = self.nodes.get_mut(node)?;
        probed.probed = false;
        probed.breaker.take()?;
        Some(Went::Up { store: self.comes_up() })
    }

    /// The probe of this node ended at `now` (ms), and it is still down.
    pub fn probe_failed(&mut self, node: usize, now: u64, random: u32) {
        if let Some(probed) = self.nodes.get_mut(node) {
            probed.probed = false;
            if let Some(breaker) = &mut probed.breaker {
                breaker.still_down(now, random);
            }
        }
    }

    /// The map is to be asked for again soon: something did not fit it.
    pub fn want_map(&mut self, now: u64) {
        self.map.want(now);
    }

    /// What to do at `now` (ms). What it orders counts as begun. To be asked until it says when, and again after
    /// each report and each change of state.
    pub fn due(&mut self, now: u64) -> Due {
        if self.map.is_due(now) {
            if let Some(node) = self.node_for_map() {
                self.map.begin(node, now);
                return Due::Map(node);
            }
        }
        let mut next = self.map.due();
        for (at, node) in self.nodes.iter_mut().enumerate() {
            let Some(breaker) = node.breaker.as_ref().filter(|_| node.member && !node.probed)
            else {
                continue;
            };
            let due = breaker.due(0);
            if due <= now {
                node.probed = true;
                return Due::Probe(at);
            }
            next = next.min(due);
        }
        Due::At(next)
    }

    /// The next node to ask for the map: of those not asked in this round the ones that are well first.
    fn node_for_map(&self) -> Option<usize> {
        let count = self.nodes.len();
        let first = self.map.first_of_round();
        let in_turn = || (0..count).map(|n| (first + n) % count).filter(|&n| !self.map.is_tried(n));
        let is_well =
            |&n: &usize| self.nodes.get(n).is_some_and(|n| n.member && n.breaker.is_none());
        let may = |&n: &usize| self.nodes.get(n).is_some_and(|n| n.member || n.seed);
        in_turn().find(is_well).or_else(|| in_turn().find(may))
    }

    /// A node did not tell the map, at `now` (ms). When the round is over and there is no map at all, the store is down.
    pub fn map_failed(&mut self, node: usize, now: u64, random: u32) -> Option<Went> {
        let was_asked = self.map.end(node);
        if !was_asked || self.node_for_map().is_some() {
            return None;
        }
        self.map.round_failed(now, random);
        (!self.map.is_known() && self.goes_down()).then_some(Went::Down { store: true })
    }

    /// A node told the map, at `now` (ms). Lookups that wait are to be routed anew.
    pub fn adopt(&mut self, node: usize, map: &SlotMap, now: u64) -> Option<Went> {
        if !self.map.end(node) {
            return None;
        }
        self.nodes.iter_mut().for_each(|node| node.member = false);
        let shards = map.shards().iter().map(|shard| {
            let master = self.insert(&shard.master)?;
            let replicas =
                shard.replicas.iter().filter_map(|replica| self.insert(replica)).collect();
            Some(Shard { master, replicas })
        });
        let shards: Vec<Option<Shard>> = shards.collect();
        self.owners.fill(NOBODY);
        for range in map.ranges() {
            let is_known = shards.get(range.shard).is_some_and(Option::is_some);
            let owner = u16::try_from(range.shard).ok().filter(|_| is_known).unwrap_or(NOBODY);
            let slots = usize::from(range.first)..=usize::from(range.last);
            self.owners.get_mut(slots).into_iter().for_each(|slots| slots.fill(owner));
        }
        // A shard without a place in the list of nodes keeps its own in that of shards; nobody is sent there.
        let nowhere = || Shard { master: usize::MAX, replicas: Vec::new() };
        self.shards = shards.into_iter().map(|shard| shard.unwrap_or_else(nowhere)).collect();
        let is_any_down = self.shards.iter().any(|shard| !self.is_node_up(shard.master));
        self.map.round_succeeded(now, is_any_down);
        self.comes_up().then_some(Went::Up { store: true })
    }

    /// Whether a node may be asked.
    pub fn is_node_up(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|node| node.breaker.is_none())
    }

    /// A node said that a slot has moved to another one, at `now` (ms): keys of it are asked for there from now on.
    pub fn learn(&mut self, slot: u16, address: &NodeAddress, now: u64) {
        self.map.want(now);
        let Some(master) = self.insert(address) else { return };
        let known = self.shards.iter().position(|shard| shard.master == master);
        let shard = known.unwrap_or(self.shards.len());
        let Ok(owner) = u16::try_from(shard) else { return };
        if let Some(slot) = self.owners.get_mut(usize::from(slot)).filter(|_| owner != NOBODY) {
            *slot = owner;
            if known.is_none() {
                self.shards.push(Shard { master, replicas: Vec::new() });
            }
        }
    }

    /// The place of a node that is of the cluster. None where there are too many.
    fn insert(&mut self, address: &NodeAddress) -> Option<usize> {
        let place = self.find(address).or_else(|| self.free_place(address))?;
        self.nodes.get_mut(place)?.member = true;
        Some(place)
    }

    /// A new place, or that of a node which is of the cluster no more.
    fn free_place(&mut self, address: &NodeAddress) -> Option<usize> {
        let new = Node {
            address: address.clone(),
            breaker: None,
            probed: false,
            seed: false,
            member: true,
        };
        if self.nodes.len() < 2 * MOST_NODES {
            self.nodes.push(new);
            return Some(self.nodes.len() - 1);
        }
        let left = self.nodes.iter().position(|node| !node.member && !node.seed && !node.probed)?;
        *self.nodes.get_mut(left)? = new;
        Some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::breaker::LONGEST_WAIT_MS;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use redis::Value;

    const NONE: &TriedSet = &TriedSet::NONE;

    fn address(name: &str) -> NodeAddress {
        NodeAddress { host: name.into(), port: 1 }
    }

    /// `first-last:master,replica,…`
    fn map(text: &str) -> SlotMap {
        let node = |name: &str| Value::Array(vec![Value::BulkString(name.into()), Value::Int(1)]);
        let entry = |entry: &str| {
            let (slots, nodes) = entry.split_once(':').unwrap();
            let (first, last) = slots.split_once('-').unwrap();
            let slots = [first, last].map(|slot| Value::Int(slot.parse().unwrap()));
            Value::Array(slots.into_iter().chain(nodes.split(',').map(node)).collect())
        };
        SlotMap::parse(Value::Array(text.split_whitespace().map(entry).collect()), &address("?"))
            .unwrap()
    }

    const THREE: &str = "0-5460:a,d 5461-10922:b,e 10923-16383:c,f";

    /// Keys of slots 12182, 5061 and 866.
    const OF_C: &[u8] = b"foo";
    const OF_A: &[u8] = b"bar";

    fn started(text: &str, replicas: bool) -> Nodes {
        let mut nodes = Nodes::new(vec![address("a"), address("seed")], replicas);
        assert_eq!(nodes.due(0), Due::Map(0));
        assert_eq!(nodes.adopt(0, &map(text), 0), None);
        nodes
    }

    fn name(nodes: &Nodes, node: usize) -> String {
        nodes.address(node).unwrap().host.to_string()
    }

    fn asked(nodes: &mut Nodes, key: &[u8], write: bool) -> Result<String, Failure> {
        match nodes.route(key, write, NONE, 0)? {
            Route::To(node) | Route::ToReplica(node) => Ok(name(nodes, node)),
            Route::Wait => Ok("wait".into()),
        }
    }

    fn place(nodes: &Nodes, name: &str) -> usize {
        nodes.find(&address(name)).unwrap()
    }

    #[test]
    fn a_key_goes_to_the_master_of_its_slot() {
        let mut nodes = started(THREE, false);
        for write in [false, true] {
            assert_eq!(asked(&mut nodes, OF_A, write).unwrap(), "a");
            assert_eq!(asked(&mut nodes, OF_C, write).unwrap(), "c");
        }
    }

    #[test]
    fn replicas_are_read_by_turns_and_never_written() {
        let mut nodes = started("0-16383:a,b,c", true);
        let read: Vec<_> = (0..4).map(|_| asked(&mut nodes, OF_A, false).unwrap()).collect();
        assert_eq!(read, ["c", "b", "c", "b"]);
        assert_eq!(asked(&mut nodes, OF_A, true).unwrap(), "a");
        let (b, c) = (place(&nodes, "b"), place(&nodes, "c"));
        assert!(nodes.failed(b, 0, 0).is_some());
        assert_eq!(nodes.route(OF_A, false, NONE, 0), Ok(Route::ToReplica(c)));
        let mut tried = TriedSet::default();
        tried.insert(c);
        let master = place(&nodes, "a");
        assert_eq!(
            nodes.route(OF_A, false, &tried, 0),
            Ok(Route::To(master)),
            "when no replica is left"
        );
    }

    #[test]
    fn a_lookup_waits_for_the_first_map() {
        let mut nodes = Nodes::new(vec![address("x"), address("y")], false);
        assert_eq!(nodes.route(OF_A, false, NONE, 0), Ok(Route::Wait));
        assert_eq!(nodes.due(0), Due::Map(0));
        assert_eq!(nodes.route(OF_A, false, NONE, 0), Ok(Route::Wait));
        assert_eq!(nodes.map_failed(0, 1, 0), None, "there is another seed");
        assert_eq!(nodes.due(1), Due::Map(1));
        assert_eq!(nodes.map_failed(1, 2, 0), Some(Went::Down { store: true }));
        assert_eq!(nodes.route(OF_A, false, NONE, 2), Err(Failure::Down));
        let Due::At(next) = nodes.due(2) else { panic!() };
        assert!(2 < next && next <= 2 + LONGEST_WAIT_MS);
        let Due::Map(asked) = nodes.due(next) else { panic!() };
        assert_eq!(nodes.adopt(asked, &map(THREE), next), Some(Went::Up { store: true }));
        assert!(nodes.is_up());
    }

    #[test]
    fn a_node_that_is_down_costs_only_its_own_keys() {
        let mut nodes = started(THREE, false);
        let a = place(&nodes, "a");
        assert_eq!(nodes.failed(a, 100, 0), Some(Went::Down { store: false }));
        assert_eq!(nodes.failed(a, 100, 0), None, "it is told once");
        assert_eq!(asked(&mut nodes, OF_A, false), Err(Failure::ServerDown));
        assert_eq!(asked(&mut nodes, OF_C, false).unwrap(), "c");
        let Due::Map(asked_for_map) = nodes.due(100) else { panic!("the map is looked at again") };
        assert_ne!(asked_for_map, a, "of one that is well");
        assert_eq!(
            nodes.adopt(asked_for_map, &map("0-5460:d 5461-10922:b,e 10923-16383:c,f"), 110),
            None
        );
        assert_eq!(asked(&mut nodes, OF_A, false).unwrap(), "d", "a replica took its place");
        let Due::At(next) = nodes.due(110) else { panic!() };
        assert!(next > 5_000, "a node that left is not probed");
    }

    #[test]
    fn the_map_is_looked_at_while_a_master_is_down() {
        let mut nodes = started(THREE, false);
        let a = place(&nodes, "a");
        assert!(nodes.failed(a, 1_000, 0).is_some());
        let mut now = 1_000;
        let mut asked = 0;
        while now < 3_000 {
            match nodes.due(now) {
                Due::Map(node) => {
                    asked += 1;
                    assert_eq!(nodes.adopt(node, &map(THREE), now), None);
                }
                Due::Probe(node) => nodes.probe_failed(node, now, 0),
                Due::At(next) => now = next.max(now + 1),
            }
        }
        assert!((5..=41).contains(&asked), "{asked}");
    }

    #[test]
    fn a_node_is_back_when_its_probe_says_so() {
        let mut nodes = started(THREE, false);
        let nodes_of = ["a", "b", "c", "d", "e", "f"].map(|name| place(&nodes, name));
        for (at, &node) in nodes_of.iter().enumerate() {
            assert_eq!(nodes.failed(node, 0, 0), Some(Went::Down { store: at == 5 }));
        }
        assert_eq!(asked(&mut nodes, OF_C, false), Err(Failure::Down));
        let mut probed = Vec::new();
        while probed.len() < 6 {
            match nodes.due(60) {
                Due::Probe(node) => probed.push(node),
                Due::Map(node) => assert_eq!(nodes.map_failed(node, 60, 0), None),
                Due::At(_) => panic!("all are due"),
            }
        }
        assert_eq!(nodes.probe_succeeded(probed[0]), Some(Went::Up { store: true }));
        assert_eq!(nodes.probe_succeeded(probed[1]), Some(Went::Up { store: false }));
        assert_eq!(nodes.probe_succeeded(probed[1]), None);
        nodes.probe_failed(probed[2], 60, 0);
        assert!(!nodes.is_node_up(probed[2]));
    }

    #[test]
    fn a_slot_that_moved_is_asked_for_at_its_new_node() {
        let mut nodes = started(THREE, false);
        nodes.learn(5061, &address("c"), 10);
        assert_eq!(asked(&mut nodes, OF_A, false).unwrap(), "c");
        nodes.learn(5061, &address("new"), 10);
        assert_eq!(asked(&mut nodes, OF_A, true).unwrap(), "new");
        assert!(matches!(nodes.due(200), Due::Map(_)), "and the map is looked at again");
    }

    #[test]
    fn a_slot_that_nobody_serves_is_not_asked_for() {
        let mut nodes = started("0-5000:a 5061-16383:b", false);
        assert_eq!(asked(&mut nodes, OF_A, false).unwrap(), "b");
        let mut nodes = started("0-5060:a 5062-16383:b", false);
        assert_eq!(asked(&mut nodes, OF_A, false), Err(Failure::Uncovered));
        assert!(matches!(nodes.due(200), Due::Map(_)));
    }

    #[test]
    fn the_map_is_looked_at_now_and_then() {
        let mut nodes = started(THREE, false);
        let Due::At(next) = nodes.due(1) else { panic!() };
        assert_eq!(next, watch::PERIOD);
        assert!(matches!(nodes.due(next), Due::Map(_)));
        assert!(!matches!(nodes.due(next), Due::Map(_)), "one at a time");
    }

    #[test]
    fn a_late_map_is_not_taken() {
        let mut nodes = started(THREE, false);
        assert_eq!(nodes.adopt(0, &map("0-16383:evil"), 5), None);
        assert_eq!(asked(&mut nodes, OF_A, false).unwrap(), "a");
    }

    #[test]
    fn the_places_of_nodes_that_left_are_used_again() {
        let mut nodes = Nodes::new(vec![address("seed")], false);
        let mut now = 0;
        for n in 0..3 * MOST_NODES {
            now += 20_000;
            let Due::Map(asked) = nodes.due(now) else { panic!() };
            nodes.adopt(asked, &map(&format!("0-16383:node{n}")), now);
            assert_eq!(asked_name(&mut nodes), format!("node{n}"));
        }
        assert!(nodes.nodes.len() <= 2 * MOST_NODES);
    }

    fn asked_name(nodes: &mut Nodes) -> String {
        asked(nodes, OF_A, false).unwrap()
    }

    proptest! {
        /// Whatever happens: nobody is asked who is down, the store is told down and up by turns, and there is
        /// always a next step.
        #[test]
        fn the_state_is_coherent(
            events in vec((0..8_u8, 0..6_usize, any::<u32>(), 0..400_u64), 0..200),
            replicas: bool,
        ) {
            let mut nodes = started(THREE, replicas);
            let (mut now, mut is_up) = (0, true);
            let mut probes: Vec<usize> = Vec::new();
            let mut map_asked: Option<usize> = None;
            for (event, node, random, passed) in events {
                now += passed;
                let went = match event {
                    0 | 1 => nodes.failed(node, now, random),
                    2 => probes.pop().and_then(|node| nodes.probe_succeeded(node)),
                    3 => {
                        if let Some(node) = probes.pop() {
                            nodes.probe_failed(node, now, random);
                        }
                        None
                    }
                    4 => map_asked.take().and_then(|node| nodes.adopt(node, &map(THREE), now)),
                    5 => map_asked.take().and_then(|node| nodes.map_failed(node, now, random)),
                    6 => {
                        nodes.learn((random % 16384) as u16, &address("g"), now);
                        None
                    }
                    _ => None,
                };
                match went {
                    Some(Went::Down { store: true }) => { prop_assert!(is_up); is_up = false; }
                    Some(Went::Up { store: true }) => { prop_assert!(!is_up); is_up = true; }
                    _ => {}
                }
                for key in [OF_A, OF_C] {
                    if let Ok(Route::To(node) | Route::ToReplica(node)) = nodes.route(key, false, NONE, now) {
                        prop_assert!(nodes.is_node_up(node));
                    }
                }
                loop {
                    match nodes.due(now) {
                        Due::Map(node) => { prop_assert!(map_asked.is_none()); map_asked = Some(node); }
                        Due::Probe(node) => { prop_assert!(!probes.contains(&node)); probes.push(node); }
                        Due::At(next) => { prop_assert!(next > now || map_asked.is_some()); break; }
                    }
                }
            }
        }
    }
}
