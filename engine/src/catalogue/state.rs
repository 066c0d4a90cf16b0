//! The state that the records add up to, with its indexes.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use super::name::VolumeName;
use super::policy::PoolPolicy;
use super::provision::{Provision, ProvisionKey};
use super::received::Received;
use super::record::{PoolDevice, PoolIdentity, Record};
use super::volume::{TombstoneReason, Volume};
use crate::layout::Segment;
use crate::units::{Bytes, ThinId, TransactionId};

/// Where the sequence of writers stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epoch {
    /// A writer announced itself and was not seen to end.
    Opened {
        /// Its number.
        epoch: u64,
        /// The transaction id before it.
        from: TransactionId,
        /// The transaction id that it sets, and that the kernel stamps into what it makes.
        to: TransactionId,
    },
    /// The last writer ended in order.
    Released {
        /// Its number.
        epoch: u64,
        /// The transaction id that the pool must have.
        transaction_id: TransactionId,
    },
}

impl Epoch {
    /// The number of the last writer.
    pub const fn number(self) -> u64 {
        match self {
            Self::Opened { epoch, .. } | Self::Released { epoch, .. } => epoch,
        }
    }

    /// Whether a pool at `found` was touched by nobody but our writers. Between `Opened` and the
    /// compare-and-swap both ids are ours.
    pub fn accepts(self, found: TransactionId) -> bool {
        match self {
            Self::Opened { from, to, .. } => found == from || found == to,
            Self::Released { transaction_id, .. } => found == transaction_id,
        }
    }

    /// The transaction id that the pool is expected to have.
    pub const fn expected(self) -> TransactionId {
        match self {
            Self::Opened { to, .. } => to,
            Self::Released { transaction_id, .. } => transaction_id,
        }
    }
}

/// Names, sizes and intent of one pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    pub(super) pool: PoolIdentity,
    pub(super) devices: Vec<PoolDevice>,
    pub(super) segments: Vec<Segment>,
    /// Shared with checkpoints that are being written.
    pub(super) volumes: HashMap<Uuid, Arc<Volume>>,
    pub(super) names: BTreeMap<VolumeName, Uuid>,
    pub(super) owners: BTreeMap<ThinId, Uuid>,
    pub(super) tombstones: BTreeMap<ThinId, TombstoneReason>,
    pub(super) orphans: BTreeSet<ThinId>,
    pub(super) groups: HashMap<Uuid, BTreeSet<Uuid>>,
    pub(super) provisions: HashMap<Uuid, Arc<Provision>>,
    pub(super) keys: BTreeMap<ProvisionKey, Uuid>,
    pub(super) received: HashMap<Uuid, Arc<Received>>,
    /// The sizes of volumes and clones added up; wide, so that no records overflow it.
    pub(super) volumes_bytes: u128,
    pub(super) policy: PoolPolicy,
    pub(super) epoch: Epoch,
}

impl Catalogue {
    /// The catalogue of a pool that was just made: the kernel starts it at transaction id 0.
    pub fn new(pool: PoolIdentity) -> Self {
        Self {
            pool,
            devices: Vec::new(),
            segments: Vec::new(),
            volumes: HashMap::new(),
            names: BTreeMap::new(),
            owners: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            orphans: BTreeSet::new(),
            groups: HashMap::new(),
            provisions: HashMap::new(),
            keys: BTreeMap::new(),
            received: HashMap::new(),
            volumes_bytes: 0,
            policy: PoolPolicy::default(),
            epoch: Epoch::Released { epoch: 0, transaction_id: TransactionId::ZERO },
        }
    }

    /// The pool's identity.
    pub const fn pool(&self) -> &PoolIdentity {
        &self.pool
    }

    /// The pool's devices, in order.
    pub fn devices(&self) -> &[PoolDevice] {
        &self.devices
    }

    /// Who lives where.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// How the pool is to be looked after.
    pub const fn policy(&self) -> &PoolPolicy {
        &self.policy
    }

    /// Where the sequence of writers stands.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Puts the sequence of writers where the pool is found: a restore or a salvage begins it anew.
    pub fn set_epoch(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// A volume or snapshot by its identity.
    pub fn volume(&self, uuid: Uuid) -> Option<&Volume> {
        self.volumes.get(&uuid).map(Arc::as_ref)
    }

    /// A volume or snapshot by its name.
    pub fn find(&self, name: &VolumeName) -> Option<&Volume> {
        self.names.get(name).and_then(|uuid| self.volume(*uuid))
    }

    /// All volumes and snapshots, by name.
    pub fn volumes(&self) -> impl Iterator<Item = &Volume> {
        self.names.values().filter_map(|uuid| self.volume(*uuid))
    }

    /// How many volumes and snapshots there are.
    pub fn volume_count(&self) -> usize {
        self.volumes.len()
    }

    /// The members of a group of snapshots that are still there.
    pub fn group_members(&self, group: Uuid) -> impl Iterator<Item = &Volume> {
        let members = self.groups.get(&group).into_iter().flatten();
        members.filter_map(|uuid| self.volume(*uuid))
    }

    /// What an orchestrator asked for when it had this volume, snapshot or group made.
    pub fn provision(&self, uuid: Uuid) -> Option<&Provision> {
        self.provisions.get(&uuid).map(Arc::as_ref)
    }

    /// The volume, snapshot or group that an orchestrator knows by this name.
    pub fn by_key(&self, key: &ProvisionKey) -> Option<Uuid> {
        self.keys.get(key).copied()
    }

    /// All provisions, by key.
    pub fn provisions(&self) -> impl Iterator<Item = (Uuid, &Provision)> {
        self.keys.values().filter_map(|uuid| Some((*uuid, self.provision(*uuid)?)))
    }

    /// What the sizes of volumes and clones add up to, without snapshots.
    pub fn volumes_bytes(&self) -> Bytes {
        Bytes::new(u64::try_from(self.volumes_bytes).unwrap_or(u64::MAX))
    }

    /// How much more a record would promise: what it adds to [`Catalogue::volumes_bytes`].
    pub fn growth_of(&self, record: &Record) -> Bytes {
        match record {
            Record::VolumeCreated { size, .. } | Record::CloneCreated { size, .. } => *size,
            Record::Resized { uuid, size } => match self.volumes.get(uuid) {
                Some(volume) if !volume.is_snapshot() => size.saturating_sub(volume.size),
                _ => Bytes::ZERO,
            },
            Record::Provisioned { made: Some(record), .. }
            | Record::Received { made: Some(record), .. } => self.growth_of(record),
            _ => Bytes::ZERO,
        }
    }

    /// Whose data a thin id holds.
    pub fn owner(&self, id: ThinId) -> Option<&Volume> {
        self.owners.get(&id).and_then(|uuid| self.volume(*uuid))
    }

    /// Thin ids that belong to a volume.
    pub fn owned_ids(&self) -> impl Iterator<Item = ThinId> {
        self.owners.keys().copied()
    }

    /// Thin ids that wait to be deleted.
    pub const fn tombstones(&self) -> &BTreeMap<ThinId, TombstoneReason> {
        &self.tombstones
    }

    /// Thin ids that nobody knows.
    pub const fn orphans(&self) -> &BTreeSet<ThinId> {
        &self.orphans
    }

    /// Whether a thin id is spoken for: by a volume, a tombstone or an orphan.
    pub fn knows(&self, id: ThinId) -> bool {
        self.owners.contains_key(&id)
            || self.tombstones.contains_key(&id)
            || self.orphans.contains(&id)
    }
}
