//! Why a pool does not grow.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use thiserror::Error;
use uuid::Uuid;

use super::error::ExitClass;
use crate::units::Bytes;

/// Why a pool does not grow.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GrowthError {
    /// No extents for a growth.
    #[error(
        "the pool cannot grow: {problem}; {free} bytes of its devices have no role yet; add a device with `thinly pool grow NAME DEVICE`"
    )]
    NoExtents {
        /// What was asked for and cannot be had.
        problem: String,
        /// What no role has.
        free: Bytes,
    },
    /// A growth by nothing.
    #[error(
        "nothing to grow by; name devices that join the pool, or a size with --by or --metadata-by"
    )]
    NothingToGrow,
    /// The kernel uses no more metadata.
    #[error(
        "the pool has {has} bytes of metadata, and the kernel uses no more than 15.875 GiB; delete snapshots that are not needed"
    )]
    MetadataLimit {
        /// What it has.
        has: Bytes,
    },
    /// A device whose logical block is longer than that of the others.
    #[error(
        "{path} has logical blocks of {has} bytes and the pool is used with {allowed}: filesystems on its volumes could not be read any more; use a device with blocks of {allowed} bytes or less", path = path.display()
    )]
    LogicalBlock {
        /// The device.
        path: PathBuf,
        /// Its logical block.
        has: u64,
        /// That of the pool.
        allowed: u64,
    },
    /// More runs of extents than a label holds.
    #[error(
        "device {device} would carry more than {limit} runs of extents, and its label holds no more; grow by larger steps, or on another device"
    )]
    LabelFull {
        /// The device.
        device: Uuid,
        /// What a label holds.
        limit: usize,
    },
    /// The kernel did not take a pool's new length.
    #[error(
        "the pool was given {expected} bytes of data and the kernel uses {found}; close the pool and open it, and look at the kernel's log"
    )]
    NotStretched {
        /// What the catalogue has.
        expected: Bytes,
        /// What the kernel has.
        found: Bytes,
    },
}

impl GrowthError {
    pub(super) const fn exit_class(&self) -> ExitClass {
        match self {
            Self::NoExtents { .. } | Self::MetadataLimit { .. } => ExitClass::NoSpace,
            Self::NothingToGrow | Self::LogicalBlock { .. } | Self::LabelFull { .. } => {
                ExitClass::Refused
            }
            Self::NotStretched { .. } => ExitClass::Internal,
        }
    }
}
