//! The control node: opening it, and sending one command.
#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::OnceLock;

use nix::errno::Errno;

use super::buffer::{BufferError, IoctlBuffer};
use super::command::Command;
use super::counters::CounterCells;
use super::error::DmError;
use super::flags::DmFlags;
use super::key::DeviceKey;
use super::probe::{DmVersion, Feature};
use super::{reply, request};

/// Where the device-mapper takes its commands.
pub const CONTROL_NODE: &str = "/dev/mapper/control";

/// The first size tried for answers that grow with the host's devices.
pub(super) const LIST_BYTES: usize = 16 << 10;

/// The first size tried for answers of one device: most have one target. The kernel copies the
/// whole buffer in, and a pool's status is read after every message.
pub(super) const DEVICE_BYTES: usize = 4 << 10;

/// No answer is longer: some hundred thousand devices.
const REPLY_BYTES_MAX: usize = 256 << 20;

/// The device-mapper of this kernel.
#[derive(Debug)]
pub struct Control {
    file: File,
    pub(super) counters: CounterCells,
    pub(super) version: OnceLock<DmVersion>,
    pub(super) supported: [OnceLock<()>; Feature::ALL.len()],
}

impl Control {
    /// Opens the control node; the kernel loads its module on demand where it can.
    pub fn open() -> Result<Self, DmError> {
        Self::open_at(Path::new(CONTROL_NODE))
    }

    fn open_at(path: &Path) -> Result<Self, DmError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|source| open_error(path, source, misc_minor()))?;
        Ok(Self {
            file,
            counters: CounterCells::default(),
            version: OnceLock::new(),
            supported: std::array::from_fn(|_| OnceLock::new()),
        })
    }

    /// Issues a command whose buffer is ready.
    pub(super) fn issue(&self, command: Command, buffer: &mut IoctlBuffer) -> io::Result<()> {
        self.counters.count(command);
        buffer.submit(self.file.as_fd(), command)
    }

    /// Issues a command that consists of its header.
    pub(super) fn plain(
        &self,
        command: Command,
        device: &DeviceKey,
        flags: DmFlags,
        cookie: u32,
    ) -> Result<IoctlBuffer, DmError> {
        let mut buffer = prepare(command, 0, flags, |buffer| {
            request::cookie(buffer, cookie)?;
            request::device(buffer, device)
        })?;
        self.issue(command, &mut buffer)
            .map_err(|source| device_error(command, device, None, source))?;
        Ok(buffer)
    }

    /// Issues a read, again with twice the buffer as long as the answer does not fit.
    pub(super) fn read(
        &self,
        command: Command,
        first_bytes: usize,
        flags: DmFlags,
        fill: impl Fn(&mut IoctlBuffer) -> Result<(), BufferError>,
        fail: impl Fn(io::Error) -> DmError,
    ) -> Result<IoctlBuffer, DmError> {
        let mut size = first_bytes;
        while size <= REPLY_BYTES_MAX {
            let mut buffer = prepare(command, size, flags, &fill)?;
            self.issue(command, &mut buffer).map_err(&fail)?;
            let answered = malformed(command, reply::flags(&buffer))?;
            if !answered.contains(DmFlags::BUFFER_FULL) {
                return Ok(buffer);
            }
            size *= 2;
        }
        Err(DmError::ReplyTooLong { command, size: REPLY_BYTES_MAX })
    }

    /// A read that concerns one device.
    pub(super) fn read_device(
        &self,
        command: Command,
        device: &DeviceKey,
        flags: DmFlags,
    ) -> Result<IoctlBuffer, DmError> {
        self.read(
            command,
            DEVICE_BYTES,
            flags,
            |buffer| request::device(buffer, device),
            |source| device_error(command, device, None, source),
        )
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Makes a command of a given size.
fn prepare(
    command: Command,
    size: usize,
    flags: DmFlags,
    fill: impl Fn(&mut IoctlBuffer) -> Result<(), BufferError>,
) -> Result<IoctlBuffer, DmError> {
    let mut buffer = IoctlBuffer::new(size);
    malformed(command, request::header(&mut buffer, flags).and_then(|()| fill(&mut buffer)))?;
    Ok(buffer)
}

/// Adds the command to an error of its buffer.
pub(super) fn malformed<T>(command: Command, result: Result<T, BufferError>) -> Result<T, DmError> {
    result.map_err(|source| DmError::Malformed { command, source })
}

/// The error for a command on a device: the kernel says `ENXIO` where it finds none.
pub(super) fn device_error(
    command: Command,
    device: &DeviceKey,
    detail: Option<String>,
    source: io::Error,
) -> DmError {
    let device = device.clone();
    match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENXIO) => DmError::NotFound { command, device, source },
        _ => DmError::Refused { command, device, detail, source },
    }
}

/// Why the node cannot be opened; `minor` is known where the device-mapper is loaded.
fn open_error(path: &Path, source: io::Error, minor: Option<u32>) -> DmError {
    let path = path.to_owned();
    match (source.raw_os_error().map(Errno::from_raw), minor) {
        (Some(Errno::EACCES | Errno::EPERM), _) => DmError::NotPermitted { path, source },
        (Some(Errno::ENOENT), Some(minor)) => DmError::NoControlNode { path, minor, source },
        (Some(Errno::ENOENT | Errno::ENODEV | Errno::ENXIO), None) => {
            DmError::NoDeviceMapper { path, source }
        }
        _ => DmError::Open { path, source },
    }
}

/// The minor number of a loaded device-mapper.
fn misc_minor() -> Option<u32> {
    misc_minor_in(&std::fs::read_to_string("/proc/misc").ok()?)
}

fn misc_minor_in(misc: &str) -> Option<u32> {
    misc.lines().find_map(|line| {
        let (minor, name) = line.trim().split_once(' ')?;
        (name.trim() == "device-mapper").then(|| minor.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_node_is_told_from_a_missing_module() {
        let misc = "  1 psaux\n236 device-mapper\n 10 rtc\n";
        assert_eq!(misc_minor_in(misc), Some(236));
        assert_eq!(misc_minor_in("  1 psaux\n"), None);
        let missing =
            |minor| open_error(Path::new(CONTROL_NODE), Errno::ENOENT.into(), minor).to_string();
        assert!(missing(Some(236)).contains("mknod /dev/mapper/control c 10 236"));
        assert!(missing(None).contains("modprobe dm_mod"));
    }

    #[test]
    fn an_absent_path_does_not_open() {
        let directory = tempfile::tempdir().unwrap();
        let error = Control::open_at(&directory.path().join("control")).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::ENOENT));
    }
}
