//! Which operation is served in which state of the pool: one table.
#![forbid(unsafe_code)]

use std::fmt;

use thiserror::Error;

use crate::dm::{PoolMode, ThinPoolStatus};

/// A pool's condition, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// Reads, writes and messages are served.
    Writable,
    /// No free data block: overwrites and messages are served, new blocks wait or fail.
    OutOfDataSpace,
    /// Messages and allocations are refused (the kernel shows "out of metadata space" alike).
    ReadOnly,
    /// A metadata operation failed and the transaction was dropped; stays until repaired offline.
    NeedsCheck,
    /// The kernel gave the pool up.
    Failed,
}

impl Health {
    /// Reads the kernel's status.
    pub fn of(status: &ThinPoolStatus) -> Self {
        match status {
            ThinPoolStatus::Working(working) if working.needs_check => Self::NeedsCheck,
            ThinPoolStatus::Working(working) => match working.mode {
                PoolMode::ReadWrite => Self::Writable,
                PoolMode::OutOfDataSpace => Self::OutOfDataSpace,
                PoolMode::ReadOnly => Self::ReadOnly,
            },
            ThinPoolStatus::Fail | ThinPoolStatus::Error => Self::Failed,
        }
    }

    /// Whether the kernel takes messages.
    pub const fn serves_messages(self) -> bool {
        matches!(self, Self::Writable | Self::OutOfDataSpace)
    }

    /// What an engineer should do about it.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Writable => "nothing is wrong",
            Self::OutOfDataSpace => {
                "give it space with `thinly pool grow`, or free some: delete volumes or snapshots, or trim"
            }
            Self::ReadOnly => {
                "its metadata is full or could not be written: give it more with `thinly pool grow \
                 --metadata-by`, or close the pool and open it; if it stays so, pack the metadata \
                 offline (docs/operations.md, \"The metadata is full\")"
            }
            Self::NeedsCheck => {
                "close the pool, look at it with `thinly pool repair`, repair it with `--yes`, and \
                 open it again"
            }
            Self::Failed => {
                "close the pool, check its disks and the kernel log, then open it again"
            }
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Writable => "rw",
            Self::OutOfDataSpace => "out_of_data_space",
            Self::ReadOnly => "ro",
            Self::NeedsCheck => "needs_check",
            Self::Failed => "failed",
        })
    }
}

/// What can be asked of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Create a pending volume.
    Create,
    /// Give a pending volume its thin id.
    Allocate,
    /// Make a ready volume's device.
    Activate,
    /// Remove a volume's device.
    Deactivate,
    /// Snapshot an origin that is active: a freeze.
    SnapshotActive,
    /// Snapshot or clone a source that is not active.
    SnapshotInactive,
    /// Grow a volume.
    Resize,
    /// Give another name.
    Rename,
    /// Go back to a snapshot.
    Rollback,
    /// Delete a volume or snapshot: a tombstone.
    Delete,
    /// Free what a tombstone holds.
    Reap,
    /// Give the pool more data or metadata.
    Grow,
    /// Unmap what a volume holds for nothing.
    Trim,
    /// Move what a device carries to others.
    Evacuate,
}

impl Operation {
    /// All of them, for tables and tests.
    pub const ALL: [Self; 14] = [
        Self::Create,
        Self::Allocate,
        Self::Activate,
        Self::Deactivate,
        Self::SnapshotActive,
        Self::SnapshotInactive,
        Self::Resize,
        Self::Rename,
        Self::Rollback,
        Self::Delete,
        Self::Reap,
        Self::Grow,
        Self::Trim,
        Self::Evacuate,
    ];

    /// Whether it makes a volume or snapshot that was not there.
    pub const fn makes_something(self) -> bool {
        matches!(self, Self::Create | Self::SnapshotActive | Self::SnapshotInactive)
    }

    /// The operation in words, for messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "creating a volume",
            Self::Allocate => "the first activation of a volume",
            Self::Activate => "activating a volume",
            Self::Deactivate => "deactivating a volume",
            Self::SnapshotActive => "a snapshot of an active volume",
            Self::SnapshotInactive => "a snapshot or clone",
            Self::Resize => "resizing a volume",
            Self::Rename => "renaming a volume",
            Self::Rollback => "a rollback",
            Self::Delete => "deleting a volume",
            Self::Reap => "freeing deleted volumes",
            Self::Grow => "growing the pool",
            Self::Trim => "trimming a volume",
            Self::Evacuate => "evacuating a device",
        }
    }
}

/// An operation that the pool's condition does not allow.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the pool is {health}: {operation} is refused; {advice}", operation = operation.name(), advice = health.advice())]
pub struct Refusal {
    /// The pool's condition.
    pub health: Health,
    /// What was asked for.
    pub operation: Operation,
}

/// Whether an operation is served in this condition.
///
/// `OutOfDataSpace` refuses only the freeze: what is dirty would have nowhere to go. A pool that
/// takes no messages still deactivates, renames and deletes (the tombstone waits), and still shows
/// its volumes read-only.
pub fn admit(health: Health, operation: Operation) -> Result<(), Refusal> {
    let served = match operation {
        Operation::Deactivate | Operation::Rename => true,
        Operation::Delete | Operation::Activate | Operation::Resize => health < Health::Failed,
        Operation::Allocate | Operation::SnapshotInactive | Operation::Rollback => {
            health.serves_messages()
        }
        Operation::Create | Operation::Reap | Operation::Trim => health.serves_messages(),
        Operation::SnapshotActive => health == Health::Writable,
        // The kernel resizes nothing that must be checked first (`maybe_resize_metadata_dev`).
        Operation::Grow | Operation::Evacuate => health < Health::NeedsCheck,
    };
    if served { Ok(()) } else { Err(Refusal { health, operation }) }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn the_table_of_modes_and_operations() {
        let healths = [
            Health::Writable,
            Health::OutOfDataSpace,
            Health::ReadOnly,
            Health::NeedsCheck,
            Health::Failed,
        ];
        let mut table = String::new();
        for operation in Operation::ALL {
            let row: String = healths
                .iter()
                .map(|health| if admit(*health, operation).is_ok() { 'y' } else { '-' })
                .collect();
            writeln!(table, "{row} {}", operation.name()).unwrap();
        }
        assert_eq!(
            table,
            "yy--- creating a volume\n\
             yy--- the first activation of a volume\n\
             yyyy- activating a volume\n\
             yyyyy deactivating a volume\n\
             y---- a snapshot of an active volume\n\
             yy--- a snapshot or clone\n\
             yyyy- resizing a volume\n\
             yyyyy renaming a volume\n\
             yy--- a rollback\n\
             yyyy- deleting a volume\n\
             yy--- freeing deleted volumes\n\
             yyy-- growing the pool\n\
             yy--- trimming a volume\n\
             yyy-- evacuating a device\n"
        );
    }

    #[test]
    fn a_refusal_says_what_where_and_what_to_do() {
        let refusal = admit(Health::NeedsCheck, Operation::Create).unwrap_err();
        let text = refusal.to_string();
        assert!(text.contains("needs_check") && text.contains("creating a volume"), "{text}");
        assert!(text.contains("thinly pool repair"), "{text}");
    }
}
