//! What recovery tells.
#![forbid(unsafe_code)]

use std::fmt;

use crate::catalogue::VolumeName;
use crate::units::{ThinId, TransactionId};

/// One thing that recovery saw and decided.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// The last writer did not end in order.
    UncleanShutdown {
        /// Its epoch.
        epoch: u64,
    },
    /// The journal's last write is torn; the region is left as it is, a new one is begun.
    DamagedTail,
    /// One copy of the journal cannot be read; another one was used, and the copy is made anew.
    DamagedCopy {
        /// Where the copy is.
        medium: String,
        /// What is wrong with it.
        why: String,
    },
    /// A metadata snapshot that was taken before the pool was last brought up was released.
    StaleMetadataSnapshot {
        /// The metadata block of its superblock.
        block: u64,
    },
    /// An id that our last writer made and did not record: it will be freed.
    Unclaimed {
        /// Which id.
        id: ThinId,
    },
    /// An id that nobody knows; kept until a person removes it.
    Orphan {
        /// Which id.
        id: ThinId,
        /// The transaction id at its creation.
        created_in: TransactionId,
    },
    /// A volume whose thin id is not in the pool.
    Lost {
        /// The volume's name.
        name: VolumeName,
        /// Its thin id.
        id: ThinId,
    },
    /// A lost volume whose thin id is there again.
    Found {
        /// The volume's name.
        name: VolumeName,
        /// Its thin id.
        id: ThinId,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UncleanShutdown { epoch } => {
                write!(f, "writer {epoch} did not end in order; its work was reconciled")
            }
            Self::DamagedTail => {
                f.write_str("the journal's last write is torn; it is set aside, nothing is deleted")
            }
            Self::DamagedCopy { medium, why } => write!(
                f,
                "the journal copy on {medium} was damaged ({why}); another copy was used, and the \
                 next write makes it whole again"
            ),
            Self::StaleMetadataSnapshot { block } => write!(
                f,
                "a metadata snapshot at block {block} had outlived the program that took it; it is \
                 released"
            ),
            Self::Unclaimed { id } => {
                write!(f, "thin id {id} was made by an operation that never finished; it is freed")
            }
            Self::Orphan { id, created_in } => write!(
                f,
                "thin id {id} (made in transaction {created_in}) belongs to no volume; it is kept \
                 as an orphan"
            ),
            Self::Lost { name, id } => {
                write!(f, "volume {name} is lost: its thin id {id} is not in the pool")
            }
            Self::Found { name, id } => {
                write!(f, "volume {name} is back: its thin id {id} is in the pool again")
            }
        }
    }
}
