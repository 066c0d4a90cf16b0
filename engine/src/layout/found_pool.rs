//! Pools as a scan found them: labels grouped by pool, and what is wrong with them.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use thiserror::Error;
use uuid::Uuid;

use super::error::LayoutError;
use super::label::{Label, LabelState};
use super::label_format::LabelCopy;
use super::label_read::LabelDamage;
use crate::block_device::DeviceNumber;
use crate::units::Bytes;

/// A device with a label that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDevice {
    /// Its node.
    pub path: PathBuf,
    /// Its number.
    pub number: DeviceNumber,
    /// Its length now.
    pub size: Bytes,
    /// Its label.
    pub label: Label,
    /// The copy of the label that does not count, and why, when one does not.
    pub torn: Option<(LabelCopy, LabelDamage)>,
}

/// Something about a pool's devices that somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ScanProblem {
    /// One copy of a label does not count; the next rewrite mends it.
    #[error("the {copy} copy of the label on {path} does not count ({why}); the other one is used", path = path.display())]
    OneCopyTorn {
        /// The device.
        path: PathBuf,
        /// Which copy.
        copy: LabelCopy,
        /// Why.
        why: LabelDamage,
    },
    /// Two nodes say that they are the same device.
    #[error("{first} and {second} both say that they are device {device}; detach the copy", first = first.display(), second = second.display())]
    Duplicate {
        /// The device's uuid.
        device: Uuid,
        /// One node.
        first: PathBuf,
        /// The other one.
        second: PathBuf,
    },
    /// A device is shorter than it was.
    #[error("{path} has {has} bytes and had {labelled} when it joined the pool; give it its length back", path = path.display())]
    Shrunk {
        /// The device.
        path: PathBuf,
        /// Its length when it was labelled.
        labelled: Bytes,
        /// Its length now.
        has: Bytes,
    },
    /// The labels do not agree about something that is the pool's.
    #[error("the label on {path} disagrees with the pool's newest one about the {field}", path = path.display())]
    Disagreement {
        /// The device whose label differs from the pool's newest one.
        path: PathBuf,
        /// What differs.
        field: &'static str,
    },
}

/// A pool whose labels were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPool {
    /// The pool's uuid.
    pub uuid: Uuid,
    /// The name in the newest label.
    pub name: String,
    /// Its devices, in the order of their indexes.
    pub devices: Vec<FoundDevice>,
    /// What is wrong.
    pub problems: Vec<ScanProblem>,
}

impl FoundPool {
    /// Groups devices by pool; pools come in the order of their names.
    pub(super) fn group(mut devices: Vec<FoundDevice>) -> Vec<Self> {
        let key = |d: &FoundDevice| (d.label.pool_uuid, d.label.device_index, d.path.clone());
        devices.sort_by_key(key);
        let same_pool = |a: &FoundDevice, b: &FoundDevice| a.label.pool_uuid == b.label.pool_uuid;
        let groups = devices.chunk_by(same_pool).map(<[FoundDevice]>::to_vec);
        let mut pools: Vec<Self> = groups.filter_map(Self::of_devices).collect();
        pools.sort_by(|a, b| (&a.name, a.uuid).cmp(&(&b.name, b.uuid)));
        pools
    }

    /// Refuses a pool that must not be opened as it was found.
    pub fn require_sound(&self) -> Result<(), LayoutError> {
        for problem in &self.problems {
            match problem.clone() {
                ScanProblem::Duplicate { device, first, second } => {
                    return Err(LayoutError::DuplicateLabel {
                        pool: self.uuid,
                        device,
                        first,
                        second,
                    });
                }
                ScanProblem::Shrunk { path, labelled, has } => {
                    return Err(LayoutError::DeviceShrunk { path, labelled, has });
                }
                ScanProblem::OneCopyTorn { .. } | ScanProblem::Disagreement { .. } => {}
            }
        }
        Ok(())
    }

    /// Leaves only some devices, and judges them anew: a duplicate that is left out is no problem.
    pub fn keep(&mut self, wanted: impl Fn(&FoundDevice) -> bool) {
        let mut devices = std::mem::take(&mut self.devices);
        devices.retain(wanted);
        let again = Self::of_devices(devices);
        self.problems = again.as_ref().map_or_else(Vec::new, |pool| pool.problems.clone());
        self.devices = again.map_or_else(Vec::new, |pool| pool.devices);
    }

    fn of_devices(devices: Vec<FoundDevice>) -> Option<Self> {
        let newest = &devices.iter().max_by_key(|device| device.label.generation)?.label;
        let (uuid, name) = (newest.pool_uuid, newest.pool_name.clone());
        let mut problems = Vec::new();
        for (index, device) in devices.iter().enumerate() {
            problems.extend(problems_of(device, newest));
            let earlier = devices[..index].iter();
            let twin = |other: &&FoundDevice| other.label.device_uuid == device.label.device_uuid;
            problems.extend(earlier.filter(twin).map(|other| ScanProblem::Duplicate {
                device: device.label.device_uuid,
                first: other.path.clone(),
                second: device.path.clone(),
            }));
        }
        Some(Self { uuid, name, devices, problems })
    }
}

/// What is wrong with one device by itself and against the newest label of its pool.
fn problems_of(device: &FoundDevice, newest: &Label) -> Vec<ScanProblem> {
    let FoundDevice { path, size, label, torn, .. } = device;
    let mut problems = Vec::new();
    if let Some((copy, why)) = torn.clone() {
        problems.push(ScanProblem::OneCopyTorn { path: path.clone(), copy, why });
    }
    if *size < label.device_bytes {
        let (labelled, has) = (label.device_bytes, *size);
        problems.push(ScanProblem::Shrunk { path: path.clone(), labelled, has });
    }
    let fields = [
        ("pool name", label.pool_name == newest.pool_name),
        ("extent length", label.extent_bytes == newest.extent_bytes),
        ("block size", label.block_size == newest.block_size),
        ("state", label.state == newest.state || label.state == LabelState::Joining),
    ];
    let differing = fields.into_iter().filter(|(_, same)| !same);
    let disagreement = |field| ScanProblem::Disagreement { path: path.clone(), field };
    problems.extend(differing.map(|(field, _)| disagreement(field)));
    problems
}

#[cfg(test)]
#[path = "found_pool_tests.rs"]
mod tests;
