//! Quantities that must not be mixed up: each is its own type, without arithmetic operators.
//!
//! The field is private, conversions are named by their rounding, and every constructor, serde's
//! included, applies the same check.
#![forbid(unsafe_code)]

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Bytes in one kernel sector, whatever the device's own block size is.
pub const SECTOR_BYTES: u64 = 512;

/// Bytes in one block of dm-thin metadata (`THIN_METADATA_BLOCK_SIZE`, dm-thin-metadata.h).
pub const METADATA_BLOCK_BYTES: u64 = 4096;

/// A quantity outside what its type can hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UnitError {
    /// A thin id does not fit into the kernel's 24 bits.
    #[error("thin id {0} is above the kernel's limit of {max}", max = ThinId::MAX.get())]
    ThinIdTooLarge(u32),
    /// A `data_block_size` that dm-thin refuses.
    #[error(
        "block size of {sectors} sectors is not allowed: dm-thin takes multiples of 128 sectors \
         (64 KiB) from 128 to 2097152 (1 GiB)"
    )]
    BlockSize {
        /// The refused size, in sectors.
        sectors: u64,
    },
    /// A number of bytes that is no multiple of the unit asked for.
    #[error("{bytes} bytes is not a multiple of {unit_bytes}")]
    NotAMultiple {
        /// The refused number of bytes.
        bytes: u64,
        /// The unit that it should be a multiple of.
        unit_bytes: u64,
    },
}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// None of it.
            pub const ZERO: Self = Self(0);

            /// Wraps a number that is known to be in this unit.
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The bare number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The sum, or `None` on overflow.
            pub const fn checked_add(self, other: Self) -> Option<Self> {
                match self.0.checked_add(other.0) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }

            /// The difference, or `None` when `other` is larger.
            pub const fn checked_sub(self, other: Self) -> Option<Self> {
                match self.0.checked_sub(other.0) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }

            /// The difference, or zero when `other` is larger.
            #[must_use]
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

pub(crate) use quantity;

quantity! {
    /// A number of bytes.
    Bytes
}
quantity! {
    /// A number of 512-byte sectors.
    Sectors
}
quantity! {
    /// A number of data blocks of a pool; how long one is, its [`BlockSize`] says.
    DataBlocks
}
quantity! {
    /// A number of 4 KiB metadata blocks.
    MetadataBlocks
}
quantity! {
    /// A pool's transaction id: an opaque counter that only a compare-and-swap message moves.
    TransactionId
}

impl Bytes {
    /// The same length in sectors, refused unless exact.
    pub const fn to_sectors_exact(self) -> Result<Sectors, UnitError> {
        if self.0.is_multiple_of(SECTOR_BYTES) {
            Ok(Sectors(self.0 / SECTOR_BYTES))
        } else {
            Err(UnitError::NotAMultiple { bytes: self.0, unit_bytes: SECTOR_BYTES })
        }
    }

    /// The largest multiple of `unit` that is not above this length.
    #[must_use]
    pub const fn align_down(self, unit: Self) -> Self {
        Self(self.0 - self.0 % unit.0)
    }

    /// The smallest multiple of `unit` that is not below this length, or `None` on overflow.
    pub const fn align_up(self, unit: Self) -> Option<Self> {
        match self.0.checked_next_multiple_of(unit.0) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }
}

impl Sectors {
    /// The same length in bytes; a length read from the kernel always fits.
    pub const fn to_bytes(self) -> Bytes {
        Bytes(self.0.saturating_mul(SECTOR_BYTES))
    }
}

impl TransactionId {
    /// The next id.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// A thin device's number inside its pool: 24 bits (`MAX_DEV_ID`, dm-thin.c).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct ThinId(u32);

impl ThinId {
    /// The largest id that the kernel takes.
    pub const MAX: Self = Self((1 << 24) - 1);

    /// Checks the 24-bit limit.
    pub const fn new(id: u32) -> Result<Self, UnitError> {
        if id <= Self::MAX.0 { Ok(Self(id)) } else { Err(UnitError::ThinIdTooLarge(id)) }
    }

    /// The bare number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The next id, or `None` at the limit.
    pub const fn next(self) -> Option<Self> {
        if self.0 < Self::MAX.0 { Some(Self(self.0 + 1)) } else { None }
    }
}

impl TryFrom<u32> for ThinId {
    type Error = UnitError;

