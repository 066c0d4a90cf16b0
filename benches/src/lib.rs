//! What the engine costs: above the bare kernel, and beside everything else that does the same.
//!
//! `docs/benchmarks.md` says how and why. The program `thinly-bench` runs the [`groups`] on empty
//! disks and writes what they found as [`results`]; a kernel test runs each once. Beside them,
//! [`accounting`] measures what reads metadata against thin-provisioning-tools.
#![forbid(unsafe_code)]

pub mod accounting;
mod bed;
pub mod groups;
pub mod instructions;
pub mod machine;
pub mod micro;
pub mod pair;
mod program;
pub mod report;
pub mod results;
pub mod rivals;
pub mod runner;
mod samples;
pub mod stage;
mod timing;
mod watcher;

pub use bed::create_pool;
pub use samples::{Samples, timed};
pub use timing::TimingDm;
