//! Small pieces of the hot path, without a kernel: timed by `cargo bench`, and counted in
//! instructions by `thinly-instructions`, which no busy machine can disturb.
#![forbid(unsafe_code)]

mod catalogue;
mod journal;
mod medium;
mod metadata;
mod text;

use std::path::Path;

use anyhow::Result;

pub use catalogue::{identity, new_volume};
pub use medium::Memory;

/// A piece that is ready to be run, as often as wanted; every run does the same work.
pub type Piece = Box<dyn FnMut() -> Result<()>>;

/// One piece of the hot path.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its name, `GROUP/WHAT`.
    pub name: &'static str,
    /// Makes what it works on; files are left in the directory for the next one.
    pub prepare: fn(&Path) -> Result<Piece>,
}

/// All pieces.
pub const CASES: &[Case] = &[
    Case { name: "status/thin_pool", prepare: text::thin_pool_status },
    Case { name: "status/thin", prepare: text::thin_status },
    Case { name: "status/thin_table", prepare: text::table },
    Case { name: "catalogue/record", prepare: catalogue::record },
    Case { name: "catalogue/create_and_delete_at_10", prepare: catalogue::change::<10> },
    Case { name: "catalogue/create_and_delete_at_10000", prepare: catalogue::change::<10_000> },
    Case { name: "catalogue/replay_1000", prepare: catalogue::replay },
    Case { name: "catalogue/checkpoint_1000", prepare: catalogue::checkpoint },
    Case { name: "journal/commit", prepare: journal::commit },
    Case { name: "journal/group_of_32", prepare: journal::group },
    Case { name: "journal/load_1000", prepare: journal::load_1000 },
    Case { name: "metadata/usage", prepare: metadata::whole_usage },
    Case { name: "metadata/diff", prepare: metadata::neighbours },
];
