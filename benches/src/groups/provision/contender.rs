//! Whoever makes volumes, seen as one.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use thinly_engine::catalogue::VolumeName;
use thinly_engine::pool::{Pool, VolumeAccess};
use thinly_engine::units::ThinId;

use crate::bed::VOLUME_SIZE;
use crate::rivals::dmsetup::Dmsetup;
use crate::rivals::floor::Floor;
use crate::rivals::lvm::Lvm;

pub(super) const OURS: &str = "ours";
pub(super) const BARE: &str = "bare ioctls";
pub(super) const DMSETUP: &str = "dmsetup";
pub(super) const LVM: &str = "LVM";

/// A volume's name, for all contenders: none of them gives one twice.
pub(super) type Slot = ThinId;

/// The same work by the engine or a rival. Where several threads call it, each has its own slots.
pub(super) trait Contender: Sync {
    fn name(&self) -> &'static str;

    /// Makes a volume that is not active.
    fn create(&self, slot: Slot) -> Result<()>;

    /// Makes a volume and its device.
    fn create_active(&self, slot: Slot) -> Result<PathBuf>;

    /// Takes a snapshot of the active origin.
    fn snapshot(&self, slot: Slot) -> Result<()>;

    /// Deletes an active volume.
    fn delete_active(&self, slot: Slot) -> Result<()>;

    /// Deletes volumes that are not active.
    fn delete(&self, slots: &[Slot]) -> Result<()>;

    /// Frees the space of deleted volumes, if that is not part of deleting.
    fn reap(&self) -> Result<()> {
        Ok(())
    }
}

/// Those whose devices are measured by themselves as well.
pub(super) trait Switching: Contender {
    /// Makes the device of a volume that is there.
    fn activate(&self, slot: Slot) -> Result<()>;

    /// Takes the device away.
    fn deactivate(&self, slot: Slot) -> Result<()>;
}

pub(super) fn volume_name(slot: Slot) -> Result<VolumeName> {
    Ok(VolumeName::new(&format!("v{slot}"))?)
}

/// The engine.
#[derive(Debug)]
pub(super) struct Ours<'a> {
    pub(super) pool: &'a Pool,
    pub(super) origin: &'a VolumeName,
}

impl Contender for Ours<'_> {
    fn name(&self) -> &'static str {
        OURS
    }

    fn create(&self, slot: Slot) -> Result<()> {
        self.pool.create_volume(&volume_name(slot)?, VOLUME_SIZE).context("creating")?;
        Ok(())
    }

    fn create_active(&self, slot: Slot) -> Result<PathBuf> {
        let name = volume_name(slot)?;
        self.pool.create_volume(&name, VOLUME_SIZE).context("creating")?;
        let view = self.pool.activate(&name, VolumeAccess::ReadWrite).context("activating")?;
        view.device.context("an active volume has no device")
    }

    fn snapshot(&self, slot: Slot) -> Result<()> {
        self.pool.snapshot(self.origin, &volume_name(slot)?).context("taking a snapshot")?;
        Ok(())
    }

    fn delete_active(&self, slot: Slot) -> Result<()> {
        self.delete(&[slot])
    }

    fn delete(&self, slots: &[Slot]) -> Result<()> {
        let mut names = slots.iter().map(|&slot| volume_name(slot));
        names.try_for_each(|name| self.pool.delete(&name?).context("deleting"))
    }

    fn reap(&self) -> Result<()> {
        let report = self.pool.reap(&mut |_| {}).context("reaping")?;
        ensure!(report.waiting == 0, "some volumes were not freed: {report:?}");
        Ok(())
    }
}

impl Switching for Ours<'_> {
    fn activate(&self, slot: Slot) -> Result<()> {
        self.pool.activate(&volume_name(slot)?, VolumeAccess::ReadWrite).context("activating")?;
        Ok(())
    }

    fn deactivate(&self, slot: Slot) -> Result<()> {
        self.pool.deactivate(&volume_name(slot)?).context("deactivating")?;
        Ok(())
    }
}

/// Bare ioctls.
#[derive(Debug)]
pub(super) struct Bare<'a> {
    pub(super) floor: &'a Floor,
    pub(super) origin: ThinId,
}

impl Contender for Bare<'_> {
    fn name(&self) -> &'static str {
        BARE
    }

    fn create(&self, slot: Slot) -> Result<()> {
        self.floor.create_thin(slot)
    }

    fn create_active(&self, slot: Slot) -> Result<PathBuf> {
        self.floor.create_thin(slot)?;
        self.floor.activate(slot, VOLUME_SIZE)
    }

    fn snapshot(&self, slot: Slot) -> Result<()> {
        self.floor.snapshot(self.origin, slot).map(drop)
    }

    fn delete_active(&self, slot: Slot) -> Result<()> {
        self.floor.deactivate(slot)?;
        self.floor.delete(slot)
    }

    fn delete(&self, slots: &[Slot]) -> Result<()> {
        slots.iter().try_for_each(|&slot| self.floor.delete(slot))
    }
}

impl Switching for Bare<'_> {
    fn activate(&self, slot: Slot) -> Result<()> {
        self.floor.activate(slot, VOLUME_SIZE).map(drop)
    }

    fn deactivate(&self, slot: Slot) -> Result<()> {
        self.floor.deactivate(slot)
    }
}

/// `dmsetup` on the pool of the bare ioctls.
#[derive(Debug)]
pub(super) struct ByDmsetup<'a> {
    pub(super) dmsetup: Dmsetup<'a>,
    pub(super) origin: ThinId,
}

impl Contender for ByDmsetup<'_> {
    fn name(&self) -> &'static str {
        DMSETUP
    }

    fn create(&self, slot: Slot) -> Result<()> {
        self.dmsetup.create_thin(slot)
    }

    fn create_active(&self, slot: Slot) -> Result<PathBuf> {
        self.dmsetup.create_thin(slot)?;
        self.dmsetup.activate(slot, VOLUME_SIZE)
    }

    fn snapshot(&self, slot: Slot) -> Result<()> {
        self.dmsetup.snapshot(self.origin, slot)
    }

    fn delete_active(&self, slot: Slot) -> Result<()> {
        self.dmsetup.deactivate(slot)?;
        self.dmsetup.delete(slot)
    }

    fn delete(&self, slots: &[Slot]) -> Result<()> {
        slots.iter().try_for_each(|&slot| self.dmsetup.delete(slot))
    }
}

impl Contender for Lvm {
    fn name(&self) -> &'static str {
        LVM
    }

    fn create(&self, slot: Slot) -> Result<()> {
        Self::create(self, &format!("v{slot}"))
    }

    fn create_active(&self, slot: Slot) -> Result<PathBuf> {
        Self::create_active(self, &format!("v{slot}"))
    }

    fn snapshot(&self, slot: Slot) -> Result<()> {
        Self::snapshot(self, &format!("v{slot}"))
    }

    fn delete_active(&self, slot: Slot) -> Result<()> {
        self.delete(&[slot])
    }

    fn delete(&self, slots: &[Slot]) -> Result<()> {
        self.remove(&slots.iter().map(|slot| format!("v{slot}")).collect::<Vec<_>>())
    }
}
