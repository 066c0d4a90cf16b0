//! What can go wrong with the journal, and what to do about it.
#![forbid(unsafe_code)]

use std::io;
use std::sync::Arc;

use thiserror::Error;
use uuid::Uuid;

use super::format::Region;
use crate::block_device::DeviceError;

/// A read or a write of the medium failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MediaError {
    /// The block device answered with an error.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Another kind of medium answered with an error.
    #[error(
        "{action} {length} bytes at offset {offset} of {medium} failed: {source}; check the medium and open the pool again"
    )]
    Io {
        /// `reading`, `writing` or `flushing`.
        action: &'static str,
        /// The medium's name.
        medium: String,
        /// Where, in bytes.
        offset: u64,
        /// How much, in bytes.
        length: u64,
        /// The answer.
        source: io::Error,
    },
    /// A mirror without a single copy.
    #[error("a journal mirror needs at least one copy; name a device that holds one")]
    NoCopies,
}

/// What can go wrong with a journal.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The medium failed.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// A write failed earlier, so what the medium holds is unknown.
    #[error(
        "the journal was closed by a failed write: {source}; open the pool again before changing it"
    )]
    Poisoned {
        /// The first failure.
        source: Arc<MediaError>,
    },
    /// The medium cannot hold two regions.
    #[error(
        "{medium} has {bytes} bytes, a journal needs at least {needed_bytes}; give it a larger extent"
    )]
    TooSmall {
        /// The medium's name.
        medium: String,
        /// Its size.
        bytes: u64,
        /// The smallest size that works.
        needed_bytes: u64,
    },
    /// Every byte of the journal is zero.
    #[error(
        "the journal on {medium} is all zeros: it was erased; use its mirror copy, `thinly pool restore` or `thinly pool salvage`"
    )]
    Blank {
        /// The medium's name.
        medium: String,
    },
    /// The headers belong to another pool.
    #[error(
        "the journal on {medium} belongs to pool {found}, not to {expected}; check which device was named"
    )]
    ForeignPool {
        /// The medium's name.
        medium: String,
        /// The pool that the header names.
        found: Uuid,
        /// The pool that was asked for.
        expected: Uuid,
    },
    /// The format is newer than this program.
    #[error(
        "the journal on {medium} has format version {found}, this program knows {known}; use the program that wrote it"
    )]
    Version {
        /// The medium's name.
        medium: String,
        /// The version in the header.
        found: u32,
        /// The version that is understood.
        known: u32,
    },
    /// The regions are not where this medium's size puts them.
    #[error(
        "the journal on {medium} was made with regions of {found_bytes} bytes, the medium has room for {expected_bytes}; give it the size that it had"
    )]
    Geometry {
        /// The medium's name.
        medium: String,
        /// The header's region size.
        found_bytes: u64,
        /// The region size that follows from the medium.
        expected_bytes: u64,
    },
    /// Something before the last record is unreadable, so the state cannot be known.
    #[error(
        "the journal on {medium} is damaged in region {region} at byte {offset}: {what}; use its mirror copy, `thinly pool restore` or `thinly pool salvage`"
    )]
    Damaged {
        /// The medium's name.
        medium: String,
        /// The region.
        region: Region,
        /// The byte offset from the start of the medium.
        offset: u64,
        /// What was found there.
        what: &'static str,
    },
    /// A damaged copy holds something newer than the readable ones.
    #[error(
        "the journal copy on {medium} is newer than every readable copy, but damaged: {source}; replace nothing, use `thinly pool restore` or `thinly pool salvage`"
    )]
    NewerCopyDamaged {
        /// The damaged copy.
        medium: String,
        /// Its damage.
        source: Box<JournalError>,
    },
    /// Two copies hold different records under the same epoch.
    #[error(
        "the journal copies on {first} and {second} disagree in region {region} at byte {offset}: each was written without the other; open the pool with the one to keep"
    )]
    Diverged {
        /// One copy.
        first: String,
        /// The other copy.
        second: String,
        /// The region.
        region: Region,
        /// The byte offset from the start of the medium.
        offset: u64,
    },
    /// A writer kept changing the journal while it was read.
    #[error(
        "the journal on {medium} changed during each of {attempts} reads; ask the process that has the pool open, or try again"
    )]
    Unsettled {
        /// The medium's name.
        medium: String,
        /// How often it was read.
        attempts: u32,
    },
    /// No room in the region.
    #[error(
        "the journal region is full: {needed_bytes} bytes are needed, {free_bytes} are free; run a checkpoint, or give the journal a larger medium"
    )]
    Full {
        /// What the record or the checkpoint needs.
        needed_bytes: u64,
        /// What is left.
        free_bytes: u64,
    },
    /// One record is longer than a frame may be.
    #[error("a record of {bytes} bytes is above the journal's limit of {max_bytes}; split it")]
    PayloadTooLarge {
        /// The record's length.
        bytes: u64,
        /// The limit.
        max_bytes: u64,
    },
    /// The region may not be appended to before a checkpoint has moved to the other one.
    #[error(
        "the journal takes no record before a checkpoint: its tail is damaged or its medium writes in larger blocks than before; run a checkpoint first"
    )]
    CheckpointRequired,
    /// Another checkpoint is being written.
    #[error("a checkpoint of this journal is running already; wait for it")]
    CheckpointRunning,
    /// The ticket is not from this journal.
    #[error(
        "record {sequence} was never appended to this journal; wait on the handle that gave the ticket"
    )]
    UnknownTicket {
        /// The ticket's sequence number.
        sequence: u64,
    },
}
