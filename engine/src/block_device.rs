//! A block device (or an image file) opened for aligned, unbuffered I/O.
//!
//! dm-bufio writes metadata past the page cache, so a buffered read of a live device returns what
//! the cache held before: every read and write here is `O_DIRECT`.
#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::libc;
use thiserror::Error;

use crate::aligned::AlignedBuffer;
use crate::units::Bytes;

/// What can go wrong with a device node.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The node is not there, or may not be opened.
    #[error("cannot open {path}: {source}; check that the device exists and that you are root", path = path.display())]
    Open {
        /// The node.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The path names something else than a block device.
    #[error("{path} is not a block device; name a disk, a partition or a logical volume", path = path.display())]
    NotABlockDevice {
        /// The path.
        path: PathBuf,
    },
    /// Somebody holds the device: a mount, another dm device, another process.
    #[error("{path} is in use: a filesystem, another device or another program holds it", path = path.display())]
    Busy {
        /// The node.
        path: PathBuf,
    },
    /// A read or a write failed.
    #[error("{action} {length} bytes at offset {offset} of {path} failed: {source}", path = path.display())]
    Io {
        /// `reading` or `writing`.
        action: &'static str,
        /// The node.
        path: PathBuf,
        /// Where, in bytes.
        offset: u64,
        /// How much, in bytes.
        length: u64,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// How a device is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads only; takes no claim.
    ReadOnly,
    /// Reads and durable writes; takes no claim.
    ReadWrite,
    /// Reads and durable writes, and the kernel's exclusive claim (`O_EXCL`), which dies with the
    /// process.
    Exclusive,
    /// Reads only, and the same claim: fails while anything holds the device.
    ExclusiveRead,
}

impl Access {
    fn writes(self) -> bool {
        matches!(self, Self::ReadWrite | Self::Exclusive)
    }

    fn claims(self) -> bool {
        matches!(self, Self::Exclusive | Self::ExclusiveRead)
    }
}

/// Major and minor number of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber {
    /// The driver's number.
    pub major: u32,
    /// The device's number inside the driver.
    pub minor: u32,
}

impl DeviceNumber {
    /// Splits the 64-bit `st_rdev` of a node.
    pub fn from_rdev(rdev: u64) -> Self {
        let major = nix::sys::stat::major(rdev);
        let minor = nix::sys::stat::minor(rdev);
        Self {
            major: u32::try_from(major).unwrap_or(u32::MAX),
            minor: u32::try_from(minor).unwrap_or(u32::MAX),
        }
    }

    /// The device's directory in sysfs.
    pub fn sysfs(self) -> PathBuf {
        PathBuf::from(format!("/sys/dev/block/{self}"))
    }
}

impl std::fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// An open device: bounded, aligned reads and durable writes.
#[derive(Debug)]
pub struct BlockDevice {
    file: File,
    path: PathBuf,
    size_bytes: AtomicU64,
    number: Option<DeviceNumber>,
    reads: AtomicU64,
    writes: AtomicU64,
}

impl BlockDevice {
    /// Opens a block device.
    pub fn open(path: &Path, access: Access) -> Result<Self, DeviceError> {
        let device = Self::open_any(path, access)?;
        if device.number.is_none() {
            return Err(DeviceError::NotABlockDevice { path: path.to_owned() });
        }
        Ok(device)
    }

