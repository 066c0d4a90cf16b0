//! Recovery as one function: the catalogue and the pool's device tree in, records out.
//!
//! Neither side is rebuilt from the other silently. The catalogue is the truth about names and
//! intent; the device tree is the truth about which thin ids hold data. A frame that was lost must
//! never become data that is lost, so what cannot be proven ours is kept and reported.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;
use uuid::Uuid;

use super::finding::Finding;
use crate::catalogue::{ApplyError, Catalogue, Epoch, Record, ThinState, TombstoneReason};
use crate::metadata::DeviceDetails;
use crate::units::{ThinId, TransactionId};

/// What follows the journal's last valid frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Nothing: no frame can have been lost there.
    Clean,
    /// Something unreadable: an acknowledged frame may have been there.
    Damaged,
}

/// What the kernel and the disk say of the pool.
#[derive(Debug, Clone)]
pub struct KernelView {
    /// The pool's transaction id.
    pub transaction_id: TransactionId,
    /// The device tree; `None` when the journal ends in order and it need not be read.
    pub devices: Option<BTreeMap<ThinId, DeviceDetails>>,
    /// Thin ids that a dm device holds at this moment.
    pub loaded: BTreeSet<ThinId>,
}

/// Something else changed the pool since our last writer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "the pool is at transaction id {found}, the journal expects {expected}: something else has \
     changed it since writer {epoch}; nothing was written. Compare `thinly dm status` with \
     `thinly pool show`; if the change was yours, take a `thinly pool backup` and use `thinly pool \
     restore --accept-transaction-id {found}`"
)]
pub struct ForeignPool {
    /// The pool's transaction id.
    pub found: TransactionId,
    /// The one that the journal expects.
    pub expected: TransactionId,
    /// The last writer in the journal.
    pub epoch: u64,
}

/// The outcome of recovery.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reconciliation {
    /// What to make durable before anything is allocated.
    pub records: Vec<Record>,
    /// What to tell.
    pub findings: Vec<Finding>,
}

impl Reconciliation {
    /// What is to be appended to the journal, record by record.
    ///
    /// Where a checkpoint must come first (nothing is appended behind a damaged tail) the records
    /// go into the state that it writes, and nothing is left to append: a checkpoint without them
    /// would end in order, and a crash right after it would show ids whose record was lost as the
    /// last writer's unfinished work.
    pub fn settle(
        self,
        catalogue: &mut Catalogue,
        checkpoint_first: bool,
    ) -> Result<Vec<Record>, ApplyError> {
        if !checkpoint_first {
            return Ok(self.records);
        }
        self.records.into_iter().try_for_each(|record| catalogue.apply(record))?;
        Ok(Vec::new())
    }
}

/// Whether the device tree must be read: not when the last writer's release is the last frame.
pub fn needs_device_tree(catalogue: &Catalogue, tail: Tail) -> bool {
    tail == Tail::Damaged || matches!(catalogue.epoch(), Epoch::Opened { .. })
}

/// Decides what recovery does. Calling it again after its records were applied decides nothing.
pub fn reconcile(
    catalogue: &Catalogue,
    tail: Tail,
    kernel: &KernelView,
) -> Result<Reconciliation, ForeignPool> {
    let epoch = catalogue.epoch();
    if !epoch.accepts(kernel.transaction_id) {
        return Err(ForeignPool {
            found: kernel.transaction_id,
            expected: epoch.expected(),
            epoch: epoch.number(),
        });
    }
    let mut outcome = Reconciliation::default();
    if let Epoch::Opened { epoch, .. } = epoch {
        outcome.findings.push(Finding::UncleanShutdown { epoch });
    }
    if tail == Tail::Damaged {
        outcome.findings.push(Finding::DamagedTail);
    }
    if let Some(devices) = &kernel.devices {
        unknown_ids(catalogue, tail, devices, &kernel.loaded, &mut outcome);
        missing_ids(catalogue, devices, &mut outcome);
    }
    Ok(outcome)
}

/// Ids in the pool that the catalogue does not speak for. Only what is surely the unfinished work
/// of the last writer may be freed: nothing was lost at the tail, the kernel stamped it with that
/// writer's transaction id, and nobody holds it.
fn unknown_ids(
    catalogue: &Catalogue,
    tail: Tail,
    devices: &BTreeMap<ThinId, DeviceDetails>,
    loaded: &BTreeSet<ThinId>,
    outcome: &mut Reconciliation,
) {
    let unclean_id = match catalogue.epoch() {
        Epoch::Opened { to, .. } => Some(to),
        Epoch::Released { .. } => None,
    };
    for (&id, details) in devices.iter().filter(|(id, _)| !catalogue.knows(**id)) {
        let ours = tail == Tail::Clean
            && Some(details.transaction_id) == unclean_id
            && !loaded.contains(&id);
        if ours {
            let reason = TombstoneReason::Unclaimed;
            outcome.records.push(Record::Tombstoned { thin_id: id, reason });
            outcome.findings.push(Finding::Unclaimed { id });
        } else {
            outcome.records.push(Record::Orphaned { thin_id: id });
            outcome.findings.push(Finding::Orphan { id, created_in: details.transaction_id });
        }
    }
}

