//! Every operation as its steps. `docs/crash-safety.md` has a row with the argument for each.
#![forbid(unsafe_code)]

use uuid::Uuid;

use super::mode::Operation;
use super::step::{Plan, Step};
use crate::catalogue::{
    Content, GroupTag, Record, SnapshotMember, Timestamp, TombstoneReason, VolumeName,
};
use crate::dm::PoolMessage;
use crate::units::{Bytes, Sectors, ThinId};

/// One or more snapshots at one instant.
#[derive(Debug, Clone)]
pub struct SnapshotRequest {
    /// The group's tag, when it is a group.
    pub group: Option<GroupTag>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Each snapshot with its origin's thin id and whether the origin is active in the kernel.
    pub members: Vec<(SnapshotMember, ThinId, bool)>,
}

/// A writable copy of a volume or snapshot.
#[derive(Debug, Clone)]
pub struct CloneRequest {
    /// The copy's identity.
    pub uuid: Uuid,
    /// The copy's name.
    pub name: VolumeName,
    /// The copy's size: the source's or more.
    pub size: Bytes,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// The source's identity.
    pub source: Uuid,
    /// The source's thin id.
    pub source_id: ThinId,
    /// Whether the source is active in the kernel.
    pub source_active: bool,
    /// The thin id for the copy.
    pub thin_id: ThinId,
}

/// How a volume's device is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Writes are refused.
    ReadOnly,
    /// Writes are served, and the catalogue knows already that anything may be on it.
    ReadWrite,
    /// Writes are served for the first time.
    FirstTouch,
}

/// The frozen window and the proofs after it: only messages lie between suspend and resume, every
/// origin runs again before anything is read or journaled.
fn copy_steps(pairs: &[(ThinId, ThinId, bool)], record: Record) -> Vec<Step> {
    // A fixed order of suspends: two groups over the same origins cannot wait for each other.
    let mut active: Vec<ThinId> =
        pairs.iter().filter(|(_, _, active)| *active).map(|(_, origin, _)| *origin).collect();
    active.sort_unstable();
    active.dedup();
    let mut steps = Vec::with_capacity(pairs.len() + 2 * active.len() + 3);
    steps.extend(active.iter().map(|id| Step::Suspend(*id)));
    steps.extend(pairs.iter().map(|(id, origin, _)| {
        Step::Message(PoolMessage::CreateSnap { id: *id, origin: *origin })
    }));
    steps.extend(active.iter().rev().map(|id| Step::Resume(*id)));
    steps.push(Step::CheckPool);
    steps.push(Step::Prove(pairs.iter().map(|(id, _, _)| *id).collect()));
    steps.push(Step::Commit(record));
    steps
}

fn copy_operation(any_active: bool) -> Operation {
    if any_active { Operation::SnapshotActive } else { Operation::SnapshotInactive }
}

/// Takes snapshots: all of them, at one instant, or none.
pub fn snapshot(request: &SnapshotRequest) -> Plan {
    let pairs: Vec<(ThinId, ThinId, bool)> = request
        .members
        .iter()
        .map(|(member, origin, active)| (member.thin_id, *origin, *active))
        .collect();
    let record = Record::SnapshotsCreated {
        group: request.group.clone(),
        created_at: request.created_at,
        members: request.members.iter().map(|(member, _, _)| member.clone()).collect(),
    };
    Plan {
        operation: copy_operation(pairs.iter().any(|(_, _, active)| *active)),
        steps: copy_steps(&pairs, record),
    }
}

/// Makes a writable copy.
pub fn clone(request: &CloneRequest) -> Plan {
    let record = Record::CloneCreated {
        uuid: request.uuid,
        name: request.name.clone(),
        size: request.size,
        created_at: request.created_at,
        source: request.source,
        thin_id: request.thin_id,
    };
    let pair = (request.thin_id, request.source_id, request.source_active);
    Plan { operation: copy_operation(request.source_active), steps: copy_steps(&[pair], record) }
}

/// Puts a copy of a snapshot in a volume's place. Only for a volume that the kernel does not hold.
pub fn rollback(volume: Uuid, snapshot: Uuid, snapshot_id: ThinId, thin_id: ThinId) -> Plan {
    let record = Record::RolledBack { uuid: volume, snapshot, thin_id };
    Plan {
        operation: Operation::Rollback,
        steps: copy_steps(&[(thin_id, snapshot_id, false)], record),
    }
}

