//! `NodePublishVolume` and `NodeUnpublishVolume`.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use thinly_csi_wire::{
    NodePublishVolumeRequest, NodePublishVolumeResponse, NodeUnpublishVolumeRequest,
    NodeUnpublishVolumeResponse,
};
use thinly_engine::layout::MountEntry;
use tonic::{Code, Status};

use super::place::{Device, active_device, all_mounts, describe, shows_node, top_of};
use crate::ObjectKind;
use crate::driver::{Driver, Found};
use crate::failure::{OrStatus, status_of};
use crate::host::filesystem::Filesystem;
use crate::host::mount_options::MountOptions;
use crate::host::mounting::{bind_device, bind_directory, unmount};
use crate::host::paths::{Entry, HostPath};
use crate::limits::apply;
use crate::request::{Access, AccessKind, Writers, check_required};

pub(super) fn publish(
    driver: &Driver,
    request: &NodePublishVolumeRequest,
) -> Result<NodePublishVolumeResponse, Status> {
    let access = Access::read_on_node(request.volume_capability.as_ref())?;
    if request.staging_target_path.is_empty() {
        return Err(Status::failed_precondition(
            "staging_target_path is empty; the volume must be staged first",
        ));
    }
    check_required("target_path", &request.target_path)?;
    let staging = driver.path(&request.staging_target_path)?;
    let target = driver.path(&request.target_path)?;
    let found = driver.need(&request.volume_id, ObjectKind::Volume)?;
    let device = active_device(&found)?.ok_or_else(|| not_staged(&found))?;
    let read_only = request.readonly || access.writers == Writers::None;
    match &access.kind {
        AccessKind::Block => publish_block(&found, &device, &target, &access, read_only)?,
        AccessKind::Mount { flags, .. } => {
            let at = Place { staging: &staging, target: &target };
            publish_mount(&found, &device, &at, flags, &access, read_only)?;
        }
    }
    apply(driver, &found)?;
    Ok(NodePublishVolumeResponse {})
}

struct Place<'a> {
    staging: &'a HostPath,
    target: &'a HostPath,
}

fn not_staged(found: &Found) -> Status {
    Status::failed_precondition(format!("the volume {} is not staged; stage it first", found.id()))
}

fn occupied(top: &MountEntry) -> Status {
    Status::failed_precondition(format!(
        "{} is mounted at target_path, which is not this volume",
        describe(top)
    ))
}

fn staged_for_reading() -> Status {
    Status::failed_precondition(
        "the volume is staged for reading only; it cannot be published for writing",
    )
}

fn differs(what: &str) -> Status {
    Status::already_exists(format!(
        "the volume is published at target_path {what}; unpublish it first"
    ))
}

/// A volume with one writer is at one place only.
fn refuse_second_place(places: &[PathBuf], access: &Access) -> Result<(), Status> {
    match places.first() {
        Some(other) if access.writers == Writers::One => Err(Status::failed_precondition(format!(
            "the volume has a single writer and is published at {} already",
            other.display()
        ))),
        _ => Ok(()),
    }
}

fn publish_mount(
    found: &Found,
    device: &Device,
    at: &Place<'_>,
    flags: &[String],
    access: &Access,
    read_only: bool,
) -> Result<(), Status> {
    let staged = top_of(at.staging)?.filter(|top| device.carries(top));
    let staged = staged.ok_or_else(|| not_staged(found))?;
    let filesystem: Filesystem = staged.filesystem.parse().or_status()?;
    if access.filesystem().is_some_and(|asked| asked != filesystem.name()) {
        return Err(Status::already_exists(format!(
            "the volume is staged as {filesystem}; unstage it first"
        )));
    }
    let options = MountOptions::parse(filesystem, flags).or_status()?;
    if let Some(top) = top_of(at.target)? {
        if !device.carries(&top) {
            return Err(occupied(&top));
        }
        if options.agree_with(&top, read_only) {
            return Ok(());
        }
        return Err(differs(&format!("with the options {}", top.options.join(","))));
    }
    let is_staged_read_only = staged.options.iter().any(|option| option == "ro");
    if is_staged_read_only && !read_only && !options.read_only() {
        return Err(staged_for_reading());
    }
    let others: Vec<PathBuf> = all_mounts()?
        .into_iter()
        .filter(|mount| device.carries(mount) && mount.mount_point != staged.mount_point)
        .map(|mount| mount.mount_point)
        .collect();
    refuse_second_place(&others, access)?;
    let made = create(at.target, Entry::Directory)?;
    bind_directory(at.staging, at.target, read_only, &options)
        .or_status()
        .inspect_err(|_| take_back(at.target, made))
}

