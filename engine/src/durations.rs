//! How long something took, counted in fixed buckets: cheap enough to be always on.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets. From a journal write in a fast disk's cache to a freeze that
/// flushes a slow one; longer ones are counted behind the last.
const BOUNDS: [Duration; 14] = [
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
];

const BUCKETS: usize = BOUNDS.len() + 1;

/// A reading of durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durations {
    counts: [u64; BUCKETS],
    sum: Duration,
}

impl Durations {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them added up.
    pub const fn sum(&self) -> Duration {
        self.sum
    }

    /// How many ended in each bucket, by its upper bound; the last has none.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> + '_ {
        BOUNDS.into_iter().map(Some).chain([None]).zip(self.counts)
    }
}

/// The live counts behind [`Durations`].
#[derive(Debug, Default)]
pub(crate) struct DurationCells {
    counts: [AtomicU64; BUCKETS],
    sum_nanoseconds: AtomicU64,
}

impl DurationCells {
    pub(crate) fn count(&self, taken: Duration) {
        let bucket = BOUNDS.partition_point(|bound| *bound < taken);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        // Wraps after 584 years of freezing.
        let nanoseconds = u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Durations {
        let mut read = Durations::default();
        for (count, cell) in read.counts.iter_mut().zip(&self.counts) {
            *count = cell.load(Ordering::Relaxed);
        }
        read.sum = Duration::from_nanos(self.sum_nanoseconds.load(Ordering::Relaxed));
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_in_the_first_bucket_that_holds_it() {
        let cells = DurationCells::default();
        for bound in BOUNDS {
            cells.count(bound);
        }
        assert!(cells.read().buckets().all(|(bound, count)| count == u64::from(bound.is_some())));
        cells.count(Duration::from_nanos(100_001));
        cells.count(Duration::from_secs(6));
        let read = cells.read();
        let counts: Vec<_> = read.buckets().map(|(_, count)| count).collect();
        assert_eq!((counts[0], counts[1], counts[14]), (1, 2, 1));
        assert_eq!(read.count(), 16);
        let bounds: Duration = BOUNDS.iter().sum();
        assert_eq!(read.sum(), bounds + Duration::from_nanos(6_000_100_001));
    }

    #[test]
    fn the_bounds_rise() {
        assert!(BOUNDS.is_sorted());
    }
}
