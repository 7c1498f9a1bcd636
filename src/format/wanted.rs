//! Which parts of a session a location needs, so that a decoder builds only these.

#![forbid(unsafe_code)]

use crate::pointer::{index, Pointer, Token};

/// A set of pointers as a trie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// No part; a decoder still walks the value, so that what is no session is told from one.
    Nothing,
    /// The value and all below it.
    All,
    /// Some of what is below the value.
    Some(Members),
}

/// What is wanted of the members of an object or the elements of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    named: Vec<(String, Wanted)>,
    /// What is wanted of every one (`*`), merged into those that are named too.
    each: Box<Wanted>,
    /// How many elements of an array are of interest: one more than the greatest index wanted.
    reach: usize,
}

impl Wanted {
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

    /// What is wanted of the member `name`.
    pub(super) fn member(&self, name: &str) -> &Self {
        match self {
            Self::Nothing | Self::All => self,
            Self::Some(members) => members.named(name).unwrap_or(&members.each),
        }
    }

    /// What is wanted of the element at `index`; like [`member`](Self::member), whatever the container is.
    pub(super) fn element(&self, index: usize) -> &Self {
        match self {
            Self::Nothing | Self::All => self,
            Self::Some(members) if index >= members.reach => &members.each,
            Self::Some(members) => members.at(index).unwrap_or(&members.each),
        }
    }

    /// Whether no element from `index` on is wanted.
    pub(super) fn ends_before(&self, index: usize) -> bool {
        match self {
            Self::Nothing => true,
            Self::All => false,
            Self::Some(members) => index >= members.reach && *members.each == Self::Nothing,
        }
    }

    fn path(tokens: &[Token]) -> Self {
        let Some((token, rest)) = tokens.split_first() else { return Self::All };
        let below = Self::path(rest);
        Self::Some(match token {
            Token::Each => Members { named: Vec::new(), each: Box::new(below), reach: 0 },
            Token::Name(name) => Members {
                named: vec![(name.clone(), below)],
                each: Box::new(Self::Nothing),
                reach: index(name).map_or(0, |index| index.saturating_add(1)),
            },
        })
    }

    fn union(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::Nothing, some) | (some, Self::Nothing) => some.clone(),
            (Self::Some(one), Self::Some(two)) => Self::Some(one.union(two)),
        }
    }
}

impl Members {
    fn named(&self, name: &str) -> Option<&Wanted> {
        self.named.iter().find(|(known, _)| known == name).map(|(_, wanted)| wanted)
    }

    fn at(&self, place: usize) -> Option<&Wanted> {
        self.named.iter().find(|(known, _)| index(known) == Some(place)).map(|(_, wanted)| wanted)
    }

    fn union(&self, other: &Self) -> Self {
        let mut names: Vec<&String> =
            self.named.iter().chain(&other.named).map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        let of = |members: &Self, name: &str| members.named(name).unwrap_or(&members.each).clone();
        Self {
            named: names
                .into_iter()
                .map(|name| (name.clone(), of(self, name).union(&of(other, name))))
                .collect(),
            each: Box::new(self.each.union(&other.each)),
            reach: self.reach.max(other.reach),
        }
    }
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
        assert_eq!(*wanted.member("d"), Wanted::All);
        assert_eq!(*wanted.member("d").member("x"), Wanted::All);
        assert_eq!(*wanted.member("a").member("b"), Wanted::All);
        assert_eq!(*wanted.member("a").member("c").member("x"), Wanted::All);
        assert_eq!(*wanted.member("a").member("x"), Wanted::Nothing);
        assert_eq!(*wanted.member("x"), Wanted::Nothing);
        assert_eq!(of(&[]), Wanted::Nothing);
        assert_eq!(of(&["/a", ""]), Wanted::All);
    }

    #[test]
    fn a_star_is_wanted_of_named_members_too() {
        for wanted in [of(&["/*/x", "/a/y", "/1/z"]), of(&["/1/z", "/a/y", "/*/x"])] {
            assert_eq!(*wanted.member("a"), of(&["/x", "/y"]));
            assert_eq!(*wanted.member("b"), of(&["/x"]));
            assert_eq!(*wanted.element(1), of(&["/x", "/z"]));
            assert_eq!(*wanted.element(2), of(&["/x"]));
            assert!(!wanted.ends_before(9));
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
