//! A run of extents of one role on one device, and its dm-linear form.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::role::{Extents, Role};
use super::sizes::FIRST_EXTENT_OFFSET;
use crate::units::{Bytes, SECTOR_BYTES, Sectors};

/// A run of extents that follow each other in a role and on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Segment {
    /// What the run holds.
    pub role: Role,
    /// Its first extent inside the role.
    pub logical_start: Extents,
    /// The device that carries it.
    pub device: Uuid,
    /// Its first extent on the device, counted from [`FIRST_EXTENT_OFFSET`].
    pub device_start: Extents,
    /// How many extents it has.
    pub count: Extents,
}

impl Segment {
    /// The extent after the last one inside the role, or `None` on overflow.
    pub const fn logical_end(&self) -> Option<Extents> {
        self.logical_start.checked_add(self.count)
    }

    /// The extent after the last one on the device, or `None` on overflow.
    pub const fn device_end(&self) -> Option<Extents> {
        self.device_start.checked_add(self.count)
    }

    /// Whether `next` continues this run in its role and on its device.
    pub fn continues_with(&self, next: &Self) -> bool {
        self.role == next.role
            && self.device == next.device
            && self.logical_end() == Some(next.logical_start)
            && self.device_end() == Some(next.device_start)
    }

    /// Where the run starts on its device, in bytes, or `None` on overflow.
    pub fn device_offset(&self, extent_bytes: Bytes) -> Option<Bytes> {
        self.device_start.checked_bytes(extent_bytes)?.checked_add(FIRST_EXTENT_OFFSET)
    }

    /// The same run as one line of a dm-linear table, or `None` on overflow.
    pub fn to_linear(&self, extent_bytes: Bytes) -> Option<LinearSegment> {
        let sectors = |bytes: Bytes| Sectors::new(bytes.get() / SECTOR_BYTES);
        Some(LinearSegment {
            logical_start: sectors(self.logical_start.checked_bytes(extent_bytes)?),
            length: sectors(self.count.checked_bytes(extent_bytes)?),
            device: self.device,
            device_offset: sectors(self.device_offset(extent_bytes)?),
        })
    }
}

/// One line of a dm-linear table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinearSegment {
    /// Where it starts in the dm device.
    pub logical_start: Sectors,
    /// How long it is.
    pub length: Sectors,
    /// The pool device below it.
    pub device: Uuid,
    /// Where it starts on the pool device.
    pub device_offset: Sectors,
}
