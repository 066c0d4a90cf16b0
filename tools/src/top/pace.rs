//! When the metadata of a pool is read again. Pure.
#![forbid(unsafe_code)]

use std::time::Duration;

/// Never sooner after the last reading.
const LEAST: Duration = Duration::from_secs(10);

/// A reading takes at most one part in so many of the time.
const SHARE: u32 = 10;

/// How long to wait after a reading that took so long.
pub(super) fn pause_after(took: Duration) -> Duration {
    took.saturating_mul(SHARE).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dear_reading_is_rare() {
        assert_eq!(pause_after(Duration::ZERO), LEAST);
        assert_eq!(pause_after(Duration::from_secs(1)), Duration::from_secs(10));
        assert_eq!(pause_after(Duration::from_secs(40)), Duration::from_secs(400));
        assert_eq!(pause_after(Duration::MAX), Duration::MAX);
    }
}
