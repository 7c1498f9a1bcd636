//! What is asked of one node at once: the commands of many lookups, written one behind the other, and what their
//! replies mean.

#![forbid(unsafe_code)]

use crate::store::command;
use crate::store::error::Failure;
use crate::store::fetched::{
    classify_count, classify_get, classify_hgetall, classify_pttl, Fetched, Ttl,
};
use crate::store::resp::Reply;
use crate::store::server_error::Code;

/// One thing that is asked about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A session, a string or a hash, and its remaining life if that matters.
    Fetch {
        /// It is a hash.
        hash: bool,
        /// The life is wanted.
        ttl: bool,
    },
    /// The end of a key.
    Delete,
    /// A life extended, to this many ms.
    Touch {
        /// The new life in ms.
        ms: u64,
        /// Never made shorter (Redis 7).
        longer: bool,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// The session; `Missing` for what was deleted or extended.
    pub fetched: Fetched<'static>,
    /// Its life, if it was asked for.
    pub ttl: Option<Ttl>,
}

impl Given {
    /// Of a failure.
    pub fn failed(failure: Failure) -> Self {
        Self { fetched: Fetched::Failed(failure), ttl: None }
    }
}

/// Items with their commands.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// By command: where it ends.
    ends: Vec<usize>,
    /// With the number of commands up to and with the item's.
    items: Vec<(Item, usize)>,
}

impl Batch {
    /// Adds an item.
    pub fn push(&mut self, item: Item, key: &[u8]) {
        let Self { bytes, ends, items } = self;
        match item {
            Item::Fetch { hash: true, .. } => command::hgetall(bytes, key),
            Item::Fetch { hash: false, .. } => command::get(bytes, key),
            Item::Delete => command::del(bytes, &[key]),
            Item::Touch { ms, longer: true } => command::pexpire_longer(bytes, key, ms),
            Item::Touch { ms, longer: false } => command::pexpire(bytes, key, ms),
        }
        ends.push(bytes.len());
        if let Item::Fetch { ttl: true, .. } = item {
            command::pttl(bytes, key);
            ends.push(bytes.len());
        }
        items.push((item, ends.len()));
    }

    /// The number of items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is nothing to ask.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// All commands but the first `done`, as they are sent, and their number.
    pub fn commands_from(&self, done: usize) -> (&[u8], usize) {
        let end = done.checked_sub(1).map_or(Some(0), |last| self.ends.get(last).copied());
        let rest = end.and_then(|end| self.bytes.get(end..)).unwrap_or_default();
        (rest, self.ends.len().saturating_sub(done))
    }

    /// Whether so many replies are enough for an item.
    pub fn is_answered(&self, item: usize, replies: usize) -> bool {
        self.items.get(item).is_some_and(|(_, end)| *end <= replies)
    }

    /// The number of commands, and so of replies.
    pub fn commands(&self) -> usize {
        self.ends.len()
    }

    /// The commands of one item, each as it is sent.
    pub fn commands_of(&self, item: usize) -> impl Iterator<Item = &[u8]> {
        let end = self.items.get(item).map_or(0, |(_, end)| *end);
        let first = match item.checked_sub(1) {
            Some(before) => self.items.get(before).map_or(end, |(_, end)| *end),
            None => 0,
        };
        (first..end).filter_map(|command| {
            let from = command.checked_sub(1).map_or(Some(&0), |before| self.ends.get(before))?;
            self.bytes.get(*from..*self.ends.get(command)?)
        })
    }

    /// What the replies to all commands, in order, mean by item; none for an item whose key is at another node.
    pub fn read(&self, replies: Vec<Reply<'static>>) -> Vec<Option<Given>> {
        let mut replies = replies.into_iter();
        let mut before = 0;
        let mut given = Vec::with_capacity(self.items.len());
        for (item, end) in &self.items {
            given.push(read_item(*item, replies.by_ref().take(end - before)));
            before = *end;
        }
        given
    }

    /// What the replies to the commands of one item mean.
    pub fn read_one(&self, item: usize, replies: Vec<Reply<'static>>) -> Option<Given> {
        read_item(self.items.get(item)?.0, replies.into_iter())
    }
}

fn read_item(item: Item, mut replies: impl Iterator<Item = Reply<'static>>) -> Option<Given> {
    let first = replies.next().unwrap_or(Reply::Status);
    let second = replies.next();
    if is_elsewhere(&first) || second.as_ref().is_some_and(is_elsewhere) {
        return None;
    }
    let fetched = match item {
        Item::Fetch { hash: true, .. } => classify_hgetall(first),
        Item::Fetch { hash: false, .. } => classify_get(first),
        Item::Delete | Item::Touch { .. } => match classify_count(first) {
            Ok(_) => Fetched::Missing,
            Err(failure) => Fetched::Failed(failure),
        },
    };
    Some(Given { fetched, ttl: second.and_then(|reply| classify_pttl(reply).ok()) })
}

