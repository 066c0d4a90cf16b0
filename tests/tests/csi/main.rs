//! The driver by a real client, on a real kernel, with real filesystems.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not there")]

mod admin;
mod adoption;
mod backups;
mod capabilities;
mod chaos;
mod chaos_belief;
mod chaos_client;
mod cluster;
mod concurrency;
mod errors;
mod errors_node;
mod errors_snapshots;
mod groups;
mod idempotency;
mod life;
mod limits;
mod listing;
mod modes;
mod observability;
mod readiness;
mod reboots;
mod restarts;
mod support;
mod validation;
