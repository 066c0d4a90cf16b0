//! What the catalogue knows of one volume or snapshot.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::name::VolumeName;
use crate::units::{Bytes, ThinId};

/// Milliseconds since the Unix epoch. The pure core never asks for the time: callers bring it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// A volume, or a snapshot of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its identity, for ever.
    pub uuid: Uuid,
    /// Its name; unique in the pool over volumes and snapshots.
    pub name: VolumeName,
    /// Its virtual size. The pool does not store it: the catalogue alone knows.
    pub size: Bytes,
    /// When it was created.
    pub created_at: Timestamp,
    /// Volume or snapshot, and from what it came.
    pub kind: VolumeKind,
    /// Where its data is.
    pub thin: ThinState,
    /// What is known of its content.
    pub content: Content,
}

/// What a volume is, and from what it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeKind {
    /// Made blank.
    Blank,
    /// A writable copy of a volume or a snapshot.
    Clone {
        /// The source's identity; it may be gone by now.
        source: Uuid,
    },
    /// A point-in-time image, to be activated read-only.
    Snapshot {
        /// The origin's identity; it may be gone by now.
        origin: Uuid,
        /// The origin's name when the snapshot was taken.
        origin_name: VolumeName,
        /// The group that it was taken in, with all others of that group at one instant.
        group: Option<GroupTag>,
    },
}

/// A group of snapshots taken at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupTag {
    /// The group's identity.
    pub uuid: Uuid,
    /// The group's name.
    pub name: VolumeName,
}

/// Where a volume's data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ThinState {
    /// It has no thin id yet: a blank volume has nothing to lose until its first activation.
    Pending,
    /// Its data is in this thin device.
    Ready(ThinId),
    /// Its thin device was not in the pool when it was last looked for. Never made anew.
    Lost(ThinId),
}

impl ThinState {
    /// The thin id that holds (or held) the data.
    pub const fn id(self) -> Option<ThinId> {
        match self {
            Self::Pending => None,
            Self::Ready(id) | Self::Lost(id) => Some(id),
        }
    }
}

/// What is known of the content: it decides whether mkfs may ever run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Never handed out writable.
    Blank,
    /// A mkfs was begun and not seen to end; only here may it be repeated.
    Formatting {
        /// The filesystem's type.
        filesystem: String,
        /// The filesystem's uuid.
        filesystem_uuid: Uuid,
    },
    /// A mkfs ended well.
    Formatted {
        /// The filesystem's type.
        filesystem: String,
        /// The filesystem's uuid.
        filesystem_uuid: Uuid,
    },
    /// Handed out writable as a block device: anything may be on it.
    Touched,
}

impl Volume {
    /// Whether it is a snapshot.
    pub const fn is_snapshot(&self) -> bool {
        matches!(self.kind, VolumeKind::Snapshot { .. })
    }

    /// The group that a snapshot was taken in.
    pub const fn group(&self) -> Option<&GroupTag> {
        match &self.kind {
            VolumeKind::Snapshot { group, .. } => group.as_ref(),
            VolumeKind::Blank | VolumeKind::Clone { .. } => None,
        }
    }
}

/// Why a thin id waits to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TombstoneReason {
    /// Its volume was deleted.
    Deleted,
    /// A message about it failed, or could not be proven: it may exist or not.
    UnknownFate,
    /// Recovery found it in the pool, stamped with the epoch that ended without release.
    Unclaimed,
    /// A rollback put another id in its place.
    RolledBack,
    /// Its volume was deleted, and what it alone holds must be overwritten before it is freed.
    ToErase,
}
