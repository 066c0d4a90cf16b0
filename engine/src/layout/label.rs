//! What a pool device says about itself.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::label_format::{LABEL_BYTES, LABEL_SEGMENTS_MAX};
use super::segment::Segment;
use crate::units::{BlockSize, Bytes};

/// The longest pool name, in bytes of UTF-8.
pub const POOL_NAME_BYTES_MAX: usize = 128;

/// The most journal copies that one device can carry.
pub(super) const PLACEMENTS_MAX: usize = 4;

/// Where a pool is in its life, as its labels see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LabelState {
    /// The pool is being made; its journal is not durable yet.
    Creating,
    /// The pool is in use.
    Live,
    /// The pool is being removed; what is left of it may go.
    Destroying,
    /// The device is being added to a pool that is in use: a member once the catalogue names it.
    Joining,
    /// The pool was closed for another machine to take; nobody opens it before it is imported.
    Exported,
}

impl LabelState {
    /// The number that stands for this state on disk.
    pub const fn code(self) -> u32 {
        match self {
            Self::Creating => 1,
            Self::Live => 2,
            Self::Destroying => 3,
            Self::Joining => 4,
            Self::Exported => 5,
        }
    }

    /// The state that a number on disk stands for.
    pub const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Creating),
            2 => Some(Self::Live),
            3 => Some(Self::Destroying),
            4 => Some(Self::Joining),
            5 => Some(Self::Exported),
            _ => None,
        }
    }
}

/// One copy of the journal on a device: regions A and B, one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JournalPlacement {
    /// Which copy it is.
    pub copy: u8,
    /// Where it starts on the device, in bytes.
    pub offset: Bytes,
    /// How long both regions are together.
    pub length: Bytes,
}

impl JournalPlacement {
    /// Whether it ends on a device of this length: whoever uses it adds its offset and its length.
    pub(super) fn is_on(&self, device_bytes: Bytes) -> bool {
        self.offset.checked_add(self.length).is_some_and(|end| end <= device_bytes)
    }
}

/// A device's label.
///
/// The catalogue is the truth about extents; the segments here are what salvage has when the
/// journal is lost, and the placements are how the journal is found at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The pool that the device belongs to.
    pub pool_uuid: Uuid,
    /// The pool's name, at most [`POOL_NAME_BYTES_MAX`] bytes.
    pub pool_name: String,
    /// The device's own uuid inside the pool.
    pub device_uuid: Uuid,
    /// The device's place in the order of the pool's devices.
    pub device_index: u32,
    /// Where the pool is in its life.
    pub state: LabelState,
    /// Counts the rewrites of this label.
    pub generation: u64,
    /// The pool's extent length.
    pub extent_bytes: Bytes,
    /// The device's length when the label was written; its second copy is at the end of that.
    pub device_bytes: Bytes,
    /// When the pool was made, in seconds since 1970.
    pub created_at: u64,
    /// The pool's data block size.
    pub block_size: BlockSize,
    /// The copies of the journal that this device carries.
    pub placements: Vec<JournalPlacement>,
    /// The segments that this device carries.
    pub segments: Vec<Segment>,
}

impl Label {
    /// The label for the next rewrite.
    #[must_use]
    pub fn next(&self) -> Self {
        Self { generation: self.generation + 1, ..self.clone() }
    }

    /// Where the second copy is: the last block of 4096 bytes, aligned.
    pub const fn tail_offset(&self) -> Option<u64> {
        tail_offset(self.device_bytes)
    }

    /// Whether the block has room for this many placements and segments, and for the name, and
    /// says nothing that a reader would refuse.
    pub fn fits(&self) -> bool {
        (1..=POOL_NAME_BYTES_MAX).contains(&self.pool_name.len())
            && self.placements.len() <= PLACEMENTS_MAX
            && self.placements.iter().all(|placement| placement.is_on(self.device_bytes))
            && self.segments.len() <= LABEL_SEGMENTS_MAX
            && self.segments.iter().all(|segment| segment.device == self.device_uuid)
            && self.tail_offset().is_some()
    }
}

/// The offset of the second copy on a device of this length; `None` when it is too short for two.
pub(super) const fn tail_offset(device_bytes: Bytes) -> Option<u64> {
    let block = LABEL_BYTES as u64;
    let end = device_bytes.get() - device_bytes.get() % block;
    // Block 0 belongs to whoever boots, block 1 to the first copy.
    if end >= 3 * block { Some(end - block) } else { None }
}
