//! Who serves which slots, out of a reply to `CLUSTER SLOTS`.
//!
//! Entries that are malformed are left out rather than spoil the others: their slots count as served by nobody. What
//! later versions may add to an entry is passed over.

#![forbid(unsafe_code)]

use redis::Value;

use super::slot::SLOTS;
use super::NodeAddress;

/// The nodes of a map that are taken: more than a cluster can have in practice (about 1000).
pub const MOST_NODES: usize = 4096;

/// The replicas of a master that are taken.
const MOST_REPLICAS: usize = 32;

/// The map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlotMap {
    shards: Vec<Shard>,
    ranges: Vec<Range>,
}

/// A master and those who have the same data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Takes writes.
    pub master: NodeAddress,
    /// Read from at most.
    pub replicas: Vec<NodeAddress>,
}

/// Slots that one shard serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first slot.
    pub first: u16,
    /// The last slot, which is not before the first.
    pub last: u16,
    /// The shard's place in the list.
    pub shard: usize,
}

impl SlotMap {
    /// Of the reply that the node `asked` gave; none where it is no map at all.
    pub fn parse(reply: Value, asked: &NodeAddress) -> Option<Self> {
        let Value::Array(entries) = reply else { return None };
        let mut map = Self::default();
        let mut nodes = 0;
        for (first, last, shard) in entries.into_iter().filter_map(|entry| range(entry, asked)) {
            let known = map.shards.iter().position(|known| known.master == shard.master);
            let shard = match known {
                Some(known) => known,
                None => {
                    nodes += 1 + shard.replicas.len();
                    if nodes > MOST_NODES {
                        continue;
                    }
                    map.shards.push(shard);
                    map.shards.len() - 1
                }
            };
            map.ranges.push(Range { first, last, shard });
        }
        Some(map)
    }

    /// The shards, each once.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Who serves what. Of ranges that overlap, which no cluster reports, the later one counts.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }
}

/// `[first, last, [host, port, …], …]`: the master first, then the replicas.
fn range(entry: Value, asked: &NodeAddress) -> Option<(u16, u16, Shard)> {
    let Value::Array(parts) = entry else { return None };
    let mut parts = parts.into_iter();
    let first = slot(parts.next()?)?;
    let last = slot(parts.next()?)?;
    let master = node(parts.next()?, asked)?;
    let replicas = parts.filter_map(|part| node(part, asked)).take(MOST_REPLICAS).collect();
    (first <= last).then_some((first, last, Shard { master, replicas }))
}

fn slot(value: Value) -> Option<u16> {
    match value {
        Value::Int(slot) => u16::try_from(slot).ok().filter(|&slot| slot < SLOTS),
        _ => None,
    }
}

