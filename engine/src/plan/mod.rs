//! Decisions, made without doing anything: a request and the state become steps, a failed step
//! becomes the steps that undo it, a journal and a pool become the records that reconcile them.
//!
//! No file descriptor, no clock, no log: every function here can be called by a test that
//! enumerates crashes. The shell that performs the steps is `pool::execute`.
#![forbid(unsafe_code)]

mod condition;
mod epoch;
mod exhaustion;
mod finding;
mod mode;
mod names;
mod operations;
mod reconcile;
mod stack;
mod step;
mod unwind;
mod watch;

#[cfg(test)]
mod enumeration;

pub use condition::{Condition, PoolFacts, Reason, Severity, changes, conditions};
pub use epoch::{announcement, farewell};
pub use exhaustion::{WritableTree, copy_potential, metadata_potential};
pub use finding::Finding;
pub use mode::{Health, Operation, Refusal, admit};
pub use names::{DeviceNames, LINK_DIRECTORY, UUID_PREFIX, link_path};
pub use operations::{
    Access, CloneRequest, SnapshotRequest, activate, activate_pending, allocate_pending, clone,
    deactivate, reap, refresh, resize, rollback, snapshot,
};
pub use reconcile::{ForeignPool, KernelView, Reconciliation, Tail, needs_device_tree, reconcile};
pub use stack::{PoolGeometry, linear_table, pool_table, thin_table, view_table};
pub use step::{Failure, Plan, Step};
pub use unwind::{Unwinding, unwind};
pub use watch::{Action, Supply, watch};
