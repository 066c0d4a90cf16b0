//! From a volume to a filesystem that can be mounted.
//!
//! The catalogue says what is known of the content, and mkfs runs in two of its states only:
//! `Blank` (never written: reads as zeros) and `Formatting` (a mkfs that was not seen to end). The
//! state moves to `Formatting` durably before mkfs starts, and to `Formatted` after it ended, so a
//! crash anywhere repeats mkfs at most over its own half-made result.
#![forbid(unsafe_code)]

use thinly_engine::catalogue::{Content, VolumeKind};
use tonic::Status;
use uuid::Uuid;

use super::place::{Device, active_device};
use crate::driver::Found;
use crate::failure::OrStatus;
use crate::host::filesystem::{
    CheckOutcome, Filesystem, Signature, check, make, new_identity, signature,
};
use crate::request::filesystem_bytes_min;

/// Makes sure that the device carries a filesystem, and one that can be mounted beside the volume
/// that it was copied from. Nothing may have it mounted.
pub(super) fn prepare(
    found: &Found,
    device: &Device,
    asked: Option<Filesystem>,
) -> Result<Filesystem, Status> {
    match &found.volume.content {
        Content::Blank => {
            let filesystem = asked.unwrap_or_else(|| default_of(found));
            format(found, device, filesystem, found.volume.uuid, false)
        }
        Content::Formatting { filesystem_uuid, .. } => {
            let filesystem = asked.unwrap_or_else(|| default_of(found));
            format(found, device, filesystem, *filesystem_uuid, true)
        }
        Content::Formatted { .. } | Content::Touched => {
            let (filesystem, uuid) = recognise(found, device, asked)?;
            check_before_mount(found, device, filesystem)?;
            give_identity(found, device, filesystem, uuid)?;
            Ok(filesystem)
        }
    }
}

/// Checks what was written before; a long check, and what it put right, are told in the log.
fn check_before_mount(
    found: &Found,
    device: &Device,
    filesystem: Filesystem,
) -> Result<(), Status> {
    let (volume, node) = (found.id(), device.node.display());
    tracing::info!(%volume, "checking {filesystem} on {node}");
    if check(&device.node, filesystem).or_status()? == CheckOutcome::Repaired {
        tracing::warn!(%volume, "the check repaired {filesystem} on {node}");
    }
    Ok(())
}

/// The filesystem that a volume would be mounted with, as far as can be told without a device of
/// it; refused where `prepare` would refuse.
pub(super) fn foresee(found: &Found, asked: Option<Filesystem>) -> Result<Filesystem, Status> {
    let filesystem = expected(found, asked);
    match &found.volume.content {
        Content::Blank | Content::Formatting { .. } => {
            let least = filesystem_bytes_min(filesystem.name());
            if found.volume.size < least {
                return Err(Status::failed_precondition(format!(
                    "the volume {} has {} bytes, and {filesystem} needs {least}",
                    found.id(),
                    found.volume.size
                )));
            }
            Ok(filesystem)
        }
        Content::Formatted { filesystem: on_it, .. } if on_it != filesystem.name() => {
            Err(unlike(found, &format!("holds {on_it}, and {filesystem} is asked for")))
        }
        Content::Formatted { .. } => Ok(filesystem),
        Content::Touched => match active_device(found)? {
            Some(device) => recognise(found, &device, asked).map(|(on_it, _)| on_it),
            None => Err(unlike(found, "is not staged, so what it holds cannot be seen")),
        },
    }
}

/// The filesystem that is asked for, or else that which is there or will be made.
pub(super) fn expected(found: &Found, asked: Option<Filesystem>) -> Filesystem {
    asked.unwrap_or_else(|| match &found.volume.content {
        Content::Formatted { filesystem, .. } => {
            filesystem.parse().unwrap_or_else(|_| default_of(found))
        }
        _ => default_of(found),
    })
}

fn unlike(found: &Found, what: &str) -> Status {
    Status::failed_precondition(format!(
        "the volume {} {what}; it was written before, so no filesystem is made on it",
        found.id()
    ))
}

fn default_of(found: &Found) -> Filesystem {
    // The configuration was checked when it was read.
    found.class.config.filesystem.parse().unwrap_or(Filesystem::Ext4)
}

fn format(
    found: &Found,
    device: &Device,
    filesystem: Filesystem,
    uuid: Uuid,
    again: bool,
) -> Result<Filesystem, Status> {
    let (name, kind) = (&found.volume.name, filesystem.name().to_owned());
    let formatting = Content::Formatting { filesystem: kind.clone(), filesystem_uuid: uuid };
    found.pool.set_content(name, formatting).or_status()?;
    let volume = found.id();
    let mut log = |step: &str| tracing::info!(%volume, "{step}");
    make(&device.node, filesystem, uuid, &[], again, &mut log).or_status()?;
    let formatted = Content::Formatted { filesystem: kind, filesystem_uuid: uuid };
    found.pool.set_content(name, formatted).or_status()?;
    Ok(filesystem)
}

/// What is on a device that somebody wrote. It is mounted as it is or refused; never made anew.
fn recognise(
    found: &Found,
    device: &Device,
    asked: Option<Filesystem>,
) -> Result<(Filesystem, Uuid), Status> {
    let refuse = |what: String| Err(unlike(found, &what));
    match signature(&device.node).or_status()? {
        Signature::Known(on_it, uuid) => match asked {
            Some(asked) if asked != on_it => {
                refuse(format!("holds {on_it}, and {asked} is asked for"))
            }
            _ => Ok((on_it, uuid)),
        },
        Signature::Foreign(what) => refuse(format!("holds {what}")),
        Signature::None => refuse("holds no filesystem that is known".to_owned()),
    }
}

/// A copy gets an identity of its own: its volume's. The same one on every try, so a crash between
/// the two changes is mended by the next call.
fn give_identity(
    found: &Found,
    device: &Device,
    filesystem: Filesystem,
    on_it: Uuid,
) -> Result<(), Status> {
    let is_copy = matches!(found.volume.kind, VolumeKind::Clone { .. });
    let identity = found.volume.uuid;
    if filesystem != Filesystem::Btrfs || !is_copy || on_it == identity {
        return Ok(());
    }
    new_identity(&device.node, filesystem, identity).or_status()?;
    let filesystem = filesystem.name().to_owned();
    let content = Content::Formatted { filesystem, filesystem_uuid: identity };
    found.pool.set_content(&found.volume.name, content).or_status()
}
