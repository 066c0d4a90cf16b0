//! The arguments of `thinly send` and `thinly receive`.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use thinly_engine::catalogue::VolumeName;
use thinly_engine::stream::ResumeToken;
use uuid::Uuid;

use crate::name::VolumePath;

pub(super) const SEND_EXAMPLE: &str = "\
Example:
  thinly send p0/web-monday | ssh other thinly receive p1/web
  thinly send p0/web-tuesday --from p0/web-monday | ssh other thinly receive p1/web
  thinly send p0/web-monday --compress zstd --out /backups/web-monday.thinly";

pub(super) const RECEIVE_EXAMPLE: &str = "\
Example:
  thinly receive p1/web --in /backups/web-monday.thinly
  thinly receive p1/web --in /backups/web-tuesday.thinly --snapshot web-tuesday

After a stream broke, `thinly receive p1/web --token` prints a TOKEN, and it goes on with
`thinly send p0/web-monday --resume TOKEN | ssh other thinly receive p1/web --resume`.";

pub(super) const STEP_EXAMPLE: &str = "\
Example:
  thinly receive-step p1/web finish --source c0a1b1ce-3c8e-4d0c-9d4e-1f0e7a9b2c3d";

/// How the payload of a stream is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    /// By zstd, each frame by itself.
    Zstd,
}

/// `thinly send`.
#[derive(Debug, Args)]
pub struct Send {
    /// The snapshot.
    #[arg(value_name = "POOL/SNAP")]
    pub snapshot: VolumePath,
    /// Send only what changed since this earlier snapshot of the same volume.
    #[arg(long, value_name = "POOL/OLDER")]
    pub from: Option<VolumePath>,
    /// Compress what is sent.
    #[arg(long, value_name = "METHOD")]
    pub compress: Option<Compression>,
    /// Write the stream into this new file; without it, to standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Go on where an earlier stream broke: what `thinly receive POOL/NAME --token` prints there.
    #[arg(long, value_name = "TOKEN", value_parser = parse_token)]
    pub resume: Option<ResumeToken>,
}

/// `thinly receive`.
#[derive(Debug, Args)]
pub struct Receive {
    /// The volume: a new one for a whole snapshot, else the one that received the earlier snapshot.
    #[arg(value_name = "POOL/NAME")]
    pub volume: VolumePath,
    /// Read the stream from this file; without it, from standard input.
    #[arg(long = "in", value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// What the snapshot is called here; without it, NAME@ and its name at the sender.
    #[arg(long, value_name = "NAME", conflicts_with = "resume")]
    pub snapshot: Option<VolumeName>,
    /// Go on with a stream that broke.
    #[arg(long)]
    pub resume: bool,
    /// Read nothing; print how far a stream came that broke, for `thinly send --resume`.
    #[arg(long, conflicts_with_all = ["input", "snapshot", "resume"])]
    pub token: bool,
}

/// A change of the catalogue while a stream comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReceiveVerb {
    /// Make the volume ready for a stream, and activate it.
    Begin,
    /// Note how far the stream is on disk.
    Note,
    /// Deactivate the volume and take the snapshot.
    Finish,
}

/// `thinly receive-step`.
#[derive(Debug, Args)]
pub struct ReceiveStep {
    /// The volume.
    #[arg(value_name = "POOL/NAME")]
    pub volume: VolumePath,
    /// Which change.
    #[arg(value_name = "STEP")]
    pub step: ReceiveVerb,
    /// The identity of the snapshot that comes.
    #[arg(long, value_name = "UUID")]
    pub source: Uuid,
    /// The identity of the snapshot that the stream is a difference to.
    #[arg(long, value_name = "UUID")]
    pub base: Option<Uuid>,
    /// To begin: the snapshot's size.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub size_bytes: u64,
    /// To begin: where the stream begins.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub start_bytes: u64,
    /// To begin: what the snapshot is to be called.
    #[arg(long, value_name = "NAME", required_if_eq("step", "begin"))]
    pub snapshot: Option<VolumeName>,
    /// To begin: go on with a stream that broke.
    #[arg(long)]
    pub resume: bool,
    /// To note: what is on disk.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub durable_bytes: u64,
}

fn parse_token(text: &str) -> Result<ResumeToken, thinly_engine::stream::TokenError> {
    text.parse()
}
