//! The operations of a pool: what each locks and asks, and what it promises.
#![forbid(unsafe_code)]

use uuid::Uuid;

use super::start::{id, volume_name};
use super::world::World;
use crate::catalogue::{Catalogue, Content, ThinState, Volume, VolumeName};
use crate::plan::Operation;
use crate::units::{Bytes, Sectors, ThinId};

/// The volumes of every enumeration: two active ones, one that is not, one without a thin id, and
/// a snapshot of the third.
pub(super) const A: Uuid = Uuid::from_u128(1);
pub(super) const B: Uuid = Uuid::from_u128(2);
pub(super) const C: Uuid = Uuid::from_u128(3);
pub(super) const PENDING: Uuid = Uuid::from_u128(4);
pub(super) const SNAPSHOT: Uuid = Uuid::from_u128(5);

/// Every volume's size, and the size of a grown one.
pub(super) const SIZE: Bytes = Bytes::new(1024);
pub(super) const GROWN: Bytes = Bytes::new(2048);

/// The identity of what an operation makes.
pub(super) const fn made(slot: u8, part: u8) -> Uuid {
    Uuid::from_u128(100 + 10 * slot as u128 + part as u128)
}

/// The name of what an operation makes. A new volume takes the name that the other one of a pair
/// may want.
pub(super) fn name_of_made(kind: Kind, slot: u8, part: u8) -> VolumeName {
    let slot = if kind == Kind::Create { 1 } else { slot };
    volume_name(&format!("x{slot}{part}"))
}

/// An operation of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Create,
    ActivatePending,
    Activate,
    Deactivate,
    SnapshotInactive,
    SnapshotActive,
    SnapshotGroup,
    SnapshotPending,
    Clone,
    Rollback,
    Resize,
    Refresh,
    Rename,
    Delete,
    DeleteSnapshot,
    Reap,
    /// A difference onto B, from its begin to its snapshot.
    Receive,
    /// The end of a handle: not one of the pairs, for it takes the handle with it.
    Release,
}

impl Kind {
    pub(super) const ALL: [Self; 17] = [
        Self::Create,
        Self::ActivatePending,
        Self::Activate,
        Self::Deactivate,
        Self::SnapshotInactive,
        Self::SnapshotActive,
        Self::SnapshotGroup,
        Self::SnapshotPending,
        Self::Clone,
        Self::Rollback,
        Self::Resize,
        Self::Refresh,
        Self::Rename,
        Self::Delete,
        Self::DeleteSnapshot,
        Self::Reap,
        Self::Receive,
    ];

    /// The volumes that it locks, as `Pool::lock_one` and `Pool::lock_all` do.
    pub(super) const fn locks(self) -> &'static [Uuid] {
        match self {
            Self::Create | Self::Reap | Self::Release => &[],
            Self::ActivatePending | Self::SnapshotPending => &[PENDING],
            Self::Activate | Self::SnapshotInactive | Self::Rename | Self::Receive => &[B],
            Self::Deactivate | Self::SnapshotActive | Self::Resize | Self::Delete => &[A],
            Self::SnapshotGroup => &[A, C],
            Self::Clone | Self::DeleteSnapshot => &[SNAPSHOT],
            Self::Rollback => &[B, SNAPSHOT],
            Self::Refresh => &[C],
        }
    }

    /// The volume whose thin id it pins: the reaper leaves that alone.
    pub(super) fn pinned(self, world: &World) -> Option<ThinId> {
        match self {
            Self::Clone | Self::Rollback => world.volume(SNAPSHOT).and_then(|v| v.thin.id()),
            _ => None,
        }
    }

    /// What the pool asks of its condition before anything else; copies ask when they know whether
    /// an origin is active.
    pub(super) const fn admission(self) -> Option<Operation> {
        match self {
            Self::Create => Some(Operation::Create),
            Self::ActivatePending => Some(Operation::Allocate),
            Self::Activate | Self::Receive => Some(Operation::Activate),
            Self::Deactivate => Some(Operation::Deactivate),
            Self::SnapshotPending => Some(Operation::SnapshotInactive),
            Self::Rollback => Some(Operation::Rollback),
            Self::Resize | Self::Refresh => Some(Operation::Resize),
            Self::Rename => Some(Operation::Rename),
            Self::Delete | Self::DeleteSnapshot => Some(Operation::Delete),
            Self::Reap => Some(Operation::Reap),
            _ => None,
        }
    }

    /// Whether what it promised is there: its own effect, unless a later operation took it back.
    pub(super) fn holds(self, slot: u8, catalogue: &Catalogue) -> bool {
        let volume = |uuid| catalogue.volume(uuid);
        let ready =
            |uuid| volume(uuid).is_some_and(|v: &Volume| matches!(v.thin, ThinState::Ready(_)));
        match self {
            Self::Create => volume(made(slot, 0)).is_some(),
            Self::ActivatePending => ready(PENDING),
            Self::Activate => volume(B).is_some_and(|b| b.content == Content::Touched),
            Self::SnapshotGroup => {
                let both = ready(made(slot, 0)) && ready(made(slot, 1));
                both && catalogue.provision(made(slot, 9)).is_some()
            }
            Self::Clone => ready(made(slot, 0)) && catalogue.provision(made(slot, 0)).is_some(),
            // Another stream may have come after it.
            Self::Receive => {
                let last = catalogue.received(B).and_then(|received| received.last);
                ready(made(slot, 0)) && last.is_some()
            }
            Self::SnapshotPending => ready(PENDING) && ready(made(slot, 0)),
            Self::SnapshotInactive | Self::SnapshotActive => ready(made(slot, 0)),
            Self::Rollback => volume(B).is_some_and(|b| b.thin.id() != Some(id(1))),
            Self::Resize => volume(A).is_none_or(|a| a.size == GROWN),
            Self::Rename => volume(B).is_some_and(|b| b.name.as_str() != "b"),
            Self::Delete => volume(A).is_none(),
            Self::DeleteSnapshot => volume(SNAPSHOT).is_none(),
            Self::Deactivate | Self::Refresh | Self::Reap | Self::Release => true,
        }
    }
}

pub(super) fn length(size: Bytes) -> Sectors {
    size.to_sectors_exact().unwrap()
}
