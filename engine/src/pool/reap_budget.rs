//! How fast the reaper may go: a budget, a pause while others work, and when neither counts.
//!
//! Nothing here asks for the time or for the load: both are arguments.
#![forbid(unsafe_code)]

use std::time::Duration;

use crate::units::Bytes;

/// The least budget: below it one step would take longer than anybody waits for a stop.
const RATE_MIN: u64 = 1 << 20;
/// How long an unused budget is saved up.
const BURST: Duration = Duration::from_secs(1);
/// A pause beside a busy pool is twice as long as the step before it, within these: so the reaper
/// takes a third of the time, and every step ends some time.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// What freeing deleted volumes may cost their neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReapBudget {
    /// How many deleted volumes are freed at a time. One of several places is kept for small ones.
    pub workers: usize,
    /// How much may be discarded in a second, at least 1 MiB; `None` for as much as goes.
    pub discard_bytes_per_second: Option<Bytes>,
    /// Whether to pause between steps while others read or write in the pool.
    pub yields: bool,
    /// From so many percent of its data in use on a pool wants its space back more than anything
    /// else: no budget and no pause. Likewise when it is out of space.
    pub high_water_percent: u8,
}

impl Default for ReapBudget {
    fn default() -> Self {
        Self { workers: 2, discard_bytes_per_second: None, yields: true, high_water_percent: 90 }
    }
}

impl ReapBudget {
    /// Whether so much in use is above the mark.
    pub(super) fn is_urgent(&self, used: u64, total: u64) -> bool {
        u128::from(used) * 100 >= u128::from(total) * u128::from(self.high_water_percent)
    }
}

/// How the pool is doing between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// Nobody reads or writes.
    Idle,
    /// Somebody does.
    Busy,
    /// Everybody waits for space.
    Urgent,
}

/// A bucket of tokens, as the moment at which it will have paid for what was taken.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    paid_at: Duration,
}

impl Pace {
    /// How long to wait after a step that ended at `now`, took so long and discarded so much.
    pub(super) fn wait(
        &mut self,
        budget: &ReapBudget,
        now: Duration,
        (took, discarded): (Duration, Bytes),
        load: Load,
    ) -> Duration {
        if load == Load::Urgent {
            // What is owed is forgiven: otherwise the wait would only come later.
            self.paid_at = now;
            return Duration::ZERO;
        }
        let pause = if load == Load::Busy && budget.yields {
            took.saturating_mul(2).clamp(PAUSE_MIN, PAUSE_MAX)
        } else {
            Duration::ZERO
        };
        pause.max(self.debt(budget, now, discarded))
    }

    fn debt(&mut self, budget: &ReapBudget, now: Duration, discarded: Bytes) -> Duration {
        let Some(rate) = budget.discard_bytes_per_second else { return Duration::ZERO };
        let nanos =
            u128::from(discarded.get()) * 1_000_000_000 / u128::from(rate.get().max(RATE_MIN));
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let saved_from = now.saturating_sub(BURST);
        self.paid_at = self.paid_at.max(saved_from).saturating_add(cost);
        self.paid_at.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn limited(mib_per_second: u64) -> ReapBudget {
        let discard_bytes_per_second = Some(Bytes::new(mib_per_second * MIB));
        ReapBudget { discard_bytes_per_second, ..ReapBudget::default() }
    }

    proptest! {
        /// However long the steps take and whatever they discard: in any time no more than the
        /// budget, what was saved up, and one step.
        #[test]
        fn no_more_is_discarded_than_the_budget_allows(
            rate in 1_u64..500,
            steps in prop::collection::vec((0_u64..2_000, 0_u64..=16), 1..200),
        ) {
            let budget = limited(rate);
            let (mut pace, mut now, mut discarded) = (Pace::default(), Duration::ZERO, 0);
            for (took, mib) in steps {
                let took = Duration::from_millis(took);
                now += took;
                discarded += mib * MIB;
                let millis = u64::try_from(now.as_millis()).unwrap() + 1001;
                let allowed = millis * rate * MIB / 1000 + 16 * MIB;
                prop_assert!(discarded <= allowed, "{discarded} > {allowed}");
                now += pace.wait(&budget, now, (took, Bytes::new(mib * MIB)), Load::Idle);
            }
        }
    }

    #[test]
    fn a_budget_is_used_up_and_not_less() {
        let (budget, mut pace, mut now) = (limited(16), Pace::default(), Duration::from_secs(100));
        for _ in 0..20 {
            now += pace.wait(&budget, now, (Duration::ZERO, Bytes::new(16 * MIB)), Load::Idle);
        }
        // One second of it was saved up.
        assert_eq!(now, Duration::from_secs(119));
    }

    #[test]
    fn a_busy_pool_gets_two_thirds_of_the_time_and_every_pause_ends() {
        let (budget, mut pace) = (ReapBudget::default(), Pace::default());
        let mut pause = |took, load| {
            pace.wait(&budget, Duration::ZERO, (Duration::from_millis(took), Bytes::new(MIB)), load)
        };
        assert_eq!(pause(5, Load::Busy), Duration::from_millis(10));
        assert_eq!(pause(0, Load::Busy), PAUSE_MIN);
        assert_eq!(pause(60_000, Load::Busy), PAUSE_MAX);
        assert_eq!(pause(5, Load::Idle), Duration::ZERO);
        let stubborn = ReapBudget { yields: false, ..budget };
        let step = (Duration::from_millis(5), Bytes::new(MIB));
        assert_eq!(pace.wait(&stubborn, Duration::ZERO, step, Load::Busy), Duration::ZERO);
    }

    #[test]
    fn without_space_nothing_holds_the_reaper_back_and_nothing_is_owed_afterwards() {
        let (budget, mut pace) = (limited(1), Pace::default());
        let (now, step) = (Duration::from_secs(50), (Duration::from_secs(1), Bytes::new(16 * MIB)));
        for _ in 0..100 {
            assert_eq!(pace.wait(&budget, now, step, Load::Urgent), Duration::ZERO);
        }
        let small = (Duration::ZERO, Bytes::new(MIB));
        assert_eq!(pace.wait(&budget, now, small, Load::Idle), Duration::from_secs(1));
        assert!(budget.is_urgent(90, 100) && budget.is_urgent(u64::MAX, u64::MAX));
        assert!(!budget.is_urgent(89, 100));
    }
}
