//! What a journal is written to.
#![forbid(unsafe_code)]

use std::fmt::Debug;
use std::os::fd::AsFd;

use super::error::MediaError;
use super::format::{UNIT_BYTES_MAX, UNIT_BYTES_MIN};
use crate::aligned::AlignedBuffer;
use crate::block_device::{BlockDevice, DeviceError};

/// A range of bytes with durable writes.
///
/// Offsets and lengths are multiples of 4096; writes are multiples of [`Media::unit_bytes`].
pub trait Media: Send + Sync + Debug {
    /// The name that messages use, a device path for instance.
    fn name(&self) -> String;

    /// The length of the medium.
    fn size_bytes(&self) -> u64;

    /// The smallest write that cannot harm its neighbours: at least 4096 and the physical block.
    fn unit_bytes(&self) -> u32;

    /// Fills `buffer` from `offset`, past every cache of the host.
    fn read_at(&self, offset: u64, buffer: &mut AlignedBuffer) -> Result<(), MediaError>;

    /// Writes `buffer` at `offset`; durable on return.
    fn write_at(&self, offset: u64, buffer: &AlignedBuffer) -> Result<(), MediaError>;

    /// Writes zeros; durable on return.
    fn zero_range(&self, offset: u64, length: u64) -> Result<(), MediaError>;

    /// Makes durable whatever a read can see, also what a failed or interrupted write left.
    fn flush(&self) -> Result<(), MediaError>;

    /// The copies of a mirror, each a medium of its own; empty for a plain medium.
    fn copies(&self) -> &[Box<dyn Media>] {
        &[]
    }
}

impl Media for BlockDevice {
    fn name(&self) -> String {
        self.path().display().to_string()
    }

    fn size_bytes(&self) -> u64 {
        self.size().get()
    }

    fn unit_bytes(&self) -> u32 {
        let physical = physical_block_bytes(self).unwrap_or(UNIT_BYTES_MIN);
        physical.next_power_of_two().clamp(UNIT_BYTES_MIN, UNIT_BYTES_MAX)
    }

    fn read_at(&self, offset: u64, buffer: &mut AlignedBuffer) -> Result<(), MediaError> {
        Ok(Self::read_at(self, offset, buffer)?)
    }

    fn write_at(&self, offset: u64, buffer: &AlignedBuffer) -> Result<(), MediaError> {
        Ok(Self::write_at(self, offset, buffer)?)
    }

    fn zero_range(&self, offset: u64, length: u64) -> Result<(), MediaError> {
        Ok(Self::zero_range(self, offset, length)?)
    }

    fn flush(&self) -> Result<(), MediaError> {
        nix::unistd::fdatasync(self.as_fd()).map_err(|errno| {
            MediaError::Device(DeviceError::Io {
                action: "flushing",
                path: self.path().to_owned(),
                offset: 0,
                length: self.size().get(),
                source: errno.into(),
            })
        })
    }
}

/// The physical block that sysfs states; a partition's queue is its parent's.
fn physical_block_bytes(device: &BlockDevice) -> Option<u32> {
    let directory = device.number()?.sysfs();
    ["queue", "../queue"].iter().find_map(|queue| {
        let path = directory.join(queue).join("physical_block_size");
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    })
}