/// `[host, port, …]`: a node without a host is at the address at which the map was asked for; `?` is one that does not
/// know its own.
fn node(value: Value, asked: &NodeAddress) -> Option<NodeAddress> {
    let Value::Array(parts) = value else { return None };
    let mut parts = parts.into_iter();
    let host = match parts.next()? {
        Value::BulkString(host) => host,
        Value::SimpleString(host) => host.into_bytes(),
        Value::Nil => Vec::new(),
        _ => return None,
    };
    let Value::Int(port) = parts.next()? else { return None };
    match &*host {
        b"" => NodeAddress::new(asked.host.as_bytes(), port),
        host => NodeAddress::new(host, port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn asked() -> NodeAddress {
        address("10.0.0.9", 6379)
    }

    fn address(host: &str, port: u16) -> NodeAddress {
        NodeAddress { host: host.into(), port }
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn entry(first: i64, last: i64, nodes: Vec<Value>) -> Value {
        Value::Array([vec![Value::Int(first), Value::Int(last)], nodes].concat())
    }

    fn at(host: &str, port: i64) -> Value {
        Value::Array(vec![
            text(host),
            Value::Int(port),
            text("09dbe9720cda62f7865eabc5fd8857c5d2678366"),
        ])
    }

    fn parse(entries: Vec<Value>) -> SlotMap {
        SlotMap::parse(Value::Array(entries), &asked()).unwrap()
    }

    #[test]
    fn a_map_has_masters_and_replicas() {
        let map = parse(vec![
            entry(0, 5460, vec![at("10.0.0.1", 7000), at("10.0.0.4", 7003)]),
            entry(5461, 16383, vec![at("node-2.example", 7001), at("::1", 7004)]),
        ]);
        let shards = [
            Shard { master: address("10.0.0.1", 7000), replicas: vec![address("10.0.0.4", 7003)] },
            Shard { master: address("node-2.example", 7001), replicas: vec![address("::1", 7004)] },
        ];
        assert_eq!(map.shards(), shards);
        let ranges = [
            Range { first: 0, last: 5460, shard: 0 },
            Range { first: 5461, last: 16383, shard: 1 },
        ];
        assert_eq!(map.ranges(), ranges);
    }

    #[test]
    fn a_master_with_several_ranges_is_one_shard() {
        let map = parse(vec![
            entry(0, 0, vec![at("a", 1)]),
            entry(1, 1, vec![at("b", 1)]),
            entry(2, 16383, vec![at("a", 1)]),
        ]);
        assert_eq!(map.shards().len(), 2);
        assert_eq!(map.ranges()[2], Range { first: 2, last: 16383, shard: 0 });
    }

    #[test]
    fn what_later_versions_add_is_passed_over() {
        let extra = Value::Array(vec![text("hostname"), text("node-1.example")]);
        let node = Value::Array(vec![text("10.0.0.1"), Value::Int(7000), text("id"), extra]);
        let map = parse(vec![entry(0, 1, vec![node, Value::Okay, Value::Array(vec![])])]);
        assert_eq!(map.shards(), [Shard { master: address("10.0.0.1", 7000), replicas: vec![] }]);
    }

    #[test]
    fn a_node_without_a_host_is_where_it_was_asked() {
        for host in [text(""), Value::Nil] {
            let map = parse(vec![entry(0, 1, vec![Value::Array(vec![host, Value::Int(7000)])])]);
            assert_eq!(map.shards()[0].master, address("10.0.0.9", 7000));
        }
    }

    #[test]
    fn what_is_malformed_is_left_out() {
        let bad = vec![
            entry(0, 16384, vec![at("a", 1)]),
            entry(-1, 5, vec![at("a", 1)]),
            entry(5, 4, vec![at("a", 1)]),
            entry(0, 1, vec![]),
            entry(0, 1, vec![at("?", 1)]),
            entry(0, 1, vec![at("a", 0)]),
            entry(0, 1, vec![at("a", 65536)]),
            entry(0, 1, vec![at("a b", 1)]),
            entry(0, 1, vec![at(&"a".repeat(256), 1)]),
            Value::Nil,
            Value::Array(vec![]),
        ];
        let mut entries = bad;
        entries.push(entry(7, 8, vec![at("good", 1), at("?", 1)]));
        let map = parse(entries);
        assert_eq!(map.shards(), [Shard { master: address("good", 1), replicas: vec![] }]);
        assert_eq!(map.ranges(), [Range { first: 7, last: 8, shard: 0 }]);
        assert_eq!(SlotMap::parse(Value::Nil, &asked()), None);
        assert_eq!(parse(vec![]), SlotMap::default());
    }

    #[test]
    fn a_map_is_bounded() {
        let entries = (0..10_000).map(|n| entry(n, n, vec![at(&format!("node{n}"), 1)])).collect();
        assert_eq!(parse(entries).shards().len(), MOST_NODES);
        let nodes = (0..1000).map(|n| at(&format!("node{n}"), 1)).collect();
        assert_eq!(parse(vec![entry(0, 1, nodes)]).shards()[0].replicas.len(), MOST_REPLICAS);
    }

    proptest! {
        #[test]
        fn every_range_has_its_shard(
            entries in vec((-2..20_000_i64, -2..20_000_i64, "[a-c?]{0,2}", -1..70_000_i64), 0..50),
        ) {
            let entries = entries.into_iter().map(|(first, last, host, port)| entry(first, last, vec![at(&host, port)]));
            let map = parse(entries.collect());
            for range in map.ranges() {
                prop_assert!(range.first <= range.last && range.last < SLOTS);
                prop_assert!(range.shard < map.shards().len());
            }
        }
    }
}
