//! The device-mapper layer against a real kernel: what it sends, what comes back, what fails how.
//!
//! Needs root and a kernel with dm-thin, and fails where there is none.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail their test")]

mod block;
mod command;
mod devices;
mod events;
mod list;
mod messages;
mod pools;
mod stack;
