//! The command `thinly`: arguments become a meaning, the meaning becomes calls of the engine.
//!
//! [`args`] says what can be asked, one file per family of verbs asks the engine, and [`render`]
//! and [`json`] say how an answer looks to people and to programs. [`exit`] is the one table of
//! exit codes.
#![forbid(unsafe_code)]

pub mod admin;
pub mod args;
pub mod audit;
pub mod cluster_name;
pub mod dm_command;
pub mod exit;
pub mod handles;
pub mod json;
pub mod manifest;
pub mod render;
pub mod size;
pub mod socket;
pub mod svg;

mod adopt_command;
mod adoption;
mod advice;
mod audit_command;
mod check_command;
mod cli;
mod compression;
mod console;
mod context;
mod diff_command;
mod evacuate_command;
mod failure;
mod file;
mod forget_command;
mod grow_command;
mod image_command;
mod known;
mod manual_command;
mod map_command;
mod name;
mod notify;
mod operations_command;
mod pool_command;
mod progress;
mod receive_command;
mod receive_step;
mod send_command;
mod serve_command;
mod session;
mod snapshot_command;
mod step;
mod stream_target;
mod time;
mod top;
mod trim_command;
mod usage_command;
mod volume_command;
mod wait;

pub use advice::advice;
pub use cli::run;
pub use failure::Failure;
pub use time::rfc3339;
