//! Pools and their volumes: the interface of the engine, and the only module that has effects.
//!
//! [`Engine`] finds, creates, opens and closes pools; [`Pool`] is the claim to change one. What to
//! do is decided in [`crate::plan`]; `execute` does it, step by step, in one loop.
#![forbid(unsafe_code)]

mod accounting;
mod activate;
mod backup;
mod capacity;
mod check;
mod claim;
mod close;
mod copy_metadata;
mod create;
mod diff;
mod engine;
mod error;
mod execute;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod gauges;
mod handle;
mod held_note;
mod held_root;
mod inspect;
mod kernel;
mod links;
mod located;
mod locks;
mod map;
mod metadata_view;
mod mounts;
mod open;
mod part;
mod provision;
mod read_only_view;
mod reap;
mod receive;
mod receive_error;
mod repair;
mod report;
mod restore_metadata;
mod salvage;
mod segmented;
mod settle;
mod snapshots;
mod spool;
mod stack;
mod stacking;
mod suspended;
mod unfinished;
mod view;
mod volumes;

pub use accounting::{Accounting, Cost, OtherUsage, SetCost, VolumeUsage};
pub use activate::VolumeAccess;
pub use backup::RestoreReport;
pub use capacity::{CapacityRule, Headroom};
pub use check::{CatalogueFinding, PoolCheck};
pub use create::CreatePool;
pub use diff::{ByteRange, ByteRanges, VolumeDiff};
pub use engine::Engine;
pub use error::{ExitClass, PoolError};
pub use gauges::Gauges;
pub use handle::{Counters, Pool, SNAPSHOT_TIME_MAX};
pub use map::{Holder, MapBar, PoolMap};
pub use reap::{ReapProgress, ReapReport};
pub use receive::{ReceiveRequest, Receiving};
pub use receive_error::ReceiveError;
pub use repair::{RepairReport, RepairRequest};
pub use restore_metadata::RestoredMetadata;
pub use salvage::{SalvageReport, SalvagedVolume};
pub use view::{DeviceView, PoolState, PoolView, Usage, VolumeState, VolumeView};
