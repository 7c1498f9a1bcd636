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
    /// `HELLO 3` and `CLIENT TRACKING` (Redis 6).
    Tracking,
}

/// What is known of the servers of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Abilities {
    life: Ability,
    longer: Ability,
    name: Ability,
    tracking: Ability,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Ability {
    #[default]
    Untried,
    /// Asked for it, a server has answered: one that closes a connection has another reason.
    Answered,
    /// Asked for it, a server has closed the connection; it is not known yet whether it serves without.
    Suspected,
    /// It serves without. So does one that was just not up yet: it is asked once more.
    Doubted,
    Lacking,
}

impl Abilities {
    /// Whether the feature may be asked for.
    pub fn may_have(&self, feature: Feature) -> bool {
        matches!(self.of(feature), Ability::Untried | Ability::Answered)
    }

    /// A server answered where the feature was asked for. Returns whether that was doubted.
    pub fn answered(&mut self, feature: Feature) -> bool {
        let doubted = self.of(feature) == Ability::Doubted;
        if doubted || self.may_have(feature) {
            *self.of_mut(feature) = Ability::Answered;
        }
        doubted
    }

    /// A server closed the connection instead of answering. Returns whether this may be the reason, so that it is
    /// worth while to ask again without it.
    pub fn hung_up(&mut self, feature: Feature) -> bool {
        let first = self.of(feature) == Ability::Untried;
        if first {
            *self.of_mut(feature) = Ability::Suspected;
        }
        first
    }

    /// A server has closed a connection without an answer to anything: what it was suspected to lack was not why.
    pub fn hung_up_anyway(&mut self) {
        self.judge(|_| Ability::Untried, |_| {});
    }

    /// A server has answered a lookup: what it was suspected to lack it does lack, `found` each. `Tracking`, without which
    /// ended sessions are served, is to be asked for once more, over a connection that nobody waits for.
    pub fn served(&mut self, found: impl FnMut(Feature)) {
        let verdict = |feature| match feature {
            Feature::Tracking => Ability::Doubted,
            Feature::Life | Feature::Longer | Feature::Name => Ability::Lacking,
        };
        self.judge(verdict, found);
    }

    fn judge(&mut self, verdict: impl Fn(Feature) -> Ability, mut found: impl FnMut(Feature)) {
        for feature in [Feature::Life, Feature::Longer, Feature::Name, Feature::Tracking] {
            if self.of(feature) == Ability::Suspected {
                *self.of_mut(feature) = verdict(feature);
                found(feature);
            }
        }
    }

    /// Asked once more for what is doubted, a server hung up again (`lacks`), or something else came between.
    pub fn asked_again(&mut self, feature: Feature, lacks: bool) {
        if self.of(feature) == Ability::Doubted {
            *self.of_mut(feature) = if lacks { Ability::Lacking } else { Ability::Untried };
        }
    }

    fn of(&self, feature: Feature) -> Ability {
        match feature {
            Feature::Life => self.life,
            Feature::Longer => self.longer,
            Feature::Name => self.name,
            Feature::Tracking => self.tracking,
        }
    }

    fn of_mut(&mut self, feature: Feature) -> &mut Ability {
        match feature {
            Feature::Life => &mut self.life,
            Feature::Longer => &mut self.longer,
            Feature::Name => &mut self.name,
            Feature::Tracking => &mut self.tracking,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_hangs_up_at_a_question_and_serves_without_is_not_asked_again() {
        let (mut abilities, mut found) = (Abilities::default(), Vec::new());
        assert!(abilities.may_have(Feature::Name));
        assert!(abilities.hung_up(Feature::Name));
        assert!(!abilities.may_have(Feature::Name));
        assert!(!abilities.hung_up(Feature::Name), "it was not asked");
        abilities.served(|feature| found.push(feature));
        abilities.served(|feature| found.push(feature));
        assert_eq!(found, [Feature::Name]);
        abilities.answered(Feature::Name);
        abilities.hung_up_anyway();
        assert!(!abilities.may_have(Feature::Name));
        assert!(abilities.may_have(Feature::Life) && abilities.may_have(Feature::Longer));
    }

    #[test]
    fn one_that_hangs_up_anyway_is_asked_again() {
        let mut abilities = Abilities::default();
        assert!(abilities.hung_up(Feature::Life));
        abilities.hung_up_anyway();
        assert!(abilities.may_have(Feature::Life));
        assert!(abilities.hung_up(Feature::Life), "and may turn out not to know it");
    }

    fn doubted() -> Abilities {
        let mut abilities = Abilities::default();
        assert!(abilities.hung_up(Feature::Tracking));
        let mut found = Vec::new();
        abilities.served(|feature| found.push(feature));
        assert_eq!(found, [Feature::Tracking]);
        assert!(!abilities.may_have(Feature::Tracking), "lookups do without");
        abilities
    }

    #[test]
    fn tracking_is_asked_for_once_more() {
        let mut abilities = doubted();
        assert!(abilities.answered(Feature::Tracking));
        assert!(abilities.may_have(Feature::Tracking));
        assert!(!abilities.answered(Feature::Tracking), "it is no news");
        abilities.asked_again(Feature::Tracking, true);
        assert!(abilities.may_have(Feature::Tracking));
    }

    #[test]
    fn and_lacking_after_a_second_hang_up_only() {
        let mut abilities = doubted();
        abilities.asked_again(Feature::Tracking, false);
        assert!(abilities.may_have(Feature::Tracking), "nothing was learnt");

        let mut abilities = doubted();
        abilities.asked_again(Feature::Tracking, true);
        abilities.asked_again(Feature::Tracking, false);
        assert!(!abilities.answered(Feature::Tracking));
        assert!(!abilities.may_have(Feature::Tracking));
    }

    #[test]
    fn one_that_has_answered_closes_for_other_reasons() {
        let mut abilities = Abilities::default();
        abilities.answered(Feature::Longer);
        assert!(!abilities.hung_up(Feature::Longer));
        assert!(abilities.may_have(Feature::Longer));
    }
}
