//! What reading a device's two label copies can give, decided from the two results alone.
#![forbid(unsafe_code)]

use thiserror::Error;
use uuid::Uuid;

use super::label::Label;
use super::label_format::LabelCopy;

/// Why a copy of a label does not count.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LabelDamage {
    /// There is no label at that place.
    #[error("there is none")]
    Absent,
    /// The bytes do not match their checksum.
    #[error("its checksum is {stored:#010x}, its bytes give {computed:#010x}")]
    Checksum {
        /// What the block says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// A format version that this program does not read.
    #[error("its format version is {found}, this program reads {supported}")]
    Version {
        /// The version on disk.
        found: u32,
        /// The version that is understood.
        supported: u32,
    },
    /// The block was written for another place.
    #[error("it was written for byte {recorded}, and found at byte {found}")]
    Misplaced {
        /// The place that it was written for.
        recorded: u64,
        /// The place where it is.
        found: u64,
    },
    /// A field holds what it cannot hold.
    #[error("its {field} is impossible")]
    Impossible {
        /// The field.
        field: &'static str,
    },
    /// Bytes without a meaning are not zero.
    #[error("bytes that must be zero are not")]
    Reserved,
    /// The other copy has been written later.
    #[error("it is generation {found}, the other copy is generation {newest}")]
    Stale {
        /// This copy's generation.
        found: u64,
        /// The other one's.
        newest: u64,
    },
    /// Both copies are whole but speak of different pools, devices or contents.
    #[error("it speaks of device {device} of pool {pool}, and the other copy disagrees")]
    Disagrees {
        /// The pool that this copy names.
        pool: Uuid,
        /// The device that this copy names.
        device: Uuid,
    },
}

/// A device's label, as far as its two copies give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelRead {
    /// Both copies are whole and say the same.
    Good(Label),
    /// One copy is whole and counts.
    OneTorn {
        /// What the whole copy says.
        label: Label,
        /// The copy that does not count.
        copy: LabelCopy,
        /// Why it does not.
        why: LabelDamage,
    },
    /// There are labels, but none that counts.
    BothTorn {
        /// What is wrong with the first copy.
        head: LabelDamage,
        /// What is wrong with the second copy.
        tail: LabelDamage,
    },
    /// The device has no label.
    Absent,
}

impl LabelRead {
    /// The label, when there is one that counts.
    pub fn label(&self) -> Option<&Label> {
        match self {
            Self::Good(label) | Self::OneTorn { label, .. } => Some(label),
            Self::BothTorn { .. } | Self::Absent => None,
        }
    }

    /// Decides from what was found at the two places.
    pub(super) fn decide(
        head: Result<Label, LabelDamage>,
        tail: Result<Label, LabelDamage>,
    ) -> Self {
        match (head, tail) {
            (Ok(head), Ok(tail)) => Self::decide_both(head, tail),
            (Ok(label), Err(why)) => Self::OneTorn { label, copy: LabelCopy::Tail, why },
            (Err(why), Ok(label)) => Self::OneTorn { label, copy: LabelCopy::Head, why },
            (Err(head), Err(tail)) if is_nothing(&head) && is_nothing(&tail) => Self::Absent,
            (Err(head), Err(tail)) => Self::BothTorn { head, tail },
        }
    }

    fn decide_both(head: Label, tail: Label) -> Self {
        let same_device = head.pool_uuid == tail.pool_uuid && head.device_uuid == tail.device_uuid;
        if head == tail {
            Self::Good(head)
        } else if same_device && head.generation > tail.generation {
            let why = LabelDamage::Stale { found: tail.generation, newest: head.generation };
            Self::OneTorn { label: head, copy: LabelCopy::Tail, why }
        } else if same_device && tail.generation > head.generation {
            let why = LabelDamage::Stale { found: head.generation, newest: tail.generation };
            Self::OneTorn { label: tail, copy: LabelCopy::Head, why }
        } else {
            let disagrees =
                |l: &Label| LabelDamage::Disagrees { pool: l.pool_uuid, device: l.device_uuid };
            Self::BothTorn { head: disagrees(&head), tail: disagrees(&tail) }
        }
    }
}

/// A block written for another place belongs to another device: a partition's last block can be
/// its disk's last block, too.
const fn is_nothing(damage: &LabelDamage) -> bool {
    matches!(damage, LabelDamage::Absent | LabelDamage::Misplaced { .. })
}
