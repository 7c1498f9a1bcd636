//! A log line at most once a minute, with the number of times that it would have been written.

use core::cell::Cell;

const MINUTE_MS: u64 = 60_000;

#[derive(Default)]
pub(super) struct Throttle {
    /// In ms; none before the first.
    last: Cell<Option<u64>>,
    count: Cell<u64>,
}

impl Throttle {
    /// Counts one more at `now` (ms). The count since the last line, if one is due.
    pub(super) fn count(&self, now: u64) -> Option<u64> {
        self.count.set(self.count.get() + 1);
        if self.last.get().is_some_and(|last| now < last + MINUTE_MS) {
            return None;
        }
        self.last.set(Some(now));
        Some(self.count.replace(0))
    }
}