fn publish_block(
    found: &Found,
    device: &Device,
    target: &HostPath,
    access: &Access,
    read_only: bool,
) -> Result<(), Status> {
    if all_mounts()?.iter().any(|mount| device.carries(mount)) {
        return Err(Status::already_exists(
            "the volume is staged as a filesystem, not as a block device; unstage it first",
        ));
    }
    if !read_only && device.read_only {
        return Err(staged_for_reading());
    }
    // A mount's read-only flag does not hold for what is behind a device node: the node itself
    // must be one that takes no writes.
    let by_view = read_only && !device.read_only;
    if let Some(top) = top_of(target)? {
        return match (is_shown_read_only(found, &top)?, device.is_shown_by(&top)) {
            (true, _) if by_view => Ok(()),
            (_, true) if !by_view => Ok(()),
            (true, _) => Err(differs("for reading only")),
            (_, true) => Err(differs("for writing")),
            _ => Err(occupied(&top)),
        };
    }
    let view = found.pool.find_read_only_view(&found.volume.name).or_status()?;
    let shows = |mount: &MountEntry| {
        device.is_shown_by(mount) || view.as_ref().is_some_and(|view| shows_node(mount, view))
    };
    let places: Vec<PathBuf> =
        all_mounts()?.into_iter().filter(shows).map(|mount| mount.mount_point).collect();
    refuse_second_place(&places, access)?;
    let made = create(target, Entry::File)?;
    let bind = || {
        let node = if by_view {
            found.pool.read_only_view(&found.volume.name).or_status()?
        } else {
            device.node.clone()
        };
        bind_device(&node, target).or_status()
    };
    bind().inspect_err(|_| {
        take_back(target, made);
        if let Err(error) = drop_unused_view(found) {
            tracing::warn!(volume = %found.id(), "left behind: {error}");
        }
    })
}

/// Whether a mount shows the volume's read-only view, if it has one.
fn is_shown_read_only(found: &Found, mount: &MountEntry) -> Result<bool, Status> {
    let view = found.pool.find_read_only_view(&found.volume.name).or_status()?;
    Ok(view.is_some_and(|view| shows_node(mount, &view)))
}

/// Creates the last component of the target; tells whether it was not there.
fn create(target: &HostPath, wanted: Entry) -> Result<bool, Status> {
    match target.entry().or_status()? {
        Entry::Missing if wanted == Entry::Directory => {
            target.create_directory().or_status().map(|()| true)
        }
        Entry::Missing => target.create_file().or_status().map(|()| true),
        found if found == wanted => Ok(false),
        _ => Err(Status::failed_precondition(format!(
            "something else is at target_path {}; move it away",
            target.path().display()
        ))),
    }
}

fn take_back(target: &HostPath, made: bool) {
    if made && let Err(error) = target.remove() {
        tracing::warn!(target = %target.path().display(), "left behind: {error}");
    }
}

pub(super) fn unpublish(
    driver: &Driver,
    request: &NodeUnpublishVolumeRequest,
) -> Result<NodeUnpublishVolumeResponse, Status> {
    let target = driver.path(&request.target_path)?;
    let found = driver.find(&request.volume_id, ObjectKind::Volume)?;
    if let Some(top) = top_of(&target)? {
        let Some(found) = &found else { return Err(occupied(&top)) };
        let device = active_device(found)?;
        let is_ours = device.is_some_and(|device| device.carries(&top) || device.is_shown_by(&top))
            || is_shown_read_only(found, &top)?
            // Its device is gone: nothing can be behind it any more.
            || (top.filesystem == "devtmpfs" && is_deleted(&top));
        if !is_ours {
            return Err(occupied(&top));
        }
        unmount(&target).or_status()?;
    }
    target.remove().map_err(|error| match status_of(&error) {
        // Somebody's files, which no retry makes ours: the code for what exists is a creation's.
        status if status.code() == Code::AlreadyExists => {
            Status::failed_precondition(status.message())
        }
        status => status,
    })?;
    if let Some(found) = found {
        drop_unused_view(&found)?;
    }
    Ok(NodeUnpublishVolumeResponse {})
}

fn is_deleted(mount: &MountEntry) -> bool {
    mount.root.to_string_lossy().ends_with("//deleted")
}

/// The read-only view goes with its last publication.
fn drop_unused_view(found: &Found) -> Result<(), Status> {
    let Some(view) = found.pool.find_read_only_view(&found.volume.name).or_status()? else {
        return Ok(());
    };
    if all_mounts()?.iter().any(|mount| shows_node(mount, &view)) {
        return Ok(());
    }
    found.pool.drop_read_only_view(&found.volume.name).or_status()
}
