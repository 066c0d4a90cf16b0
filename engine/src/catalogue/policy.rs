//! How a pool is to be looked after when nobody looks: kept with the pool, so that every resident
//! and every machine does the same.
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::units::{Bytes, DataBlocks};

/// What becomes of a write that finds no free block, once nothing can extend the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnFull {
    /// It waits for the kernel's `no_space_timeout` (60 s), then it fails.
    #[default]
    Queue,
    /// It fails at once.
    Error,
}

/// By how much a pool is extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GrowthStep {
    /// A part of the data that there is.
    Percent(u16),
    /// So much.
    Bytes(Bytes),
}

/// When a pool is extended, and by how much, from extents that no role has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoExtend {
    /// Extended when so much of the data is used.
    pub at_percent: u8,
    /// By how much.
    pub by: GrowthStep,
    /// The most data that the pool may have by this; `None` is all that the devices hold.
    pub data_max: Option<Bytes>,
}

/// What a pool is looked after by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PoolPolicy {
    /// Extension without a person.
    pub auto_extend: Option<AutoExtend>,
    /// What is kept back from it, to be taken only when the data is full.
    pub reserve: Bytes,
    /// What a write does that finds no free block.
    pub on_full: OnFull,
    /// New volumes, snapshots and clones are refused when more of the data is used.
    pub admit_data_percent: Option<u8>,
    /// New volumes, snapshots and clones are refused when more of the metadata is used.
    pub admit_metadata_percent: Option<u8>,
    /// Whether snapshots and clones are taken although the metadata may not outlast them.
    pub overcommit_metadata: bool,
}

/// A policy that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A share of the whole is 1 to 99 percent.
    #[error("{what} is {percent} %; give 1 to 99")]
    Percent {
        /// Of what.
        what: &'static str,
        /// What was given.
        percent: u8,
    },
    /// An extension by nothing.
    #[error("the pool cannot be extended by nothing; give a size, or 1 to 1000 %")]
    NoStep,
}

impl PoolPolicy {
    /// Refuses what could never work.
    pub fn check(&self) -> Result<(), PolicyError> {
        let shares = [
            ("auto-extend", self.auto_extend.map(|auto| auto.at_percent)),
            ("the admission limit of data", self.admit_data_percent),
            ("the admission limit of metadata", self.admit_metadata_percent),
        ];
        for (what, share) in shares {
            if let Some(percent) = share.filter(|share| !(1..=99).contains(share)) {
                return Err(PolicyError::Percent { what, percent });
            }
        }
        match self.auto_extend.map(|auto| auto.by) {
            Some(GrowthStep::Percent(percent)) if !(1..=1000).contains(&percent) => {
                Err(PolicyError::NoStep)
            }
            Some(GrowthStep::Bytes(Bytes::ZERO)) => Err(PolicyError::NoStep),
            _ => Ok(()),
        }
    }

    /// At how many free blocks the kernel is to tell that the pool runs low: where it is extended,
    /// or at a tenth.
    pub fn low_water_mark(&self, total: DataBlocks) -> DataBlocks {
        let free_percent = self.auto_extend.map_or(10, |auto| 100 - u64::from(auto.at_percent));
        let blocks = u128::from(total.get()) * u128::from(free_percent) / 100;
        DataBlocks::new(u64::try_from(blocks).unwrap_or(u64::MAX))
    }
}

impl GrowthStep {
    /// In bytes, for a pool that has so much data.
    pub fn of(self, data: Bytes) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => {
                let bytes = u128::from(data.get()) * u128::from(percent) / 100;
                Bytes::new(u64::try_from(bytes).unwrap_or(u64::MAX))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extending(at_percent: u8, by: GrowthStep) -> PoolPolicy {
        let auto_extend = Some(AutoExtend { at_percent, by, data_max: None });
        PoolPolicy { auto_extend, ..PoolPolicy::default() }
    }

    #[test]
    fn the_mark_is_where_the_pool_is_extended() {
        let total = DataBlocks::new(1000);
        assert_eq!(PoolPolicy::default().low_water_mark(total), DataBlocks::new(100));
        let at_80 = extending(80, GrowthStep::Percent(20));
        assert_eq!(at_80.low_water_mark(total), DataBlocks::new(200));
        let all = DataBlocks::new(u64::MAX);
        assert_eq!(at_80.low_water_mark(all), DataBlocks::new(u64::MAX / 5));
    }

    #[test]
    fn steps_are_of_what_there_is() {
        assert_eq!(GrowthStep::Percent(25).of(Bytes::new(400)), Bytes::new(100));
        assert_eq!(GrowthStep::Bytes(Bytes::new(7)).of(Bytes::new(400)), Bytes::new(7));
        assert_eq!(GrowthStep::Percent(1000).of(Bytes::new(u64::MAX)), Bytes::new(u64::MAX));
    }

    #[test]
    fn what_could_never_work_is_refused() {
        let good = extending(80, GrowthStep::Percent(20));
        assert_eq!(good.check(), Ok(()));
        for at_percent in [0, 100, 255] {
            let text = extending(at_percent, GrowthStep::Percent(20)).check().unwrap_err();
            assert!(text.to_string().contains("auto-extend"), "{text}");
        }
        for by in
            [GrowthStep::Percent(0), GrowthStep::Percent(1001), GrowthStep::Bytes(Bytes::ZERO)]
        {
            assert_eq!(extending(80, by).check(), Err(PolicyError::NoStep));
        }
        let full = PoolPolicy { admit_data_percent: Some(100), ..PoolPolicy::default() };
        assert!(full.check().unwrap_err().to_string().contains("data"));
    }
}
