//! The tables of a pool's devices, from the catalogue: never from what the kernel holds.
#![forbid(unsafe_code)]

use uuid::Uuid;

use crate::block_device::DeviceNumber;
use crate::catalogue::{Catalogue, OnFull};
use crate::dm::{
    DeviceReference, LinearTable, PoolFeature, TableLine, Target, ThinPoolTable, ThinTable,
};
use crate::layout::{LinearSegment, Role};
use crate::units::{BlockSize, DataBlocks, SECTOR_BYTES, Sectors, ThinId};

/// What the thin-pool's table needs.
#[derive(Debug, Clone, Copy)]
pub struct PoolGeometry {
    /// The metadata linear.
    pub metadata: DeviceNumber,
    /// The data linear.
    pub data: DeviceNumber,
    /// The data linear's length.
    pub data_length: Sectors,
    /// The pool's block size.
    pub block_size: BlockSize,
    /// Whether discards reach the disks.
    pub discard_passdown: bool,
    /// At how many free blocks the kernel tells that the pool runs low.
    pub low_water_mark: DataBlocks,
    /// Whether a write that finds no free block fails at once.
    pub error_if_no_space: bool,
}

impl PoolGeometry {
    /// What the catalogue has for the pool over these two linears.
    pub fn of(catalogue: &Catalogue, metadata: DeviceNumber, data: DeviceNumber) -> Self {
        let pool = catalogue.pool();
        let data_bytes = catalogue.length_of(Role::Data);
        let policy = catalogue.policy();
        Self {
            metadata,
            data,
            data_length: Sectors::new(data_bytes.get() / SECTOR_BYTES),
            block_size: pool.block_size,
            discard_passdown: pool.discard_passdown,
            low_water_mark: policy.low_water_mark(pool.block_size.blocks_floor(data_bytes)),
            error_if_no_space: policy.on_full == OnFull::Error,
        }
    }
}

/// The table of a linear device; `None` names a device that is not there.
pub fn linear_table(
    segments: &[LinearSegment],
    number_of: impl Fn(Uuid) -> Option<DeviceNumber>,
) -> Option<Vec<TableLine>> {
    segments
        .iter()
        .map(|segment| {
            let device = DeviceReference::from(number_of(segment.device)?);
            Some(TableLine {
                start: segment.logical_start,
                length: segment.length,
                target: Target::Linear(LinearTable { device, offset: segment.device_offset }),
            })
        })
        .collect()
}

/// The thin-pool's table. New blocks are zeroed (no tenant sees another's data), and unless its
/// policy says otherwise a full pool queues writes, which leaves the kernel's minute to grow it.
pub fn pool_table(geometry: &PoolGeometry) -> Vec<TableLine> {
    let mut features = Vec::new();
    if !geometry.discard_passdown {
        features.push(PoolFeature::NoDiscardPassdown);
    }
    if geometry.error_if_no_space {
        features.push(PoolFeature::ErrorIfNoSpace);
    }
    vec![TableLine {
        start: Sectors::ZERO,
        length: geometry.data_length,
        target: Target::ThinPool(ThinPoolTable {
            metadata: DeviceReference::from(geometry.metadata),
            data: DeviceReference::from(geometry.data),
            block_size: geometry.block_size,
            low_water_mark: geometry.low_water_mark,
            features: features.into_iter().collect(),
        }),
    }]
}

/// The table of a view of a thin device: all of it, one to one.
pub fn view_table(thin: DeviceNumber, length: Sectors) -> Vec<TableLine> {
    let device = DeviceReference::from(thin);
    let target = Target::Linear(LinearTable { device, offset: Sectors::ZERO });
    vec![TableLine { start: Sectors::ZERO, length, target }]
}

/// The table of one thin device.
pub fn thin_table(pool: DeviceNumber, id: ThinId, length: Sectors) -> Vec<TableLine> {
    vec![TableLine {
        start: Sectors::ZERO,
        length,
        target: Target::Thin(ThinTable {
            pool: DeviceReference::from(pool),
            id,
            external_origin: None,
        }),
    }]
}
