//! How long each part of a pool is: pure formulas, stated in `docs/format.md`.
#![forbid(unsafe_code)]

use super::role::Extents;
use crate::units::{BlockSize, Bytes, METADATA_BLOCK_BYTES};

const MIB: u64 = 1 << 20;

/// The first extent of a device starts here; the label's first copy is in front of it.
pub const FIRST_EXTENT_OFFSET: Bytes = Bytes::new(MIB);

/// The end of a device that holds no extent: the label's second copy is in it.
pub const TAIL_RESERVED_BYTES: Bytes = Bytes::new(MIB);

/// The length of an extent unless a device of the pool is small.
pub const EXTENT_BYTES_DEFAULT: Bytes = Bytes::new(4 * MIB);

/// The length of an extent when a device of the pool is below 1 GiB.
pub const EXTENT_BYTES_SMALL: Bytes = Bytes::new(MIB);

/// Below this length a device counts as small.
const SMALL_DEVICE_BYTES: Bytes = Bytes::new(1 << 30);

/// The shortest device that a pool takes: a journal copy, both label areas, some data.
pub const DEVICE_BYTES_MIN: Bytes = Bytes::new(16 * MIB);

/// The longest metadata device that the kernel makes use of: 255 bitmap blocks' worth of 4 KiB
/// blocks (`THIN_METADATA_MAX_SECTORS`, dm-thin.h), 15.875 GiB and a little.
pub const METADATA_BYTES_MAX: Bytes = Bytes::new(4_161_600 * METADATA_BLOCK_BYTES);

/// What one mapped block costs in the mapping tree in the worst case: a 16-byte entry in leaves
/// that are half full, the same again for a snapshot that diverged from it.
const METADATA_BYTES_PER_BLOCK: u64 = 64;

/// The fixed part of the metadata of a large pool: superblock, space maps, device details.
const METADATA_FIXED_BYTES_MAX: u64 = 16 * MIB;
const METADATA_FIXED_BYTES_MIN: u64 = 4 * MIB;

/// The share of the data that the fixed parts may take in a small pool.
const SMALL_POOL_SHARE: u64 = 64;
/// The part of the data that a region of the journal is.
const JOURNAL_SHARE: u64 = 2048;

const JOURNAL_REGION_BYTES_MIN: u64 = 4 * MIB;
const JOURNAL_REGION_BYTES_MAX: u64 = 64 * MIB;

/// The least data that a pool is made for.
const DATA_BYTES_MIN: u64 = 16 * MIB;

/// Regions in one copy of the journal: one is written, the other one is superseded.
pub(super) const JOURNAL_REGIONS: u64 = 2;

/// The extent length for a pool whose shortest device has `smallest_device` bytes.
pub const fn default_extent_bytes(smallest_device: Bytes) -> Bytes {
    if smallest_device.get() < SMALL_DEVICE_BYTES.get() {
        EXTENT_BYTES_SMALL
    } else {
        EXTENT_BYTES_DEFAULT
    }
}

/// How many extents fit between the two label areas of a device.
pub const fn device_extents(device_bytes: Bytes, extent_bytes: Bytes) -> Extents {
    let between =
        device_bytes.saturating_sub(FIRST_EXTENT_OFFSET).saturating_sub(TAIL_RESERVED_BYTES);
    match between.get().checked_div(extent_bytes.get()) {
        Some(count) => Extents::new(count),
        None => Extents::ZERO,
    }
}

/// How much metadata a pool with `data` bytes gets, in whole extents.
///
/// `min(16 MiB, max(4 MiB, data / 64)) + 64 bytes x data blocks`, rounded up to extents and held
/// below [`METADATA_BYTES_MAX`]. It never shrinks when `data` grows.
pub fn metadata_bytes(data: Bytes, block_size: BlockSize, extent_bytes: Bytes) -> Bytes {
    let fixed =
        (data.get() / SMALL_POOL_SHARE).clamp(METADATA_FIXED_BYTES_MIN, METADATA_FIXED_BYTES_MAX);
    let blocks = block_size.blocks_ceil(data).get();
    let wanted = blocks.saturating_mul(METADATA_BYTES_PER_BLOCK).saturating_add(fixed);
    let largest = METADATA_BYTES_MAX.align_down(extent_bytes);
    match Bytes::new(wanted).align_up(extent_bytes) {
        Some(rounded) => rounded.min(largest),
        None => largest,
    }
}

