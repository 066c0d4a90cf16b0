//! Where the recorded work stands at one moment of the log.

use anyhow::{Result, bail, ensure};

use super::model::Model;
use super::op::{Mark, Op};
use crate::log_writes::LogEntry;

/// What the marks have said so far.
#[derive(Debug, Default)]
pub(super) struct State {
    /// What was acknowledged.
    pub(super) model: Model,
    /// The operation that was begun and not acknowledged.
    pub(super) in_flight: Option<Op>,
    /// How many operations were acknowledged.
    pub(super) acknowledged: usize,
    /// Whether anything became durable since the last mark.
    has_moved: bool,
}

impl State {
    /// Takes the next entry of the log.
    pub(super) fn see(&mut self, entry: &LogEntry) -> Result<()> {
        let Some(text) = &entry.mark else {
            self.has_moved |= entry.changes_disk();
            return Ok(());
        };
        match (Mark::parse(text)?, self.in_flight.take()) {
            (None, in_flight) => self.in_flight = in_flight,
            (Some(Mark::Begin(op)), None) => {
                self.in_flight = Some(op);
                self.has_moved = false;
            }
            (Some(Mark::Acknowledged), Some(op)) => {
                self.model = self.model.after(&op);
                self.acknowledged += 1;
            }
            (Some(mark), in_flight) => bail!("{mark:?} while {in_flight:?} was going on"),
        }
        Ok(())
    }

    /// Whether nothing of the operation in flight can be on the disk.
    pub(super) const fn is_quiet(&self) -> bool {
        self.in_flight.is_none() || !self.has_moved
    }

    /// What the disk may hold, with nothing of what is pending.
    pub(super) fn allowed(&self) -> Vec<Model> {
        if self.is_quiet() { vec![self.model.clone()] } else { self.allowed_with_pending() }
    }

    /// What the disk may hold, with any part of what is pending.
    pub(super) fn allowed_with_pending(&self) -> Vec<Model> {
        match &self.in_flight {
            Some(op) => self.model.during(op),
            None => vec![self.model.clone()],
        }
    }

    /// Refuses a log that stops in the middle.
    pub(super) fn require_end(&self) -> Result<()> {
        ensure!(self.in_flight.is_none(), "the log ends while {:?} was going on", self.in_flight);
        ensure!(self.acknowledged > 0, "the log holds no work");
        Ok(())
    }
}
