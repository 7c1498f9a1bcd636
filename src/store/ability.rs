//! What some servers and proxies do not know: some say so with an error, some by closing the connection.

#![forbid(unsafe_code)]

/// What a lookup can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Telling the life left to an item (memcached 1.6).
    Life,
    /// `PEXPIRE … GT` (Redis 7).
    Longer,
    /// `CLIENT SETNAME`.
    Name,
}

/// What is known of the servers of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Abilities {
    known: [Ability; 3],
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Ability {
    #[default]
    Untried,
    Answered,
    Lacking,
}

impl Abilities {
    /// Whether the feature may be asked for.
    pub fn may_have(self, feature: Feature) -> bool {
        self.of(feature) != Ability::Lacking
    }

    /// A server answered where the feature was asked for.
    pub fn answered(&mut self, feature: Feature) {
        if self.may_have(feature) {
            self.set(feature, Ability::Answered);
        }
    }

    /// A server does not have it.
    pub fn refused(&mut self, feature: Feature) {
        self.set(feature, Ability::Lacking);
    }

    /// A server closed the connection instead of answering. Returns whether it counts as lacking the feature from now
    /// on: one that has answered before had another reason.
    pub fn hung_up(&mut self, feature: Feature) -> bool {
        let first = self.of(feature) == Ability::Untried;
        if first {
            self.refused(feature);
        }
        first
    }

    fn of(self, feature: Feature) -> Ability {
        self.known.get(feature as usize).copied().unwrap_or_default()
    }

    fn set(&mut self, feature: Feature, ability: Ability) {
        if let Some(known) = self.known.get_mut(feature as usize) {
            *known = ability;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_hangs_up_at_the_first_question_is_not_asked_again() {
        let mut abilities = Abilities::default();
        assert!(abilities.may_have(Feature::Name));
        assert!(abilities.hung_up(Feature::Name));
        assert!(!abilities.may_have(Feature::Name));
        assert!(!abilities.hung_up(Feature::Name), "it was not asked");
        abilities.answered(Feature::Name);
        assert!(!abilities.may_have(Feature::Name));
        assert!(abilities.may_have(Feature::Life) && abilities.may_have(Feature::Longer));
    }

    #[test]
    fn one_that_has_answered_closes_for_other_reasons() {
        let mut abilities = Abilities::default();
        abilities.answered(Feature::Longer);
        assert!(!abilities.hung_up(Feature::Longer));
        assert!(abilities.may_have(Feature::Longer));
        abilities.refused(Feature::Longer);
        assert!(!abilities.may_have(Feature::Longer));
    }
}
