//! What a proof came to.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many problems are told in full.
const TOLD_MAX: usize = 10;

/// Counts, and what went wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Disks that were read by the engine's own readers.
    pub replayed: usize,
    /// Disks on which the kernel opened the pool.
    pub opened: usize,
    /// Operations whose answer is in the log.
    pub acknowledged: usize,
    /// Disks on which something acknowledged was missing or wrong, or that could not be opened.
    pub lost: usize,
    /// Disks with a thin id that nobody speaks for, or that would not be freed.
    pub leaked: usize,
    /// Opened pools with a suspended device.
    pub suspended: usize,
    /// Ids that were kept for a person to look at, because the journal's last write was torn.
    pub kept: usize,
    /// Regions of the journal that were begun: one more than its checkpoints.
    pub regions: usize,
    /// Metadata that `thin_check` looked at.
    pub checked: usize,
    /// The first things that went wrong.
    pub problems: Vec<String>,
}

/// What is wrong with one disk.
#[derive(Debug)]
pub(super) enum Fault {
    Lost(anyhow::Error),
    Leaked(anyhow::Error),
    Suspended(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Lost(error.into())
    }
}

impl Report {
    /// Counts a fault.
    pub(super) fn note(&mut self, place: &str, fault: &Fault) {
        let (count, error) = match fault {
            Fault::Lost(error) => (&mut self.lost, error),
            Fault::Leaked(error) => (&mut self.leaked, error),
            Fault::Suspended(error) => (&mut self.suspended, error),
        };
        *count += 1;
        if self.problems.len() < TOLD_MAX {
            self.problems.push(format!("{place}: {error:#}"));
        }
    }

    /// Takes in what another part of the proof found on the same log.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.replayed += other.replayed;
        self.opened += other.opened;
        self.acknowledged = self.acknowledged.max(other.acknowledged);
        self.lost += other.lost;
        self.leaked += other.leaked;
        self.suspended += other.suspended;
        self.kept += other.kept;
        self.regions = self.regions.max(other.regions);
        self.checked += other.checked;
        self.problems.extend(other.problems);
        self
    }

    /// Whether nothing went wrong, and something was looked at.
    pub const fn is_good(&self) -> bool {
        self.acknowledged > 0 && self.lost + self.leaked + self.suspended == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        writeln!(
            f,
            "thin_check looked at {}; the journal began {} regions; {} ids of torn writes were kept \
             for a person",
            self.checked, self.regions, self.kept
        )?;
        let Self { replayed, opened, acknowledged, lost, leaked, suspended, .. } = self;
        write!(
            f,
            "power cuts: replayed={replayed} opened={opened} acknowledged={acknowledged} \
             lost={lost} leaked={leaked} suspended={suspended}"
        )
    }
}