/// Gives a pending volume its thin id, without a device: for the first snapshot of one.
pub fn allocate_pending(volume: Uuid, id: ThinId) -> Plan {
    Plan {
        operation: Operation::Allocate,
        steps: vec![
            Step::Message(PoolMessage::CreateThin(id)),
            Step::CheckPool,
            Step::Prove(vec![id]),
            Step::Commit(Record::VolumeReady { uuid: volume, thin_id: id, touched: false }),
        ],
    }
}

/// First activation: the loaded table proves that the id exists, the record is durable before
/// anybody can write through the device.
pub fn activate_pending(volume: Uuid, id: ThinId, length: Sectors, access: Access) -> Plan {
    let read_only = access == Access::ReadOnly;
    let touched = access == Access::FirstTouch;
    Plan {
        operation: Operation::Allocate,
        steps: vec![
            Step::Message(PoolMessage::CreateThin(id)),
            Step::CheckPool,
            Step::CreateDevice { id, volume },
            Step::LoadTable { id, length, read_only },
            Step::Commit(Record::VolumeReady { uuid: volume, thin_id: id, touched }),
            Step::Resume(id),
        ],
    }
}

/// Makes the device of a ready volume. A blank one that is handed out for writing is recorded as
/// touched first, so that nothing ever formats it behind its user's back.
pub fn activate(volume: Uuid, id: ThinId, length: Sectors, access: Access) -> Plan {
    let read_only = access == Access::ReadOnly;
    let mut steps = vec![
        Step::CreateDevice { id, volume },
        Step::LoadTable { id, length, read_only },
        Step::Resume(id),
    ];
    if access == Access::FirstTouch {
        let content = Content::Touched;
        steps.insert(2, Step::Commit(Record::ContentChanged { uuid: volume, content }));
    }
    Plan { operation: Operation::Activate, steps }
}

/// Removes a volume's device; the kernel refuses while anybody uses it.
pub fn deactivate(id: ThinId) -> Plan {
    Plan { operation: Operation::Deactivate, steps: vec![Step::RemoveDevice(id)] }
}

/// Grows a volume. The record comes first: tables are always rebuilt from the catalogue, so a
/// crash after it leaves only a table that the next open or activation makes longer.
pub fn resize(volume: Uuid, size: Bytes, active: Option<(ThinId, Sectors, bool)>) -> Plan {
    let mut steps = vec![Step::Commit(Record::Resized { uuid: volume, size })];
    if let Some((id, length, read_only)) = active {
        steps.extend(refresh(id, length, read_only).steps);
    }
    Plan { operation: Operation::Resize, steps }
}

/// Gives an active device the table that the catalogue says: a resize whose end a crash took.
pub fn refresh(id: ThinId, length: Sectors, read_only: bool) -> Plan {
    Plan {
        operation: Operation::Resize,
        steps: vec![Step::LoadTable { id, length, read_only }, Step::Reload(id)],
    }
}

/// Deletes a tombstone's thin id from the pool, then lets the id be used again.
pub fn reap(id: ThinId) -> Plan {
    Plan {
        operation: Operation::Reap,
        steps: vec![
            Step::Message(PoolMessage::Delete(id)),
            Step::CheckPool,
            Step::ProveGone(id),
            Step::Commit(Record::Reaped { thin_id: id }),
        ],
    }
}

/// The record that turns a failed creation's id into a tombstone.
pub(super) const fn bury(id: ThinId) -> Record {
    Record::Tombstoned { thin_id: id, reason: TombstoneReason::UnknownFate }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device may lie on another one: what is frozen last must run first, or its own I/O waits for the one below.
    #[test]
    fn members_of_a_group_are_frozen_in_one_order_and_run_again_in_the_opposite() {
        let id = |n| ThinId::new(n).unwrap();
        let member = |n: u32| SnapshotMember {
            uuid: Uuid::from_u128(u128::from(n)),
            name: VolumeName::new(&format!("s{n}")).unwrap(),
            origin: Uuid::from_u128(99),
            thin_id: id(10 + n),
        };
        let members =
            vec![(member(0), id(3), true), (member(1), id(1), true), (member(2), id(2), true)];
        let steps =
            snapshot(&SnapshotRequest { group: None, created_at: Timestamp(0), members }).steps;
        let frozen = [1, 2, 3].map(|n| Step::Suspend(id(n)));
        let running = [3, 2, 1].map(|n| Step::Resume(id(n)));
        assert_eq!(steps[..3], frozen);
        let only_messages = steps[3..6].iter().all(|step| matches!(step, Step::Message(_)));
        assert!(only_messages, "{steps:?}");
        assert_eq!(steps[6..9], running);
        assert_eq!(steps[9], Step::CheckPool);
    }
}
