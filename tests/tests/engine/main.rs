//! The engine on a real kernel.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "what a test relies on may end it")]

mod concurrency;
mod consistency;
mod damage;
mod degraded;
mod diffs;
mod erasing;
mod evacuations;
mod exhausted;
mod exports;
mod faults;
mod faulty_dm;
mod gauges;
mod groups;
mod growth;
mod held_roots;
mod histories;
mod io_errors;
mod kills;
mod life;
mod lifetime;
mod metadata_limits;
mod old_pools;
mod provisions;
mod read_only_views;
mod reaping;
mod reaping_many;
mod recovery;
mod refusals;
mod repairs;
mod rescue;
mod scale;
mod shaky;
mod shapes;
mod support;