/// How long one region of the journal is, in whole extents: a 2048th of the data, from 4 to 64 MiB.
/// Whoever opens a pool reads a region, so a small pool has a small one.
pub fn journal_region_bytes(data: Bytes, extent_bytes: Bytes) -> Bytes {
    let wanted =
        (data.get() / JOURNAL_SHARE).clamp(JOURNAL_REGION_BYTES_MIN, JOURNAL_REGION_BYTES_MAX);
    Bytes::new(wanted.next_multiple_of(extent_bytes.get()))
}

/// The least data that a pool is made for: 16 MiB, or one block when that is longer.
pub(super) fn smallest_data_bytes(block_size: BlockSize) -> Bytes {
    Bytes::new(DATA_BYTES_MIN.max(block_size.bytes().get()))
}

/// The shortest single device that can be a whole pool with this block size.
pub fn smallest_pool_bytes(block_size: BlockSize, extent_bytes: Bytes) -> Bytes {
    let data = smallest_data_bytes(block_size);
    let parts = [
        FIRST_EXTENT_OFFSET.get(),
        TAIL_RESERVED_BYTES.get(),
        journal_region_bytes(data, extent_bytes).get() * JOURNAL_REGIONS,
        metadata_bytes(data, block_size, extent_bytes).get() * 2,
        data.get().next_multiple_of(extent_bytes.get()),
    ];
    Bytes::new(parts.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(data: u64) -> u64 {
        metadata_bytes(Bytes::new(data), BlockSize::DEFAULT, EXTENT_BYTES_DEFAULT).get()
    }

    #[test]
    fn metadata_follows_the_stated_formula() {
        assert_eq!(metadata(64 << 20), 8 * MIB, "4 MiB and 32 KiB, rounded up");
        assert_eq!(metadata(1 << 30), 20 * MIB, "16 MiB and 512 KiB, rounded up");
        assert_eq!(metadata(1 << 40), 16 * MIB + (64 << 23), "a terabyte has 2^23 blocks");
        assert_eq!(metadata(1 << 50), 16_256 * MIB, "15.875 GiB at most");
        assert_eq!(metadata(u64::MAX), 16_256 * MIB);
        assert!(metadata(u64::MAX) <= METADATA_BYTES_MAX.get());
    }

    #[test]
    fn metadata_never_shrinks() {
        let steps = (0..4000_u64).map(|step| metadata(step * (8 << 30)));
        assert!(steps.collect::<Vec<_>>().is_sorted());
    }

    #[test]
    fn journal_regions_stay_between_their_limits() {
        let region = |data: u64| journal_region_bytes(Bytes::new(data), EXTENT_BYTES_SMALL).get();
        assert_eq!(region(0), 4 * MIB);
        assert_eq!(region(32 << 30), 16 * MIB);
        assert_eq!(region(u64::MAX), 64 * MIB);
        assert_eq!(region((32 << 30) + 1), 16 * MIB);
        assert_eq!(region((32 << 30) + 2048), 17 * MIB, "whole extents");
    }

    #[test]
    fn extents_lie_between_the_label_areas() {
        let extents = |mib: u64| device_extents(Bytes::new(mib * MIB), EXTENT_BYTES_DEFAULT).get();
        assert_eq!(extents(0), 0);
        assert_eq!(extents(5), 0);
        assert_eq!(extents(6), 1);
        assert_eq!(extents(1024), 255);
    }

    #[test]
    fn small_devices_get_small_extents() {
        assert_eq!(default_extent_bytes(Bytes::new((1 << 30) - 1)), EXTENT_BYTES_SMALL);
        assert_eq!(default_extent_bytes(Bytes::new(1 << 30)), EXTENT_BYTES_DEFAULT);
    }

    #[test]
    fn the_smallest_pool_is_a_few_dozen_mebibytes() {
        let smallest = smallest_pool_bytes(BlockSize::DEFAULT, EXTENT_BYTES_SMALL);
        assert_eq!(smallest.get(), 36 * MIB);
    }
}
