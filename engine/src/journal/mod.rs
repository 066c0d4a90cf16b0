//! The journal: opaque records, durable in order, with group commit.
#![forbid(unsafe_code)]

mod checkpoint;
mod choose;
mod error;
mod format;
mod load;
mod media;
mod mirror;
mod place;
mod scan;
mod stream;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod window;
mod writer;

pub use checkpoint::Checkpoint;
pub use error::{JournalError, MediaError};
pub use format::{
    FORMAT_VERSION, PAYLOAD_BYTES_MAX, REGION_ALIGNMENT_BYTES, Region, UNIT_BYTES_MAX,
    UNIT_BYTES_MIN, WRITE_BYTES_MAX,
};
pub use load::{CopyReport, CopyState, Loaded, Position, Tail, load, load_each, load_stable};
pub use media::Media;
pub use mirror::Mirrored;
pub use writer::{Counters, Journal, Options, Ticket};
