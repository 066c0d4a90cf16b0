//! The short form of `make soak`: three rounds, one for each holder of the pool.
#![forbid(unsafe_code)]

use std::alloc::System;
use std::time::Duration;

use anyhow::{Result, ensure};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use thinly_tests::soak::{Plan, soak};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn live_bytes() -> u64 {
    let stats = ALLOCATOR.stats();
    u64::try_from(stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)).unwrap_or(u64::MAX)
}

#[test]
#[allow(clippy::print_stdout, reason = "the table that a proof ends with")]
fn everything_at_once_with_faults_loses_nothing() -> Result<()> {
    let minutes = std::env::var("THINLY_SOAK_MINUTES").ok().and_then(|text| text.parse().ok());
    let seed = std::env::var("THINLY_SOAK_SEED").ok().and_then(|text| text.parse().ok());
    let length = Duration::from_secs(60 * minutes.unwrap_or(0));
    let steps = if minutes.is_some() { 30 } else { 8 };
    let plan = Plan { length, steps, seed: seed.unwrap_or(1), live_bytes };
    println!("seed {}", plan.seed);
    let tally = soak(plan)?;
    print!("{tally}");
    ensure!(tally.acknowledged_in_all() > 50 && tally.faults_in_all() >= 2, "{tally}");
    ensure!(tally.rounds >= 3 && tally.emptied >= 1 && tally.checked >= 1, "{tally}");
    println!(
        "proof soak: acknowledged={} lost=0 leaked=0 suspended=0",
        tally.acknowledged_in_all()
    );
    Ok(())
}
