//! The engine's pool and the bare one, each with a large volume and a small neighbour.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use thinly_engine::catalogue::VolumeName;
use thinly_engine::pool::{Engine, Pool, VolumeAccess};
use thinly_engine::units::{Bytes, ThinId};

use super::prepare::{LARGE, Prepared, prepare};
use super::{Deletion, beside_reader};
use crate::bed::fill;
use crate::results::Group;
use crate::rivals::floor::Floor;

/// The engine.
#[derive(Debug)]
pub(super) struct Ours {
    engine: Engine,
    pool: Pool,
    name: String,
    neighbour: PathBuf,
    length: Bytes,
}

impl Ours {
    pub(super) fn new(disk: &Path, mappings: u64, length: Bytes) -> Result<Self> {
        let engine = Engine::new()?;
        let Prepared { name, pool, .. } = prepare(&engine, "reap", disk, mappings)?;
        let neighbour = VolumeName::new("neighbour")?;
        pool.create_volume(&neighbour, length)?;
        let view = pool.activate(&neighbour, VolumeAccess::ReadWrite)?;
        let neighbour = view.device.context("the neighbour has no device")?;
        fill(&neighbour, length.get())?;
        Ok(Self { engine, pool, name, neighbour, length })
    }

    pub(super) fn delete_snapshot(&self) -> Result<Deletion> {
        let snapshot = VolumeName::new("snapshot")?;
        self.pool.snapshot(&VolumeName::new(LARGE)?, &snapshot)?;
        self.delete(&snapshot)
    }

    pub(super) fn delete_volume(&self) -> Result<Deletion> {
        self.delete(&VolumeName::new(LARGE)?)
    }

    fn delete(&self, volume: &VolumeName) -> Result<Deletion> {
        beside_reader("ours", &self.neighbour, self.length, || {
            self.pool.delete(volume)?;
            let report = self.pool.reap(&mut |_| {})?;
            ensure!(report.reaped == 1, "one volume was to be reaped: {report:?}");
            Ok(())
        })
    }

    pub(super) fn finish(self, group: &mut Group) -> Result<()> {
        judge_used(&self.engine, &self.name, self.length, group)?;
        self.pool.deactivate(&VolumeName::new("neighbour")?)?;
        self.pool.release()?;
        Ok(self.engine.destroy_pool(&self.name)?)
    }
}

/// Bare ioctls.
#[derive(Debug)]
pub(super) struct Bare {
    engine: Engine,
    floor: Floor,
    name: String,
    large: ThinId,
    neighbour: ThinId,
    snapshot: ThinId,
    device: PathBuf,
    length: Bytes,
}

impl Bare {
    pub(super) fn new(disk: &Path, mappings: u64, length: Bytes) -> Result<Self> {
        let engine = Engine::new()?;
        let Prepared { name, pool, large } = prepare(&engine, "reap-floor", disk, mappings)?;
        pool.release()?;
        let floor = Floor::new(engine.view(&name)?.uuid)?;
        let neighbour = large.next().context("no thin ids are left")?;
        let snapshot = neighbour.next().context("no thin ids are left")?;
        floor.create_thin(neighbour)?;
        let device = floor.activate(neighbour, length)?;
        fill(&device, length.get())?;
        Ok(Self { engine, floor, name, large, neighbour, snapshot, device, length })
    }

    pub(super) fn delete_snapshot(&mut self) -> Result<Deletion> {
        self.floor.snapshot_inactive(self.large, self.snapshot)?;
        self.delete(self.snapshot)
    }

    pub(super) fn delete_volume(&self) -> Result<Deletion> {
        self.delete(self.large)
    }

    fn delete(&self, id: ThinId) -> Result<Deletion> {
        let floor = &self.floor;
        beside_reader("bare delete message", &self.device, self.length, || floor.delete(id))
    }

    pub(super) fn finish(self, group: &mut Group) -> Result<()> {
        judge_used(&self.engine, &self.name, self.length, group)?;
        self.floor.deactivate(self.neighbour)?;
        drop(self.floor);
        Ok(self.engine.destroy_pool(&self.name)?)
    }
}

/// All that is in use at the end is the neighbour.
fn judge_used(engine: &Engine, pool: &str, neighbour: Bytes, group: &mut Group) -> Result<()> {
    let used = engine.view(pool)?.usage.context("an open pool tells its usage")?.used_data;
    if used != neighbour {
        let failure =
            format!("{pool} has {used} bytes in use, {neighbour} of them the neighbour's");
        group.failures.push(failure);
    }
    Ok(())
}
