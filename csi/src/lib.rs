//! What the CSI driver of Thinly is built from: so far the identifiers that it hands to a cluster,
//! and what it does to the mounts and filesystems of its host.
#![deny(unsafe_code)]

pub mod host;
mod object_id;

pub use object_id::{ObjectId, ObjectIdError, ObjectKind};
