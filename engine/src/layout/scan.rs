//! Which pools are on this machine: reads the labels of every device that may carry one.
//!
//! Read-only, past the page cache, two or three blocks of each device. A device that cannot be
//! read is reported and does not stop the scan.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::error::LayoutError;
use super::facts::Holder;
use super::found_pool::{FoundDevice, FoundPool};
use super::label_device::read_labels;
use super::label_read::LabelRead;
use super::stack::{held_only_by, is_on_our_volume, pool_of};
use super::sysfs::{System, partitions_of, read_device_number, read_number, read_text};
use crate::block_device::{Access, BlockDevice};

/// What a scan of the machine's devices found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Scan {
    /// The pools, in the order of their names.
    pub pools: Vec<FoundPool>,
    /// Devices whose labels are both damaged, or that could not be read.
    pub failures: Vec<(PathBuf, LayoutError)>,
    /// Devices that carry a label which is not believed: something else is stacked on them.
    pub distrusted: Vec<(PathBuf, String)>,
}

impl Scan {
    /// The pool with this uuid or this name; `None` when there is none.
    pub fn find(&self, name_or_uuid: &str) -> Result<Option<&FoundPool>, LayoutError> {
        let uuid = Uuid::try_parse(name_or_uuid).ok();
        if let Some(pool) = self.pools.iter().find(|pool| Some(pool.uuid) == uuid) {
            return Ok(Some(pool));
        }
        let named: Vec<&FoundPool> =
            self.pools.iter().filter(|pool| pool.name == name_or_uuid).collect();
        match named.as_slice() {
            [] => Ok(None),
            [pool] => Ok(Some(pool)),
            pools => {
                let uuids: Vec<String> = pools.iter().map(|pool| pool.uuid.to_string()).collect();
                Err(LayoutError::AmbiguousName {
                    name: name_or_uuid.to_owned(),
                    count: pools.len(),
                    uuids: uuids.join(", "),
                })
            }
        }
    }
}

/// Reads the labels of all devices that may carry one.
pub fn scan_labels(system: &System) -> Result<Scan, LayoutError> {
    let mut scan = Scan::default();
    let mut found = Vec::new();
    for name in system.block_names()? {
        let path = system.node(&name);
        match scan_one(system, &name, &path) {
            Ok(Outcome::Nothing) => {}
            Ok(Outcome::Found(device)) => found.push(*device),
            Ok(Outcome::Distrusted(holder)) => scan.distrusted.push((path, holder)),
            Err(failure) => scan.failures.push((path, failure)),
        }
    }
    scan.pools = FoundPool::group(found);
    Ok(scan)
}

enum Outcome {
    Nothing,
    Found(Box<FoundDevice>),
    Distrusted(String),
}

fn scan_one(system: &System, name: &str, path: &Path) -> Result<Outcome, LayoutError> {
    let dir = system.named_dir(name);
    if !may_carry_label(system, name, &dir)? {
        return Ok(Outcome::Nothing);
    }
    let holders = system.stacked(&dir, "holders")?;
    // A member of a multipath device, an md array or a volume group: what it carries is seen, if
    // at all, through the device that holds it.
    if let Some(other) = holders.iter().find(|holder| !is_a_pools(holder)) {
        return distrust_if_labelled(path, &other.name);
    }
    let device = BlockDevice::open(path, Access::ReadOnly)?;
    let number = device.number();
    let (label, torn) = match read_labels(&device)? {
        LabelRead::Absent => return Ok(Outcome::Nothing),
        LabelRead::BothTorn { head, tail } => {
            return Err(LayoutError::BothLabelsTorn { path: path.to_owned(), head, tail });
        }
        LabelRead::Good(label) => (label, None),
        LabelRead::OneTorn { label, copy, why } => (label, Some((copy, why))),
    };
    // Read again: somebody may have stacked a device on this one meanwhile.
    let holders = system.stacked(&dir, "holders")?;
    if !held_only_by(&holders, label.pool_uuid) {
        let names: Vec<&str> = holders.iter().map(|holder| holder.name.as_str()).collect();
        return Ok(Outcome::Distrusted(names.join(", ")));
    }
    let known = read_device_number(&dir.join("dev"))?;
    let Some(number) = number.filter(|number| Some(*number) == known) else {
        // The node was replaced between the listing and the opening.
        return Ok(Outcome::Nothing);
    };
    let (path, size) = (path.to_owned(), device.size());
    Ok(Outcome::Found(Box::new(FoundDevice { path, number, size, label, torn })))
}

fn is_a_pools(holder: &Holder) -> bool {
    holder.dm_uuid.as_deref().and_then(pool_of).is_some()
}

/// A label below something else than a pool is worth a word: a clone of a pool's disk, perhaps.
fn distrust_if_labelled(path: &Path, holder: &str) -> Result<Outcome, LayoutError> {
    let device = BlockDevice::open(path, Access::ReadOnly)?;
    Ok(match read_labels(&device)? {
        LabelRead::Absent => Outcome::Nothing,
        _ => Outcome::Distrusted(holder.to_owned()),
    })
}

/// Whether a device can be one that a pool was made on, before anything is read from it.
fn may_carry_label(system: &System, name: &str, dir: &Path) -> Result<bool, LayoutError> {
    if ["ram", "zram", "sr", "fd", "nullb"].iter().any(|driver| is_of_driver(name, driver)) {
        return Ok(false);
    }
    if is_of_driver(name, "loop") && read_text(&dir.join("loop/backing_file"))?.is_none() {
        return Ok(false);
    }
    if read_number(&dir.join("size"))?.unwrap_or(0) == 0 || !partitions_of(dir)?.is_empty() {
        return Ok(false);
    }
    Ok(!is_on_our_volume(system, dir)?)
}

/// Whether a kernel name is a driver's name and a number.
fn is_of_driver(name: &str, driver: &str) -> bool {
    let number = name.strip_prefix(driver);
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
