//! Durations of one operation, and what is said of them.

use std::time::{Duration, Instant};

use anyhow::Result;

/// Durations in the order in which they were measured.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Adds one.
    pub fn push(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value that half of the samples do not exceed.
    pub fn median(&self) -> Duration {
        self.quantile(5)
    }

    /// The value that nine tenths of the samples do not exceed.
    pub fn p90(&self) -> Duration {
        self.quantile(9)
    }

    /// The greatest value.
    pub fn longest(&self) -> Option<Duration> {
        self.0.iter().max().copied()
    }

    fn quantile(&self, tenths: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * tenths).div_ceil(10);
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

/// Runs `work` and says how long it took.
pub fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let began = Instant::now();
    let value = work()?;
    Ok((value, began.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples_that_were_measured() {
        let mut samples = Samples::default();
        assert_eq!(samples.median(), Duration::ZERO);
        for millis in [9, 1, 8, 2, 7, 3, 6, 4, 5, 10] {
            samples.push(Duration::from_millis(millis));
        }
        assert_eq!(samples.median(), Duration::from_millis(5));
        assert_eq!(samples.p90(), Duration::from_millis(9));
        samples.push(Duration::from_millis(11));
        assert_eq!(
            (samples.median(), samples.p90()),
            (Duration::from_millis(6), Duration::from_millis(10))
        );
    }
}
