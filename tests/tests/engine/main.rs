//! The engine on a real kernel.
#![allow(clippy::unwrap_used, clippy::panic, reason = "what a test relies on may end it")]

mod damage;
mod faults;
mod faulty_dm;
mod groups;
mod life;
mod recovery;
mod refusals;
mod support;
