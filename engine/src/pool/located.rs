//! A pool as its labels show it: where its disks are, where its journal is, who it says it is.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;

use super::error::PoolError;
use super::part::Part;
use crate::block_device::{Access, BlockDevice, DeviceNumber};
use crate::catalogue::{Catalogue, PoolName};
use crate::journal::{Loaded, Media, Mirrored, load_stable};
use crate::layout::{
    FoundDevice, FoundPool, JournalPlacement, LabelState, LayoutError, LinearSegment, Role, System,
    scan_labels,
};
use crate::plan::DeviceNames;
use crate::units::Sectors;

/// How often a reader without the claim reads a journal that changes under it.
const READ_ATTEMPTS: u32 = 20;

/// A pool whose labels were found.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) found: FoundPool,
    pub(super) name: PoolName,
    pub(super) names: DeviceNames,
}

impl Located {
    /// Finds a pool by name or uuid among all block devices.
    pub(super) fn find(pool: &str) -> Result<Self, PoolError> {
        let scan = scan_labels(&System::default())?;
        if let Some(found) = scan.find(pool)? {
            let mut located = Self::new(found.clone())?;
            located.prefer_disks_in_use();
            return Ok(located);
        }
        // A device whose labels are both torn may be the one that is asked for.
        let torn =
            |(_, error): &(_, LayoutError)| matches!(error, LayoutError::BothLabelsTorn { .. });
        match scan.failures.into_iter().find(torn) {
            Some((_, error)) => Err(error.into()),
            None => Err(PoolError::NoPool { pool: pool.to_owned() }),
        }
    }

    pub(super) fn new(found: FoundPool) -> Result<Self, PoolError> {
        let name = PoolName::new(&found.name)?;
        let names = DeviceNames::new(found.uuid)?;
        Ok(Self { found, name, names })
    }

    /// Of a disk and its stray copy, leaves the one that the pool's own devices lie on: a scan
    /// believes no other holder. Which one is true was decided when the pool was opened.
    fn prefer_disks_in_use(&mut self) {
        let in_use: Vec<(Uuid, DeviceNumber)> = self
            .found
            .devices
            .iter()
            .filter(|device| has_holder(device.number))
            .map(|device| (device.label.device_uuid, device.number))
            .collect();
        self.found.keep(|device| {
            let uuid = device.label.device_uuid;
            !in_use.iter().any(|(held, number)| *held == uuid && *number != device.number)
                || has_holder(device.number)
        });
    }

    /// Leaves only the devices that were named, when any was: for a pool of which stray copies are
    /// attached.
    pub(super) fn keep_only(&mut self, devices: &[PathBuf]) -> Result<(), PoolError> {
        if devices.is_empty() {
            return Ok(());
        }
        let mut numbers = Vec::with_capacity(devices.len());
        for path in devices {
            numbers.push(BlockDevice::open(path, Access::ReadOnly)?.number());
        }
        let is_named = |number| numbers.contains(&Some(number));
        // Whoever gave a whole disk to the pool names that, not the partition that we made on it.
        self.found
            .keep(|device| is_named(device.number) || disk_of(device.number).is_some_and(is_named));
        if self.found.devices.is_empty() {
            let named: Vec<String> =
                devices.iter().map(|path| path.display().to_string()).collect();
            return Err(PoolError::BadLabels {
                pool: self.found.name.clone(),
                problem: format!("none of {} is a device of it", named.join(", ")),
            });
        }
        Ok(())
    }

    pub(super) const fn uuid(&self) -> Uuid {
        self.found.uuid
    }

    /// Refuses labels that must not be trusted for writing, and a pool that waits for another machine.
    pub(super) fn require_live(&self) -> Result<(), PoolError> {
        self.require_whole()?;
        if self.is_exported() {
            return Err(PoolError::Exported { pool: self.found.name.clone() });
        }
        Ok(())
    }

    /// Whether an export began that no import ended.
    pub(super) fn is_exported(&self) -> bool {
        self.found.devices.iter().any(|device| device.label.state == LabelState::Exported)
    }

    /// Refuses labels that must not be trusted for writing.
    pub(super) fn require_whole(&self) -> Result<(), PoolError> {
        self.found.require_sound()?;
        let bad = |problem: &str| {
            Err(PoolError::BadLabels { pool: self.found.name.clone(), problem: problem.to_owned() })
        };
        for device in &self.found.devices {
            match device.label.state {
                LabelState::Live | LabelState::Joining | LabelState::Exported => {}
                LabelState::Creating => {
                    return bad("its creation never ended; make it anew with `thinly pool create \
                                --force`");
                }
                LabelState::Destroying => {
                    return bad("its destruction was interrupted; run `thinly pool destroy` again");
                }
            }
        }
        Ok(())
    }

    /// Refuses a pool of which no disk with a copy of the journal is here.
    pub(super) fn require_journal(&self) -> Result<(), PoolError> {
        if self.placements().is_empty() {
            let (pool, here) = (self.found.name.clone(), self.found.devices.len());
            return Err(PoolError::JournalMissing { pool, here });
        }
        Ok(())
    }

    /// The journal's copies in the order of their numbers, each with its disk. Two of one number are
    /// what a crash left of a move (`journal_move.rs`): both count, and the newest of all is read.
    pub(super) fn placements(&self) -> Vec<(&FoundDevice, JournalPlacement)> {
        let mut placements: Vec<_> = self
            .found
            .devices
            .iter()
            .flat_map(|device| device.label.placements.iter().map(move |at| (device, *at)))
            .collect();
        placements.sort_by_key(|(_, at)| at.copy);
        placements
    }

