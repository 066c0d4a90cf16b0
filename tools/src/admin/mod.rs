//! Changes of a pool that a resident process holds.
//!
//! A pool has one writer. While that is `thinly serve` or the CSI driver, a command that changes
//! the pool hands its arguments to that process over a unix socket, which runs the same verb on
//! the pool that it holds and passes the answer back. It also tells what it did last. One line of JSON each way and line by line:
//! a person can speak it with `socat`.
#![forbid(unsafe_code)]

mod change;
mod client;
mod protocol;
mod recent;
mod server;

pub(crate) use client::{Told, ask, ask_recent};
pub use recent::{Done, Recent};
pub use server::{AdminServer, Entry, Residence};

/// Where a resident listens unless it is told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/thinly/thinly.sock";
