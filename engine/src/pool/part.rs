//! A range of a device as a journal medium.
#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::aligned::AlignedBuffer;
use crate::block_device::BlockDevice;
use crate::journal::{Media, MediaError};

/// One copy of the journal inside a larger device.
#[derive(Debug)]
pub(super) struct Part {
    name: String,
    device: Arc<BlockDevice>,
    offset: u64,
    length: u64,
}

impl Part {
    /// A range of `device`, called `name`: where a person finds it, whatever it is read through.
    pub(super) const fn new(
        name: String,
        device: Arc<BlockDevice>,
        offset: u64,
        length: u64,
    ) -> Self {
        Self { name, device, offset, length }
    }
}

impl Media for Part {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn size_bytes(&self) -> u64 {
        self.length
    }

    fn unit_bytes(&self) -> u32 {
        Media::unit_bytes(&*self.device)
    }

    fn read_at(&self, offset: u64, buffer: &mut AlignedBuffer) -> Result<(), MediaError> {
        Ok(self.device.read_at(self.offset + offset, buffer)?)
    }

    fn write_at(&self, offset: u64, buffer: &AlignedBuffer) -> Result<(), MediaError> {
        Ok(self.device.write_at(self.offset + offset, buffer)?)
    }

    fn zero_range(&self, offset: u64, length: u64) -> Result<(), MediaError> {
        Ok(self.device.zero_range(self.offset + offset, length)?)
    }

    fn flush(&self) -> Result<(), MediaError> {
        Media::flush(&*self.device)
    }
}
