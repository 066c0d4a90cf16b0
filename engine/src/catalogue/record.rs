//! The records of the journal. Their encoding is on disk: variants and fields are only ever added,
//! at the end, and the golden file in `testdata/` fails the build when an old one changes.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use super::name::{PoolName, VolumeName};
use super::policy::PoolPolicy;
use super::provision::{Provision, made};
use super::received::Received;
use super::volume::{Content, GroupTag, ThinState, Timestamp, TombstoneReason, Volume, VolumeKind};
use crate::layout::{Role, Segment};
use crate::units::{BlockSize, Bytes, ThinId, TransactionId};

/// The version in front of every record.
pub const RECORD_VERSION: u8 = 1;

/// A pool's identity and the choices fixed at its creation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolIdentity {
    /// The pool's uuid, also in every label.
    pub uuid: Uuid,
    /// The pool's name.
    pub name: PoolName,
    /// When it was created.
    pub created_at: Timestamp,
    /// The data block size, fixed for life.
    pub block_size: BlockSize,
    /// How space is cut on its devices.
    pub extent: Bytes,
    /// Whether discards reach the disks.
    pub discard_passdown: bool,
}

impl PoolIdentity {
    /// Whether `text` is the pool's name or its uuid.
    pub fn is_called(&self, text: &str) -> bool {
        self.name.is_meant(self.uuid, text)
    }
}

impl PoolName {
    /// Whether `text` is this name, or the uuid of the pool that has it.
    pub fn is_meant(&self, uuid: Uuid, text: &str) -> bool {
        self.as_str() == text || Uuid::try_parse(text).is_ok_and(|meant| meant == uuid)
    }
}

/// A device that belongs to the pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolDevice {
    /// The device's uuid, also in its label.
    pub uuid: Uuid,
    /// Its place in the order of devices.
    pub index: u32,
    /// Its length when it joined.
    pub size: Bytes,
}

/// One member of a snapshot record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMember {
    /// The snapshot's identity.
    pub uuid: Uuid,
    /// The snapshot's name.
    pub name: VolumeName,
    /// The origin's identity.
    pub origin: Uuid,
    /// The thin id that holds it.
    pub thin_id: ThinId,
}

