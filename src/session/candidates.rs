//! The values that a request offers as its session id.

#![forbid(unsafe_code)]

use super::cookie::{Name, MAX_CANDIDATES};
use super::identity::Pick;

/// The values of one source, on the stack: there is hardly ever more than one. Of too many those are kept that the
/// framework would look at: the first, or the last.
#[derive(Debug)]
pub struct Candidates<'a> {
    values: [&'a [u8]; MAX_CANDIDATES],
    count: usize,
    pick: Pick,
    first: Option<&'a [u8]>,
    differ: bool,
}

impl<'a> Candidates<'a> {
    /// None yet.
    pub fn new(pick: Pick) -> Self {
        Self { values: [&[]; MAX_CANDIDATES], count: 0, pick, first: None, differ: false }
    }

    /// One more, after those that were there before.
    pub fn push(&mut self, value: &'a [u8]) {
        self.note(value);
        if let Some(place) = self.values.get_mut(self.count) {
            *place = value;
            self.count += 1;
        } else if self.pick == Pick::Last {
            self.values.rotate_left(1);
            self.values[MAX_CANDIDATES - 1] = value;
        }
    }

    /// The value of a cookie: of one whose name is only alike we take no id, though a backend may.
    pub fn push_cookie(&mut self, name: Name, value: &'a [u8]) {
        match name {
            Name::Same => self.push(value),
            Name::Alike => self.note(value),
        }
    }

    /// Those that may count, in the order of the request.
    pub fn as_slice(&self) -> &[&'a [u8]] {
        &self.values[..self.count]
    }

    /// Whether a backend might see another value than we: any two that were pushed are not the same, be they kept or not.
    pub fn differ(&self) -> bool {
        self.differ
    }

    fn note(&mut self, value: &'a [u8]) {
        self.differ |= *self.first.get_or_insert(value) != value;
    }
}

impl<'a> Extend<&'a [u8]> for Candidates<'a> {
    fn extend<I: IntoIterator<Item = &'a [u8]>>(&mut self, values: I) {
        values.into_iter().for_each(|value| self.push(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pick: Pick, values: &[&'static str]) -> Candidates<'static> {
        let mut candidates = Candidates::new(pick);
        candidates.extend(values.iter().map(|value| value.as_bytes()));
        candidates
    }

    #[test]
    fn of_too_many_those_at_the_end_that_counts_are_kept() {
        let values = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let texts = |pick| {
            let kept = of(pick, &values).as_slice().concat();
            String::from_utf8(kept).unwrap()
        };
        assert_eq!(texts(Pick::First), "abcdefgh");
        assert_eq!(texts(Pick::Last), "cdefghij");
    }

    #[test]
    fn one_that_is_not_kept_may_differ() {
        let mut values = vec!["a"; MAX_CANDIDATES];
        assert!(!of(Pick::First, &values).differ());
        values.push("b");
        assert!(of(Pick::First, &values).differ());
        values.extend(vec!["b"; MAX_CANDIDATES]);
        assert!(of(Pick::Last, &values).differ());
    }

    #[test]
    fn one_whose_name_is_alike_is_no_candidate_but_may_differ() {
        let mut candidates = Candidates::new(Pick::First);
        candidates.push_cookie(Name::Alike, b"b");
        assert!(candidates.as_slice().is_empty() && !candidates.differ());
        candidates.push_cookie(Name::Same, b"b");
        assert!(!candidates.differ());
        candidates.push_cookie(Name::Same, b"a");
        assert_eq!((candidates.as_slice().len(), candidates.differ()), (2, true));
    }
}
