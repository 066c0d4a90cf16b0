//! `thinly top`: pools and their volumes, watched on a terminal.
//!
//! The model is pure: samples and keys go in, rows and events come out. `reader` and `accountant` take
//! samples, each in a thread of its own, so that a slow disk never keeps a key waiting; `shell` joins
//! the two with a terminal. Nothing here takes a claim or changes a pool.
#![forbid(unsafe_code)]

mod accountant;
mod columns;
mod draw;
mod events;
mod interval;
mod keys;
mod model;
mod overlay;
mod pace;
mod panes;
mod plain;
mod pool_pane;
mod reader;
mod rows;
mod sample;
mod shell;
mod terminal;
mod theme;
mod wish;

#[cfg(test)]
mod draw_tests;
#[cfg(test)]
mod fixture;

pub(crate) use self::events::Event;
pub(crate) use self::interval::parse_interval;
pub(crate) use self::sample::{Reading, Resident, Sample};
pub(crate) use self::shell::run;
