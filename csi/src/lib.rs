//! What the CSI driver of Thinly is built from: so far the identifiers that it hands to a cluster.
#![forbid(unsafe_code)]

mod object_id;

pub use object_id::{ObjectId, ObjectIdError, ObjectKind};