    /// The journal's linear: its copies one after the other.
    pub(super) fn journal_segments(&self) -> Result<Vec<LinearSegment>, PoolError> {
        self.require_journal()?;
        let mut start = Sectors::ZERO;
        let mut segments = Vec::new();
        for (device, at) in self.placements() {
            let length = at.length.to_sectors_exact()?;
            segments.push(LinearSegment {
                logical_start: start,
                length,
                device: device.label.device_uuid,
                device_offset: at.offset.to_sectors_exact()?,
            });
            start = Sectors::new(start.get() + length.get());
        }
        Ok(segments)
    }

    /// The journal's copies as parts of the open linear.
    pub(super) fn journal_of_linear(
        &self,
        linear: &Arc<BlockDevice>,
    ) -> Result<Arc<dyn Media>, PoolError> {
        let mut offset = 0;
        let parts = self.placements().into_iter().map(|(device, at)| {
            let name = part_name(device, &at);
            let part = Part::new(name, Arc::clone(linear), offset, at.length.get());
            offset += at.length.get();
            part
        });
        join(parts.collect())
    }

    /// The journal's copies on the disks themselves: for readers, whether the pool is open or not.
    pub(super) fn journal_of_disks(&self) -> Result<Arc<dyn Media>, PoolError> {
        self.require_journal()?;
        let mut parts = Vec::new();
        for (device, at) in self.placements() {
            let disk = Arc::new(BlockDevice::open(&device.path, Access::ReadOnly)?);
            let name = part_name(device, &at);
            parts.push(Part::new(name, disk, at.offset.get(), at.length.get()));
        }
        join(parts)
    }

    /// Reads the journal without the claim.
    pub(super) fn read_catalogue(&self) -> Result<(Catalogue, Loaded), PoolError> {
        let media = self.journal_of_disks()?;
        let loaded = load_stable(&*media, self.uuid(), READ_ATTEMPTS)?;
        let catalogue = Catalogue::replay(loaded.payloads.iter().map(Vec::as_slice))?;
        Ok((catalogue, loaded))
    }

    /// The number of a disk by its uuid.
    pub(super) fn number_of(&self, device: Uuid) -> Option<DeviceNumber> {
        self.disk(device).map(|found| found.number)
    }

    /// A disk by its uuid.
    pub(super) fn disk(&self, device: Uuid) -> Option<&FoundDevice> {
        self.found.devices.iter().find(|found| found.label.device_uuid == device)
    }

    /// Devices on which a growth died before the catalogue named them: nothing of the pool is there.
    pub(super) fn strangers(&self, catalogue: &Catalogue) -> Vec<(Uuid, PathBuf)> {
        let is_known = |uuid| catalogue.devices().iter().any(|device| device.uuid == uuid);
        let joining =
            self.found.devices.iter().filter(|found| found.label.state == LabelState::Joining);
        let unknown = joining.filter(|found| !is_known(found.label.device_uuid));
        unknown.map(|found| (found.label.device_uuid, found.path.clone())).collect()
    }

    /// Refuses a pool of which disks are missing.
    pub(super) fn require_complete(&self, catalogue: &Catalogue) -> Result<(), PoolError> {
        let missing: Vec<String> = catalogue
            .devices()
            .iter()
            .filter(|device| self.disk(device.uuid).is_none())
            .map(|device| device.uuid.to_string())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(PoolError::Incomplete {
            pool: self.found.name.clone(),
            missing: missing.len(),
            total: catalogue.devices().len(),
            uuids: missing.join(", "),
        })
    }
}

fn has_holder(device: DeviceNumber) -> bool {
    std::fs::read_dir(device.sysfs().join("holders"))
        .is_ok_and(|mut holders| holders.next().is_some())
}

fn part_name(device: &FoundDevice, at: &JournalPlacement) -> String {
    format!("{} at byte {}", device.path.display(), at.offset)
}

/// The disk that a partition is on.
fn disk_of(partition: DeviceNumber) -> Option<DeviceNumber> {
    let directory = partition.sysfs();
    if !directory.join("partition").exists() {
        return None;
    }
    let text = std::fs::read_to_string(directory.join("../dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some(DeviceNumber { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

fn join(parts: Vec<Part>) -> Result<Arc<dyn Media>, PoolError> {
    let mut parts = parts;
    match (parts.pop(), parts.is_empty()) {
        (Some(only), true) => Ok(Arc::new(only)),
        (last, _) => {
            let copies = parts.into_iter().chain(last);
            let copies = copies.map(|part| Box::new(part) as Box<dyn Media>).collect();
            Ok(Arc::new(Mirrored::new(copies)?))
        }
    }
}

/// Which extents hold a role, as the catalogue says.
pub(super) fn linear_segments(
    catalogue: &Catalogue,
    role: Role,
) -> Result<Vec<LinearSegment>, PoolError> {
    Ok(catalogue.extent_map()?.linear_table(role)?)
}

/// The length of a linear.
pub(super) fn length_of(segments: &[LinearSegment]) -> Sectors {
    segments
        .last()
        .map_or(Sectors::ZERO, |last| Sectors::new(last.logical_start.get() + last.length.get()))
}
