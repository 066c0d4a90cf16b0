//! The controller in a control plane of Kubernetes itself: its API server, with the rights that the
//! manifests give, and its scheduler. `make test-cluster` starts one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

#[path = "real_cluster/plane.rs"]
mod plane;
#[path = "real_cluster/scheduling.rs"]
mod scheduling;
#[path = "real_cluster/snapshots.rs"]
mod snapshots;
