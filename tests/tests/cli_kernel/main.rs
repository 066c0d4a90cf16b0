//! The command `thinly` on real pools: every verb, and every bad input that a person may give it.
//!
//! A refusal is more than an exit code: the message names what was meant and says what to do, and
//! nothing on any disk has changed.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail their test")]

mod accounting;
mod cluster;
mod devices;
mod growth;
mod map;
mod metadata;
mod pools;
mod program;
mod requests;
mod resident;
mod stream;
mod top;
mod trims;
mod verbs;
mod watcher;
