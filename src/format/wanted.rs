//! Which parts of a session a location needs, so that a decoder builds only these.

#![forbid(unsafe_code)]

use std::borrow::Cow;

use super::text;
use crate::pointer::{index, Pointer, Token};

/// A set of pointers as a trie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// No part; a decoder still walks the value, so that what is no session is told from one.
    Nothing,
    /// The value and all below it.
    All,
    /// As `All`, and of each object the name of its class.
    Described,
    /// Some of what is below the value.
    Some(Members),
}

/// What is wanted of the members of an object or the elements of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    named: Vec<(String, Wanted)>,
    /// The [`length`]s of these names: most others differ in that already.
    lengths: u64,
    /// What is wanted of every one (`*`), merged into those that are named too.
    each: Box<Wanted>,
    /// How many elements of an array are of interest: one more than the greatest index wanted.
    reach: usize,
}

impl Wanted {
    /// The name by which the class of an object is asked for, where the object has no such member itself.
    pub const CLASS: &'static str = "@class";

    /// What `pointers` reach.
    pub fn of<'p>(pointers: impl IntoIterator<Item = &'p Pointer>) -> Self {
        pointers
            .into_iter()
            .fold(Self::Nothing, |wanted, pointer| wanted.union(&Self::path(pointer.tokens())))
    }

    /// Whether all that `other` wants is wanted here: what was read for `self` will do for `other`.
    pub fn covers(&self, other: &Self) -> bool {
        self.union(other) == *self
    }

    /// What is wanted of the member `name`; one that is no text has the name that [`text`] makes of it.
    #[inline(always)]
    pub(crate) fn member(&self, name: &[u8]) -> &Self {
        match self {
            Self::Nothing | Self::All | Self::Described => self,
            Self::Some(members) if members.lengths & length(name) == 0 => &members.each,
            Self::Some(members) => members.named_or_each(name),
        }
    }

    /// How many members are wanted by their names: what a reader makes room for.
    pub(crate) fn names(&self) -> usize {
        match self {
            Self::Nothing | Self::All | Self::Described => 0,
            Self::Some(members) => members.named.len(),
        }
    }

    /// For how many members a reader makes room, of so many that there are.
    pub(super) fn members(&self, there: usize) -> usize {
        match self {
            Self::Nothing => 0,
            Self::All | Self::Described => there,
            Self::Some(members) if *members.each == Self::Nothing => there.min(members.named.len()),
            Self::Some(_) => there,
        }
    }

    /// How many elements are read, of so many that there are.
    pub(super) fn elements(&self, there: usize) -> usize {
        match self {
            Self::Nothing => 0,
            Self::All | Self::Described => there,
            Self::Some(members) if *members.each == Self::Nothing => there.min(members.reach),
            Self::Some(_) => there,
        }
    }

    /// What is wanted of the element at `index`; like [`member`](Self::member), whatever the container is.
    pub(crate) fn element(&self, index: usize) -> &Self {
        match self {
            Self::Nothing | Self::All | Self::Described => self,
            Self::Some(members) if index >= members.reach => &members.each,
            Self::Some(members) => members.at(index).unwrap_or(&members.each),
        }
    }

    /// Whether no element from `index` on is wanted.
    pub(super) fn ends_before(&self, index: usize) -> bool {
        match self {
            Self::Nothing => true,
            Self::All | Self::Described => false,
            Self::Some(members) => index >= members.reach && *members.each == Self::Nothing,
        }
    }

    /// Whether the class of an object is wanted, too.
    pub(super) fn class(&self) -> bool {
        match self {
            Self::Nothing | Self::All => false,
            Self::Described => true,
            Self::Some(members) => members.named(Self::CLASS.as_bytes()).is_some(),
        }
    }

    fn path(tokens: &[Token]) -> Self {
        let Some((token, rest)) = tokens.split_first() else { return Self::All };
        let below = Self::path(rest);
        Self::Some(match token {
            Token::Each => {
                Members { named: Vec::new(), lengths: 0, each: Box::new(below), reach: 0 }
            }
            Token::Name(name) => Members {
                named: vec![(name.clone(), below)],
                // What `text` makes of a name that is none is longer than that.
                lengths: match name.starts_with("base64:") {
                    true => u64::MAX,
                    false => length(name.as_bytes()),
                },
                each: Box::new(Self::Nothing),
                reach: index(name).map_or(0, |index| index.saturating_add(1)),
            },
        })
    }

    fn union(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Described, _) | (_, Self::Described) => Self::Described,
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::Nothing, some) | (some, Self::Nothing) => some.clone(),
            (Self::Some(one), Self::Some(two)) => Self::Some(one.union(two)),
        }
    }
}

