//! Growth, planned over hand-made maps.
#![forbid(unsafe_code)]

use super::*;
use crate::layout::extent_map::DeviceSpace;

const EXTENT: Bytes = Bytes::new(4 << 20);

fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn space(n: u128, extents: u64) -> DeviceSpace {
    DeviceSpace { device: uuid(n), extents: Extents::new(extents) }
}

fn give(map: &mut ExtentMap, role: Role, extents: u64, device: u128) {
    let length = Extents::new(extents).checked_bytes(EXTENT).unwrap();
    let only = [uuid(device)];
    let placed = map.allocate(role, length, Placement::Only(&only)).unwrap();
    map.insert(&placed).unwrap();
}

/// A device with journal, metadata, spare and data, 100 extents free behind them.
fn one_device() -> ExtentMap {
    let mut map = ExtentMap::new(EXTENT, &[space(1, 225)]).unwrap();
    give(&mut map, Role::Journal, 5, 1);
    give(&mut map, Role::Metadata, 10, 1);
    give(&mut map, Role::MetadataSpare, 10, 1);
    give(&mut map, Role::Data, 100, 1);
    map
}

const ALL: GrowthRequest<'_> =
    GrowthRequest { data: None, metadata: Bytes::ZERO, data_devices: &[], keep_free: Bytes::ZERO };

fn plan(map: &ExtentMap, request: &GrowthRequest<'_>) -> Result<Growth, ExtentError> {
    plan_growth(map, BlockSize::DEFAULT, request)
}

#[test]
fn data_follows_data_and_becomes_one_segment_with_it() {
    let mut map = one_device();
    let growth = plan(&map, &GrowthRequest { data: Some(Bytes::new(3)), ..ALL }).unwrap();
    assert_eq!((growth.data, growth.metadata), (EXTENT, Bytes::ZERO), "rounded up");
    map.insert(&growth.segments).unwrap();
    assert_eq!(map.segments(Role::Data).len(), 1);
}

#[test]
fn all_that_fits_leaves_what_must_stay_free() {
    let map = one_device();
    let whole = plan(&map, &ALL).unwrap();
    let kept = plan(&map, &GrowthRequest { keep_free: Bytes::new(40 << 20), ..ALL }).unwrap();
    assert_eq!(whole.data.get() - kept.data.get(), 40 << 20);
    let mut grown = map.clone();
    grown.insert(&whole.segments).unwrap();
    assert_eq!(grown.free_extents_total(), Extents::ZERO);
    assert!(plan(&grown, &ALL).unwrap().segments.is_empty(), "nothing is left");
}

#[test]
fn metadata_and_its_spare_keep_up_with_the_formula() {
    let mut map = one_device();
    map.add_device(space(2, 100_000)).unwrap();
    let growth = plan(&map, &GrowthRequest { data_devices: &[uuid(2)], ..ALL }).unwrap();
    let data = map.length(Role::Data);
    let larger = Bytes::new(data.get() + growth.data.get());
    let formula = |data| metadata_bytes(data, BlockSize::DEFAULT, EXTENT).get();
    assert_eq!(growth.metadata.get(), formula(larger) - formula(data));
    assert!(growth.metadata > Bytes::ZERO);
    map.insert(&growth.segments).unwrap();
    assert_eq!(map.length(Role::Metadata), map.length(Role::MetadataSpare));
    let on_old = growth.segments.iter().filter(|segment| segment.device == uuid(1));
    assert!(on_old.clone().count() > 0, "the metadata stays together");
    assert!(on_old.clone().all(|segment| segment.role != Role::Data));
}

#[test]
fn metadata_alone_grows_up_to_the_kernels_limit() {
    let mut map = one_device();
    map.add_device(space(2, 100_000)).unwrap();
    let asked = |metadata| GrowthRequest { data: Some(Bytes::ZERO), metadata, ..ALL };
    let growth = plan(&map, &asked(Bytes::new(5 << 20))).unwrap();
    assert_eq!((growth.data, growth.metadata.get()), (Bytes::ZERO, 8 << 20));
    let growth = plan(&map, &asked(Bytes::new(u64::MAX))).unwrap();
    map.insert(&growth.segments).unwrap();
    assert_eq!(map.length(Role::Metadata), METADATA_BYTES_MAX.align_down(EXTENT));
    assert_eq!(plan(&map, &asked(EXTENT)).unwrap(), Growth::default());
}

#[test]
fn a_device_for_metadata_alone_gets_no_data() {
    let mut map = ExtentMap::new(EXTENT, &[space(1, 100), space(2, 100)]).unwrap();
    give(&mut map, Role::Metadata, 10, 1);
    give(&mut map, Role::Data, 10, 2);
    let growth = plan(&map, &ALL).unwrap();
    assert_eq!(growth.data, Extents::new(90).checked_bytes(EXTENT).unwrap());
    let too_much = GrowthRequest { data: Some(Bytes::new(91 * (4 << 20))), ..ALL };
    let error = plan(&map, &too_much).unwrap_err().to_string();
    assert!(
        error.contains("91") && error.contains("90") && error.contains("add a device"),
        "{error}"
    );
}
