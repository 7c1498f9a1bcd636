//! When a server that is down is looked at again: exponential backoff with jitter.

#![forbid(unsafe_code)]

/// The longest wait before the first probe, in ms; it doubles with each probe that fails.
pub const FIRST_WAIT_MS: u64 = 50;

/// The longest wait between two probes, in ms.
pub const LONGEST_WAIT_MS: u64 = 1000;

/// An open breaker: a server that is not asked until a probe has found it well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    /// When it was opened, in ms.
    opened: u64,
    /// When the server was last found to be down, in ms.
    seen_down: u64,
    wait: u64,
    probes: u32,
}

impl Breaker {
    /// Opened at `now` (ms). `random` spreads the probes of workers that lost their server together.
    pub fn open(now: u64, random: u32) -> Self {
        Self { opened: now, seen_down: now, wait: wait(0, random), probes: 0 }
    }

    /// Of a server that is to be found well before it is asked: its probe is due at once.
    pub fn unknown(now: u64) -> Self {
        Self { opened: now, seen_down: now, wait: 0, probes: 0 }
    }

    /// A probe ended at `now` (ms) and the server is still down.
    pub fn still_down(&mut self, now: u64, random: u32) {
        self.probes = self.probes.saturating_add(1);
        self.seen_down = now;
        self.wait = wait(self.probes, random);
    }

    /// Since when the server is down, in ms.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// When the next probe is due, in ms; not sooner than `at_least` ms after the server was last seen down.
    pub fn due(&self, at_least: u64) -> u64 {
        self.seen_down.saturating_add(self.wait.max(at_least))
    }
}

/// Half the backoff, and a random part of the other half.
fn wait(probes: u32, random: u32) -> u64 {
    let longest =
        FIRST_WAIT_MS.checked_shl(probes.min(16)).unwrap_or(u64::MAX).min(LONGEST_WAIT_MS);
    let half = longest / 2;
    half + u64::from(random) % (longest - half + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut breaker = Breaker::open(0, u32::MAX);
        let mut bounds = Vec::new();
        for _ in 0..7 {
            bounds.push(breaker.probes);
            breaker.still_down(0, 0);
        }
        let shortest: Vec<u64> = bounds.iter().map(|&probes| wait(probes, 0)).collect();
        assert_eq!(shortest, [25, 50, 100, 200, 400, 500, 500]);
    }

    #[test]
    fn a_floor_delays_a_probe() {
        let breaker = Breaker::open(1_000, 0);
        assert_eq!(breaker.due(0), 1_025);
        assert_eq!(breaker.due(10_000), 11_000);
    }

    #[test]
    fn no_time_overflows() {
        let mut breaker = Breaker::open(u64::MAX, 7);
        assert_eq!(breaker.due(u64::MAX), u64::MAX);
        breaker.probes = u32::MAX;
        breaker.still_down(u64::MAX, 7);
        assert_eq!(breaker.due(0), u64::MAX);
    }

    proptest! {
        #[test]
        fn every_wait_is_within_its_bounds(probes in 0..100u32, random: u32) {
            let longest = (FIRST_WAIT_MS << probes.min(10)).min(LONGEST_WAIT_MS);
            let wait = wait(probes, random);
            prop_assert!(longest / 2 <= wait && wait <= longest);
        }
    }
}
