//! Power cuts, proven: work is recorded below the pool by dm-log-writes, and every disk that a cut
//! may have left is judged.
//!
//! * [`record`], in the guest: does every kind of operation on a pool whose one disk is logged, and
//!   sets a mark before each operation and after each answer.
//! * [`judge_all`], anywhere: replays the log to every durable moment and reads the pool there with
//!   the engine's own readers, as an open would.
//! * [`open_some`], in the guest: lets the engine and the kernel open the pool at some of them.
//!
//! What must be there is what the model in `model.rs` says that was shown the marks.

mod closed_pool;
pub(crate) mod content;
mod evacuation;
pub(crate) mod generator;
mod judge;
pub(crate) mod model;
mod op;
mod opened;
mod performer;
mod recorder;
mod replay;
mod report;
mod state;
mod stream;

pub use evacuation::evacuate_and_cut;
pub use judge::{Effort, judge_all};
pub use opened::open_some;
pub use recorder::{Plan, record};
pub use report::Report;

/// The length of the disk that is logged: small, so that a copy of it is cheap.
pub const DISK_BYTES: u64 = 128 << 20;

/// The data that the pool begins with; the rest of its disk is there to grow into.
const DATA_BYTES: u64 = 40 << 20;
