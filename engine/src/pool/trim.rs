//! Letting a volume's filesystem give back what it does not use (`FITRIM`).
//!
//! A mounted one is asked where it is mounted. Otherwise it is mounted for this call alone: by the
//! new mount calls, which make a mount that is attached nowhere and goes with its file descriptor.
//!
//! Crash argument: a filesystem discards only what it does not use, and a mount replays its log as
//! every mount does. A process that dies leaves at most an active volume that nobody asked for.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

use super::activate::VolumeAccess;
use super::error::PoolError;
use super::handle::Pool;
use super::kernel::ThinDevice;
use crate::aligned::AlignedBuffer;
use crate::block_device::{Access, BlockDevice};
use crate::catalogue::{ThinState, Volume, VolumeName};
use crate::dm::block::{BlockError, trim};
use crate::layout::{System, filesystem_of, mounts};
use crate::plan::Operation;
use crate::units::Bytes;

/// How much of a filesystem is trimmed at a time, for whoever waits to see how far it is.
const STEP: Bytes = Bytes::new(16 << 30);
/// Where every known filesystem has its first superblock.
const HEAD: usize = 128 << 10;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrimReport {
    /// The filesystem, as mount knows it.
    pub filesystem: String,
    /// Where it was mounted; `None` when it was mounted for this alone.
    pub mount_point: Option<PathBuf>,
    /// What the filesystem says it gave back, mapped or not.
    pub trimmed_bytes: Bytes,
    /// What the volume mapped before; `None` when it could not be read.
    pub mapped_before: Option<Bytes>,
    /// What it maps now; likewise.
    pub mapped_after: Option<Bytes>,
}

/// A filesystem that can be asked.
struct Mounted {
    directory: OwnedFd,
    filesystem: String,
    mount_point: Option<PathBuf>,
}

impl Pool {
    /// Trims the filesystem of a volume, mounted or not. `progress` gets how far it is and how long
    /// the volume is.
    pub fn trim(
        &self,
        name: &VolumeName,
        progress: &mut dyn FnMut(Bytes, Bytes),
    ) -> Result<TrimReport, PoolError> {
        let volume = self.find(name)?;
        self.admit(Operation::Trim)?;
        refuse_untrimmable(&volume)?;
        self.commit_in_kernel()?;
        let mapped_before = self.volume(name)?.mapped_bytes;
        let was_active = self.thin_device(&volume)?.is_some_and(|device| device.live);
        let trimmed = self.trim_filesystem(&volume, progress);
        let restored = if was_active { Ok(()) } else { self.deactivate(name).map(drop) };
        let (mounted, trimmed_bytes) = trimmed?;
        restored?;
        self.commit_in_kernel()?;
        Ok(TrimReport {
            filesystem: mounted.0,
            mount_point: mounted.1,
            trimmed_bytes,
            mapped_before,
            mapped_after: self.volume(name)?.mapped_bytes,
        })
    }

    fn trim_filesystem(
        &self,
        volume: &Volume,
        progress: &mut dyn FnMut(Bytes, Bytes),
    ) -> Result<((String, Option<PathBuf>), Bytes), PoolError> {
        let Mounted { directory, filesystem, mount_point } = match self.thin_device(volume)? {
            Some(device) if device.live => mounted(volume, &device)?,
            _ => {
                // Internal: no hand-out for writing, so what is known of its content stays.
                let view = self.activate(&volume.name, VolumeAccess::Internal)?;
                let node = view
                    .device
                    .ok_or_else(|| PoolError::VolumeInactive { name: volume.name.clone() })?;
                mount_alone(volume, &node)?
            }
        };
        let trimmed = trim_all(&directory, &filesystem, volume.size, progress)?;
        Ok(((filesystem, mount_point), trimmed))
    }
}

