//! The state that the records add up to, with its indexes.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use super::name::VolumeName;
use super::record::{PoolDevice, PoolIdentity};
use super::volume::{TombstoneReason, Volume};
use crate::layout::Segment;
use crate::units::{ThinId, TransactionId};

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
    pub(super) volumes: HashMap<Uuid, Volume>,
    pub(super) names: BTreeMap<VolumeName, Uuid>,
    pub(super) owners: BTreeMap<ThinId, Uuid>,
    pub(super) tombstones: BTreeMap<ThinId, TombstoneReason>,
    pub(super) orphans: BTreeSet<ThinId>,
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
        self.volumes.get(&uuid)
    }

    /// A volume or snapshot by its name.
    pub fn find(&self, name: &VolumeName) -> Option<&Volume> {
        self.names.get(name).and_then(|uuid| self.volumes.get(uuid))
    }

    /// All volumes and snapshots, by name.
    pub fn volumes(&self) -> impl Iterator<Item = &Volume> {
        self.names.values().filter_map(|uuid| self.volumes.get(uuid))
    }

    /// How many volumes and snapshots there are.
    pub fn volume_count(&self) -> usize {
        self.volumes.len()
    }

    /// Whose data a thin id holds.
    pub fn owner(&self, id: ThinId) -> Option<&Volume> {
        self.owners.get(&id).and_then(|uuid| self.volumes.get(uuid))
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
