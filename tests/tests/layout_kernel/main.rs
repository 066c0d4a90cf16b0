//! Labels, partition tables, refusals and scans against a real kernel with real disks.
//!
//! Needs root, loop devices and device-mapper. Elsewhere every test says that it was skipped,
//! unless `THINLY_KERNEL_TESTS` is set: then a missing device-mapper is a failure. The disks in
//! `DISKS`, when there are any, are partitioned as well.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail their test")]

mod bench;
mod partitions;
mod refusals;
mod scans;
mod signatures;
