//! The groups of measurements: each takes empty disks, and gives them back empty.
#![forbid(unsafe_code)]

mod catalogue;
mod costs;
mod open;
mod provision;
mod reap;
mod snapshot;
mod stall;

use anyhow::Result;

use crate::results::Group;
use crate::stage::Stage;

/// A group, by the name that it has on the command line.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it measures, in a line.
    pub about: &'static str,
    /// How many disks it takes.
    pub disk_count: usize,
    /// Runs it.
    pub run: fn(&Stage) -> Result<Group>,
}

/// All groups, in the order in which they run.
pub const ALL: &[Entry] = &[
    Entry {
        name: "costs",
        about: "each operation against bare ioctls; with few volumes and many",
        disk_count: 2,
        run: costs::costs,
    },
    Entry {
        name: "provision",
        about: "creating, activating and deleting, beside bare ioctls, dmsetup and LVM",
        disk_count: 3,
        run: provision::provision,
    },
    Entry {
        name: "snapshot",
        about: "snapshots of inactive, idle and written origins, of eight at once, and many in a row",
        disk_count: 2,
        run: snapshot::snapshot,
    },
    Entry {
        name: "stall",
        about: "how long a writer waits for a snapshot of its origin; against lvcreate -s",
        disk_count: 3,
        run: stall::stall,
    },
    Entry {
        name: "reap",
        about: "what a neighbour notices when a large volume is deleted; against the bare message and LVM",
        disk_count: 3,
        run: reap::reap,
    },
    Entry {
        name: "open",
        about: "taking over a pool with up to 100,000 volumes; creates beside a checkpoint",
        disk_count: 1,
        run: open::open,
    },
    Entry {
        name: "catalogue",
        about: "processor time and memory of a large catalogue, without a kernel",
        disk_count: 0,
        run: catalogue::catalogue,
    },
];
