//! Emptying one deleted device by discards, a bounded step at a time.
#![forbid(unsafe_code)]

use std::ops::Range;
use std::time::{Duration, Instant};

use super::error::PoolError;
use super::handle::Pool;
use super::kernel::node_of;
use super::reap_budget::{Load, ReapBudget};
use super::reap_load::LoadGauge;
use super::reap_queue::Large;
use super::stack::remove;
use crate::block_device::{Access, BlockDevice, DeviceNumber};
use crate::dm::block::discard;
use crate::dm::{DmName, TableLine};
use crate::metadata::Unshared;
use crate::plan::{Health, Operation, thin_table};
use crate::units::{Bytes, DataBlocks};

/// The kernel holds the lock for one discard of up to 1024 blocks (`BIO_PRISON_MAX_RANGE`) where the
/// disk takes none itself: a quarter of that keeps the others waiting a quarter of the time.
pub(super) const DISCARD_STEP: Bytes = Bytes::new(16 << 20);

/// How often the pool is asked how full it is.
const HEALTH_AGE_MAX: Duration = Duration::from_secs(1);

/// How far a device was emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Emptied {
    /// What only it reached is discarded.
    Wholly,
    /// Its disks take no discard.
    Refused,
    /// The reaper was stopped.
    Stopped,
}

impl Pool {
    /// Discards what only this device reaches, in bounded steps. The device is made under the name
    /// that an activation would use, so the kernel lets nobody else have it meanwhile. `beat` gets
    /// what each step gave back.
    pub(super) fn empty(
        &self,
        large: &Large,
        beat: &mut dyn FnMut(Bytes),
    ) -> Result<Emptied, PoolError> {
        let Some(end) = large.unshared.ranges.last().map(|range| range.end) else {
            return Ok(Emptied::Wholly);
        };
        let name = self.names.thin(large.id)?;
        self.announce(Operation::Reap)?;
        let info = self.dm.create(&name, &self.names.reaper_uuid(large.id)?)?;
        let length = self.identity.block_size.length_of(DataBlocks::new(end));
        let length = length.to_sectors_exact()?;
        let table = thin_table(self.kernel_number, large.id, length);
        let emptied = self.discard_all(&name, (info.number, &table), &large.unshared, beat);
        let removed = remove(&*self.dm, &name);
        let emptied = emptied?;
        removed?;
        Ok(emptied)
    }

    fn discard_all(
        &self,
        name: &DmName,
        (number, table): (DeviceNumber, &[TableLine]),
        unshared: &Unshared,
        beat: &mut dyn FnMut(Bytes),
    ) -> Result<Emptied, PoolError> {
        {
            // Only for this: a growth must not wait for the discards.
            let _length_stays = self.geometry.read();
            self.dm.load(name, table, false)?;
            self.dm.resume(name)?;
        }
        let device = BlockDevice::open(&node_of(number), Access::Exclusive)?;
        let block_size = self.identity.block_size;
        let mut throttle = Throttle::new(self)?;
        let mut share = Share::of(unshared);
        for blocks in steps(&unshared.ranges, block_size.blocks_floor(DISCARD_STEP).get()) {
            let offset = block_size.length_of(DataBlocks::new(blocks.start));
            let length = block_size.length_of(DataBlocks::new(blocks.end - blocks.start));
            let begun = Instant::now();
            if discard(&device, offset, length).is_err() {
                return Ok(Emptied::Refused);
            }
            let mapped = block_size.length_of(DataBlocks::new(share.next(&blocks)));
            self.reaper.count_discard(length);
            self.reaper.count_discarded(mapped);
            beat(mapped);
            if throttle.wait(begun.elapsed(), mapped)? {
                return Ok(Emptied::Stopped);
            }
        }
        Ok(Emptied::Wholly)
    }
}

