//! What is to be done about a pool that fills up: one pure decision.
//!
//! The kernel tells when free data falls to the low-water mark, when there is none left, and when
//! metadata runs low. Whoever hears of it reads the status and asks here.
#![forbid(unsafe_code)]

use super::mode::Health;
use crate::catalogue::PoolPolicy;
use crate::dm::{PoolMode, PoolUsage};
use crate::units::{BlockSize, Bytes, METADATA_BLOCK_BYTES};

/// Metadata is extended when less than this part of it is free: the kernel's own mark is a quarter
/// of small metadata and 4 MiB of large (`calc_metadata_threshold`, dm-thin.c).
const METADATA_FREE_PART: u64 = 4;

/// What a pool has, when it is decided about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Supply {
    /// The pool's block size.
    pub block_size: BlockSize,
    /// Metadata that can still be used.
    pub free_metadata: Bytes,
    /// All metadata, with what the kernel keeps back for its commits.
    pub total_metadata: Bytes,
    /// The most metadata that the kernel uses.
    pub metadata_max: Bytes,
    /// What no role has yet.
    pub free: Bytes,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Give the pool more data, and leave so much free.
    ExtendData {
        /// How much.
        by: Bytes,
        /// What must stay free.
        keep_free: Bytes,
    },
    /// Give the pool more metadata.
    ExtendMetadata {
        /// How much.
        by: Bytes,
    },
}

