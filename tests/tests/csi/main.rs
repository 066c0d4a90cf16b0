//! The driver by a real client, on a real kernel, with real filesystems.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not there")]

mod life;
mod observability;
