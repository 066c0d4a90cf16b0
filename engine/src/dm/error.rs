//! What can go wrong between the engine and the device-mapper.
#![forbid(unsafe_code)]

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use thiserror::Error;

use super::buffer::BufferError;
use super::command::Command;
use super::key::DeviceKey;
use super::name::NameError;
use super::probe::Unsupported;
use super::text::TextError;

/// A failure of the device-mapper layer: what failed, on which device, what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DmError {
    /// The control node may not be opened.
    #[error(
        "cannot open {path}: {source}; run as root or grant CAP_SYS_ADMIN",
        path = path.display()
    )]
    NotPermitted {
        /// The control node.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel has a device-mapper, but nobody made its node.
    #[error(
        "cannot open {path}: {source}; the device-mapper is loaded, only its node is missing: \
         make it with `mknod {path} c 10 {minor}`, or mount the host's /dev into this container",
        path = path.display()
    )]
    NoControlNode {
        /// The control node.
        path: PathBuf,
        /// Its minor number, from `/proc/misc`.
        minor: u32,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel has no device-mapper.
    #[error(
        "cannot open {path}: {source}; this kernel has no device-mapper: load it with \
         `modprobe dm_mod`, and `modprobe dm_thin_pool` for pools",
        path = path.display()
    )]
    NoDeviceMapper {
        /// The control node.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The control node cannot be opened for another reason.
    #[error(
        "cannot open {path}: {source}; check that it is the device-mapper's control node",
        path = path.display()
    )]
    Open {
        /// The control node.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The device does not exist.
    #[error(
        "cannot {verb} {device}: {source}; there is no such device, `thinly dm list` shows \
         those there are",
        verb = command.verb()
    )]
    NotFound {
        /// What was asked.
        command: Command,
        /// Of which device.
        device: DeviceKey,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel refused a command on a device.
    #[error(
        "cannot {verb} {device}{detail}: {source}; {advice}",
        verb = command.verb(),
        detail = quoted(detail.as_deref()),
        advice = advice(*command, source)
    )]
    Refused {
        /// What was asked.
        command: Command,
        /// Of which device.
        device: DeviceKey,
        /// The message or the table that was sent.
        detail: Option<String>,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel refused a command that concerns no single device.
    #[error("cannot {verb}: {source}; {advice}", verb = command.verb(), advice = advice(*command, source))]
    General {
        /// What was asked.
        command: Command,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The answer is longer than any that is expected.
    #[error(
        "the answer to {command} does not fit into {size} bytes; ask for less, such as the \
         devices of one pool"
    )]
    ReplyTooLong {
        /// What was asked.
        command: Command,
        /// The largest buffer tried.
        size: usize,
    },
    /// The kernel's answer (or what was to be sent) does not hold together.
    #[error(
        "{command} cannot be encoded or its answer read: {source}; report the kernel's version"
    )]
    Malformed {
        /// What was asked.
        command: Command,
        /// What does not hold.
        source: BufferError,
    },
    /// A table or status is not what its target writes.
    #[error("{device}: {source}")]
    Text {
        /// Which device.
        device: DeviceKey,
        /// The line and its fault.
        source: TextError,
    },
    /// The device does not have exactly one target.
    #[error("{device} has {count} targets where one is expected; check its table")]
    TargetCount {
        /// Which device.
        device: DeviceKey,
        /// How many targets it has.
        count: usize,
    },
    /// A name or uuid out of the kernel's limits.
    #[error(transparent)]
    Name(#[from] NameError),
    /// This kernel lacks something.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// Waiting for events failed.
    #[error("cannot wait for device-mapper events: {source}; open the control node anew")]
    Wait {
        /// The kernel's answer.
        source: io::Error,
    },
}

impl DmError {
    /// The kernel's error number, where there is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::NotPermitted { source, .. }
            | Self::NoControlNode { source, .. }
            | Self::NoDeviceMapper { source, .. }
            | Self::Open { source, .. }
            | Self::NotFound { source, .. }
            | Self::Refused { source, .. }
            | Self::General { source, .. }
            | Self::Wait { source } => source.raw_os_error().map(Errno::from_raw),
            _ => None,
        }
    }

    /// The command that failed, where it was one.
    pub const fn command(&self) -> Option<Command> {
        match self {
            Self::NotFound { command, .. }
            | Self::Refused { command, .. }
            | Self::General { command, .. }
            | Self::ReplyTooLong { command, .. }
            | Self::Malformed { command, .. } => Some(*command),
            _ => None,
        }
    }

    /// There is no such device.
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// It is there already: a device of that name or uuid, or a thin of that id.
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(Errno::EEXIST) || self.is_create_busy()
    }

    /// Somebody uses it: a device is open, a thin is active, a metadata snapshot is held.
    pub fn is_busy(&self) -> bool {
        self.errno() == Some(Errno::EBUSY) && !self.is_create_busy()
    }

    /// The pool knows no such thin.
    pub fn is_no_data(&self) -> bool {
        self.errno() == Some(Errno::ENODATA)
    }

    /// `DM_DEV_CREATE` says "busy" where it means "exists" (`dm_hash_insert`, dm-ioctl.c).
    fn is_create_busy(&self) -> bool {
        self.command() == Some(Command::Create) && self.errno() == Some(Errno::EBUSY)
    }
}

