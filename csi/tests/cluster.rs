//! The controller against an API server over HTTP: what it changes, what it leaves alone, and what
//! it does when the server is not as it should be.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

#[path = "cluster/bench.rs"]
mod bench;
#[path = "cluster/labels.rs"]
mod labels;
#[path = "cluster/outages.rs"]
mod outages;
#[path = "cluster/pins.rs"]
mod pins;
