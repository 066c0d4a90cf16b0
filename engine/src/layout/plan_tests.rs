//! Plans by example and by chance.
#![forbid(unsafe_code)]

use proptest::prelude::*;

use super::*;
use crate::layout::sizes::{DEVICE_BYTES_MIN, smallest_pool_bytes};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn uuid(index: usize) -> Uuid {
    Uuid::from_u128(index as u128 + 1)
}

fn offers(sizes: &[(u64, bool)]) -> Vec<DeviceOffer> {
    let offer = |(index, (bytes, metadata)): (usize, &(u64, bool))| DeviceOffer {
        uuid: uuid(index),
        usable_bytes: Bytes::new(*bytes),
        is_metadata_device: *metadata,
    };
    sizes.iter().enumerate().map(offer).collect()
}

fn plan(sizes: &[(u64, bool)]) -> Result<PoolPlan, PlanError> {
    plan_pool(&offers(sizes), &PoolOptions::default())
}

#[test]
fn the_smallest_pool_fits_and_one_mebibyte_less_does_not() {
    let needs = smallest_pool_bytes(BlockSize::DEFAULT, Bytes::new(MIB));
    let plan_of = |bytes: u64| plan(&[(bytes, false)]);
    let smallest = plan_of(needs.get()).unwrap();
    assert_eq!(smallest.sizes.data_bytes, Bytes::new(16 * MIB));
    assert_eq!(smallest.sizes.free_bytes, Bytes::ZERO);
    let has = Bytes::new(needs.get() - MIB);
    assert_eq!(plan_of(has.get()), Err(PlanError::TooSmall { needs, has }));
    let message = plan_of(has.get()).unwrap_err().to_string();
    assert_eq!(
        message,
        "the devices have 36700160 bytes together, a pool needs 37748736; use larger devices"
    );
}

#[test]
fn one_device_carries_everything_once() {
    let plan = plan(&[(100 * GIB, false)]).unwrap();
    assert_eq!(plan.map.extent_bytes(), Bytes::new(4 * MIB));
    assert_eq!(plan.journal.len(), 1);
    assert_eq!(plan.journal[0].1.offset, Bytes::new(MIB));
    assert_eq!(plan.journal[0].1.length, Bytes::new(104 * MIB));
    let blocks = plan.sizes.data_bytes.get() / (128 << 10);
    let formula = (16 * MIB + 64 * blocks).next_multiple_of(4 * MIB);
    assert_eq!(plan.sizes.metadata_bytes.get(), formula);
    assert_eq!(plan.sizes.spare_bytes, plan.sizes.metadata_bytes);
    assert!(plan.sizes.free_bytes.get() <= 8 * MIB, "{:?}", plan.sizes);
}

#[test]
fn two_devices_mirror_the_journal_and_keep_the_spare_apart() {
    let plan = plan(&[(10 * GIB, false), (20 * GIB, false), (10 * GIB, false)]).unwrap();
    let journal: Vec<(Uuid, u8)> = plan.journal.iter().map(|(on, at)| (*on, at.copy)).collect();
    assert_eq!(journal, [(uuid(0), 0), (uuid(1), 1)], "the second copy is on the largest other");
    assert_eq!(plan.map.segments(Role::Metadata)[0].device, uuid(0));
    assert_eq!(plan.map.segments(Role::MetadataSpare)[0].device, uuid(1));
    assert_eq!(plan.map.segments(Role::Data).len(), 3);
}

#[test]
fn of_two_equal_devices_the_earlier_one_mirrors() {
    let plan = plan(&[(GIB, false), (GIB, false), (GIB, false)]).unwrap();
    assert_eq!(plan.journal[1].0, uuid(1));
}

#[test]
fn a_metadata_device_takes_metadata_spare_and_a_journal_copy() {
    let plan = plan(&[(100 * GIB, false), (2 * GIB, true)]).unwrap();
    let on = |role| -> Vec<Uuid> { plan.map.segments(role).iter().map(|s| s.device).collect() };
    assert_eq!(on(Role::Metadata), [uuid(1)]);
    assert_eq!(on(Role::MetadataSpare), [uuid(1)]);
    assert_eq!(on(Role::Data), [uuid(0)]);
    assert_eq!(on(Role::Journal), [uuid(1), uuid(0)]);
    let journal_and_heads = 128 * MIB + 2 * MIB;
    assert!(plan.sizes.data_bytes.get() > 100 * GIB - journal_and_heads - 8 * MIB);
}

#[test]
fn a_metadata_device_that_is_too_small_is_named_with_what_it_takes() {
    let error = plan(&[(1000 * GIB, false), (GIB, true)]).unwrap_err();
    let PlanError::MetadataDeviceTooSmall { device, needs, has } = error else { panic!("{error}") };
    assert_eq!((device, has), (uuid(1), Bytes::new(GIB)));
    let enough = plan(&[(1000 * GIB, false), (needs.get(), true)]).unwrap();
    assert_eq!(enough.sizes.data_bytes.get() / GIB, 999);
    let short = plan(&[(1000 * GIB, false), (needs.get() - 4 * MIB, true)]);
    assert!(matches!(short, Err(PlanError::MetadataDeviceTooSmall { .. })));
}

