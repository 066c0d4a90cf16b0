//! The host side of the driver, with real filesystems on real devices.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail their test")]

mod clones;
mod filesystems;
mod mounts;
mod support;
mod targets;