    /// Opens a block device or an image file.
    pub fn open_any(path: &Path, access: Access) -> Result<Self, DeviceError> {
        let fail = |source: io::Error| match source.raw_os_error() {
            Some(libc::EBUSY) => DeviceError::Busy { path: path.to_owned() },
            _ => DeviceError::Open { path: path.to_owned(), source },
        };
        let mut flags = OFlag::O_DIRECT;
        if access.claims() {
            flags |= OFlag::O_EXCL;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(access.writes())
            .custom_flags(flags.bits())
            .open(path)
            .map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        let number = metadata
            .file_type()
            .is_block_device()
            .then(|| DeviceNumber::from_rdev(metadata.rdev()));
        let size = Bytes::new(file.seek(SeekFrom::End(0)).map_err(fail)?);
        Ok(Self {
            file,
            path: path.to_owned(),
            size_bytes: AtomicU64::new(size.get()),
            number,
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
        })
    }

    /// The node that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The device's length when it was opened, or last measured.
    pub fn size(&self) -> Bytes {
        Bytes::new(self.size_bytes.load(Ordering::Relaxed))
    }

    /// Measures a device that may have grown since it was opened.
    pub fn measure(&self) -> Result<Bytes, DeviceError> {
        let end = (&self.file).seek(SeekFrom::End(0));
        let end = end.map_err(|source| self.io_error("measuring", 0, 0, source))?;
        self.size_bytes.store(end, Ordering::Relaxed);
        Ok(Bytes::new(end))
    }

    /// The device's number; `None` for an image file.
    pub fn number(&self) -> Option<DeviceNumber> {
        self.number
    }

    /// How many reads and writes this handle has made.
    pub fn io_counts(&self) -> (u64, u64) {
        (self.reads.load(Ordering::Relaxed), self.writes.load(Ordering::Relaxed))
    }

    /// Fills `buffer` from `offset`; both must be multiples of the device's logical block.
    pub fn read_at(&self, offset: u64, buffer: &mut AlignedBuffer) -> Result<(), DeviceError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let length = buffer.len() as u64;
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|source| self.io_error("reading", offset, length, source))
    }

    /// Writes `buffer` at `offset`; returns once the device says that it is durable.
    ///
    /// By a write and an `fdatasync`, which is one flush. `O_DSYNC` would be two on a device without
    /// `FUA`: a direct write asks for `FUA`, which becomes a flush of its own there
    /// (`dio_bio_write_op`, block/fops.c), and `generic_write_sync` sends another.
    pub fn write_at(&self, offset: u64, buffer: &AlignedBuffer) -> Result<(), DeviceError> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.file
            .write_all_at(buffer, offset)
            .and_then(|()| self.file.sync_data())
            .map_err(|source| self.io_error("writing", offset, buffer.len() as u64, source))
    }

    /// Writes `buffer` at `offset`; durable only after the next [`BlockDevice::flush`].
    pub fn write_unflushed(&self, offset: u64, buffer: &AlignedBuffer) -> Result<(), DeviceError> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.file
            .write_all_at(buffer, offset)
            .map_err(|source| self.io_error("writing", offset, buffer.len() as u64, source))
    }

    /// Makes all that was written durable.
    pub fn flush(&self) -> Result<(), DeviceError> {
        self.file
            .sync_data()
            .map_err(|source| self.io_error("flushing", 0, self.size().get(), source))
    }

    /// Writes zeros over a range, durably: by the device itself where it can, which takes no time
    /// on a disk that unmaps or writes zeros by itself.
    pub fn zero_range(&self, offset: u64, length: u64) -> Result<(), DeviceError> {
        if length == 0 {
            return Ok(());
        }
        let range = (libc::off_t::try_from(offset), libc::off_t::try_from(length));
        if let (Ok(start), Ok(count)) = range {
            let mode = FallocateFlags::FALLOC_FL_ZERO_RANGE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            if fallocate(&self.file, mode, start, count).is_ok() {
                self.writes.fetch_add(1, Ordering::Relaxed);
                let synced = self.file.sync_data();
                return synced.map_err(|source| self.io_error("zeroing", offset, length, source));
            }
        }
        self.write_zeros(offset, length)
    }

    fn write_zeros(&self, offset: u64, length: u64) -> Result<(), DeviceError> {
        const STEP_BYTES: u64 = 1 << 20;
        let mut done = 0;
        while done < length {
            let step = STEP_BYTES.min(length - done);
            let zeros = AlignedBuffer::zeroed(usize::try_from(step).unwrap_or(0));
            self.write_at(offset + done, &zeros)?;
            done += step;
        }
        Ok(())
    }

    fn io_error(
        &self,
        action: &'static str,
        offset: u64,
        length: u64,
        source: io::Error,
    ) -> DeviceError {
        DeviceError::Io { action, path: self.path.clone(), offset, length, source }
    }
}

impl AsFd for BlockDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