#[test]
fn options_are_followed_or_refused() {
    let devices = offers(&[(10 * GIB, false)]);
    let options = PoolOptions {
        data_bytes: Some(Bytes::new(GIB)),
        metadata_bytes: Some(Bytes::new(100 * MIB)),
        journal_region_bytes: Some(Bytes::new(6 * MIB)),
        spare: false,
        ..PoolOptions::default()
    };
    let sizes = plan_pool(&devices, &options).unwrap().sizes;
    assert_eq!(sizes.data_bytes, Bytes::new(GIB));
    assert_eq!(sizes.metadata_bytes, Bytes::new(100 * MIB));
    assert_eq!(sizes.journal_region_bytes, Bytes::new(8 * MIB), "whole extents");
    assert_eq!(sizes.spare_bytes, Bytes::ZERO);
    assert!(sizes.free_bytes.get() > 8 * GIB);
    let too_much = PoolOptions { data_bytes: Some(Bytes::new(11 * GIB)), ..options };
    assert!(matches!(plan_pool(&devices, &too_much), Err(PlanError::TooSmall { .. })));
    let too_little = PoolOptions { metadata_bytes: Some(Bytes::new(1)), ..options };
    assert!(matches!(plan_pool(&devices, &too_little), Err(PlanError::Option { .. })));
    let nothing = PoolOptions { extent_bytes: Some(Bytes::ZERO), ..options };
    assert!(plan_pool(&devices, &nothing).is_err());
}

#[test]
fn a_pool_needs_a_data_device() {
    assert_eq!(plan(&[]), Err(PlanError::NoDataDevice));
    assert_eq!(plan(&[(GIB, true)]), Err(PlanError::NoDataDevice));
    let twice = [offers(&[(GIB, false)]), offers(&[(GIB, false)])].concat();
    let refused = plan_pool(&twice, &PoolOptions::default());
    assert!(matches!(refused, Err(PlanError::Extent(ExtentError::DuplicateDevice(_)))));
}

#[test]
fn blocks_of_a_gibibyte_need_room_for_one() {
    let options = PoolOptions { block_size: BlockSize::MAX, ..PoolOptions::default() };
    let refused = plan_pool(&offers(&[(GIB, false)]), &options);
    assert!(matches!(refused, Err(PlanError::TooSmall { .. })));
    let plan = plan_pool(&offers(&[(2 * GIB, false)]), &options).unwrap();
    assert!(plan.sizes.data_bytes.get() >= GIB);
}

#[test]
fn labels_carry_what_their_device_carries() {
    let plan = plan(&[(10 * GIB, false), (20 * GIB, false)]).unwrap();
    let labels = plan.labels(uuid(50), "fast", LabelState::Creating, 12);
    assert_eq!(labels.len(), 2);
    for (index, label) in labels.iter().enumerate() {
        assert!(label.fits());
        assert_eq!(label.device_index as usize, index);
        assert_eq!(label.placements.len(), 1);
        assert_eq!(label.segments, plan.map.segments_on(label.device_uuid));
        let journal = label.segments.iter().find(|s| s.role == Role::Journal).unwrap();
        assert_eq!(journal.device_offset(label.extent_bytes), Some(label.placements[0].offset));
    }
}

proptest! {
    #[test]
    fn every_plan_keeps_its_promises(
        sizes in prop::collection::vec((DEVICE_BYTES_MIN.get()..200 * GIB, any::<bool>()), 1..6),
        block_size in 1_u64..200,
        spare in any::<bool>(),
    ) {
        let devices = offers(&sizes);
        let block_size = BlockSize::new(crate::units::Sectors::new(block_size * 128)).unwrap();
        let options = PoolOptions { block_size, spare, ..PoolOptions::default() };
        let Ok(plan) = plan_pool(&devices, &options) else { return Ok(()) };
        let extent = plan.map.extent_bytes();
        let wanted = metadata_bytes(plan.sizes.data_bytes, block_size, extent);
        prop_assert_eq!(plan.sizes.metadata_bytes, wanted);
        prop_assert!(plan.sizes.data_bytes >= block_size.bytes());
        prop_assert_eq!(plan.journal.len(), devices.len().min(2));
        for offer in &devices {
            let end = offer.usable_bytes.get() - TAIL_RESERVED_BYTES.get();
            for segment in plan.map.segments_on(offer.uuid) {
                let start = segment.device_offset(extent).unwrap().get();
                prop_assert!(start >= FIRST_EXTENT_OFFSET.get());
                prop_assert!(start + segment.count.checked_bytes(extent).unwrap().get() <= end);
                prop_assert!(!offer.is_metadata_device || segment.role != Role::Data);
            }
        }
        for (_, placement) in &plan.journal {
            let regions = plan.sizes.journal_region_bytes.get() * 2;
            prop_assert_eq!(placement.length.get(), regions);
        }
        // Nothing worth having is left over: one more data extent would not have fitted.
        let copies = plan.journal.len() as u64 * 2 + if spare { 2 } else { 1 };
        let on_data = devices.iter().filter(|offer| !offer.is_metadata_device);
        let free: u64 = on_data.map(|offer| plan.map.free_extents(offer.uuid).get()).sum();
        prop_assert!(free <= copies, "{} extents free", free);
    }
}
