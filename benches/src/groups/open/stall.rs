//! How long a create takes while the journal is rewritten.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use thinly_engine::catalogue::VolumeName;
use thinly_engine::pool::Pool;

use crate::bed::VOLUME_SIZE;
use crate::samples::{Samples, timed};

/// What a checkpoint did to creates.
#[derive(Debug)]
pub(super) struct Stall {
    pub(super) volumes: usize,
    pub(super) median: Duration,
    /// The longest create: that of the caller who wrote the checkpoint.
    pub(super) longest: Duration,
    /// The longest create of the other caller.
    pub(super) longest_beside: Duration,
}

/// Creates volumes from two callers until the journal was rewritten, at most `most` each.
pub(super) fn stall(pool: &Pool, most: usize) -> Result<Stall> {
    let volumes = pool.catalogue().volume_count();
    let done = AtomicBool::new(false);
    let caller = |label: &'static str| {
        let done = &done;
        move || -> Result<Samples> {
            let mut samples = Samples::default();
            for number in 0..most {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let name = VolumeName::new(&format!("{label}-{number:08}"))?;
                let before = pool.counters().journal;
                samples.push(timed(|| Ok(pool.create_volume(&name, VOLUME_SIZE)?))?.1);
                // A write of records is a few blocks long; a checkpoint has all volumes in it.
                let written = pool.counters().journal.frames - before.frames;
                if written > volumes as u64 {
                    done.store(true, Ordering::Relaxed);
                }
            }
            Ok(samples)
        }
    };
    let (one, other) = thread::scope(|scope| -> Result<(Samples, Samples)> {
        let other = scope.spawn(caller("beside"));
        let one = caller("first")()?;
        let other = other.join().map_err(|_| anyhow!("a caller panicked"))??;
        Ok((one, other))
    })?;
    let longest = |samples: &Samples| samples.longest().context("no volume was created");
    let (a, b) = (longest(&one)?, longest(&other)?);
    Ok(Stall { volumes, median: one.median(), longest: a.max(b), longest_beside: a.min(b) })
}