/// Volumes whose id is not in the pool, and lost ones whose id is there again.
fn missing_ids(
    catalogue: &Catalogue,
    devices: &BTreeMap<ThinId, DeviceDetails>,
    outcome: &mut Reconciliation,
) {
    for volume in catalogue.volumes() {
        let (uuid, name): (Uuid, _) = (volume.uuid, volume.name.clone());
        match volume.thin {
            ThinState::Ready(id) if !devices.contains_key(&id) => {
                outcome.records.push(Record::Lost { uuid });
                outcome.findings.push(Finding::Lost { name, id });
            }
            ThinState::Lost(id) if devices.contains_key(&id) => {
                outcome.records.push(Record::Found { uuid });
                outcome.findings.push(Finding::Found { name, id });
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::fixture::empty_catalogue;
    use crate::catalogue::{Timestamp, VolumeName};
    use crate::units::{Bytes, DataBlocks};

    fn id(n: u32) -> ThinId {
        ThinId::new(n).unwrap()
    }

    fn transaction(n: u64) -> TransactionId {
        TransactionId::new(n)
    }

    /// A catalogue with one ready volume at id 1, whose writer 1 (0 -> 1) did not end.
    fn unclean() -> Catalogue {
        let mut state = empty_catalogue(Uuid::from_u128(1));
        let uuid = Uuid::from_u128(7);
        let created = Record::VolumeCreated {
            uuid,
            name: VolumeName::new("v").unwrap(),
            size: Bytes::new(1 << 20),
            created_at: Timestamp(0),
        };
        state.apply(Record::Opened { epoch: 1, from: transaction(0), to: transaction(1) }).unwrap();
        state.apply(created).unwrap();
        state.apply(Record::VolumeReady { uuid, thin_id: id(1), touched: true }).unwrap();
        state
    }

    fn view(devices: &[(u32, u64)], at: u64, loaded: &[u32]) -> KernelView {
        let details = |created: u64| DeviceDetails {
            mapped_blocks: DataBlocks::ZERO,
            transaction_id: transaction(created),
            creation_time: 0,
            snapshotted_time: 0,
        };
        KernelView {
            transaction_id: transaction(at),
            devices: Some(devices.iter().map(|(n, t)| (id(*n), details(*t))).collect()),
            loaded: loaded.iter().map(|n| id(*n)).collect(),
        }
    }

    #[test]
    fn only_the_last_writers_unfinished_work_is_freed() {
        let state = unclean();
        let buried = |n| Record::Tombstoned { thin_id: id(n), reason: TombstoneReason::Unclaimed };
        let orphan = |n| Record::Orphaned { thin_id: id(n) };
        let ours = view(&[(1, 1), (2, 1)], 1, &[]);
        assert_eq!(reconcile(&state, Tail::Clean, &ours).unwrap().records, [buried(2)]);
        assert_eq!(reconcile(&state, Tail::Damaged, &ours).unwrap().records, [orphan(2)]);
        let held = view(&[(1, 1), (2, 1)], 1, &[2]);
        assert_eq!(reconcile(&state, Tail::Clean, &held).unwrap().records, [orphan(2)]);
        let older = view(&[(1, 1), (2, 0)], 1, &[]);
        assert_eq!(reconcile(&state, Tail::Clean, &older).unwrap().records, [orphan(2)]);
    }

    #[test]
    fn both_sides_of_the_fence_are_ours_and_nothing_else() {
        let state = unclean();
        assert!(reconcile(&state, Tail::Clean, &view(&[(1, 1)], 0, &[])).is_ok());
        assert!(reconcile(&state, Tail::Clean, &view(&[(1, 1)], 1, &[])).is_ok());
        let foreign = reconcile(&state, Tail::Clean, &view(&[(1, 1)], 9, &[])).unwrap_err();
        let text = foreign.to_string();
        assert!(text.contains("transaction id 9") && text.contains("expects 1"), "{text}");
    }

    #[test]
    fn a_ready_volume_that_is_missing_is_lost_and_can_be_found_again() {
        let mut state = unclean();
        let gone = reconcile(&state, Tail::Clean, &view(&[], 1, &[])).unwrap();
        assert_eq!(gone.records, [Record::Lost { uuid: Uuid::from_u128(7) }]);
        for record in gone.records {
            state.apply(record).unwrap();
        }
        assert!(state.knows(id(1)), "the id of a lost volume is never handed out");
        let back = reconcile(&state, Tail::Clean, &view(&[(1, 1)], 1, &[])).unwrap();
        assert_eq!(back.records, [Record::Found { uuid: Uuid::from_u128(7) }]);
    }

    #[test]
    fn recovery_is_idempotent() {
        let mut state = unclean();
        let kernel = view(&[(2, 1), (3, 0)], 1, &[]);
        for record in reconcile(&state, Tail::Clean, &kernel).unwrap().records {
            state.apply(record).unwrap();
        }
        assert!(reconcile(&state, Tail::Clean, &kernel).unwrap().records.is_empty());
    }
}
