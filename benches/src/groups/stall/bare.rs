//! Bare ioctls, in this process.

use std::path::{Path, PathBuf};

use anyhow::Result;
use thinly_engine::pool::Engine;
use thinly_engine::units::ThinId;

use super::block_size;
use super::contender::{Contender, Sizes, Target};
use crate::bed::create_pool;
use crate::rivals::floor::Floor;

pub(super) const NAME: &str = "bare ioctls";

#[derive(Debug)]
pub(super) struct Bare {
    engine: Engine,
    pool: String,
    floor: Floor,
    origins: [ThinId; 2],
    snapshot: ThinId,
}

impl Bare {
    pub(super) fn new(disk: &Path, sizes: Sizes) -> Result<Self> {
        let engine = Engine::new()?;
        let pool = create_pool(&engine, "stall-floor", disk, block_size()?)?;
        let floor = Floor::new(engine.view(&pool)?.uuid)?;
        let origins = [floor.take_id()?, floor.take_id()?];
        for id in origins {
            floor.create_thin(id)?;
            floor.activate(id, sizes.volume)?;
        }
        let snapshot = floor.take_id()?;
        Ok(Self { engine, pool, floor, origins, snapshot })
    }

    fn origin(&self, target: Target) -> ThinId {
        let [device, file] = self.origins;
        if target == Target::Device { device } else { file }
    }
}

impl Contender for Bare {
    fn name(&self) -> &'static str {
        NAME
    }

    fn device(&self, target: Target) -> Result<PathBuf> {
        self.floor.device(self.origin(target))
    }

    fn snapshot(&mut self, target: Target) -> Result<()> {
        self.floor.snapshot(self.origin(target), self.snapshot)?;
        Ok(())
    }

    fn forget(&mut self, _: Target) -> Result<()> {
        self.floor.delete(self.snapshot)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        for id in self.origins {
            self.floor.deactivate(id)?;
        }
        let Self { engine, pool, floor, .. } = *self;
        drop(floor);
        Ok(engine.destroy_pool(&pool)?)
    }
}
