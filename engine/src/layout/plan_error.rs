//! Why no pool can be planned on some devices.
#![forbid(unsafe_code)]

use thiserror::Error;
use uuid::Uuid;

use super::extent_map::ExtentError;
use crate::units::Bytes;

/// Why no plan fits.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// No device was offered for data.
    #[error("a pool needs at least one data device; name one besides the metadata device")]
    NoDataDevice,
    /// The devices together are too small.
    #[error("the devices have {has} bytes together, a pool needs {needs}; use larger devices")]
    TooSmall {
        /// The least that works.
        needs: Bytes,
        /// What there is.
        has: Bytes,
    },
    /// The separate metadata device is too small for the data.
    #[error(
        "metadata device {device} has {has} bytes, this much data needs {needs} there; use a \
         larger one or less data"
    )]
    MetadataDeviceTooSmall {
        /// The device.
        device: Uuid,
        /// What its journal copy, the metadata and the spare need.
        needs: Bytes,
        /// What it has.
        has: Bytes,
    },
    /// An option is outside what works.
    #[error("{option} of {value} bytes is refused; {reason}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        value: Bytes,
        /// Why, and what works.
        reason: &'static str,
    },
    /// The extent map refused what was planned.
    #[error(transparent)]
    Extent(#[from] ExtentError),
}
