//! The table of the thin-pool target.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::device_number::DeviceReference;
use super::linear::reference;
use super::text::{Fields, TextError};
use crate::units::{BlockSize, DataBlocks};

const WHAT: &str = "thin-pool table";

/// A feature argument of a pool. The order is the one in which the kernel prints them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PoolFeature {
    /// New blocks keep what the data device held before.
    SkipBlockZeroing,
    /// Thins refuse discards. Cannot change once the pool is loaded.
    IgnoreDiscard,
    /// Discards free blocks but are not passed to the data device.
    NoDiscardPassdown,
    /// No allocation and no message changes anything.
    ReadOnly,
    /// A write that finds no free block fails at once.
    ErrorIfNoSpace,
}

impl PoolFeature {
    /// All of them, in the kernel's order.
    pub const ALL: [Self; 5] = [
        Self::SkipBlockZeroing,
        Self::IgnoreDiscard,
        Self::NoDiscardPassdown,
        Self::ReadOnly,
        Self::ErrorIfNoSpace,
    ];

    /// The kernel's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SkipBlockZeroing => "skip_block_zeroing",
            Self::IgnoreDiscard => "ignore_discard",
            Self::NoDiscardPassdown => "no_discard_passdown",
            Self::ReadOnly => "read_only",
            Self::ErrorIfNoSpace => "error_if_no_space",
        }
    }

    /// The kernel compares without regard to case.
    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|feature| feature.as_str().eq_ignore_ascii_case(word))
    }
}

impl fmt::Display for PoolFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The parameters of a thin-pool target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThinPoolTable {
    /// The metadata device.
    pub metadata: DeviceReference,
    /// The data device.
    pub data: DeviceReference,
    /// The length of a data block.
    pub block_size: BlockSize,
    /// An event is raised when no more than this is free.
    pub low_water_mark: DataBlocks,
    /// The feature arguments; the kernel takes at most [`ThinPoolTable::MAX_FEATURES`].
    pub features: BTreeSet<PoolFeature>,
}

impl ThinPoolTable {
    /// Five features exist; the kernel's parser takes four (`parse_pool_features`, dm-thin.c).
    pub const MAX_FEATURES: usize = 4;
}

impl fmt::Display for ThinPoolTable {
    /// The kernel's own text: fixed order, and a space at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} {} {} ",
            self.metadata,
            self.data,
            self.block_size.sectors(),
            self.low_water_mark,
            self.features.len()
        )?;
        for feature in &self.features {
            write!(f, "{feature} ")?;
        }
        Ok(())
    }
}

impl FromStr for ThinPoolTable {
    type Err = TextError;

    fn from_str(line: &str) -> Result<Self, TextError> {
        let mut fields = Fields::new(WHAT, line);
        let metadata = reference(fields.next("metadata device")?);
        let data = reference(fields.next("data device")?);
        let sectors: u64 = fields.number("data_block_size")?;
        let block_size = BlockSize::try_from(sectors)
            .map_err(|_| fields.bad("data_block_size", &sectors.to_string()))?;
        let low_water_mark = DataBlocks::new(fields.number("low_water_mark")?);
        let mut features = BTreeSet::new();
        // Without the count there are no features; the kernel always prints it.
        if let Some(count) = fields.optional() {
            let wanted: usize = fields.parse_number("number of features", count)?;
            if wanted > Self::MAX_FEATURES {
                return Err(fields.bad("number of features", count));
            }
            for _ in 0..wanted {
                let word = fields.next("feature")?;
                let feature =
                    PoolFeature::from_word(word).ok_or_else(|| fields.bad("feature", word))?;
                features.insert(feature);
            }
        }
        fields.end()?;
        Ok(Self { metadata, data, block_size, low_water_mark, features })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_text_is_read_and_written() {
        let line = "253:0 253:1 128 32 2 skip_block_zeroing error_if_no_space ";
        let table: ThinPoolTable = line.parse().unwrap();
        assert_eq!(table.block_size, BlockSize::MIN);
        assert_eq!(table.to_string(), line);
        let bare: ThinPoolTable = "/dev/a /dev/b 128 0".parse().unwrap();
        assert_eq!(bare.to_string(), "/dev/a /dev/b 128 0 0 ");
    }

    #[test]
    fn what_the_kernel_refuses_is_refused() {
        for (line, value) in [
            ("7:0 7:1 127 0 0", "127"),
            ("7:0 7:1 128 0 1 fast", "fast"),
            ("7:0 7:1 128 0 5 a b c d e", "5"),
            ("7:0 7:1 128 -1 0", "-1"),
        ] {
            let error = line.parse::<ThinPoolTable>().unwrap_err();
            assert!(matches!(&error, TextError::Value { value: v, .. } if v == value), "{error}");
            assert!(error.to_string().contains(line), "{error}");
        }
    }
}
