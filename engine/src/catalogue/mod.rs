//! The truth about names, sizes and intent: pure records and the state that they add up to.
//!
//! [`Catalogue::apply`] is the only way to change the state. It either applies a record whole or
//! refuses it with the state untouched, so the same function serves replay, recovery and the live
//! path. Nothing here holds a file descriptor, a clock or a log.
#![forbid(unsafe_code)]

mod apply;
mod apply_error;
mod checkpoint;
mod extents;
#[cfg(any(test, feature = "fuzzing"))]
#[allow(clippy::unwrap_used, reason = "its name is a good one")]
pub(crate) mod fixture;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod handle;
mod ids;
mod name;
mod policy;
mod provision;
mod provisioning;
mod received;
mod record;
mod state;
mod volume;

#[cfg(test)]
mod golden;

pub use apply_error::ApplyError;
pub use checkpoint::{Frozen, ReplayError};
pub use handle::{DRIVER_NAME, ObjectId, ObjectIdError, ObjectKind, TOPOLOGY_KEY};
pub use ids::IdAllocator;
pub use name::{NameError, PoolName, VolumeName, is_path_safe};
pub use policy::{AutoExtend, GrowthStep, OnFull, PolicyError, PoolPolicy};
pub use provision::{ClusterAccess, Provision, ProvisionKey};
pub use received::{Arrived, Incoming, Received};
pub use record::{PoolDevice, PoolIdentity, RECORD_VERSION, Record, RecordError, SnapshotMember};
pub use state::{Catalogue, Epoch};
pub use volume::{Content, GroupTag, ThinState, Timestamp, TombstoneReason, Volume, VolumeKind};
