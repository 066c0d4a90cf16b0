//! A reader of dm-thin's own metadata: what the kernel has on disk, never what it says it will do.
//!
//! Every block is checked before it is believed: checksum, own block number, flags, counts, key
//! order. Nothing here writes to a pool; [`copy_closed`] and [`copy_held`] write image files.
//!
//! The live roots of an active pool may be read only between two equal superblocks, because the
//! blocks below an old superblock are recycled after the next commit: [`prove_device`] does that.
//! Longer reads need the pool closed, or a metadata snapshot ([`read_held_superblock`]).
#![forbid(unsafe_code)]

mod btree;
mod cell_grid;
mod census;
mod check;
mod checksum;
mod copy;
mod data_owners;
mod details;
mod diff;
mod dump;
mod error;
mod exclusive;
mod fault;
mod fetch;
mod field;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
#[cfg(any(test, feature = "generator"))]
pub mod generate;
mod heights;
mod image_writer;
mod map;
mod mappings;
mod node;
mod offline;
mod owner;
mod proof;
mod rebuild;
mod reference_counts;
mod source;
mod space_map;
mod space_map_writer;
mod superblock;
mod survey;
mod tree_writer;
mod unshared;
mod usage;

pub use cell_grid::CellGrid;
pub use check::{CheckFinding, CheckReport, Severity, check_closed, check_held};
pub use copy::{CopyReport, copy_closed, first_damage};
pub use details::{DeviceDetails, device_details, list_devices};
pub use diff::{DiffKind, DiffRange, DiffReport, diff};
pub use dump::{DumpReport, DumpRequest, dump};
pub use error::{KeyRange, MetadataError, SpaceMapKind, Tree};
pub use exclusive::{ExclusiveData, Sharers, exclusive_data, exclusive_data_and_sharers};
pub use fault::{NodeFault, NodeKind, SuperblockFault};
pub use map::{CellBlocks, DataMap, MapRequest, SHOWN_MAX, map};
pub use mappings::{highest_mapped_block, mapped_data_block};
pub use offline::open_offline;
pub use proof::{GroupProof, Proof, prove_device, prove_devices, settled_superblock};
pub use rebuild::copy_held;
pub(crate) use source::DEVICE_READS_IN_FLIGHT;
pub use source::{BlockSource, ImageFile};
pub use space_map::SpaceMapRoot;
pub use superblock::{
    Superblock, SuperblockState, read_held_superblock, read_superblock, set_transaction_id,
};
pub use unshared::{Unshared, unshared};
pub use usage::{DeviceUsage, MetadataUsage, SetUsage, UsageRequest, usage};

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod hostile;