/// Whether the node sends us to another one, for this time or for good.
pub fn is_elsewhere(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(error) if matches!(error.code(), Code::Ask | Code::Moved | Code::TryAgain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::server_error::ServerError;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::borrow::Cow;

    const GET: Item = Item::Fetch { hash: false, ttl: false };
    const GET_TTL: Item = Item::Fetch { hash: false, ttl: true };
    const HASH: Item = Item::Fetch { hash: true, ttl: false };

    fn bulk(text: &str) -> Reply<'static> {
        Reply::Bulk(Cow::Owned(text.into()))
    }

    fn error(text: &str) -> Reply<'static> {
        Reply::Error(ServerError::parse(text.as_bytes()))
    }

    fn value(text: &str, ttl: Option<Ttl>) -> Option<Given> {
        Some(Given { fetched: Fetched::Value(Cow::Owned(text.into())), ttl })
    }

    fn words(bytes: &[u8]) -> String {
        let text = str::from_utf8(bytes).unwrap();
        let words: Vec<_> = text
            .split("\r\n")
            .filter(|line| !line.is_empty() && !line.starts_with(['*', '$']))
            .collect();
        words.join(" ")
    }

    fn batch(items: &[(Item, &str)]) -> Batch {
        let mut batch = Batch::default();
        items.iter().for_each(|(item, key)| batch.push(*item, key.as_bytes()));
        batch
    }

    #[test]
    fn commands_stand_one_behind_the_other() {
        let batch = batch(&[
            (GET_TTL, "a"),
            (GET, "b"),
            (HASH, "c"),
            (Item::Delete, "d"),
            (Item::Touch { ms: 5, longer: true }, "e"),
            (Item::Touch { ms: 6, longer: false }, "f"),
        ]);
        let all = "GET a PTTL a GET b HGETALL c DEL d PEXPIRE e 5 GT PEXPIRE f 6";
        assert_eq!(words(batch.commands_from(0).0), all);
        assert_eq!((batch.len(), batch.commands()), (6, 7));
        let rest = |done| batch.commands_from(done);
        assert_eq!((words(rest(5).0), rest(5).1), ("PEXPIRE e 5 GT PEXPIRE f 6".to_owned(), 2));
        assert_eq!((rest(7), rest(8)), ((&b""[..], 0), (&b""[..], 0)));
        let answered =
            |replies| (0..7).map(|item| batch.is_answered(item, replies)).collect::<Vec<_>>();
        assert_eq!(answered(0), [false; 7]);
        assert_eq!(answered(2), [true, false, false, false, false, false, false]);
        assert_eq!(answered(3), [true, true, false, false, false, false, false]);
        let of = |item| batch.commands_of(item).map(words).collect::<Vec<_>>();
        assert_eq!(of(0), ["GET a", "PTTL a"]);
        assert_eq!(of(1), ["GET b"]);
        assert_eq!(of(5), ["PEXPIRE f 6"]);
        assert!(of(6).is_empty());
    }

    #[test]
    fn each_item_gets_its_replies() {
        let batch = batch(&[(GET_TTL, "a"), (GET, "b"), (Item::Delete, "c"), (GET, "d")]);
        let replies = vec![bulk("A"), Reply::Int(5), Reply::Null, Reply::Int(1), bulk("D")];
        let missing = Some(Given { fetched: Fetched::Missing, ttl: None });
        let expected = [value("A", Some(Ttl::Left(5))), missing.clone(), missing, value("D", None)];
        assert_eq!(batch.read(replies), expected);
    }

    #[test]
    fn an_item_at_another_node_has_no_meaning_yet() {
        let batch = batch(&[(GET_TTL, "a"), (GET_TTL, "b"), (GET, "c")]);
        let moved = error("MOVED 1 10.0.0.1:7000");
        let ask = error("ASK 1 10.0.0.1:7000");
        let replies = vec![moved.clone(), moved, bulk("B"), ask, error("TRYAGAIN Multiple keys")];
        assert_eq!(batch.read(replies), [None, None, None]);
        assert_eq!(
            batch.read_one(0, vec![bulk("A"), Reply::Int(-1)]),
            value("A", Some(Ttl::Endless))
        );
        assert_eq!(batch.read_one(3, vec![]), None);
    }

    #[test]
    fn an_error_is_that_of_its_item() {
        let batch = batch(&[(GET, "a"), (GET, "b"), (GET_TTL, "c"), (Item::Delete, "d")]);
        let perm = "NOPERM this user has no permissions";
        let replies =
            vec![error("WRONGTYPE Operation"), bulk("B"), bulk("C"), error(perm), error(perm)];
        let expected = [
            Some(Given { fetched: Fetched::WrongType, ttl: None }),
            value("B", None),
            value("C", None),
            Some(Given::failed(Failure::Server(ServerError::parse(perm.as_bytes())))),
        ];
        assert_eq!(batch.read(replies), expected);
    }

    #[test]
    fn a_reply_that_is_lacking_is_no_session() {
        let unexpected = Some(Given::failed(Failure::Unexpected));
        assert_eq!(batch(&[(GET, "a")]).read(vec![]), [unexpected]);
    }

    proptest! {
        #[test]
        fn the_items_commands_are_all_commands(items in vec((0..5_u8, vec(any::<u8>(), 0..20)), 0..50)) {
            let mut batch = Batch::default();
            for (item, key) in &items {
                let item = match item {
                    0 => GET,
                    1 => GET_TTL,
                    2 => HASH,
                    3 => Item::Delete,
                    _ => Item::Touch { ms: 7, longer: true },
                };
                batch.push(item, key);
            }
            let parts: Vec<&[u8]> = (0..batch.len()).flat_map(|item| batch.commands_of(item)).collect();
            prop_assert_eq!(parts.len(), batch.commands());
            prop_assert_eq!(parts.concat(), batch.commands_from(0).0);
        }

        /// Every item gets its own value, whatever stands before it.
        #[test]
        fn no_item_gets_anothers_value(ttls in vec(any::<bool>(), 1..50)) {
            let mut batch = Batch::default();
            let mut replies = Vec::new();
            for (at, &ttl) in ttls.iter().enumerate() {
                batch.push(Item::Fetch { hash: false, ttl }, at.to_string().as_bytes());
                replies.push(bulk(&at.to_string()));
                replies.extend(ttl.then_some(Reply::Int(at as i64)));
            }
            for (at, given) in batch.read(replies).into_iter().enumerate() {
                let ttl = ttls[at].then_some(Ttl::Left(at as u64));
                prop_assert_eq!(given, value(&at.to_string(), ttl));
            }
        }
    }
}