/// Decides what a pool needs now. Nothing is decided without a policy.
pub fn watch(
    policy: &PoolPolicy,
    health: Health,
    usage: &PoolUsage,
    supply: &Supply,
) -> Vec<Action> {
    let Some(auto) = policy.auto_extend else { return Vec::new() };
    if health >= Health::NeedsCheck {
        return Vec::new();
    }
    let mut actions = Vec::new();
    let runs_low = supply.free_metadata.get() < supply.total_metadata.get() / METADATA_FREE_PART
        || health == Health::ReadOnly;
    if runs_low && supply.total_metadata < supply.metadata_max && supply.free > Bytes::ZERO {
        // By half of what there is: a few steps bring the smallest to the largest.
        let by = Bytes::new((supply.total_metadata.get() / 2).max(METADATA_BLOCK_BYTES));
        actions.push(Action::ExtendMetadata { by });
    }
    let data = supply.block_size.length_of(usage.total_data_blocks);
    let free_data = supply.block_size.length_of(usage.free_data_blocks());
    let mark = supply.block_size.length_of(policy.low_water_mark(usage.total_data_blocks));
    let is_full = usage.mode == PoolMode::OutOfDataSpace;
    let room = auto.data_max.map_or(Bytes::new(u64::MAX), |max| max.saturating_sub(data));
    if free_data > mark && !is_full {
        return actions;
    }
    // The reserve is for the day on which the data is full, and for nothing before it.
    let keep_free = if is_full { Bytes::ZERO } else { policy.reserve };
    let spare = supply.free.saturating_sub(keep_free);
    let by = auto.by.of(data).min(room).min(spare);
    if by > Bytes::ZERO {
        actions.push(Action::ExtendData { by, keep_free });
    }
    actions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{AutoExtend, GrowthStep};
    use crate::dm::{DiscardMode, OnNoSpace};
    use crate::units::{DataBlocks, MetadataBlocks, TransactionId};

    const GIB: u64 = 1 << 30;

    fn usage(used: u64, total: u64, mode: PoolMode) -> PoolUsage {
        PoolUsage {
            transaction_id: TransactionId::ZERO,
            used_metadata_blocks: MetadataBlocks::new(0),
            total_metadata_blocks: MetadataBlocks::new(0),
            used_data_blocks: DataBlocks::new(used),
            total_data_blocks: DataBlocks::new(total),
            held_root: None,
            mode,
            discard: DiscardMode::Passdown,
            on_no_space: OnNoSpace::Queue,
            needs_check: false,
            metadata_low_watermark: None,
            trailing: Vec::new(),
        }
    }

    fn policy() -> PoolPolicy {
        let by = GrowthStep::Percent(20);
        let auto_extend = Some(AutoExtend { at_percent: 80, by, data_max: None });
        PoolPolicy { auto_extend, reserve: Bytes::new(GIB), ..PoolPolicy::default() }
    }

    fn supply(free: u64) -> Supply {
        Supply {
            block_size: BlockSize::DEFAULT,
            free_metadata: Bytes::new(15 << 20),
            total_metadata: Bytes::new(16 << 20),
            metadata_max: Bytes::new(16 << 30),
            free: Bytes::new(free),
        }
    }

    /// 8000 blocks of 128 KiB: 1000 MiB.
    fn data(policy: &PoolPolicy, used: u64, mode: PoolMode, free: u64) -> Option<(u64, u64)> {
        let usage = usage(used, 8000, mode);
        let health = match mode {
            PoolMode::OutOfDataSpace => Health::OutOfDataSpace,
            _ => Health::Writable,
        };
        match watch(policy, health, &usage, &supply(free)).as_slice() {
            [] => None,
            [Action::ExtendData { by, keep_free }] => Some((by.get(), keep_free.get())),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_pool_is_extended_at_its_mark_and_not_before() {
        let step = 200 << 20;
        assert_eq!(data(&policy(), 6399, PoolMode::ReadWrite, 10 * GIB), None);
        assert_eq!(data(&policy(), 6400, PoolMode::ReadWrite, 10 * GIB), Some((step, GIB)));
        assert_eq!(data(&PoolPolicy::default(), 8000, PoolMode::OutOfDataSpace, 10 * GIB), None);
    }

    #[test]
    fn the_reserve_is_taken_only_when_the_data_is_full() {
        assert_eq!(data(&policy(), 7999, PoolMode::ReadWrite, GIB), None);
        let last = Some((100 << 20, GIB));
        assert_eq!(data(&policy(), 7999, PoolMode::ReadWrite, GIB + (100 << 20)), last);
        assert_eq!(data(&policy(), 8000, PoolMode::OutOfDataSpace, GIB), Some((200 << 20, 0)));
        assert_eq!(data(&policy(), 8000, PoolMode::OutOfDataSpace, 0), None, "nothing is left");
    }

    #[test]
    fn no_more_than_the_most_that_was_allowed() {
        let mut policy = policy();
        let set = |policy: &mut PoolPolicy, max: u64| {
            let auto = policy
                .auto_extend
                .map(|auto| AutoExtend { data_max: Some(Bytes::new(max)), ..auto });
            policy.auto_extend = auto;
        };
        set(&mut policy, (1000 << 20) + 5);
        assert_eq!(data(&policy, 8000, PoolMode::ReadWrite, 9 * GIB), Some((5, GIB)));
        set(&mut policy, 1000 << 20);
        assert_eq!(data(&policy, 8000, PoolMode::OutOfDataSpace, 9 * GIB), None);
    }

    #[test]
    fn metadata_is_extended_before_it_is_full_and_when_it_is() {
        let usage = usage(0, 8000, PoolMode::ReadWrite);
        let with = |free: u64, health| {
            let supply = Supply { free_metadata: Bytes::new(free << 20), ..supply(GIB) };
            watch(&policy(), health, &usage, &supply)
        };
        assert_eq!(with(4, Health::Writable), []);
        let by = Bytes::new(8 << 20);
        assert_eq!(with(3, Health::Writable), [Action::ExtendMetadata { by }]);
        assert_eq!(with(14, Health::ReadOnly), [Action::ExtendMetadata { by }]);
        assert_eq!(with(0, Health::NeedsCheck), [], "the kernel would not take it");
        let supply = Supply { metadata_max: Bytes::new(16 << 20), ..supply(GIB) };
        assert_eq!(watch(&policy(), Health::ReadOnly, &usage, &supply), [], "it takes no more");
    }
}
