//! A pool on fresh disks, for one test.

use std::path::PathBuf;

use anyhow::Result;
use thinly_engine::catalogue::{PoolName, VolumeName};
use thinly_engine::pool::{CreatePool, Engine, Pool};
use thinly_engine::units::{BlockSize, Bytes};
use thinly_tests::Disks;
use uuid::Uuid;

pub fn gib(count: u64) -> Bytes {
    Bytes::new(count << 30)
}

pub fn mib(count: u64) -> Bytes {
    Bytes::new(count << 20)
}

pub fn name(text: &str) -> VolumeName {
    VolumeName::new(text).unwrap()
}

/// Disks, the engine, and the name of a pool on all of them. Dropped last, the disks take what is
/// left of the pool with them.
#[derive(Debug)]
pub struct Bed {
    pub engine: Engine,
    pub pool: String,
    pub disks: Disks,
}

impl Bed {
    /// Makes a pool over fresh disks; it is open in the kernel.
    pub fn new(sizes_bytes: &[u64]) -> Result<Self> {
        let disks = Disks::new(sizes_bytes)?;
        let engine = Engine::new()?;
        let pool = format!("t{}", &Uuid::new_v4().simple().to_string()[..12]);
        engine.create_pool(&request(&pool, disks.paths()))?;
        Ok(Self { engine, pool, disks })
    }

    pub fn attach(&self) -> Result<Pool> {
        Ok(self.engine.attach(&self.pool)?)
    }
}

pub fn request(pool: &str, devices: &[PathBuf]) -> CreatePool {
    CreatePool {
        name: PoolName::new(pool).unwrap(),
        devices: devices.to_vec(),
        metadata_device: None,
        block_size: BlockSize::DEFAULT,
        metadata_size: None,
        force: false,
        raw: false,
    }
}
