//! What the shell can be told to do, one effect a step.
#![forbid(unsafe_code)]

use uuid::Uuid;

use super::mode::{Health, Operation};
use crate::catalogue::{Provision, Received, Record};
use crate::dm::PoolMessage;
use crate::units::{Sectors, ThinId};

/// One effect. A crash can fall between any two of them, so each must be harmless to repeat or
/// undone by recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Freeze the filesystem on a thin device and drain its I/O.
    Suspend(ThinId),
    /// Let a thin device's I/O go on (also the first start of a device that was just loaded).
    Resume(ThinId),
    /// Send a message to the pool.
    Message(PoolMessage),
    /// Read the pool's status without a flush: refused unless it still writes and needs no check.
    /// The kernel throws a commit's result away, so this is where a lost one shows.
    CheckPool,
    /// Find these ids in the device tree on disk: the proof that they will be there after a crash.
    Prove(Vec<ThinId>),
    /// Find that an id is no longer in the device tree on disk.
    ProveGone(ThinId),
    /// Make the dm device of a thin id.
    CreateDevice {
        /// The thin id.
        id: ThinId,
        /// The uuid of the volume.
        volume: Uuid,
    },
    /// Load the thin table: it fails unless the id exists in the pool.
    LoadTable {
        /// The thin id.
        id: ThinId,
        /// The volume's virtual size.
        length: Sectors,
        /// Whether writes are refused.
        read_only: bool,
    },
    /// Swap in the loaded table of a live device without freezing its filesystem.
    Reload(ThinId),
    /// Remove the dm device of a thin id.
    RemoveDevice(ThinId),
    /// Make a record durable.
    Commit(Record),
}

/// Steps in order, and what they are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The operation, as the table of modes knows it.
    pub operation: Operation,
    /// What to do, in order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Whether the plan must run under an announced writer epoch: it messages, suspends or reloads.
    pub fn needs_epoch(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step, Step::Suspend(_) | Step::Message(_) | Step::Reload(_)))
    }

    /// The same plan, with what a volume received in the record of what it creates.
    #[must_use]
    pub fn received(mut self, volume: Uuid, received: Received) -> Self {
        if let Some(Step::Commit(record)) = self.steps.last_mut() {
            *record = Record::received(Some(record.clone()), volume, received);
        }
        self
    }

    /// The same plan, with provisions in the record of what it creates: one record, so that a crash
    /// leaves both or neither.
    #[must_use]
    pub fn provisioned(mut self, provisions: Vec<(Uuid, Provision)>) -> Self {
        if provisions.is_empty() {
            return self;
        }
        if let Some(Step::Commit(record)) = self.steps.last_mut() {
            let made = Some(Box::new(record.clone()));
            *record = Record::Provisioned { made, provisions };
        }
        self
    }
}

/// Why a step failed, as far as decisions depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// EEXIST: the id is in the pool already.
    Exists,
    /// The kernel refused before it changed anything (EINVAL, ENODATA, EBUSY, EOPNOTSUPP).
    Rejected,
    /// Any other error: the effect may be there, may be missing, or may appear later.
    Unknown,
    /// The pool's status shows that it does not serve writes as before.
    Degraded(Health),
    /// An id that was acknowledged by the kernel is not in the device tree on disk.
    NotProven,
    /// The journal could not be written.
    Journal,
}
