//! The log of the kernel's dm-log-writes target, and the disks that a power cut may have left.
//!
//! The target stands on a disk and writes down what reaches it, in the order in which it became
//! durable: a write without a flush is logged by the flush that made it durable, or not at all. So
//! every prefix of the log that ends at a flush is a disk that a power cut may have left, and so is
//! that prefix with any part of what was written before the next flush.

mod boundary;
mod format;
mod image;

pub use boundary::{Boundary, boundaries};
#[cfg(test)]
pub(crate) use format::testing;
pub use format::{LogEntry, WriteLog};
pub use image::{DiskImage, Overwritten};
