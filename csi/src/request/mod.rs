//! What clients ask for, read strictly: pure functions from messages to values or a status.
#![forbid(unsafe_code)]

mod capability;
mod capacity;
mod limits;
mod parameters;
mod text;
mod token;
mod topology;

pub(crate) use capability::{Access, AccessKind, Writers};
pub(crate) use capacity::{Capacity, filesystem_bytes_min};
pub(crate) use limits::{NO_LIMIT, check_mutable, io_max};
pub(crate) use parameters::{Parameters, check_snapshot_parameters};
pub(crate) use text::{check_map, check_name, check_required};
pub(crate) use token::{next_token, start_after};
pub(crate) use topology::is_satisfied_by;
