//! The values that a request offers as its session id.

#![forbid(unsafe_code)]

use super::cookie::{self, Name, Spelling, MAX_CANDIDATES};
use super::identity::Pick;

/// The values of one source, on the stack: there is hardly ever more than one. Of too many those are kept that the
/// framework would look at: the first, or the last.
#[derive(Debug)]
pub struct Candidates<'a> {
    values: [&'a [u8]; MAX_CANDIDATES],
    count: usize,
    pick: Pick,
    first: Option<&'a [u8]>,
    ambiguous: bool,
}

impl<'a> Candidates<'a> {
    /// None yet.
    pub fn new(pick: Pick) -> Self {
        Self { values: [&[]; MAX_CANDIDATES], count: 0, pick, first: None, ambiguous: false }
    }

    /// The cookies called `name` in header lines.
    pub fn of_cookies(
        pick: Pick,
        lines: impl IntoIterator<Item = &'a [u8]>,
        name: &str,
        spelling: Spelling,
    ) -> Self {
        let mut candidates = Self::new(pick);
        cookie::values(lines, name.as_bytes(), spelling, &mut |is, value| match is {
            Name::Same => candidates.push(value),
            // A backend may take it for one: we do not.
            Name::Alike | Name::Inside => candidates.ambiguous = true,
        });
        candidates
    }

    /// One more, after those that were there before.
    pub fn push(&mut self, value: &'a [u8]) {
        self.ambiguous |= *self.first.get_or_insert(value) != value;
        if let Some(place) = self.values.get_mut(self.count) {
            *place = value;
            self.count += 1;
        } else if self.pick == Pick::Last {
            self.values.rotate_left(1);
            self.values[MAX_CANDIDATES - 1] = value;
        }
    }

    /// Those that may count, in the order of the request.
    pub fn as_slice(&self) -> &[&'a [u8]] {
        &self.values[..self.count]
    }

    /// The one that counts before any is verified.
    pub fn preferred(&self) -> Option<&'a [u8]> {
        let values = self.as_slice();
        match self.pick {
            Pick::First => values.first(),
            Pick::Last => values.last(),
        }
        .copied()
    }

    /// Whether a backend might see another value than we: any two are not the same, be they among those that may
    /// count or not, or there is what only some parsers take for such a cookie.
    pub fn are_ambiguous(&self) -> bool {
        self.ambiguous
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
        assert!(!of(Pick::First, &values).are_ambiguous());
        values.push("b");
        assert!(of(Pick::First, &values).are_ambiguous());
        values.extend(vec!["b"; MAX_CANDIDATES]);
        assert!(of(Pick::Last, &values).are_ambiguous());
    }

    #[test]
    fn the_preferred_one_is_at_the_end_that_counts() {
        assert_eq!(of(Pick::First, &["a", "b"]).preferred(), Some(&b"a"[..]));
        assert_eq!(of(Pick::Last, &["a", "b"]).preferred(), Some(&b"b"[..]));
        assert_eq!(of(Pick::Last, &[]).preferred(), None);
    }

    #[test]
    fn what_only_some_take_for_a_cookie_is_no_candidate_but_ambiguous() {
        for (line, values, ambiguous) in [
            ("my_id=a; x=b", 1, false),
            ("my_id=a; my_id=a", 2, false),
            ("my_id=a; my_id=b", 2, true),
            ("my.id=a; my_id=a", 1, true),
            ("my.id=a", 0, true),
            ("x=b my_id=a; my_id=a", 1, true),
            ("x=b my_id=a", 0, true),
        ] {
            let lines = [line.as_bytes()];
            let candidates = Candidates::of_cookies(Pick::First, lines, "my_id", Spelling::Php);
            assert_eq!(candidates.as_slice().len(), values, "{line}");
            assert_eq!(candidates.are_ambiguous(), ambiguous, "{line}");
        }
    }
}
