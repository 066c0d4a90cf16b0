//! The few ioctls of block devices that have no safe form elsewhere.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use thiserror::Error;

use crate::units::Bytes;

/// The type byte of block-device ioctls (`<linux/fs.h>`).
const BLOCK_IOCTL: u8 = 0x12;

mod raw {
    #![allow(clippy::disallowed_methods, reason = "the lint points to this directory")]
    #![allow(missing_docs, reason = "generated; the safe functions below are documented")]
    use super::BLOCK_IOCTL;

    nix::ioctl_none!(blkrrpart, BLOCK_IOCTL, 95);
    nix::ioctl_none!(blkflsbuf, BLOCK_IOCTL, 97);
    nix::ioctl_readwrite!(fitrim, b'X', 121, [u64; 3]);
    nix::ioctl_write_ptr_bad!(blkdiscard, nix::request_code_none!(BLOCK_IOCTL, 119), [u64; 2]);
    nix::ioctl_write_ptr_bad!(blkzeroout, nix::request_code_none!(BLOCK_IOCTL, 127), [u64; 2]);
}

/// A block device refused an ioctl.
#[derive(Debug, Error)]
#[error("{action} failed: {source}; {advice}")]
pub struct BlockError {
    /// What was asked, with its range.
    pub action: String,
    /// What to do.
    pub advice: &'static str,
    /// The kernel's answer.
    pub source: io::Error,
}

impl BlockError {
    fn new(action: String, advice: &'static str, source: impl Into<io::Error>) -> Self {
        Self { action, advice, source: source.into() }
    }
}

/// Tells the device that a range holds nothing any more (`BLKDISCARD`). Both numbers must be
/// multiples of its logical block size; the device must be open for writing.
pub fn discard(device: impl AsFd, offset: Bytes, length: Bytes) -> Result<(), BlockError> {
    let range = [offset.get(), length.get()];
    // SAFETY: BLKDISCARD reads two u64 from the pointer and keeps it no longer than the call.
    unsafe { raw::blkdiscard(device.as_fd().as_raw_fd(), &raw const range) }.map_err(|errno| {
        BlockError::new(
            format!("discarding {length} bytes at offset {offset}"),
            "check that the device supports discards and that the range is aligned",
            errno,
        )
    })?;
    Ok(())
}

/// Writes zeros over a range, by the device itself where it can (`BLKZEROOUT`).
pub fn zero_out(device: impl AsFd, offset: Bytes, length: Bytes) -> Result<(), BlockError> {
    let range = [offset.get(), length.get()];
    // SAFETY: BLKZEROOUT reads two u64 from the pointer and keeps it no longer than the call.
    unsafe { raw::blkzeroout(device.as_fd().as_raw_fd(), &raw const range) }.map_err(|errno| {
        BlockError::new(
            format!("writing zeros over {length} bytes at offset {offset}"),
            "check that the device is open for writing and that the range is aligned",
            errno,
        )
    })?;
    Ok(())
}

/// Makes a filesystem discard what it does not use between two of its offsets (`FITRIM`); gives how
/// much that was. `directory` is any of its files or directories.
pub fn trim(directory: impl AsFd, start: Bytes, length: Bytes) -> Result<Bytes, BlockError> {
    // `struct fstrim_range` (`<linux/fs.h>`): start, length, and the shortest range worth a discard.
    let mut range = [start.get(), length.get(), 0];
    // SAFETY: FITRIM reads and writes three u64 behind the pointer and keeps it no longer than the call.
    unsafe { raw::fitrim(directory.as_fd().as_raw_fd(), &raw mut range) }.map_err(|errno| {
        BlockError::new(
            format!("trimming a filesystem from offset {start}"),
            "check that it supports FITRIM, that its device takes discards, and that you are root",
            errno,
        )
    })?;
    Ok(Bytes::new(range[1]))
}

/// Makes the kernel read the device's partition table again (`BLKRRPART`); it refuses while a
/// partition is in use.
pub fn reread_partitions(device: impl AsFd) -> Result<(), BlockError> {
    // SAFETY: BLKRRPART takes no argument.
    unsafe { raw::blkrrpart(device.as_fd().as_raw_fd()) }.map_err(|errno| {
        BlockError::new(
            "reading the partition table again".to_owned(),
            "check that no partition of the device is in use and that partitions are supported",
            errno,
        )
    })?;
    Ok(())
}

/// Writes the device's cached pages out and forgets them (`BLKFLSBUF`).
pub fn flush_buffers(device: impl AsFd) -> Result<(), BlockError> {
    // SAFETY: BLKFLSBUF takes no argument.
    unsafe { raw::blkflsbuf(device.as_fd().as_raw_fd()) }.map_err(|errno| {
        BlockError::new(
            "flushing the device's cached pages".to_owned(),
            "run as root and check the kernel log for I/O errors",
            errno,
        )
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filesystem_without_a_device_is_not_trimmed() {
        let directory = std::fs::File::open("/proc/self").unwrap();
        let error = trim(&directory, Bytes::ZERO, Bytes::new(4096)).unwrap_err();
        assert_eq!(error.source.raw_os_error(), Some(nix::libc::ENOTTY), "{error}");
    }

    #[test]
    fn a_plain_file_refuses_them_all() {
        let file = tempfile::tempfile().unwrap();
        let length = Bytes::new(4096);
        let errors = [
            discard(&file, Bytes::ZERO, length),
            zero_out(&file, Bytes::ZERO, length),
            reread_partitions(&file),
            flush_buffers(&file),
        ];
        for error in errors.map(Result::unwrap_err) {
            assert_eq!(error.source.raw_os_error(), Some(nix::libc::ENOTTY), "{error}");
        }
    }
}
