//! The two pools of a run: the engine's, and one of the same make for bare ioctls.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::catalogue::{PoolName, VolumeName};
use thinly_engine::dm::{Control, Dm};
use thinly_engine::plan::DeviceNames;
use thinly_engine::pool::{CreatePool, Engine, Pool, VolumeAccess};
use thinly_engine::units::{BlockSize, Bytes, ThinId};
use uuid::Uuid;

use crate::rivals::floor::{Floor, node};
use crate::timing::TimingDm;

/// The length of every volume.
pub(crate) const VOLUME_SIZE: Bytes = Bytes::new(1 << 30);

/// What the origin of snapshots holds.
pub(crate) const ORIGIN_DATA_BYTES: u64 = 16 << 20;

/// Both pools, each with an active origin that holds some data.
#[derive(Debug)]
pub(crate) struct Bed {
    pub(crate) dm: Arc<TimingDm>,
    pub(crate) engine: Engine,
    pub(crate) pool: Pool,
    pub(crate) origin: VolumeName,
    pub(crate) floor: Floor,
    pub(crate) floor_origin: ThinId,
    floor_pool: String,
}

impl Bed {
    pub(crate) fn new(disk: &Path, floor_disk: &Path) -> Result<Self> {
        let dm = Arc::new(TimingDm::new(Control::open()?));
        let engine = Engine::with_dm(Arc::<TimingDm>::clone(&dm));
        let floor_pool = create_pool(&engine, "floor", floor_disk, BlockSize::DEFAULT)?;
        let floor = Floor::new(engine.view(&floor_pool)?.uuid)?;
        let floor_origin = floor.take_id()?;
        floor.create_thin(floor_origin)?;
        fill(&floor.activate(floor_origin, VOLUME_SIZE)?, ORIGIN_DATA_BYTES)?;

        let pool = create_pool(&engine, "engine", disk, BlockSize::DEFAULT)?;
        let pool = engine.attach(&pool)?;
        let origin = VolumeName::new("origin")?;
        pool.create_volume(&origin, VOLUME_SIZE)?;
        let view = pool.activate(&origin, VolumeAccess::ReadWrite)?;
        fill(&view.device.context("the origin has no device")?, ORIGIN_DATA_BYTES)?;
        Ok(Self { dm, engine, pool, origin, floor, floor_origin, floor_pool })
    }

    /// The engine's metadata device, to be read beside the engine.
    pub(crate) fn metadata(&self) -> Result<BlockDevice> {
        let names = DeviceNames::new(self.pool.identity().uuid)?;
        let number = self.dm.info(&names.metadata)?.number;
        Ok(BlockDevice::open(&node(number), Access::ReadOnly)?)
    }

    /// One more pool of the engine's, without volumes.
    pub(crate) fn add_pool(&self, disk: &Path) -> Result<Pool> {
        Ok(self.engine.attach(&create_pool(&self.engine, "beside", disk, BlockSize::DEFAULT)?)?)
    }

    /// Takes a pool of the engine's off its disk.
    pub(crate) fn remove_pool(&self, pool: Pool) -> Result<()> {
        let name = pool.identity().name.as_str().to_owned();
        pool.release()?;
        Ok(self.engine.destroy_pool(&name)?)
    }

    /// Takes both pools off their disks.
    pub(crate) fn finish(self) -> Result<()> {
        self.floor.deactivate(self.floor_origin)?;
        drop(self.floor);
        let name = self.pool.identity().name.as_str().to_owned();
        self.pool.release()?;
        for pool in [&self.floor_pool, &name] {
            self.engine.destroy_pool(pool)?;
        }
        Ok(())
    }
}

/// Makes a pool of its own name on one disk, and leaves it open without a writer.
pub fn create_pool(
    engine: &Engine,
    purpose: &str,
    disk: &Path,
    block_size: BlockSize,
) -> Result<String> {
    let name = format!("bench-{purpose}-{}", Uuid::new_v4().simple());
    let devices: Vec<PathBuf> = vec![disk.to_owned()];
    engine.create_pool(&CreatePool {
        name: PoolName::new(&name)?,
        devices,
        metadata_device: None,
        block_size,
        metadata_size: None,
        data_size: None,
        force: false,
        raw: false,
    })?;
    Ok(name)
}

/// Writes the first `length` bytes of a device or a file.
pub(crate) fn fill(path: &Path, length: u64) -> Result<()> {
    const STEP_BYTES: u64 = 4 << 20;
    let file = File::options().write(true).create(true).truncate(false).open(path)?;
    let bytes = vec![0xa5; usize::try_from(STEP_BYTES)?];
    for offset in (0..length).step_by(bytes.len()) {
        let step = usize::try_from(STEP_BYTES.min(length - offset))?;
        file.write_all_at(&bytes[..step], offset)?;
    }
    Ok(file.sync_all()?)
}