fn quoted(detail: Option<&str>) -> String {
    detail.map(|text| format!(" ({})", text.trim_end())).unwrap_or_default()
}

/// What a person can do about an error of the kernel's.
fn advice(command: Command, source: &io::Error) -> &'static str {
    let errno = source.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw);
    match (command, errno) {
        (Command::Create, Errno::EBUSY) => "a device with this name or uuid exists already",
        (Command::Remove, Errno::EBUSY) => {
            "it is open: unmount it, or stop the program or remove the device that uses it"
        }
        (Command::TableLoad, Errno::EACCES) => {
            "a device that the table names is read-only, or CAP_SYS_ADMIN is missing"
        }
        (_, Errno::EACCES | Errno::EPERM) => "run as root or grant CAP_SYS_ADMIN",
        (Command::TableLoad, Errno::EBUSY) => "a device that the table names is in use elsewhere",
        (Command::TableLoad, Errno::ENXIO | Errno::ENODEV | Errno::ENOENT) => {
            "a device that the table names does not exist"
        }
        (Command::TableLoad | Command::Resume, Errno::EINVAL) => {
            "the kernel log says which part of the table it does not accept"
        }
        (Command::TargetVersion, Errno::EINVAL) => {
            "the kernel has no such target and no module that brings it"
        }
        (Command::Message, Errno::EBUSY) => {
            "the thin is active, or a metadata snapshot is held already"
        }
        (Command::Message, Errno::EEXIST) => "the pool has a thin with this id already",
        (Command::Message, Errno::ENODATA) => "the pool has no thin with this id",
        (Command::Message, Errno::EINVAL) => {
            "the target does not accept these values now, or the device has no live table; the \
             kernel log says which"
        }
        (Command::Message, Errno::EOPNOTSUPP) => {
            "the pool is read-only or has failed; look at its status"
        }
        (Command::Message, Errno::ENOSPC) => "the pool's metadata device is full; extend it",
        (Command::Suspend | Command::Resume, Errno::EINTR) => "a signal came first; try again",
        (_, Errno::ENOTTY) => "this kernel does not know the command; use a newer one",
        (_, Errno::ENOMEM) => "the kernel is out of memory; free some and try again",
        _ => "the kernel log may say more",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dm::DmName;

    fn refused(command: Command, errno: Errno, detail: Option<&str>) -> DmError {
        DmError::Refused {
            command,
            device: DeviceKey::Name(DmName::new("p-pool").unwrap()),
            detail: detail.map(str::to_owned),
            source: errno.into(),
        }
    }

    #[test]
    fn a_message_says_what_on_which_and_what_to_do() {
        assert_eq!(
            refused(Command::Message, Errno::EEXIST, Some("create_thin 1")).to_string(),
            "cannot send a message to dm device p-pool (create_thin 1): File exists (os error 17); \
             the pool has a thin with this id already"
        );
        assert_eq!(
            refused(Command::Remove, Errno::EBUSY, None).to_string(),
            "cannot remove dm device p-pool: Device or resource busy (os error 16); it is open: \
             unmount it, or stop the program or remove the device that uses it"
        );
        let closed = DmError::NotPermitted {
            path: "/dev/mapper/control".into(),
            source: Errno::EACCES.into(),
        };
        assert_eq!(
            closed.to_string(),
            "cannot open /dev/mapper/control: Permission denied (os error 13); run as root or \
             grant CAP_SYS_ADMIN"
        );
    }

    #[test]
    fn busy_means_exists_only_for_create() {
        let create = refused(Command::Create, Errno::EBUSY, None);
        assert!(create.is_exists() && !create.is_busy());
        let remove = refused(Command::Remove, Errno::EBUSY, None);
        assert!(remove.is_busy() && !remove.is_exists());
        assert!(refused(Command::Message, Errno::EEXIST, None).is_exists());
        assert!(refused(Command::Message, Errno::ENODATA, None).is_no_data());
    }

    #[test]
    fn the_source_keeps_its_number() {
        let error = refused(Command::Suspend, Errno::EINTR, None);
        assert_eq!(error.errno(), Some(Errno::EINTR));
        let source = std::error::Error::source(&error).unwrap();
        assert!(source.downcast_ref::<io::Error>().is_some());
    }
}
