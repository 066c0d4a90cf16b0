//! A small model of the kernel: what a thin-pool has on disk, what it has in core, its condition,
//! and the dm devices. Each way in which the kernel is known to answer is one outcome.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use crate::dm::PoolMessage;
use crate::plan::{Failure, Health};
use crate::units::{Sectors, ThinId, TransactionId};

/// A thin device in the pool's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Thin {
    /// The transaction id that the kernel stamped into it.
    pub(super) stamp: TransactionId,
    /// Which operation made it: two devices of one id are not the same data.
    pub(super) maker: u8,
}

/// One state of the metadata.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Metadata {
    pub(super) thins: BTreeMap<ThinId, Thin>,
    pub(super) transaction_id: TransactionId,
}

/// A dm device of a thin id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Device {
    pub(super) live: Option<Sectors>,
    pub(super) inactive: Option<Sectors>,
    pub(super) suspended: bool,
    /// Somebody else has it open: it cannot be removed.
    pub(super) foreign: bool,
}

/// What survives the process, and of which `disk` alone survives the machine.
#[derive(Debug, Clone, Hash)]
pub(super) struct Kernel {
    pub(super) disk: Metadata,
    pub(super) core: Metadata,
    pub(super) health: Health,
    /// The transaction was dropped, the next status does not show it yet.
    pub(super) lagging: bool,
    pub(super) devices: BTreeMap<ThinId, Device>,
}

/// One way in which an effect can come out.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) kernel: Kernel,
    pub(super) result: Result<(), Failure>,
    /// Whether it takes a misfortune: the nominal outcome does not.
    pub(super) is_fault: bool,
    /// Whether the pool is in doubt through this very message.
    pub(super) in_doubt: bool,
    pub(super) note: &'static str,
}

pub(super) fn nominal(kernel: Kernel, result: Result<(), Failure>) -> Outcome {
    Outcome { kernel, result, is_fault: false, in_doubt: false, note: "" }
}

pub(super) fn fault(kernel: Kernel, result: Result<(), Failure>, note: &'static str) -> Outcome {
    Outcome { kernel, result, is_fault: true, in_doubt: false, note }
}

fn in_doubt(kernel: Kernel, note: &'static str) -> Outcome {
    Outcome { in_doubt: true, ..fault(kernel, Ok(()), note) }
}

impl Kernel {
    pub(super) fn takes_messages(&self) -> bool {
        self.lagging || self.health.serves_messages()
    }

    /// What the status shows.
    pub(super) fn shown_health(&self) -> Health {
        if self.lagging { Health::Writable } else { self.health }
    }

    pub(super) fn commit(&mut self) {
        self.disk = self.core.clone();
    }

    /// Everything since the last commit is dropped, except the transaction id in core.
    pub(super) fn abort(&mut self, lagging: bool) {
        self.core.thins = self.disk.thins.clone();
        self.health = Health::NeedsCheck;
        self.lagging = lagging;
    }

    /// The machine stops: only what was committed is left. The next load tries to write again
    /// unless the metadata has to be checked.
    pub(super) fn cut_power(&mut self) {
        self.core = self.disk.clone();
        self.devices.clear();
        self.lagging = false;
        if self.health == Health::ReadOnly {
            self.health = Health::Writable;
        }
    }

    /// Every outcome of a message.
    pub(super) fn message(&self, message: PoolMessage, maker: u8) -> Vec<Outcome> {
        let refused = || vec![nominal(self.clone(), Err(Failure::Rejected))];
        if !self.takes_messages() {
            return refused();
        }
        let mut after = self.clone();
        let thin = Thin { stamp: self.core.transaction_id, maker };
        let has = |id: &ThinId| self.core.thins.contains_key(id);
        match message {
            PoolMessage::CreateThin(id) | PoolMessage::CreateSnap { id, .. } if has(&id) => {
                return vec![nominal(after, Err(Failure::Exists))];
            }
            PoolMessage::CreateSnap { origin, .. } if !has(&origin) => return refused(),
            PoolMessage::CreateThin(id) | PoolMessage::CreateSnap { id, .. } => {
                after.core.thins.insert(id, thin);
            }
            // The shell takes ENODATA for done.
            PoolMessage::Delete(id) if !has(&id) => return vec![nominal(after, Ok(()))],
            PoolMessage::Delete(id) if self.holds(id) => return refused(),
            PoolMessage::Delete(id) => {
                after.core.thins.remove(&id);
            }
            PoolMessage::SetTransactionId { from, .. } if from != self.core.transaction_id => {
                return refused();
            }
            PoolMessage::SetTransactionId { to, .. } => after.core.transaction_id = to,
            PoolMessage::ReserveMetadataSnap | PoolMessage::ReleaseMetadataSnap => {}
        }
        self.answers(&after)
    }

