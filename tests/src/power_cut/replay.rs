//! Walks over a log: at every moment the disk, what was acknowledged, and what is pending.

use std::ops::Range;

use anyhow::{Context, Result};

use super::DISK_BYTES;
use super::generator::Chance;
use super::state::State;
use crate::log_writes::{Boundary, DiskImage, WriteLog, boundaries};

/// How much of what is pending a power cut left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Nothing.
    Nothing,
    /// All of it.
    Everything,
    /// Some writes whole, some not at all, some in part: what chance picks for this seed.
    Some(u64),
}

/// A walk over a log.
#[derive(Debug)]
pub(super) struct Replay<'a> {
    log: &'a WriteLog,
    pub(super) image: DiskImage,
    pub(super) state: State,
    applied: usize,
    /// Where a write of 4 KiB is taken to be whole or absent: dm-thin relies on that for its
    /// metadata, and nothing above it can do better.
    pub(super) untorn: Vec<Range<u64>>,
}

impl<'a> Replay<'a> {
    pub(super) fn new(log: &'a WriteLog) -> Result<Self> {
        Ok(Self {
            log,
            image: DiskImage::new(DISK_BYTES)?,
            state: State::default(),
            applied: 0,
            untorn: Vec::new(),
        })
    }

    /// Every moment of the log.
    pub(super) fn boundaries(&self) -> Vec<Boundary> {
        boundaries(self.log.entries())
    }

    /// Goes on to a later moment.
    pub(super) fn advance(&mut self, boundary: &Boundary) -> Result<()> {
        let entries = self.log.entries().get(self.applied..boundary.durable);
        for entry in entries.context("a moment that has passed")? {
            self.image.apply(self.log, entry)?;
            self.state.see(entry)?;
        }
        self.applied = boundary.durable;
        Ok(())
    }

    /// Shows the disk with a part of what is pending, and takes that back.
    pub(super) fn with_part<T>(
        &mut self,
        boundary: &Boundary,
        part: Part,
        look: impl FnOnce(&DiskImage, &State) -> T,
    ) -> Result<T> {
        let mut overwritten = Vec::new();
        let pending = self.log.entries().get(boundary.pending.clone()).unwrap_or_default();
        let mut chance = Chance::new(match part {
            Part::Some(seed) => seed,
            Part::Nothing | Part::Everything => 0,
        });
        for entry in pending {
            let range = entry.offset..entry.offset + entry.length;
            let may_tear = !entry.is_discard()
                && !self
                    .untorn
                    .iter()
                    .any(|whole| whole.start < range.end && range.start < whole.end);
            let mut is_wanted: Box<dyn FnMut(usize) -> bool> = match part {
                Part::Nothing => continue,
                Part::Everything => Box::new(|_| true),
                Part::Some(_) => match chance.below(if may_tear { 3 } else { 2 }) {
                    0 => continue,
                    1 => Box::new(|_| true),
                    _ => Box::new(|_| chance.below(2) == 0),
                },
            };
            overwritten.extend(self.image.apply_sectors(self.log, entry, &mut *is_wanted)?);
        }
        let seen = look(&self.image, &self.state);
        self.image.restore(overwritten);
        Ok(seen)
    }
}

/// So many of all moments, evenly spread, the last one among them.
pub(super) fn spread(boundaries: Vec<Boundary>, count: usize) -> Vec<Boundary> {
    let all = boundaries.len();
    let count = count.min(all);
    let mut due = 0;
    boundaries
        .into_iter()
        .enumerate()
        .filter(|(index, _)| {
            let now = (index + 1) * count / all.max(1);
            std::mem::replace(&mut due, now) < now
        })
        .map(|(_, boundary)| boundary)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_writes::testing::{Line, log_of};

    fn moments(count: usize) -> Vec<Boundary> {
        (0..count).map(|durable| Boundary { durable, pending: durable..durable }).collect()
    }

    #[test]
    fn the_moments_picked_are_spread_and_end_with_the_last() {
        let picked = |all, count| -> Vec<usize> {
            spread(moments(all), count).into_iter().map(|moment| moment.durable).collect()
        };
        assert_eq!(picked(10, 3), [3, 6, 9]);
        assert_eq!(picked(3, 10), [0, 1, 2]);
        assert!(picked(0, 10).is_empty());
    }

    #[test]
    fn what_is_pending_is_seen_in_any_part_and_taken_back() {
        let log = log_of(&[
            Line::Write(0, 1, 1),
            Line::Flush,
            Line::Write(0, 2, 1),
            Line::Write(1, 2, 1),
            Line::Write(8, 2, 2),
            Line::Flush,
        ]);
        let mut replay = Replay::new(&log).unwrap();
        replay.untorn.push(4096..8192);
        let moments = replay.boundaries();
        replay.advance(&moments[0]).unwrap();
        let bytes = |image: &DiskImage, _: &State| [0, 512, 4096, 4608].map(|at| image.bytes()[at]);
        let mut see = |part| replay.with_part(&moments[0], part, bytes).unwrap();
        assert_eq!(see(Part::Nothing), [1, 0, 0, 0]);
        assert_eq!(see(Part::Everything), [2, 2, 2, 2]);
        let parts: std::collections::BTreeSet<_> =
            (0..200).map(|seed| see(Part::Some(seed))).collect();
        assert_eq!(parts.len(), 8, "each write there or not, the last one never torn: {parts:?}");
        assert_eq!(see(Part::Nothing), [1, 0, 0, 0]);
    }
}
