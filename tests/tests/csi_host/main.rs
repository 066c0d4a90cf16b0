//! The host side of the driver, with real filesystems on real devices.
#![allow(clippy::disallowed_methods, reason = "tests drive the tools that people use by hand")]

mod clones;
mod filesystems;
mod mounts;
mod support;
mod targets;
