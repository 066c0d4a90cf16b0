//! A snapshot as a stream of bytes, or what changed since an earlier one: format, writer and reader.
//!
//! Nothing here knows a pool or a device: the writer takes ranges and gives bytes, the reader takes
//! bytes and gives ranges. `docs/stream-format.md` has the bytes. Every header's checksum begins with
//! that of the one before it, so a frame that is missing, twice there or at another place is noticed
//! where it happens, and not only at the end.
#![forbid(unsafe_code)]

mod error;
mod fields;
mod frame;
mod header;
mod reader;
mod token;
mod writer;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;

pub use error::StreamError;
pub use frame::{Encoding, PAYLOAD_BYTES_MAX, Totals};
pub use header::{StreamHeader, VERSION};
pub use reader::{Piece, StreamReader};
pub use token::{ResumeToken, TokenError};
pub use writer::StreamWriter;
