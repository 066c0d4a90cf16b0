//! Numbers that look random and are the same in every run.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

/// A generator of the xorshift family.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`; 0 when there is none.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.checked_rem(limit).unwrap_or(0)
    }

    /// `count` different numbers below `limit`, ascending; all of them when there are fewer.
    pub(super) fn pick(&mut self, count: u64, limit: u64) -> BTreeSet<u64> {
        let mut picked = BTreeSet::new();
        while (picked.len() as u64) < count.min(limit) {
            picked.insert(self.below(limit));
        }
        picked
    }

    /// The numbers from `first` on, `count` of them, in runs of 1 to `run_max` that are shuffled.
    pub(super) fn runs(&mut self, first: u64, count: u64, run_max: u64) -> Vec<u64> {
        let mut runs = Vec::new();
        let (mut at, end) = (first, first + count);
        while at < end {
            let next = (at + 1 + self.below(run_max)).min(end);
            runs.push(at..next);
            at = next;
        }
        for last in (1..runs.len()).rev() {
            let other = self.below(last as u64 + 1);
            runs.swap(last, usize::try_from(other).unwrap_or(last));
        }
        runs.into_iter().flatten().collect()
    }
}
