//! Thin-provisioned pools, volumes and snapshots on the kernel's dm-thin target, driven by ioctl.
//!
//! Modules depend one way, top to bottom: [`pool`] uses everything, [`dm`] uses only [`units`].
//! Decisions live in [`plan`] and [`catalogue`], which hold no file descriptor, no clock and no log.
#![deny(unsafe_code)]

pub mod monitor;
pub mod pool;

pub mod catalogue;
pub mod plan;

pub mod journal;
pub mod layout;
pub mod metadata;
pub mod stream;

pub mod block_device;

#[allow(unsafe_code, reason = "the one place that calls ioctl; every block carries its argument")]
pub mod dm;

pub mod aligned;
pub mod durations;
pub mod units;

#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
