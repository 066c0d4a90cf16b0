//! An extent map as it is stored: plain values, checked again when they are read.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use super::extent_map::{DeviceSpace, ExtentError, ExtentMap};
use super::segment::Segment;
use crate::units::Bytes;

/// The stored form of an [`ExtentMap`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ExtentMapRecord {
    extent_bytes: Bytes,
    devices: Vec<DeviceSpace>,
    segments: Vec<Segment>,
}

impl From<ExtentMap> for ExtentMapRecord {
    fn from(map: ExtentMap) -> Self {
        Self {
            extent_bytes: map.extent_bytes(),
            devices: map.devices().to_vec(),
            segments: map.all_segments().to_vec(),
        }
    }
}

impl TryFrom<ExtentMapRecord> for ExtentMap {
    type Error = ExtentError;

    fn try_from(record: ExtentMapRecord) -> Result<Self, ExtentError> {
        let mut map = Self::new(record.extent_bytes, &record.devices)?;
        map.insert(&record.segments)?;
        Ok(map)
    }
}
