//! `NodeGetVolumeStats`.
#![forbid(unsafe_code)]

use thinly_csi_wire::volume_usage::Unit;
use thinly_csi_wire::{NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse, VolumeUsage};
use tonic::Status;

use super::place::{Device, active_device, shows_node, top_of};
use crate::ObjectKind;
use crate::driver::{Driver, Found};
use crate::failure::OrStatus;
use crate::host::paths::HostPath;
use crate::host::stats::filesystem_stats;

pub(super) fn stats(
    driver: &Driver,
    request: &NodeGetVolumeStatsRequest,
) -> Result<NodeGetVolumeStatsResponse, Status> {
    let path = driver.path(&request.volume_path)?;
    let found = driver.need(&request.volume_id, ObjectKind::Volume)?;
    let device = active_device(&found)?.ok_or_else(|| not_there(&found, &path))?;
    let usage = match top_of(&path)? {
        Some(top) if device.carries(&top) => filesystem_usage(&path)?,
        _ => {
            is_shown_at(&found, &device, &path)?;
            vec![block_usage(&found)?]
        }
    };
    Ok(NodeGetVolumeStatsResponse { usage, ..Default::default() })
}

fn not_there(found: &Found, path: &HostPath) -> Status {
    Status::not_found(format!("the volume {} is not at {}", found.id(), path.path().display()))
}

/// Whether a block volume is published at a path, or staged for it (kubelet names either).
pub(super) fn is_shown_at(found: &Found, device: &Device, path: &HostPath) -> Result<(), Status> {
    let view = found.pool.find_read_only_view(&found.volume.name).or_status()?;
    let shown = top_of(path)?.is_some_and(|top| {
        device.is_shown_by(&top) || view.is_some_and(|view| shows_node(&top, &view))
    });
    if shown { Ok(()) } else { Err(not_there(found, path)) }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn filesystem_usage(path: &HostPath) -> Result<Vec<VolumeUsage>, Status> {
    let stats = filesystem_stats(path).or_status()?;
    let bytes = VolumeUsage {
        available: number(stats.available_bytes),
        total: number(stats.total_bytes),
        used: number(stats.used_bytes),
        unit: Unit::Bytes.into(),
    };
    let inodes = VolumeUsage {
        available: number(stats.free_inodes),
        total: number(stats.total_inodes),
        used: number(stats.used_inodes),
        unit: Unit::Inodes.into(),
    };
    // Btrfs has no fixed number of inodes: nothing is better than zeros.
    Ok(if stats.total_inodes == 0 { vec![bytes] } else { vec![bytes, inodes] })
}

/// Of a block volume: its size, and what of it takes space in the pool.
fn block_usage(found: &Found) -> Result<VolumeUsage, Status> {
    let view = found.pool.volume(&found.volume.name).or_status()?;
    let total = view.virtual_bytes;
    let used = view.mapped_bytes.unwrap_or_default();
    Ok(VolumeUsage {
        available: number(total.saturating_sub(used).get()),
        total: number(total.get()),
        used: number(used.get()),
        unit: Unit::Bytes.into(),
    })
}
