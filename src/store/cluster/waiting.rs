//! A list of what waits to be asked, which does not grow by what nobody waits for any more.

#![forbid(unsafe_code)]

/// Adds to what waits. What is done by now is dropped, wherever it stands, before the list takes more memory: it
/// is twice as long then as it was after the last look, so that looking costs little.
pub fn push<T>(waiting: &mut Vec<T>, new: T, is_done: impl Fn(&T) -> bool) {
    if waiting.len() == waiting.capacity() {
        waiting.retain(|one| !is_done(one));
        waiting.reserve(waiting.len() + 1);
    }
    waiting.push(new);
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_is_done_takes_no_memory() {
        let mut waiting = Vec::new();
        for now in 0..100_000 {
            push(&mut waiting, now, |&one| one + 10 < now);
        }
        assert!(waiting.capacity() < 64, "{}", waiting.capacity());
        assert!(waiting.ends_with(&[99_997, 99_998, 99_999]));
    }

    #[test]
    fn what_is_not_done_stays_in_order_among_what_is() {
        let mut waiting = Vec::new();
        for now in 0..10_000 {
            push(&mut waiting, now, |one| one % 1000 != 0);
        }
        let kept: Vec<_> = waiting.into_iter().filter(|one| one % 1000 == 0).collect();
        assert_eq!(kept, (0..10).map(|n| n * 1000).collect::<Vec<_>>());
    }

    #[test]
    fn looking_costs_little() {
        let looks = Cell::new(0);
        // All but each tenth stay: dropping them makes little room.
        let is_done = |one: &u32| {
            looks.set(looks.get() + 1);
            one % 10 == 9
        };
        let mut waiting = Vec::new();
        (0..100_000).for_each(|now| push(&mut waiting, now, is_done));
        assert!(looks.get() < 300_000, "{}", looks.get());
    }
}
