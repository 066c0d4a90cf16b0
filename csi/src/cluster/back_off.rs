//! Waits that grow.
#![forbid(unsafe_code)]

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use super::Pace;

/// The next wait after a failure.
#[derive(Debug, Clone, Copy)]
pub(super) struct BackOff {
    pace: Pace,
    next: Duration,
}

impl BackOff {
    pub(super) const fn new(pace: Pace) -> Self {
        Self { pace, next: pace.first }
    }

    /// The wait for this failure; the next one is twice as long.
    pub(super) fn grow(&mut self) -> Duration {
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(self.pace.longest);
        wait
    }

    /// The wait after a watch that was heard for so long. Only one that lasted shows that all is well: one that
    /// ends at once must not be asked for again without a growing wait.
    pub(super) fn after_watch(&mut self, heard: Duration) -> Duration {
        if heard >= self.pace.longest {
            self.next = self.pace.first;
        }
        self.grow()
    }
}

/// Up to a quarter more: the nodes of a cluster must not all come back at one moment.
pub(super) fn spread(wait: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 256;
    let part = u32::try_from(random).unwrap_or(0);
    wait.saturating_add(wait.saturating_mul(part) / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew() {
        let seconds = Duration::from_secs;
        let pace = Pace { first: seconds(1), longest: seconds(5), look: seconds(1) };
        let mut back_off = BackOff::new(pace);
        let waits: Vec<u64> = (0..5).map(|_| back_off.grow().as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 5, 5]);
        let waits: Vec<u64> = [0, 4, 5, 60, 1, 0]
            .map(|heard| back_off.after_watch(seconds(heard)).as_secs())
            .to_vec();
        assert_eq!(waits, [5, 5, 1, 1, 2, 4]);
        for _ in 0..100 {
            let spread = spread(seconds(4));
            assert!(spread >= seconds(4) && spread < seconds(5), "{spread:?}");
        }
    }
}
