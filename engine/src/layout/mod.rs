//! Who lives where on which device: labels, extents, sizes, and what a device already carries.
//!
//! * [`Label`]: two copies on each device say which pool it belongs to and where the journal is;
//! * [`ExtentMap`]: which extents of which device hold the journal, the metadata and the data;
//! * [`plan_pool`]: how a new pool is cut, by stated formulas;
//! * [`find_signatures`], [`DeviceFacts`], [`check_usable`]: why a device must not be taken;
//! * [`mounts`]: what is mounted where, in this process's view;
//! * [`scan_labels`]: which pools are on this machine.
//!
//! The bytes are described in `docs/format.md`; a test compares that page with the code.
#![forbid(unsafe_code)]

mod bytes;
mod carried;
mod error;
mod extent_map;
mod extent_record;
mod facts;
mod filesystem;
mod found_pool;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod gpt;
mod growth;
mod label;
mod label_device;
mod label_format;
mod label_read;
mod mounts;
mod plan;
mod plan_error;
mod relocation;
mod role;
mod scan;
mod segment;
mod signature;
mod signature_table;
mod sizes;
mod stack;
mod sysfs;
mod usable;
mod window;

pub use self::gpt::{
    GptImage, PARTITION_TYPE, find_partition, needs_partition, wait_for_partition, wipe_own_gpt,
    write_gpt,
};
pub use carried::{Carried, carried, filesystem_in};
pub use error::LayoutError;
pub use extent_map::{DeviceSpace, ExtentError, ExtentMap, Placement};
pub use facts::{DeviceFacts, Holder, PartitionFacts};
pub use filesystem::{FilesystemFacts, filesystem_of};
pub use found_pool::{FoundDevice, FoundPool, ScanProblem};
pub use growth::{Growth, GrowthRequest, plan_growth};
pub use label::{JournalPlacement, Label, LabelState, POOL_NAME_BYTES_MAX};
pub use label_device::{read_labels, wipe_labels, write_label_copy, write_labels};
pub use label_format::{LABEL_BYTES, LABEL_HEAD_OFFSET, LABEL_SEGMENTS_MAX, LabelCopy};
pub use label_read::{LabelDamage, LabelRead};
pub(crate) use mounts::parse_mountinfo;
pub use mounts::{MountEntry, mounts};
pub use plan::{DeviceOffer, PoolOptions, PoolPlan, PoolSizes, plan_pool};
pub use plan_error::PlanError;
pub use relocation::{Relocation, Stuck, emptied, next_relocation};
pub use role::{Extents, Role};
pub use scan::{Scan, scan_labels};
pub use segment::{LinearSegment, Segment};
pub use signature::{Signature, SignatureKind, find_signatures, find_signatures_in};
pub use sizes::{
    DEVICE_BYTES_MIN, EXTENT_BYTES_DEFAULT, EXTENT_BYTES_SMALL, FIRST_EXTENT_OFFSET,
    METADATA_BYTES_MAX, TAIL_RESERVED_BYTES, default_extent_bytes, device_extents,
    journal_region_bytes, metadata_bytes, smallest_pool_bytes,
};
pub use sysfs::System;
pub use usable::{check_usable, check_usable_all};
pub use window::Window;