impl Members {
    #[inline(never)]
    fn named_or_each(&self, name: &[u8]) -> &Wanted {
        let encoded = || match text(name) {
            Cow::Borrowed(_) => None,
            Cow::Owned(name) => self.named(name.as_bytes()),
        };
        // Only where a name is asked for that `text` makes.
        let encoded = || if self.lengths == u64::MAX { encoded() } else { None };
        self.named(name).or_else(encoded).unwrap_or(&self.each)
    }

    fn named(&self, name: &[u8]) -> Option<&Wanted> {
        self.named.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, wanted)| wanted)
    }

    fn at(&self, place: usize) -> Option<&Wanted> {
        self.named.iter().find(|(known, _)| index(known) == Some(place)).map(|(_, wanted)| wanted)
    }

    fn union(&self, other: &Self) -> Self {
        let mut names: Vec<&String> =
            self.named.iter().chain(&other.named).map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        let of = |members: &Self, name: &str| {
            members.named(name.as_bytes()).unwrap_or(&members.each).clone()
        };
        Self {
            named: names
                .into_iter()
                .map(|name| (name.clone(), of(self, name).union(&of(other, name))))
                .collect(),
            lengths: self.lengths | other.lengths,
            each: Box::new(self.each.union(&other.each)),
            reach: self.reach.max(other.reach),
        }
    }
}

/// A bit that names of one length have in common.
#[inline(always)]
fn length(name: &[u8]) -> u64 {
    1 << (name.len() % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::pointers;

    fn of(texts: &[&str]) -> Wanted {
        Wanted::of(&pointers(texts))
    }

    #[test]
    fn what_is_wanted_at_each_step() {
        let wanted = of(&["/a/b", "/a/c/*", "/d"]);
        assert_eq!(*wanted.member(b"d"), Wanted::All);
        assert_eq!(*wanted.member(b"d").member(b"x"), Wanted::All);
        assert_eq!(*wanted.member(b"a").member(b"b"), Wanted::All);
        assert_eq!(*wanted.member(b"a").member(b"c").member(b"x"), Wanted::All);
        assert_eq!(*wanted.member(b"a").member(b"x"), Wanted::Nothing);
        assert_eq!(*wanted.member(b"x"), Wanted::Nothing);
        assert_eq!(of(&[]), Wanted::Nothing);
        assert_eq!(of(&["/a", ""]), Wanted::All);
    }

    #[test]
    fn a_star_is_wanted_of_named_members_too() {
        for wanted in [of(&["/*/x", "/a/y", "/1/z"]), of(&["/1/z", "/a/y", "/*/x"])] {
            assert_eq!(*wanted.member(b"a"), of(&["/x", "/y"]));
            assert_eq!(*wanted.member(b"b"), of(&["/x"]));
            assert_eq!(*wanted.element(1), of(&["/x", "/z"]));
            assert_eq!(*wanted.element(2), of(&["/x"]));
            assert!(!wanted.ends_before(9));
        }
    }

    #[test]
    fn a_name_is_compared_with_those_of_its_length() {
        let wanted = of(&["/ab", &format!("/{}", "c".repeat(66))]);
        assert_eq!(*wanted.member(b"ab"), Wanted::All);
        assert_eq!(*wanted.member("c".repeat(66).as_bytes()), Wanted::All);
        for other in [&b"ba"[..], b"a", b"", &[b'c'; 2], &[b'c'; 65], &[b'c'; 130]] {
            assert_eq!(*wanted.member(other), Wanted::Nothing, "{other:?}");
        }
    }

    #[test]
    fn a_name_that_is_no_text_is_wanted_in_base64() {
        let wanted = of(&["/base64:~1wA=", "/base64:a"]);
        for name in [&b"\xff\x00"[..], b"base64:/wA=", b"base64:a"] {
            assert_eq!(*wanted.member(name), Wanted::All, "{name:?}");
        }
        for name in [&b"\xff\x01"[..], b"base64:b", b"a"] {
            assert_eq!(*wanted.member(name), Wanted::Nothing, "{name:?}");
        }
    }

    #[test]
    fn elements_are_wanted_up_to_the_greatest_index() {
        let wanted = of(&["/0/x", "/2", "/name", "/09"]);
        assert_eq!(*wanted.element(0), of(&["/x"]));
        assert_eq!(*wanted.element(1), Wanted::Nothing);
        assert!(!wanted.ends_before(2));
        assert!(wanted.ends_before(3));
        assert!(of(&["/18446744073709551615"]).ends_before(usize::MAX));
    }

    #[test]
    fn what_was_read_may_do_for_another() {
        let read = of(&["/a", "/b/c"]);
        for other in [of(&["/a"]), of(&["/a/x", "/b/c"]), of(&[])] {
            assert!(read.covers(&other), "{other:?}");
        }
        for other in [of(&["/b"]), of(&["/c"]), Wanted::All] {
            assert!(!read.covers(&other), "{other:?}");
        }
        assert!(Wanted::All.covers(&read));
    }
}
