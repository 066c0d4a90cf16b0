//! The journal: opaque records, durable and in order, with group commit.
//!
//! The bytes are described in `docs/format.md`; a test prints the tables there from the
//! code. This is why they are safe.
//!
//! # What is assumed
//!
//! * A durable write is on the medium when it returns, and stays. A write that did not return may
//!   have reached any of its sectors, in any order, and no byte outside its units.
//! * A sector reads as something that was written to it, or fails, or is damaged so that CRC-32
//!   notices. Zeros over *exactly* the last write are not noticed in a single copy: that is how a
//!   write that never happened looks.
//! * One process writes at a time. The pool's claim sees to that, and is taken before the load.
//!
//! # Appending
//!
//! [`Journal::append`] numbers a record under the caller's lock and does no I/O.
//! [`Journal::wait`] makes the caller the writer unless there is one: a lone caller writes in its
//! own thread, and those who come meanwhile go out together in the next write. A write's end wakes
//! those it carried and one of the others, who writes next. Writes are strictly
//! serial and never touch a unit twice, so a crash spoils at most the last write, none of whose
//! records was acknowledged. Every frame names the write it is part of. That is what tells a torn
//! write, whose later units may be whole while its first is not, from damage to an earlier one.
//!
//! Room is promised to each record as if it were written alone, so [`JournalError::Full`] comes
//! from `append`, before the caller has changed anything, and never from `wait`.
//!
//! After a failed write it is unknown what the medium holds; the journal is poisoned, and only
//! loading it again tells.
//!
//! # Checkpoint
//!
//! X is the current region with epoch e, Y the other one. Each step is durable before the next:
//!
//! | step | what a crash after it (or in it) leaves |
//! |---|---|
//! | 1. Y's header is zeroed | X is current. Y was sealed in favour of X, or never used |
//! | 2. the rest of Y is zeroed | X is current |
//! | 3. the snapshot, then most of what was appended since, goes to Y | X is current: Y has no header. Records go on to X, and are in it |
//! | 4. writing stops; the last of what was appended goes to Y | X is current and holds every acknowledged record |
//! | 5. Y's header, with an epoch above every one seen | torn: X is current, Y's header is unreadable, and X is not sealed. Whole: Y is current. Nothing is acknowledged in between, so both hold every acknowledged record |
//! | 6. X's seal, naming Y's epoch | torn: Y is current, because a seal is only written beside a whole header. Whole: Y is current |
//! | 7. writing goes on in Y, and what waited is acknowledged | Y is current. If Y is lost from here on, X's seal forbids to take X for the present state |
//!
//! An open that finds step 5 done and 6 not does 6 before the first append. One that finds 5 torn
//! stays in X; the next checkpoint takes an epoch above Y's.
//!
//! Zeroing ahead is what makes a clean tail provable: behind the last record there is nothing, not
//! even an earlier lap.
//!
//! # Format
//!
//! Both regions are zeroed, then the checkpoint is written, then its header: nothing loads before.
//!
//! # Readers
//!
//! A reader without the claim may meet a write in progress or a region that is replaced under it.
//! [`load_stable`] reads again in both cases; see there for why that is enough.
#![forbid(unsafe_code)]

mod checkpoint;
mod choose;
mod control;
mod error;
mod format;
mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod load;
mod media;
mod mirror;
mod place;
mod scan;
mod stream;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod turns;
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
