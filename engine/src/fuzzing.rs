//! What the fuzz targets run, one function a target: bytes in, whether they were accepted out.
//!
//! Each function stands beside the code it tries and holds its own oracle: it panics when a
//! promise is broken. `fuzz/` feeds them without end, a test feeds them the corpus in the tree.
#![forbid(unsafe_code)]

#[cfg(test)]
mod seeds;

pub use crate::catalogue::fuzz::{checkpoint, record};
pub use crate::dm::fuzz::{status as dm_status, table as dm_table};
pub use crate::journal::fuzz::journal;
pub use crate::layout::fuzz::label;
pub use crate::metadata::fuzz::metadata_block;
pub use crate::pool::fuzz::backup;
pub use crate::stream::fuzz::stream;

/// A target's body.
pub type Target = fn(&[u8]) -> bool;

/// Every target, by the name of its directory in `fuzz/corpus`.
pub const TARGETS: [(&str, Target); 9] = [
    ("backup", backup),
    ("checkpoint", checkpoint),
    ("dm_status", dm_status),
    ("dm_table", dm_table),
    ("journal", journal),
    ("label", label),
    ("metadata_block", metadata_block),
    ("record", record),
    ("stream", stream),
];

/// Cuts an input into pieces, each behind its length in two bytes; the last may be short.
pub(crate) fn pieces(mut data: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<2>() {
        let (piece, rest) = rest.split_at(rest.len().min(u16::from_le_bytes(*length).into()));
        pieces.push(piece);
        data = rest;
    }
    pieces
}

/// Whether an input's first byte asks for something.
pub(crate) const fn asks(flags: u8, bit: u8) -> bool {
    flags & (1 << bit) != 0
}

/// The input that [`pieces`] cuts into these.
#[cfg(test)]
pub(crate) fn join_pieces(pieces: &[Vec<u8>]) -> Vec<u8> {
    let length = |piece: &Vec<u8>| u16::try_from(piece.len()).unwrap().to_le_bytes();
    pieces.iter().flat_map(|piece| [&length(piece)[..], piece].concat()).collect()
}