/// A change of the catalogue, or a line of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// The first record of every checkpoint.
    PoolCreated(PoolIdentity),
    /// A device joined the pool.
    DeviceAdded(PoolDevice),
    /// Extents were given to roles.
    SegmentsAdded(Vec<Segment>),
    /// A writer is about to change the kernel's state; see "writer epochs" in docs/crash-safety.md.
    Opened {
        /// Counts writers.
        epoch: u64,
        /// The transaction id that the pool had.
        from: TransactionId,
        /// The transaction id that it is about to get.
        to: TransactionId,
    },
    /// The writer ended in order: the next one may skip recovery.
    Released {
        /// The epoch that ended.
        epoch: u64,
        /// The transaction id that the pool must have.
        transaction_id: TransactionId,
    },
    /// A blank volume, without a thin id.
    VolumeCreated {
        /// Its identity.
        uuid: Uuid,
        /// Its name.
        name: VolumeName,
        /// Its virtual size.
        size: Bytes,
        /// When.
        created_at: Timestamp,
    },
    /// A pending volume got its thin id, and the id was seen to exist.
    VolumeReady {
        /// Which volume.
        uuid: Uuid,
        /// Its thin id.
        thin_id: ThinId,
        /// Whether it was handed out for writing in the same step.
        touched: bool,
    },
    /// One snapshot, or a whole group: all or nothing.
    SnapshotsCreated {
        /// The group, when there is one.
        group: Option<GroupTag>,
        /// When they were taken.
        created_at: Timestamp,
        /// The snapshots.
        members: Vec<SnapshotMember>,
    },
    /// A writable copy of a volume or snapshot.
    CloneCreated {
        /// Its identity.
        uuid: Uuid,
        /// Its name.
        name: VolumeName,
        /// Its virtual size: the source's or more.
        size: Bytes,
        /// When.
        created_at: Timestamp,
        /// The source's identity.
        source: Uuid,
        /// The thin id that holds it.
        thin_id: ThinId,
    },
    /// A volume grew.
    Resized {
        /// Which volume.
        uuid: Uuid,
        /// The new virtual size.
        size: Bytes,
    },
    /// A volume or snapshot got another name.
    Renamed {
        /// Which one.
        uuid: Uuid,
        /// The new name.
        name: VolumeName,
    },
    /// A volume went back to a snapshot: another thin id holds it now, the old one is a tombstone.
    RolledBack {
        /// Which volume.
        uuid: Uuid,
        /// The snapshot that it went back to.
        snapshot: Uuid,
        /// The thin id that holds it now.
        thin_id: ThinId,
    },
    /// A volume or snapshot is gone; its thin id, if any, is a tombstone.
    Deleted {
        /// Which one.
        uuid: Uuid,
    },
    /// A thin id must be deleted before it may be used again.
    Tombstoned {
        /// Which id.
        thin_id: ThinId,
        /// Why.
        reason: TombstoneReason,
    },
    /// A tombstone's thin id is gone from the pool: it may be used again.
    Reaped {
        /// Which id.
        thin_id: ThinId,
    },
    /// A thin id that nobody knows and nobody may remove but by command.
    Orphaned {
        /// Which id.
        thin_id: ThinId,
    },
    /// A ready volume's thin id was not in the pool.
    Lost {
        /// Which volume.
        uuid: Uuid,
    },
    /// A lost volume's thin id is in the pool again (its metadata was repaired).
    Found {
        /// Which volume.
        uuid: Uuid,
    },
    /// What is known of a volume's content changed.
    ContentChanged {
        /// Which volume.
        uuid: Uuid,
        /// What is known now.
        content: Content,
    },
    /// A whole volume: a line of a checkpoint, never a change.
    Checkpointed(Volume),
    /// The spare region holds the repaired metadata: it and the metadata region change their roles.
    MetadataSwapped,
    /// An orchestrator had something made, and what it asked for stands beside it: both or neither.
    Provisioned {
        /// The creation of a volume, a clone or snapshots; `None` where the objects are there
        /// already, as in a checkpoint.
        #[serde(with = "made")]
        made: Option<Box<Record>>,
        /// What was asked for, by the identity of a volume, a snapshot or a group of snapshots.
        provisions: Vec<(Uuid, Provision)>,
    },
    /// No orchestrator knows an object any more; it stays.
    Unprovisioned {
        /// The identity of a volume, a snapshot or a group of snapshots.
        uuid: Uuid,
    },
    /// Devices joined and roles got extents, all at once: a growth.
    Grown {
        /// The devices that joined.
        devices: Vec<PoolDevice>,
        /// What the roles got.
        segments: Vec<Segment>,
    },
    /// How the pool is to be looked after from now on.
    PolicySet(PoolPolicy),
    /// A volume or snapshot is gone; what its thin id alone holds is overwritten before it is freed.
    DeletedToErase {
        /// Which one.
        uuid: Uuid,
    },
    /// What a volume holds of another pool's snapshots is this now.
    Received {
        /// The creation that goes with it: the volume at the begin, its snapshot at the end.
        #[serde(with = "made")]
        made: Option<Box<Record>>,
        /// Which volume.
        uuid: Uuid,
        /// What it holds, and what is on its way.
        received: Received,
    },
    /// A role lies here from now on, all of it: extents of it were copied, and are the same there.
    Relocated {
        /// Which role.
        role: Role,
        /// Its segments, in order.
        segments: Vec<Segment>,
    },
    /// A device that carries nothing left the pool.
    DeviceRemoved {
        /// Which one.
        uuid: Uuid,
    },
    /// The pool has another name from now on.
    PoolRenamed {
        /// The name.
        name: PoolName,
    },
}

/// A record that cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Nothing in it.
    #[error("an empty record; the journal was written by something else")]
    Empty,
    /// Written by a newer release.
    #[error(
        "record version {found} is newer than this release reads ({RECORD_VERSION}); use the release that wrote it"
    )]
    Version {
        /// The version found.
        found: u8,
    },
    /// Bytes that are no record.
    #[error(
        "a record with a good checksum does not decode: {0}; report this, and restore from `thinly pool backup`"
    )]
    Decode(#[from] postcard::Error),
}

impl Record {
    /// What a volume received, with the creation that goes with it.
    pub fn received(made: Option<Self>, uuid: Uuid, received: Received) -> Self {
        Self::Received { made: made.map(Box::new), uuid, received }
    }

    /// The bytes that go to disk.
    pub fn encode(&self) -> Vec<u8> {
        // Encoding fails only when the sink does, and a vector does not.
        postcard::to_extend(self, vec![RECORD_VERSION]).unwrap_or_default()
    }

    /// Reads what [`Record::encode`] wrote; bytes left over are refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (&version, body) = bytes.split_first().ok_or(RecordError::Empty)?;
        if version != RECORD_VERSION {
            return Err(RecordError::Version { found: version });
        }
        let (record, rest) = postcard::take_from_bytes(body)?;
        if rest.is_empty() {
            Ok(record)
        } else {
            Err(RecordError::Decode(postcard::Error::SerdeDeCustom))
        }
    }
}

impl Volume {
    /// The volume that a [`Record::VolumeCreated`] makes.
    pub(super) fn blank(uuid: Uuid, name: VolumeName, size: Bytes, created_at: Timestamp) -> Self {
        Self {
            uuid,
            name,
            size,
            created_at,
            kind: VolumeKind::Blank,
            thin: ThinState::Pending,
            content: Content::Blank,
        }
    }
}
