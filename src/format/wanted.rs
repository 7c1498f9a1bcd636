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
            Self::Some(_) => self.member(&index.to_string()),
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
