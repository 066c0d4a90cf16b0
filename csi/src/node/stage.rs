//! `NodeStageVolume` and `NodeUnstageVolume`.
#![forbid(unsafe_code)]

use thinly_csi_wire::{
    NodeStageVolumeRequest, NodeStageVolumeResponse, NodeUnstageVolumeRequest,
    NodeUnstageVolumeResponse,
};
use thinly_engine::catalogue::Content;
use thinly_engine::layout::MountEntry;
use thinly_engine::pool::VolumeAccess;
use tonic::Status;

use super::filesystem::{expected, foresee, prepare};
use super::place::{Device, active_device, all_mounts, describe, shows_node, top_of};
use crate::ObjectKind;
use crate::driver::{Driver, Found};
use crate::failure::OrStatus;
use crate::host::filesystem::{Filesystem, grow, needs_growth};
use crate::host::mount_options::MountOptions;
use crate::host::mounting::{mount_filesystem, unmount};
use crate::host::paths::{Entry, HostPath};
use crate::request::{Access, AccessKind, Writers};

pub(super) fn stage(
    driver: &Driver,
    request: &NodeStageVolumeRequest,
) -> Result<NodeStageVolumeResponse, Status> {
    let access = Access::read_on_node(request.volume_capability.as_ref())?;
    let staging = driver.path(&request.staging_target_path)?;
    let found = driver.need(&request.volume_id, ObjectKind::Volume)?;
    match &access.kind {
        AccessKind::Block => stage_block(&found, &access)?,
        AccessKind::Mount { filesystem, flags } => {
            let asked = filesystem.as_deref().map(str::parse).transpose().or_status()?;
            stage_mount(&found, &staging, asked, flags, access.writers == Writers::None)?;
        }
    }
    Ok(NodeStageVolumeResponse {})
}

/// Refuses what staging would refuse, however the volume is used at this moment. As a block device
/// every volume can be had.
pub(crate) fn refuse_unservable(found: &Found, access: &Access) -> Result<(), Status> {
    let AccessKind::Mount { filesystem, flags } = &access.kind else { return Ok(()) };
    let asked = filesystem.as_deref().map(str::parse).transpose().or_status()?;
    let filesystem = foresee(found, asked)?;
    MountOptions::parse(filesystem, flags).or_status().map(|_| ())
}

/// A block volume is staged by its device: nothing needs to be at the staging path.
fn stage_block(found: &Found, access: &Access) -> Result<(), Status> {
    let read_only = access.writers == Writers::None;
    if let Some(device) = active_device(found)? {
        if let Some(mount) = all_mounts()?.iter().find(|mount| device.carries(mount)) {
            return Err(Status::already_exists(format!(
                "the volume is staged as a filesystem at {}; unstage it first",
                mount.mount_point.display()
            )));
        }
        if device.read_only != read_only {
            let what = if read_only { "writing, too" } else { "reading only" };
            return Err(Status::already_exists(format!(
                "the volume is staged for {what}; unstage it first"
            )));
        }
    }
    let name = &found.volume.name;
    if read_only {
        found.pool.activate(name, VolumeAccess::ReadOnly).or_status()?;
        return Ok(());
    }
    found.pool.activate(name, VolumeAccess::ReadWrite).or_status()?;
    if found.pool.volume_record(found.volume.uuid).is_some_and(|it| it.content != Content::Touched)
    {
        found.pool.set_content(name, Content::Touched).or_status()?;
    }
    Ok(())
}

