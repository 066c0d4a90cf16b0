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
mod census;
mod checksum;
mod copy;
mod details;
mod diff;
mod error;
mod fault;
mod field;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod image_writer;
mod mappings;
mod node;
mod proof;
mod rebuild;
mod reference_counts;
mod source;
mod space_map;
mod space_map_writer;
mod superblock;
mod tree_writer;

pub use copy::{CopyReport, copy_closed, first_damage};
pub use details::{DeviceDetails, device_details, list_devices};
pub use diff::{DiffKind, DiffRange, DiffReport, diff};
pub use error::{KeyRange, MetadataError, Tree};
pub use fault::{NodeFault, SuperblockFault};
pub use mappings::{highest_mapped_block, mapped_data_block, maps_only_since};
pub use proof::{GroupProof, Proof, prove_device, prove_devices, settled_superblock};
pub use rebuild::copy_held;
pub use source::{BlockSource, ImageFile};
pub use space_map::SpaceMapRoot;
pub use superblock::{
    Superblock, SuperblockState, read_held_superblock, read_superblock, set_transaction_id,
};

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod hostile;