fn refuse_untrimmable(volume: &Volume) -> Result<(), PoolError> {
    let name = volume.name.clone();
    match volume.thin {
        ThinState::Pending => {
            let why = "nothing was ever written to it, so it holds no space".to_owned();
            Err(PoolError::NotTrimmed { name, why })
        }
        ThinState::Lost(id) => Err(PoolError::VolumeLost { name, id }),
        ThinState::Ready(_) if volume.is_snapshot() => {
            let why = "a snapshot's filesystem is never written to; give its blocks of zeros \
                       back with --zero-detect"
                .to_owned();
            Err(PoolError::NotTrimmed { name, why })
        }
        ThinState::Ready(_) => Ok(()),
    }
}

/// The filesystem of an active volume, where it is mounted or by itself.
fn mounted(volume: &Volume, device: &ThinDevice) -> Result<Mounted, PoolError> {
    let system = System::default();
    let is_writable = |options: &[String]| options.iter().any(|option| option == "rw");
    let mounts = mounts(&system)?;
    let of_device = || mounts.iter().filter(|mount| mount.is_on(&system, device.number));
    let refuse = |why: String| Err(PoolError::NotTrimmed { name: volume.name.clone(), why });
    if let Some(mount) = of_device().find(|mount| is_writable(&mount.super_options)) {
        let path = mount.mount_point.clone();
        let directory = File::open(&path);
        let directory = directory.map_err(|source| PoolError::File { path, source })?;
        return Ok(Mounted {
            directory: directory.into(),
            filesystem: mount.filesystem.clone(),
            mount_point: Some(mount.mount_point.clone()),
        });
    }
    if of_device().next().is_some() {
        return refuse("it is mounted read-only".to_owned());
    }
    if device.read_only {
        return refuse("it is active read-only; deactivate it first".to_owned());
    }
    if device.open_count > 0 {
        return refuse(format!(
            "{} is in use, and mounted nowhere that can be seen from here; run fstrim where it \
             is mounted",
            device.node().display()
        ));
    }
    mount_alone(volume, &device.node())
}

/// Mounts what is on a device where nobody sees it.
fn mount_alone(volume: &Volume, node: &Path) -> Result<Mounted, PoolError> {
    let device = BlockDevice::open(node, Access::ReadOnly)?;
    let length = HEAD.min(usize::try_from(device.size().get()).unwrap_or(HEAD));
    let mut head = AlignedBuffer::zeroed(length);
    device.read_at(0, &mut head)?;
    drop(device);
    let Some(filesystem) = filesystem_of(&head).map(|facts| facts.name) else {
        let why = "there is no ext4, xfs or btrfs on it; give its blocks of zeros back with \
                   --zero-detect"
            .to_owned();
        return Err(PoolError::NotTrimmed { name: volume.name.clone(), why });
    };
    let directory = mount(filesystem, node).map_err(|source| PoolError::Mount {
        name: volume.name.clone(),
        filesystem,
        source,
    })?;
    Ok(Mounted { directory, filesystem: filesystem.to_owned(), mount_point: None })
}

fn mount(filesystem: &str, node: &Path) -> io::Result<OwnedFd> {
    let context = fsopen(filesystem, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "source", node)?;
    if filesystem == "xfs" {
        // A copy has the identity of its source, which may be mounted.
        fsconfig_set_flag(context.as_fd(), "nouuid")?;
    }
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    // The mount itself is only a place. Open files keep its filesystem alive.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(&mount, ".", flags, Mode::empty())?)
}

fn trim_all(
    directory: &OwnedFd,
    filesystem: &str,
    length: Bytes,
    progress: &mut dyn FnMut(Bytes, Bytes),
) -> Result<Bytes, BlockError> {
    if !matches!(filesystem, "ext4" | "xfs") {
        // Elsewhere offsets are not those of the device.
        return trim(directory, Bytes::ZERO, Bytes::new(u64::MAX));
    }
    let mut trimmed = 0;
    for start in (0..length.get()).step_by(usize::try_from(STEP.get()).unwrap_or(usize::MAX)) {
        progress(Bytes::new(start), length);
        match trim(directory, Bytes::new(start), STEP) {
            Ok(bytes) => trimmed += bytes.get(),
            // Behind the filesystem's end: the volume is longer.
            Err(error) if start > 0 && error.source.raw_os_error() == Some(nix::libc::EINVAL) => {
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Bytes::new(trimmed))
}
