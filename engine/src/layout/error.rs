//! What can go wrong with a pool's devices.
#![forbid(unsafe_code)]

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use uuid::Uuid;

use super::extent_map::ExtentError;
use super::label_read::LabelDamage;
use super::plan_error::PlanError;
use super::signature::Signature;
use crate::block_device::DeviceError;
use crate::units::Bytes;

/// The family of errors about devices and what is on them.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The device could not be opened, read or written.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The extent map refused.
    #[error(transparent)]
    Extent(#[from] ExtentError),
    /// No plan fits.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A file of sysfs or proc could not be read.
    #[error("reading {path} failed: {source}; check that /sys and /proc are mounted", path = path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file of sysfs or proc says something unexpected.
    #[error("{path} says {found:?}, expected {expected}; this kernel is not understood", path = path.display())]
    SystemText {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What it should say.
        expected: &'static str,
    },
    /// A label has no room for what it must repeat.
    #[error(
        "the label of device {device} has no room: a pool name of {name_bytes} bytes (1 to 128) \
         and {segments} segments (at most {segments_max}); use a shorter name, or grow the pool \
         on another device"
    )]
    LabelOverflow {
        /// The device.
        device: Uuid,
        /// The name's length.
        name_bytes: usize,
        /// The number of segments.
        segments: usize,
        /// The most that fit.
        segments_max: usize,
    },
    /// Both copies of a label are damaged.
    #[error(
        "both label copies of {path} are damaged (first: {head}; second: {tail}); put the label \
         back with `thinly pool restore`, or rebuild the pool with `thinly pool salvage`",
        path = path.display()
    )]
    BothLabelsTorn {
        /// The device.
        path: PathBuf,
        /// What is wrong with the first copy.
        head: LabelDamage,
        /// What is wrong with the second copy.
        tail: LabelDamage,
    },
    /// A device is shorter than its label says.
    #[error(
        "{path} has {has} bytes, its label was made for {labelled}; give the device back its \
         length before the pool is opened",
        path = path.display()
    )]
    DeviceShrunk {
        /// The device.
        path: PathBuf,
        /// The length in the label.
        labelled: Bytes,
        /// The length now.
        has: Bytes,
    },
    /// Two nodes carry the same device of the same pool.
    #[error(
        "{first} and {second} both say that they are device {device} of pool {pool}; one is a \
         copy: detach it, or wipe its label",
        first = first.display(), second = second.display()
    )]
    DuplicateLabel {
        /// The pool.
        pool: Uuid,
        /// The device.
        device: Uuid,
        /// One node.
        first: PathBuf,
        /// The other node.
        second: PathBuf,
    },
    /// Several pools have the same name.
    #[error("{count} pools are named {name}; name the pool by its uuid: {uuids}")]
    AmbiguousName {
        /// The name.
        name: String,
        /// How many pools have it.
        count: usize,
        /// Their uuids, separated by commas.
        uuids: String,
    },
    /// The device is too short.
    #[error("{path} has {has} bytes, a pool device needs {needs}; use a larger one", path = path.display())]
    TooSmall {
        /// The device.
        path: PathBuf,
        /// The shortest length.
        needs: Bytes,
        /// Its length.
        has: Bytes,
    },
    /// The device's logical block is longer than the label's block.
    #[error(
        "{path} has logical blocks of {has} bytes, the most that a pool takes is 4096; use \
         another device",
        path = path.display()
    )]
    LogicalBlock {
        /// The device.
        path: PathBuf,
        /// The length of its logical block.
        has: u64,
    },
    /// The device cannot be written.
    #[error("{path} is read-only; make it writable or use another device", path = path.display())]
    ReadOnly {
        /// The device.
        path: PathBuf,
    },
    /// The device, or a part of it, is mounted.
    #[error("{path} is mounted on {mount}; unmount it first", path = path.display(), mount = mount.display())]
    Mounted {
        /// The device.
        path: PathBuf,
        /// Where.
        mount: PathBuf,
    },
    /// The device, or a part of it, is swap.
    #[error("{path} is in use as swap; run swapoff on it first", path = path.display())]
    Swap {
        /// The device.
        path: PathBuf,
    },
    /// Another device is stacked on the device.
    #[error("{path} is held by {holder}; take that apart first", path = path.display())]
    Held {
        /// The device.
        path: PathBuf,
        /// The device above it.
        holder: String,
    },
    /// The device carries something.
    #[error(
        "{path} carries {found}; wipe the device, or use --force to overwrite what is on it",
        path = path.display(), found = list(signatures)
    )]
    Signatures {
        /// The device.
        path: PathBuf,
        /// What was found.
        signatures: Vec<Signature>,
    },
    /// The device belongs to another pool.
    #[error(
        "{path} belongs to pool {name} ({pool}); destroy that pool, or use --force to overwrite \
         it",
        path = path.display()
    )]
    OtherPool {
        /// The device.
        path: PathBuf,
        /// The pool's uuid.
        pool: Uuid,
        /// The pool's name.
        name: String,
    },
    /// The same disk was named twice.
    #[error(
        "{first} and {second} are on the same device {disk}; name every device once",
        first = first.display(), second = second.display()
    )]
    SameDevice {
        /// One argument.
        first: PathBuf,
        /// The other one.
        second: PathBuf,
        /// The kernel's name of what they share.
        disk: String,
    },
    /// A partition table could not be made.
    #[error("making a partition table for {path} failed: {source}; use --raw to do without one", path = path.display())]
    PartitionTable {
        /// The disk.
        path: PathBuf,
        /// What the partition table library says.
        source: gpt::GptError,
    },
    /// The kernel did not show the partition.
    #[error(
        "partition 1 of {path} did not appear within {waited_ms} ms; check the kernel's log, or \
         use --raw to do without a partition table",
        path = path.display()
    )]
    NoPartition {
        /// The disk.
        path: PathBuf,
        /// How long was waited.
        waited_ms: u128,
    },
}

fn list(signatures: &[Signature]) -> String {
    let one = |s: &Signature| format!("{} at byte {}", s.name, s.offset);
    signatures.iter().map(one).collect::<Vec<_>>().join(", ")
}
