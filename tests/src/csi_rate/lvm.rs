//! LVM beside it, for the eye: no goal stands on it.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use thinly_benches::{Samples, timed};

use crate::sh;

const ROUNDS: usize = 20;

/// Medians of `lvcreate -an` and `lvcreate` of thin volumes.
pub(super) fn measure(disk: &Path) -> Result<(Duration, Duration)> {
    let disk = disk.display();
    // --devices: it looks at no other disk, which makes it quicker and disturbs nobody.
    sh(&format!(
        "vgcreate -qq --devices {disk} thinlyrate {disk} && \
         lvcreate -qq --devices {disk} -l 90%FREE --thinpool pool thinlyrate 2>&1"
    ))?;
    let measure = |flags: &str, prefix: &str| -> Result<Duration> {
        let mut samples = Samples::default();
        for round in 0..ROUNDS {
            let line = format!(
                "lvcreate -qq --devices {disk} {flags} -V 1g -T thinlyrate/pool -n {prefix}{round} 2>&1"
            );
            samples.push(timed(|| sh(&line))?.1);
        }
        Ok(samples.median())
    };
    let measured = measure("-an", "a").and_then(|inactive| Ok((inactive, measure("", "b")?)));
    sh(&format!(
        "vgremove -qq -f --devices {disk} thinlyrate 2>&1 && pvremove -qq --devices {disk} {disk} 2>&1"
    ))?;
    measured
}
