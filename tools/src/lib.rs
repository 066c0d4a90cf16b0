//! The parts of the `thinly` command.
#![forbid(unsafe_code)]

pub mod dm_command;
