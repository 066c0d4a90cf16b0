//! The driver as a cluster sees it: a process, its socket, and a real gRPC client.

mod bed;
mod client;
mod listing;

pub use bed::{CsiBed, Driver};
pub use client::{Client, block, code, mount, range};
pub use listing::{from_snapshot, from_volume};
