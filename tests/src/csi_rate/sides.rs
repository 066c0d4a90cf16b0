//! Both sides: the driver in its process, the engine in this one.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use thinly_benches::create_pool;
use thinly_csi_wire::VolumeCapability;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_engine::catalogue::VolumeName;
use thinly_engine::pool::{Engine, Pool};
use thinly_engine::units::{BlockSize, Bytes};

use crate::csi::{Client, mount};

/// The size of every volume here: nothing is written, so it does not matter.
const VOLUME_BYTES: i64 = 1 << 30;
/// Origins of snapshots: one for each call that can be in flight.
pub(super) const ORIGINS: usize = 32;

/// The operations that are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    CreateVolume,
    CreateSnapshot,
    DeleteVolume,
}

impl Operation {
    pub(super) const ALL: [Self; 3] =
        [Self::CreateVolume, Self::CreateSnapshot, Self::DeleteVolume];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::CreateVolume => "CreateVolume",
            Self::CreateSnapshot => "CreateSnapshot",
            Self::DeleteVolume => "DeleteVolume",
        }
    }
}

/// A driver and an engine, each with a pool that holds as many volumes.
pub(super) struct Sides {
    pub(super) client: Client,
    capability: VolumeCapability,
    engine: Engine,
    pool: Pool,
    pool_name: String,
    next: AtomicU64,
    pub(super) volumes: usize,
    origin_ids: Vec<String>,
    origin_names: Vec<VolumeName>,
}

impl Sides {
    pub(super) fn new(client: Client, disk: &Path) -> Result<Self> {
        let engine = Engine::new()?;
        let pool_name = create_pool(&engine, "csi", disk, BlockSize::DEFAULT)?;
        let pool = engine.attach(&pool_name)?;
        let mut sides = Self {
            client,
            capability: mount("ext4", Mode::SingleNodeWriter),
            engine,
            pool,
            pool_name,
            next: AtomicU64::new(0),
            volumes: 0,
            origin_ids: Vec::new(),
            origin_names: Vec::new(),
        };
        for _ in 0..ORIGINS {
            let id = sides.create_by_call()?;
            let name = sides.create_by_engine()?;
            sides.origin_ids.push(id);
            sides.origin_names.push(name);
        }
        // The first snapshot of each gives its origin a thin id, which the others find there.
        for origin in 0..ORIGINS {
            sides.snapshot_by_call(origin)?;
            sides.snapshot_by_engine(origin)?;
        }
        Ok(sides)
    }

    /// Adds volumes that stay, beside the origins, until there are so many.
    pub(super) fn fill(&mut self, volumes: usize) -> Result<()> {
        for _ in self.volumes..volumes {
            self.create_by_call()?;
            self.create_by_engine()?;
        }
        self.volumes = volumes;
        Ok(())
    }

    /// A name that neither side has.
    fn name(&self) -> String {
        format!("object-{}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn create_by_call(&self) -> Result<String> {
        Ok(self.client.volume(&self.name(), VOLUME_BYTES, &self.capability)?.volume_id)
    }

    pub(super) fn create_by_engine(&self) -> Result<VolumeName> {
        let name = VolumeName::new(&self.name())?;
        self.pool.create_volume(&name, Bytes::new(VOLUME_BYTES.unsigned_abs()))?;
        Ok(name)
    }

    pub(super) fn delete_by_call(&self, id: &str) -> Result<()> {
        Ok(self.client.delete_volume(id)?)
    }

    pub(super) fn delete_by_engine(&self, name: &VolumeName) -> Result<()> {
        Ok(self.pool.delete(name)?)
    }

    pub(super) fn snapshot_by_call(&self, origin: usize) -> Result<()> {
        self.client.create_snapshot(&self.origin_ids[origin], &self.name())?;
        Ok(())
    }

    pub(super) fn snapshot_by_engine(&self, origin: usize) -> Result<()> {
        self.pool.snapshot(&self.origin_names[origin], &VolumeName::new(&self.name())?)?;
        Ok(())
    }

    /// Takes the engine's pool off its disk.
    pub(super) fn finish(self) -> Result<()> {
        self.pool.release()?;
        Ok(self.engine.destroy_pool(&self.pool_name)?)
    }
}
