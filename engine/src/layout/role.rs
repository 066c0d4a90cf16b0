//! What an extent is used for, and how extents are counted.
#![forbid(unsafe_code)]

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::units::{Bytes, quantity};

/// What a run of extents holds. The numbers are those of the label on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// The catalogue's journal, every copy of it.
    Journal = 1,
    /// The pool's metadata device.
    Metadata = 2,
    /// Room for a repaired copy of the metadata, as long as the metadata itself.
    MetadataSpare = 3,
    /// The pool's data device.
    Data = 4,
}

impl Role {
    /// Every role, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Journal, Self::Metadata, Self::MetadataSpare, Self::Data];

    /// The number that stands for this role on disk.
    pub const fn code(self) -> u8 {
        match self {
            Self::Journal => 1,
            Self::Metadata => 2,
            Self::MetadataSpare => 3,
            Self::Data => 4,
        }
    }

    /// The role that a number on disk stands for.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Journal),
            2 => Some(Self::Metadata),
            3 => Some(Self::MetadataSpare),
            4 => Some(Self::Data),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Journal => "journal",
            Self::Metadata => "metadata",
            Self::MetadataSpare => "metadata spare",
            Self::Data => "data",
        })
    }
}

quantity! {
    /// A number of extents, or the index of one; how long one is, the pool's label says.
    Extents
}

impl Extents {
    /// The length of this many extents, or `None` on overflow.
    pub const fn checked_bytes(self, extent_bytes: Bytes) -> Option<Bytes> {
        match self.0.checked_mul(extent_bytes.get()) {
            Some(value) => Some(Bytes::new(value)),
            None => None,
        }
    }

    /// How many extents it takes to hold `length`.
    pub const fn holding(length: Bytes, extent_bytes: Bytes) -> Self {
        Self(length.get().div_ceil(extent_bytes.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_has_its_own_number() {
        for role in Role::ALL {
            assert_eq!(Role::from_code(role.code()), Some(role));
        }
        assert_eq!(Role::from_code(0), None);
        assert_eq!(Role::from_code(5), None);
    }

    #[test]
    fn extents_round_up_and_refuse_overflow() {
        let extent = Bytes::new(4 << 20);
        assert_eq!(Extents::holding(Bytes::new(1), extent), Extents::new(1));
        assert_eq!(Extents::holding(Bytes::new(4 << 20), extent), Extents::new(1));
        assert_eq!(Extents::new(u64::MAX).checked_bytes(extent), None);
    }
}