    fn try_from(id: u32) -> Result<Self, UnitError> {
        Self::new(id)
    }
}

impl From<ThinId> for u32 {
    fn from(id: ThinId) -> Self {
        id.0
    }
}

impl fmt::Display for ThinId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ThinId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ThinId({})", self.0)
    }
}

/// A pool's `data_block_size`: fixed for its life, stored in its superblock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct BlockSize(u64);

impl BlockSize {
    /// 128 KiB: small enough for snapshots that diverge by single pages, large enough that
    /// metadata stays a thousandth of the data.
    pub const DEFAULT: Self = Self(256);
    /// The smallest block: 64 KiB.
    pub const MIN: Self = Self(128);
    /// The largest block: 1 GiB.
    pub const MAX: Self = Self(2_097_152);

    /// Checks the kernel's rule (`DATA_DEV_BLOCK_SIZE_*`, dm-thin.c).
    pub const fn new(size: Sectors) -> Result<Self, UnitError> {
        let sectors = size.get();
        if sectors >= Self::MIN.0 && sectors <= Self::MAX.0 && sectors.is_multiple_of(Self::MIN.0) {
            Ok(Self(sectors))
        } else {
            Err(UnitError::BlockSize { sectors })
        }
    }

    /// The length of one block in sectors.
    pub const fn sectors(self) -> Sectors {
        Sectors(self.0)
    }

    /// The length of one block in bytes.
    pub const fn bytes(self) -> Bytes {
        Bytes(self.0 * SECTOR_BYTES)
    }

    /// How many blocks it takes to hold `length`.
    pub const fn blocks_ceil(self, length: Bytes) -> DataBlocks {
        DataBlocks(length.get().div_ceil(self.bytes().get()))
    }

    /// How many whole blocks fit into `length`.
    pub const fn blocks_floor(self, length: Bytes) -> DataBlocks {
        DataBlocks(length.get() / self.bytes().get())
    }

    /// The length of `blocks` in bytes; counts read from a pool always fit.
    pub const fn length_of(self, blocks: DataBlocks) -> Bytes {
        Bytes(blocks.get().saturating_mul(self.bytes().get()))
    }
}

impl TryFrom<u64> for BlockSize {
    type Error = UnitError;

    fn try_from(sectors: u64) -> Result<Self, UnitError> {
        Self::new(Sectors(sectors))
    }
}

impl From<BlockSize> for u64 {
    fn from(size: BlockSize) -> Self {
        size.0
    }
}

impl fmt::Debug for BlockSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockSize({} sectors)", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thin_id_has_24_bits_on_every_path() {
        assert!(ThinId::new(0x00ff_ffff).is_ok());
        assert_eq!(ThinId::new(0x0100_0000), Err(UnitError::ThinIdTooLarge(0x0100_0000)));
        assert_eq!(ThinId::MAX.next(), None);
        let encoded = postcard::to_allocvec(&0x0100_0000_u32).unwrap();
        assert!(postcard::from_bytes::<ThinId>(&encoded).is_err());
    }

    #[test]
    fn block_size_follows_the_kernel() {
        for (sectors, ok) in [(0, false), (127, false), (128, true), (129, false), (384, true)] {
            assert_eq!(BlockSize::new(Sectors::new(sectors)).is_ok(), ok, "{sectors}");
        }
        assert!(BlockSize::new(Sectors::new(2_097_153)).is_err());
        assert_eq!(BlockSize::DEFAULT.bytes().get(), 128 << 10);
    }

    #[test]
    fn conversions_say_how_they_round() {
        assert!(Bytes::new(513).to_sectors_exact().is_err());
        assert_eq!(Bytes::new(1024).to_sectors_exact(), Ok(Sectors::new(2)));
        assert_eq!(BlockSize::DEFAULT.blocks_ceil(Bytes::new(1)), DataBlocks::new(1));
        assert_eq!(BlockSize::DEFAULT.blocks_floor(Bytes::new(1)), DataBlocks::ZERO);
        assert_eq!(Bytes::new(5).align_up(Bytes::new(4)), Some(Bytes::new(8)));
        assert_eq!(Bytes::new(5).align_down(Bytes::new(4)), Bytes::new(4));
    }
}
