//! The engine, in this process.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use thinly_engine::catalogue::VolumeName;
use thinly_engine::pool::{Engine, Pool, VolumeAccess};

use super::block_size;
use super::contender::{Contender, Sizes, Target};
use crate::bed::create_pool;

pub(super) const NAME: &str = "ours";

#[derive(Debug)]
pub(super) struct Ours {
    engine: Engine,
    pool: Pool,
    snapshot: VolumeName,
}

impl Ours {
    pub(super) fn new(disk: &Path, sizes: Sizes) -> Result<Self> {
        let engine = Engine::new()?;
        let pool = engine.attach(&create_pool(&engine, "stall", disk, block_size()?)?)?;
        for target in Target::ALL {
            let name = VolumeName::new(target.volume())?;
            pool.create_volume(&name, sizes.volume)?;
            pool.activate(&name, VolumeAccess::ReadWrite)?;
        }
        Ok(Self { engine, pool, snapshot: VolumeName::new("snapshot")? })
    }
}

impl Contender for Ours {
    fn name(&self) -> &'static str {
        NAME
    }

    fn device(&self, target: Target) -> Result<PathBuf> {
        let view = self.pool.volume(&VolumeName::new(target.volume())?)?;
        view.device.context("an active volume has no device")
    }

    fn snapshot(&mut self, target: Target) -> Result<()> {
        self.pool.snapshot(&VolumeName::new(target.volume())?, &self.snapshot)?;
        Ok(())
    }

    fn forget(&mut self, _: Target) -> Result<()> {
        self.pool.delete(&self.snapshot)?;
        self.pool.reap(&mut |_| {})?;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let Self { engine, pool, .. } = *self;
        let name = pool.identity().name.as_str().to_owned();
        for target in Target::ALL {
            pool.deactivate(&VolumeName::new(target.volume())?)?;
        }
        pool.release()?;
        Ok(engine.destroy_pool(&name)?)
    }
}