    /// A message that the pool began to serve: done, dropped, half done, or denied and done.
    fn answers(&self, after: &Self) -> Vec<Outcome> {
        let mut committed = after.clone();
        committed.commit();
        let mut checked = committed.clone();
        checked.health = Health::NeedsCheck;
        checked.lagging = false;
        let mut dropped = after.clone();
        dropped.abort(false);
        let mut lagging = after.clone();
        lagging.abort(true);
        let mut uncommitted = after.clone();
        uncommitted.health = Health::ReadOnly;
        uncommitted.lagging = false;
        vec![
            nominal(committed.clone(), Ok(())),
            in_doubt(dropped.clone(), "said yes, the commit failed"),
            in_doubt(lagging, "said yes, dropped, the status does not show it yet"),
            in_doubt(uncommitted, "said yes, out of metadata space before the commit"),
            in_doubt(checked, "done, and the pool must be checked"),
            fault(self.clone(), Err(Failure::Unknown), "said no"),
            fault(dropped, Err(Failure::Unknown), "said no, and dropped the transaction"),
            fault(self.clone(), Err(Failure::Rejected), "refused"),
            fault(committed, Err(Failure::Unknown), "said no, and it is done"),
            fault(after.clone(), Err(Failure::Unknown), "said no, the next commit brings it"),
        ]
    }

    /// Whether a table, live or waiting, holds a thin id.
    fn holds(&self, id: ThinId) -> bool {
        self.devices.get(&id).is_some_and(|d| d.live.is_some() || d.inactive.is_some())
    }

    /// An effect on one dm device: done, not done and denied, done and denied.
    pub(super) fn device(&self, after: Option<Self>) -> Vec<Outcome> {
        let Some(after) = after else {
            return vec![nominal(self.clone(), Err(Failure::Rejected))];
        };
        vec![
            nominal(after.clone(), Ok(())),
            fault(self.clone(), Err(Failure::Rejected), "refused"),
            fault(self.clone(), Err(Failure::Unknown), "said no"),
            fault(after, Err(Failure::Unknown), "said no, and it is done"),
        ]
    }

    pub(super) fn created(&self, id: ThinId) -> Option<Self> {
        let mut after = self.clone();
        after.devices.insert(id, Device::default()).is_none().then_some(after)
    }

    pub(super) fn removed(&self, id: ThinId) -> Option<Self> {
        let mut after = self.clone();
        after.devices.remove(&id).is_some_and(|device| !device.foreign).then_some(after)
    }

    /// A table is loaded only for an id that is there in core.
    pub(super) fn loaded(&self, id: ThinId, length: Sectors) -> Option<Self> {
        let mut after = self.clone();
        let device = after.devices.get_mut(&id)?;
        device.inactive = Some(length);
        self.core.thins.contains_key(&id).then_some(after)
    }

    pub(super) fn suspended(&self, id: ThinId) -> Option<Self> {
        let mut after = self.clone();
        after.devices.get_mut(&id)?.suspended = true;
        Some(after)
    }

    /// A resume swaps in whatever table waits.
    pub(super) fn resumed(&self, id: ThinId) -> Option<Self> {
        let mut after = self.clone();
        let device = after.devices.get_mut(&id)?;
        device.live = device.inactive.take().or(device.live);
        device.suspended = false;
        Some(after)
    }
}
