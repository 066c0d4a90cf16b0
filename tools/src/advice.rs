//! What an engineer should do about a pool: decided from its view alone.
#![forbid(unsafe_code)]

use thinly_engine::plan::Health;
use thinly_engine::pool::{PoolState, PoolView, SNAPSHOT_TIME_MAX};

use crate::size::percent;

const FULL_PERCENT: u64 = 80;
const SNAPSHOT_TIME_WARN: u32 = SNAPSHOT_TIME_MAX / 10 * 9;

/// What to do next, most urgent first; nothing for a pool that is well.
pub fn advice(pool: &PoolView) -> Vec<String> {
    let mut steps = Vec::new();
    let name = &pool.name;
    match pool.state {
        PoolState::Open => {}
        PoolState::Closed => steps.push(format!("bring it up with `thinly pool open {name}`")),
        PoolState::Exported => steps.push(format!(
            "take it in with `thinly pool import {name}`, here or on another machine"
        )),
        PoolState::Incomplete => steps.push(format!(
            "attach the missing devices, then `thinly pool open {name}`; until then nothing in it \
             can be used"
        )),
        PoolState::Damaged => steps.push(format!(
            "put its catalogue back with `thinly pool restore {name} FILE`, or without a backup \
             rebuild it with `thinly pool salvage {name}`"
        )),
    }
    if let Some(health) = pool.health.filter(|health| *health != Health::Writable) {
        steps.push(format!("health is {health}: {}", health.advice()));
    }
    steps.extend(space(pool));
    steps.extend(leftovers(pool));
    steps
}

fn space(pool: &PoolView) -> Vec<String> {
    let mut steps = Vec::new();
    let Some(usage) = &pool.usage else { return steps };
    let data = percent(usage.used_data, usage.total_data);
    if data >= FULL_PERCENT {
        steps.push(format!(
            "data is {data} % full: delete volumes or snapshots, or run fstrim on what is mounted"
        ));
    }
    let metadata = percent(usage.used_metadata, usage.total_metadata);
    if metadata >= FULL_PERCENT {
        steps.push(format!("metadata is {metadata} % full: delete snapshots that diverged most"));
    }
    steps
}

fn leftovers(pool: &PoolView) -> Vec<String> {
    let mut steps = Vec::new();
    let name = &pool.name;
    if !pool.clean && pool.writer.is_none() {
        steps.push(
            "the last writer was cut short: the next command that changes the pool reconciles \
             it first and reports what it found"
                .to_owned(),
        );
    }
    if !pool.tombstones.is_empty() && pool.writer.is_none() {
        steps.push(format!(
            "deleted volumes wait to be freed: the next command that changes the pool does it, or \
             run `thinly serve {name}`"
        ));
    }
    if !pool.orphans.is_empty() {
        steps.push(format!(
            "thin ids that no volume claims are kept, and nothing deletes them by itself: find \
             out which tool made them, then `thinly pool remove-orphan {name} THIN_ID --yes`"
        ));
    }
    if let Some(block) = pool.held_root {
        steps.push(format!(
            "a metadata snapshot is held at block {block}: it keeps freed metadata in use until \
             the program that took it releases it"
        ));
    }
    if let Some(time) = pool.snapshot_time.filter(|time| *time >= SNAPSHOT_TIME_WARN) {
        steps.push(format!(
            "{time} of {SNAPSHOT_TIME_MAX} snapshots of the pool's life are taken: plan to move \
             its volumes to a new pool"
        ));
    }
    steps
}
