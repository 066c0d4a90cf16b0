//! Whether others read or write in a pool, by the counters of its data device.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use crate::block_device::DeviceNumber;

/// Watches one device.
#[derive(Debug)]
pub(super) struct LoadGauge {
    stat: PathBuf,
    moved: Option<u64>,
}

impl LoadGauge {
    pub(super) fn new(device: DeviceNumber) -> Self {
        let mut gauge = Self { stat: device.sysfs().join("stat"), moved: None };
        gauge.has_moved();
        gauge
    }

    /// Whether anything was read or written since the last look. Where that cannot be told, nobody
    /// is waited for.
    pub(super) fn has_moved(&mut self) -> bool {
        let text = std::fs::read_to_string(&self.stat).unwrap_or_default();
        let before = std::mem::replace(&mut self.moved, sectors_moved(&text));
        before.zip(self.moved).is_some_and(|(before, now)| before != now)
    }
}

/// Sectors read and written (`Documentation/block/stat.rst`). Discards have numbers of their own,
/// so a reaper does not see itself; and the flushes of the pool's commits move no sector.
fn sectors_moved(stat: &str) -> Option<u64> {
    let mut fields = stat.split_whitespace().map(str::parse::<u64>);
    let read = fields.nth(2)?.ok()?;
    let written = fields.nth(3)?.ok()?;
    Some(read.wrapping_add(written))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_count_and_discards_and_flushes_do_not() {
        let stat = |read: u64, written: u64, discards: u64| {
            format!("  9 1 {read} 4 7 3 {written} 6 2 8 9 {discards} 0 {discards} 5 11 12\n")
        };
        let moved = |read, written, discards| sectors_moved(&stat(read, written, discards));
        assert_eq!(moved(100, 20, 0), Some(120));
        assert_eq!(moved(100, 20, 7000), Some(120));
        assert_ne!(moved(100, 28, 0), moved(100, 20, 0));
        assert_ne!(moved(108, 20, 0), moved(100, 20, 0));
        assert_eq!(sectors_moved(""), None);
        assert_eq!(sectors_moved("1 2 x 4 5 6 7"), None);
    }

    #[test]
    fn a_device_that_is_not_there_is_idle() {
        let mut gauge = LoadGauge::new(DeviceNumber { major: 4095, minor: 1 });
        assert!(!gauge.has_moved() && !gauge.has_moved());
    }
}
