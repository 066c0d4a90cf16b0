//! The groups of measurements: each takes empty disks, and gives them back empty.
#![forbid(unsafe_code)]

mod costs;
mod provision;

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
];