fn stage_mount(
    found: &Found,
    staging: &HostPath,
    asked: Option<Filesystem>,
    flags: &[String],
    read_only: bool,
) -> Result<(), Status> {
    // Refused before anything is done, whatever is on the volume.
    MountOptions::parse(expected(found, asked), flags).or_status()?;
    if staging.entry().or_status()? != Entry::Directory {
        return Err(Status::failed_precondition(format!(
            "staging_target_path {} is no directory; the caller creates it",
            staging.path().display()
        )));
    }
    if let Some(top) = top_of(staging)? {
        return already_staged(found, &top, asked, flags, read_only)
            .and_then(|staged| finish_growth(staged, staging, read_only));
    }
    let view = found.pool.activate(&found.volume.name, VolumeAccess::Internal).or_status()?;
    let device = Device::of(&view)
        .ok_or_else(|| Status::internal(format!("{} has no device", found.id())))?;
    if let Some(mount) = all_mounts()?.iter().find(|mount| device.carries(mount)) {
        return Err(Status::failed_precondition(format!(
            "the volume is mounted at {} already",
            mount.mount_point.display()
        )));
    }
    if let Some(mount) = all_mounts()?.iter().find(|mount| device.is_shown_by(mount)) {
        return Err(Status::already_exists(format!(
            "the volume is published as a block device at {}; unpublish it first",
            mount.mount_point.display()
        )));
    }
    let filesystem = prepare(found, &device, asked)?;
    let options = MountOptions::parse(filesystem, flags).or_status()?;
    if needs_growth(&device.node, filesystem).or_status()? {
        // A copy that is larger than its source: it is grown before anybody sees it.
        mount_filesystem(&device.node, filesystem, staging, &options, false).or_status()?;
        grow(&device.node, filesystem, staging).or_status()?;
        if !read_only && !options.read_only() {
            return Ok(());
        }
        unmount(staging).or_status()?;
    }
    mount_filesystem(&device.node, filesystem, staging, &options, read_only).or_status()
}

/// The same call again is done; another one on the same path contradicts the first.
fn already_staged(
    found: &Found,
    top: &MountEntry,
    asked: Option<Filesystem>,
    flags: &[String],
    read_only: bool,
) -> Result<(Device, Filesystem), Status> {
    let device = active_device(found)?.filter(|device| device.carries(top));
    let device = device.ok_or_else(|| {
        Status::failed_precondition(format!(
            "{} is mounted at staging_target_path, which is not this volume",
            describe(top)
        ))
    })?;
    let filesystem: Filesystem = top.filesystem.parse().or_status()?;
    let options = MountOptions::parse(filesystem, flags).or_status()?;
    if asked.is_some_and(|asked| asked != filesystem) || !options.agree_with(top, read_only) {
        return Err(Status::already_exists(format!(
            "the volume is staged with {filesystem} and the options {}; unstage it first",
            top.options.join(",")
        )));
    }
    Ok((device, filesystem))
}

/// A driver that was killed between the mount and the growth is made up for by the next call.
fn finish_growth(
    (device, filesystem): (Device, Filesystem),
    staging: &HostPath,
    read_only: bool,
) -> Result<(), Status> {
    if !read_only && needs_growth(&device.node, filesystem).or_status()? {
        grow(&device.node, filesystem, staging).or_status()?;
    }
    Ok(())
}

pub(super) fn unstage(
    driver: &Driver,
    request: &NodeUnstageVolumeRequest,
) -> Result<NodeUnstageVolumeResponse, Status> {
    let staging = driver.path(&request.staging_target_path)?;
    let Some(found) = driver.find(&request.volume_id, ObjectKind::Volume)? else {
        return Ok(NodeUnstageVolumeResponse {});
    };
    let device = active_device(&found)?;
    let top = top_of(&staging)?;
    refuse_published(&found, device.as_ref(), top.as_ref())?;
    if let Some(top) = top {
        // Another volume's mount is not ours to take away.
        if !device.as_ref().is_some_and(|device| device.carries(&top)) {
            return Err(Status::failed_precondition(format!(
                "{} is mounted at staging_target_path, which is not this volume",
                describe(&top)
            )));
        }
        unmount(&staging).or_status()?;
    }
    found.pool.drop_read_only_view(&found.volume.name).or_status()?;
    found.pool.deactivate(&found.volume.name).or_status()?;
    Ok(NodeUnstageVolumeResponse {})
}

/// A pod that still has the volume keeps it: nothing is taken away before it is clear that
/// everything can be.
fn refuse_published(
    found: &Found,
    device: Option<&Device>,
    staged: Option<&MountEntry>,
) -> Result<(), Status> {
    let Some(device) = device else { return Ok(()) };
    let view = found.pool.find_read_only_view(&found.volume.name).or_status()?;
    let shows = |mount: &MountEntry| {
        device.carries(mount)
            || device.is_shown_by(mount)
            || view.as_ref().is_some_and(|view| shows_node(mount, view))
    };
    let is_elsewhere =
        |mount: &MountEntry| staged.is_none_or(|staged| staged.mount_point != mount.mount_point);
    match all_mounts()?.iter().find(|mount| shows(mount) && is_elsewhere(mount)) {
        None => Ok(()),
        Some(mount) => Err(Status::failed_precondition(format!(
            "the volume {} is published at {}; unpublish it first",
            found.id(),
            mount.mount_point.display()
        ))),
    }
}
