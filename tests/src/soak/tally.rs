//! What was done, refused and found, and the last steps of it.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// Steps that are shown when the soak fails.
const STEPS_SHOWN: usize = 50;

/// Counts by kind.
type Counts = BTreeMap<String, u64>;

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Tally {
    operations: Counts,
    refusals: Counts,
    faults: Counts,
    steps: VecDeque<String>,
    step_count: u64,
    /// Rounds that were judged.
    pub rounds: u64,
    /// Pools that were emptied, found without a used block, and destroyed.
    pub emptied: u64,
    /// Metadata that `thin_check` looked at.
    pub checked: u64,
    /// Blocks that the kernel lost when a disk failed, and a repair gave back.
    pub given_back: u64,
    /// Volumes and snapshots that were read back from end to end.
    pub read_back: u64,
}

impl Tally {
    pub(super) fn done(&mut self, kind: &str) {
        count(&mut self.operations, kind);
    }

    pub(super) fn refused(&mut self, kind: &str) {
        count(&mut self.refusals, kind);
    }

    pub(super) fn fault(&mut self, kind: &str) {
        count(&mut self.faults, kind);
    }

    pub(super) fn step(&mut self, text: &str) {
        self.step_count += 1;
        if self.steps.len() == STEPS_SHOWN {
            self.steps.pop_front();
        }
        self.steps.push_back(format!("{} {text}", self.step_count));
    }

    /// The last steps, for whoever looks at a failure.
    pub(super) fn last_steps(&self) -> String {
        let steps: Vec<&str> = self.steps.iter().map(String::as_str).collect();
        steps.join("\n")
    }

    /// How much of a kind was acknowledged.
    pub fn acknowledged(&self, kind: &str) -> u64 {
        self.operations.get(kind).copied().unwrap_or_default()
    }

    /// How many operations were acknowledged, of all kinds.
    pub fn acknowledged_in_all(&self) -> u64 {
        self.operations.values().sum()
    }

    /// How many faults there were, of all kinds.
    pub fn faults_in_all(&self) -> u64 {
        self.faults.values().sum()
    }
}

fn count(counts: &mut Counts, kind: &str) {
    *counts.entry(kind.to_owned()).or_default() += 1;
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, counts) in [
            ("operations acknowledged", &self.operations),
            ("faults", &self.faults),
            ("refusals", &self.refusals),
        ] {
            writeln!(f, "{title}: {}", counts.values().sum::<u64>())?;
            for (kind, count) in counts {
                writeln!(f, "  {kind:<44} {count:>8}")?;
            }
        }
        for (what, count) in [
            ("rounds judged", self.rounds),
            ("volumes read back from end to end", self.read_back),
            ("metadata found clean by thin_check", self.checked),
            ("lost by the kernel, given back by a repair", self.given_back),
            ("pools emptied to the last block", self.emptied),
        ] {
            writeln!(f, "{what:<46} {count:>8}")?;
        }
        Ok(())
    }
}