/// Ranges cut into steps of so many blocks, or one.
fn steps(ranges: &[Range<u64>], blocks_max: u64) -> impl Iterator<Item = Range<u64>> {
    let blocks_max = blocks_max.max(1);
    ranges.iter().flat_map(move |range| {
        let (mut next, end) = (range.start, range.end);
        std::iter::from_fn(move || {
            let start = next;
            next = start.saturating_add(blocks_max).min(end);
            (start < next).then_some(start..next)
        })
    })
}

/// Divides what a device maps among its steps by their length: where in a range its mappings lie is
/// not known. In the end it comes out exactly.
#[derive(Debug)]
struct Share {
    mapped: u64,
    span: u64,
    passed: u64,
    told: u64,
}

impl Share {
    fn of(unshared: &Unshared) -> Self {
        let span = unshared.ranges.iter().map(|range| range.end - range.start);
        Self { mapped: unshared.mapped_blocks, span: span.sum(), passed: 0, told: 0 }
    }

    fn next(&mut self, step: &Range<u64>) -> u64 {
        self.passed += step.end - step.start;
        let part = u128::from(self.mapped) * u128::from(self.passed) / u128::from(self.span.max(1));
        let part = u64::try_from(part).unwrap_or(u64::MAX);
        part - std::mem::replace(&mut self.told, part)
    }
}

/// Holds one worker back between its steps.
struct Throttle<'a> {
    pool: &'a Pool,
    budget: ReapBudget,
    gauge: LoadGauge,
    urgent: Option<(Instant, bool)>,
}

impl<'a> Throttle<'a> {
    fn new(pool: &'a Pool) -> Result<Self, PoolError> {
        let gauge = LoadGauge::new(pool.dm.info(&pool.names.data)?.number);
        Ok(Self { pool, budget: pool.reaper.budget(), gauge, urgent: None })
    }

    /// Waits after a step that took so long; tells whether the reaper is to stop.
    fn wait(&mut self, took: Duration, discarded: Bytes) -> Result<bool, PoolError> {
        self.pool.refuse_if_poisoned()?;
        let has_moved = self.gauge.has_moved();
        let load = match (self.is_urgent(), has_moved) {
            (true, _) => Load::Urgent,
            (false, true) => Load::Busy,
            (false, false) => Load::Idle,
        };
        let wait = self.pool.reaper.pace(&self.budget, (took, discarded), load);
        Ok(self.pool.reaper.sleep(wait))
    }

    fn is_urgent(&mut self) -> bool {
        if let Some((_, known)) = self.urgent.filter(|(at, _)| at.elapsed() < HEALTH_AGE_MAX) {
            return known;
        }
        // A pool that does not answer is in no hurry.
        let urgent = self.pool.health().is_ok_and(|(health, usage)| {
            let is_high = usage.is_some_and(|usage| {
                let (used, total) = (usage.used_data_blocks, usage.total_data_blocks);
                self.budget.is_urgent(used.get(), total.get())
            });
            health == Health::OutOfDataSpace || is_high
        });
        self.urgent = Some((Instant::now(), urgent));
        urgent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_cover_every_range_and_none_is_longer_than_allowed() {
        let cut: Vec<Range<u64>> = steps(&[0..10, 20..24, 30..31], 4).collect();
        assert_eq!(cut, [0..4, 4..8, 8..10, 20..24, 30..31]);
        assert_eq!(steps(&[5..7, 9..10], 0).collect::<Vec<_>>(), [5..6, 6..7, 9..10]);
        assert_eq!(steps(&[], 4).count(), 0);
    }

    #[test]
    fn what_steps_give_back_adds_up_to_what_was_mapped() {
        let ranges = vec![0..1000, 5000..5003];
        let unshared = Unshared { ranges: ranges.clone(), mapped_blocks: 77 };
        let mut share = Share::of(&unshared);
        let told: Vec<u64> = steps(&ranges, 256).map(|step| share.next(&step)).collect();
        assert_eq!((told.len(), told.iter().sum::<u64>()), (5, 77));
        assert_eq!(Share::of(&Unshared::default()).next(&(0..0)), 0);
    }
}
