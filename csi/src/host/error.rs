//! What can go wrong with mounts and filesystems.
#![forbid(unsafe_code)]

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use thinly_engine::block_device::DeviceError;
use thinly_engine::layout::LayoutError;
use thiserror::Error;

/// What this module's functions return.
pub type Result<T> = std::result::Result<T, HostError>;

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HostErrorKind {
    /// Something that must be there is not.
    NotFound,
    /// Something else is already there.
    Exists,
    /// The request itself is wrong or unsafe: repeating it does not help.
    Refused,
    /// Somebody still uses it: repeating it later helps.
    InUse,
    /// This host lacks a program or a feature of the kernel.
    Unsupported,
    /// Everything else.
    Internal,
}

/// The family of errors about mounts and filesystems of this host.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HostError {
    /// A path that is not followed.
    #[error("{path} is refused: {reason}; name a plain absolute path below {directory}", path = path.display(), directory = directory.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
        /// Where paths must be.
        directory: PathBuf,
    },
    /// Nothing is there.
    #[error("{path} does not exist; create it, or name another path", path = path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// Something unexpected is there.
    #[error("{path} is {found}, expected {expected}; move it away", path = path.display())]
    Occupied {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Somebody uses a path or a device.
    #[error("{path} is in use: {user}; stop that first", path = path.display())]
    InUse {
        /// The path.
        path: PathBuf,
        /// Who uses it.
        user: &'static str,
    },
    /// A mount option that nobody may ask for.
    #[error("the mount option {option:?} is refused for {filesystem}; known ones are: {known}")]
    MountOption {
        /// The option.
        option: String,
        /// What was to be mounted.
        filesystem: &'static str,
        /// What may be asked for.
        known: String,
    },
    /// A filesystem that is not offered.
    #[error("the filesystem {name:?} is not supported; use ext4, xfs or btrfs")]
    Filesystem {
        /// What was asked for.
        name: String,
    },
    /// A device carries something that is not to be lost.
    #[error("{device} carries {found}, and is not overwritten; wipe it first if that may go", device = device.display())]
    Foreign {
        /// The device.
        device: PathBuf,
        /// What is on it.
        found: String,
    },
    /// A device does not carry the filesystem that it should.
    #[error("{device} carries {found}, expected {expected}; is it the right device?", device = device.display())]
    NotThisFilesystem {
        /// The device.
        device: PathBuf,
        /// What is on it.
        found: String,
        /// What should be.
        expected: &'static str,
    },
    /// A filesystem has a property that its identity cannot be changed with.
    #[error("the identity of {device} cannot be changed: {reason}; mount it while its source is not mounted", device = device.display())]
    Identity {
        /// The device.
        device: PathBuf,
        /// What is in the way.
        reason: &'static str,
    },
    /// A program is not installed.
    #[error("{program} is not installed; install the package {package}")]
    ProgramMissing {
        /// The program.
        program: &'static str,
        /// What it is part of.
        package: &'static str,
    },
    /// A program could not be started.
    #[error("{program} cannot be started: {source}; check its installation", program = program.display())]
    ProgramStart {
        /// The program.
        program: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A program failed.
    #[error("{program} failed on {device} with {status}: {output}", device = device.display())]
    ProgramFailed {
        /// The program.
        program: &'static str,
        /// The device.
        device: PathBuf,
        /// How it ended.
        status: String,
        /// Both ends of what it said.
        output: String,
    },
    /// The kernel refused.
    #[error("{action} {path} failed: {source}{said}", path = path.display())]
    Kernel {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
        /// What the filesystem said of it; empty, or beginning with a blank.
        said: String,
    },
    /// A device could not be read or written.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The table of mounts could not be read.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

impl HostError {
    /// What a caller can do about it.
    pub fn kind(&self) -> HostErrorKind {
        match self {
            Self::Missing { .. } => HostErrorKind::NotFound,
            Self::Occupied { .. } => HostErrorKind::Exists,
            Self::Path { .. }
            | Self::MountOption { .. }
            | Self::Filesystem { .. }
            | Self::Foreign { .. }
            | Self::NotThisFilesystem { .. } => HostErrorKind::Refused,
            Self::InUse { .. } => HostErrorKind::InUse,
            Self::ProgramMissing { .. } | Self::Identity { .. } => HostErrorKind::Unsupported,
            Self::Kernel { source, .. } => kind_of(source),
            Self::Device(error) => kind_of_device(error),
            Self::Layout(_) | Self::ProgramStart { .. } | Self::ProgramFailed { .. } => {
                HostErrorKind::Internal
            }
        }
    }

    /// The kernel's answer to something that was tried on a path.
    pub(super) fn kernel(action: &'static str, path: &Path, errno: Errno) -> Self {
        Self::Kernel { action, path: path.to_owned(), source: errno.into(), said: String::new() }
    }
}

fn kind_of(error: &io::Error) -> HostErrorKind {
    match Errno::from_io_error(error) {
        Some(Errno::NOENT | Errno::NXIO) => HostErrorKind::NotFound,
        Some(Errno::EXIST) => HostErrorKind::Exists,
        Some(Errno::BUSY) => HostErrorKind::InUse,
        Some(Errno::NOSYS | Errno::OPNOTSUPP | Errno::NODEV) => HostErrorKind::Unsupported,
        _ => HostErrorKind::Internal,
    }
}

fn kind_of_device(error: &DeviceError) -> HostErrorKind {
    match error {
        DeviceError::Busy { .. } => HostErrorKind::InUse,
        DeviceError::NotABlockDevice { .. } => HostErrorKind::Refused,
        DeviceError::Open { source, .. } | DeviceError::Io { source, .. } => kind_of(source),
        _ => HostErrorKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_answers_are_sorted_by_what_helps() {
        let kind = |errno| HostError::kernel("mounting", Path::new("/x"), errno).kind();
        assert_eq!(kind(Errno::BUSY), HostErrorKind::InUse);
        assert_eq!(kind(Errno::NOENT), HostErrorKind::NotFound);
        assert_eq!(kind(Errno::NOSYS), HostErrorKind::Unsupported);
        assert_eq!(kind(Errno::IO), HostErrorKind::Internal);
    }

    #[test]
    fn messages_name_the_path_and_the_way_out() {
        let error = HostError::kernel("mounting on", Path::new("/x"), Errno::BUSY).to_string();
        assert!(error.starts_with("mounting on /x failed: "), "{error}");
        let error = HostError::ProgramMissing { program: "mkfs.xfs", package: "xfsprogs" };
        assert_eq!(error.to_string(), "mkfs.xfs is not installed; install the package xfsprogs");
    }
}
