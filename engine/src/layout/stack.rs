//! Whose word a device's bytes are: ours and the administrator's, or a tenant's.
//!
//! A tenant who has a block volume can write a perfect label into it. Whatever is, or is stacked
//! on, one of our volumes is therefore never looked at, however many layers are between.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use uuid::Uuid;

use super::error::LayoutError;
use super::facts::Holder;
use super::sysfs::{System, read_dm, read_text};
use crate::block_device::DeviceNumber;

/// What every dm uuid of ours starts with.
const DM_UUID_PREFIX: &str = "THINLY-";

/// More layers than any real stack has; a deeper one is not trusted.
const LAYERS_MAX: u32 = 16;

/// Whether a dm uuid is one of ours, or that of a partition mapped on one of ours.
pub(super) fn is_ours(dm_uuid: &str) -> bool {
    dm_uuid.contains(DM_UUID_PREFIX)
}

/// The pool in one of our dm uuids, written with or without hyphens.
pub(super) fn pool_of(dm_uuid: &str) -> Option<Uuid> {
    let rest = dm_uuid.strip_prefix(DM_UUID_PREFIX)?;
    [36, 32].into_iter().find_map(|length| {
        let (uuid, tail) = rest.split_at_checked(length)?;
        (tail.is_empty() || tail.starts_with('-')).then(|| Uuid::try_parse(uuid).ok())?
    })
}

/// Whether everything that holds a device belongs to the pool that its label names.
pub(super) fn held_only_by(holders: &[Holder], pool: Uuid) -> bool {
    holders.iter().all(|holder| holder.dm_uuid.as_deref().and_then(pool_of) == Some(pool))
}

/// Whether a device is one of our dm devices or lies, through any layers, on one.
pub(super) fn is_on_our_volume(system: &System, dir: &Path) -> Result<bool, LayoutError> {
    is_on_ours(system, dir, LAYERS_MAX)
}

fn is_on_ours(system: &System, dir: &Path, layers: u32) -> Result<bool, LayoutError> {
    let Some(below) = layers.checked_sub(1) else { return Ok(true) };
    if read_dm(dir, "uuid")?.as_deref().is_some_and(is_ours) {
        return Ok(true);
    }
    for slave in system.stacked(dir, "slaves")? {
        if is_on_ours(system, &system.block_dir(slave.number), below)? {
            return Ok(true);
        }
    }
    // A partition lies on its disk, a loop device on the filesystem of its file.
    if dir.join("partition").exists() {
        let real = dir.canonicalize();
        let real = real.map_err(|source| LayoutError::System { path: dir.to_owned(), source })?;
        let disk = real.parent().unwrap_or(&real);
        return is_on_ours(system, disk, below);
    }
    match backing_device(dir)? {
        Some(number) => {
            let dir = system.block_dir(number);
            Ok(dir.exists() && is_on_ours(system, &dir, below)?)
        }
        None => Ok(false),
    }
}

/// The device of the filesystem that a loop device's file is on.
fn backing_device(dir: &Path) -> Result<Option<DeviceNumber>, LayoutError> {
    let Some(file) = read_text(&dir.join("loop/backing_file"))? else { return Ok(None) };
    let metadata = fs::metadata(&file).ok();
    Ok(metadata.map(|metadata| DeviceNumber::from_rdev(metadata.dev())))
}

#[cfg(test)]
#[path = "stack_tests.rs"]
mod tests;
