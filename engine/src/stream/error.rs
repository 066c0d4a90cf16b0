//! Why bytes are no stream, or not all of one.
#![forbid(unsafe_code)]

use std::io;

use thiserror::Error;

use super::header::VERSION;

/// A stream that cannot be read on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The first bytes are something else.
    #[error("this is no stream of `thinly send`: it begins with something else")]
    NotAStream,
    /// A newer release wrote it.
    #[error(
        "the stream has version {found}, and this release reads {VERSION}; receive it with the release that sent it"
    )]
    Version {
        /// What it says.
        found: u16,
    },
    /// It ends where more must come.
    #[error("the stream ends early, at byte {at}: its end did not arrive")]
    Truncated {
        /// How many bytes came.
        at: u64,
    },
    /// A checksum does not fit, or a frame is not where it was written.
    #[error("the stream is damaged: {what} at byte {at} does not fit its checksum")]
    Checksum {
        /// What was read.
        what: &'static str,
        /// Where it begins.
        at: u64,
    },
    /// The checksums fit, and it makes no sense.
    #[error("the stream is damaged: {what}, at byte {at}")]
    Nonsense {
        /// What is wrong.
        what: &'static str,
        /// Where.
        at: u64,
    },
    /// The bytes could not be read.
    #[error("cannot read the stream: {0}")]
    Read(#[source] io::Error),
}
