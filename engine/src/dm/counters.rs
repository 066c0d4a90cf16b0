//! How many ioctls of each kind were issued: the proof that cost does not grow with volumes.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::command::Command;

/// A reading of the counters of one [`Control`](super::Control).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DmCounters {
    counts: [u64; Command::ALL.len()],
}

impl DmCounters {
    /// How often `command` was issued.
    pub fn get(&self, command: Command) -> u64 {
        self.counts[command.index()]
    }

    /// How many commands were issued in all.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What was issued since `earlier` was read.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.counts;
        for (count, before) in counts.iter_mut().zip(earlier.counts) {
            *count = count.saturating_sub(before);
        }
        Self { counts }
    }

    /// Every command that was issued at least once.
    pub fn iter(&self) -> impl Iterator<Item = (Command, u64)> + '_ {
        Command::ALL
            .into_iter()
            .map(|command| (command, self.get(command)))
            .filter(|(_, count)| *count > 0)
    }
}

impl fmt::Display for DmCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (command, count)) in self.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            write!(f, "{comma}{command} {count}")?;
        }
        Ok(())
    }
}

/// The live counters behind [`DmCounters`].
#[derive(Debug, Default)]
pub(super) struct CounterCells {
    cells: [AtomicU64; Command::ALL.len()],
}

impl CounterCells {
    pub(super) fn count(&self, command: Command) {
        self.cells[command.index()].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> DmCounters {
        let mut counters = DmCounters::default();
        for (count, cell) in counters.counts.iter_mut().zip(&self.cells) {
            *count = cell.load(Ordering::Relaxed);
        }
        counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_only_what_came_between() {
        let cells = CounterCells::default();
        cells.count(Command::Message);
        let before = cells.read();
        cells.count(Command::Message);
        cells.count(Command::Resume);
        let between = cells.read().since(&before);
        assert_eq!(between.get(Command::Message), 1);
        assert_eq!(between.total(), 2);
        assert_eq!(between.to_string(), "DM_DEV_SUSPEND (resume) 1, DM_TARGET_MSG 1");
    }
}
