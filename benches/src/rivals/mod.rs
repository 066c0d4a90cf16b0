//! What the engine is measured against, each doing the same work on disks of the same kind.
#![forbid(unsafe_code)]

pub mod dmsetup;
pub mod floor;
pub mod lvm;
