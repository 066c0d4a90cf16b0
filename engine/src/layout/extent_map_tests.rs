//! The map's invariants, by example and by chance.
#![forbid(unsafe_code)]

use proptest::prelude::*;

use super::*;

const EXTENT: Bytes = Bytes::new(1 << 20);

fn device(index: u8) -> Uuid {
    Uuid::from_u128(u128::from(index) + 1)
}

fn map_of(extents: &[u64]) -> ExtentMap {
    let spaces: Vec<DeviceSpace> = (0_u8..)
        .zip(extents)
        .map(|(index, count)| DeviceSpace { device: device(index), extents: Extents::new(*count) })
        .collect();
    ExtentMap::new(EXTENT, &spaces).unwrap()
}

fn segment(role: Role, logical: u64, on: u8, start: u64, count: u64) -> Segment {
    Segment {
        role,
        logical_start: Extents::new(logical),
        device: device(on),
        device_start: Extents::new(start),
        count: Extents::new(count),
    }
}

fn mib(count: u64) -> Bytes {
    Bytes::new(count << 20)
}

#[test]
fn allocation_fills_the_preferred_device_first() {
    let map = map_of(&[10, 10]);
    let got = map.allocate(Role::Data, mib(12), Placement::Prefer(&[device(1)])).unwrap();
    assert_eq!(got, [segment(Role::Data, 0, 1, 0, 10), segment(Role::Data, 10, 0, 0, 2)]);
}

#[test]
fn only_means_only() {
    let map = map_of(&[10, 10]);
    let refused = map.allocate(Role::Data, mib(12), Placement::Only(&[device(1)]));
    let [needs, free] = [Extents::new(12), Extents::new(10)];
    assert_eq!(refused, Err(ExtentError::NoRoom { role: Role::Data, needs, free }));
    let unknown = map.allocate(Role::Data, mib(1), Placement::Only(&[device(9)]));
    assert_eq!(unknown, Err(ExtentError::UnknownDevice(device(9))));
}

#[test]
fn growth_on_the_same_device_stays_one_segment() {
    let mut map = map_of(&[10]);
    for _ in 0..3 {
        let more = map.allocate(Role::Data, mib(2), Placement::Prefer(&[])).unwrap();
        map.insert(&more).unwrap();
    }
    assert_eq!(map.segments(Role::Data), [segment(Role::Data, 0, 0, 0, 6)]);
    assert_eq!(map.length(Role::Data), mib(6));
    assert_eq!(map.free_extents(device(0)), Extents::new(4));
}

#[test]
fn journal_copies_stay_apart() {
    let mut map = map_of(&[20]);
    for _ in 0..2 {
        let copy = map.allocate_run(Role::Journal, mib(8), device(0)).unwrap();
        map.insert(&[copy]).unwrap();
    }
    assert_eq!(map.segments(Role::Journal).len(), 2);
}

#[test]
fn a_run_needs_one_gap_that_is_long_enough() {
    let mut map = map_of(&[10]);
    map.insert(&[segment(Role::Data, 0, 0, 3, 2)]).unwrap();
    assert_eq!(map.free_extents(device(0)), Extents::new(8));
    let run = map.allocate_run(Role::Journal, mib(4), device(0)).unwrap();
    assert_eq!(run.device_start, Extents::new(5));
    let [needs, free] = [Extents::new(6), Extents::new(5)];
    let refused = map.allocate_run(Role::Journal, mib(6), device(0));
    assert_eq!(refused, Err(ExtentError::NoRoom { role: Role::Journal, needs, free }));
}

#[test]
fn every_broken_insertion_is_refused_and_changes_nothing() {
    let mut map = map_of(&[10, 4]);
    map.insert(&[segment(Role::Metadata, 0, 0, 2, 3)]).unwrap();
    let before = map.clone();
    let broken = [
        segment(Role::Data, 0, 0, 4, 1),
        segment(Role::Data, 0, 0, 0, 3),
        segment(Role::Data, 1, 0, 5, 1),
        segment(Role::Metadata, 0, 1, 0, 1),
        segment(Role::Data, 0, 0, 8, 3),
        segment(Role::Data, 0, 1, 0, 0),
        segment(Role::Data, 0, 1, u64::MAX, 1),
        segment(Role::Data, 0, 7, 0, 1),
    ];
    for bad in broken {
        assert!(map.insert(&[bad]).is_err(), "{bad:?}");
        assert_eq!(map, before);
    }
    let overlap = map.insert(&[segment(Role::Data, 0, 0, 0, 3)]).unwrap_err();
    assert_eq!(
        overlap.to_string(),
        format!("extent 2 of device {} is claimed by data and by metadata", device(0))
    );
}

#[test]
fn a_device_may_grow_but_not_shrink_below_its_use() {
    let mut map = map_of(&[10]);
    map.insert(&[segment(Role::Data, 0, 0, 2, 3)]).unwrap();
    map.resize_device(device(0), Extents::new(5)).unwrap();
    assert!(map.resize_device(device(0), Extents::new(4)).is_err());
    map.resize_device(device(0), Extents::new(50)).unwrap();
    assert_eq!(map.free_extents(device(0)), Extents::new(47));
    let again = DeviceSpace { device: device(0), extents: Extents::new(1) };
    assert_eq!(map.add_device(again), Err(ExtentError::DuplicateDevice(device(0))));
}

#[test]
fn linear_tables_are_in_sectors_past_the_head() {
    let mut map = map_of(&[10, 10]);
    map.insert(&[segment(Role::Data, 0, 0, 2, 3), segment(Role::Data, 3, 1, 0, 1)]).unwrap();
    let table = map.linear_table(Role::Data).unwrap();
    let line: Vec<[u64; 3]> = table
        .iter()
        .map(|l| [l.logical_start.get(), l.length.get(), l.device_offset.get()])
        .collect();
    assert_eq!(line, [[0, 6144, 6144], [6144, 2048, 2048]]);
}

#[test]
fn removal_frees_the_extents() {
    let mut map = map_of(&[10]);
    map.insert(&[segment(Role::Data, 0, 0, 0, 10)]).unwrap();
    assert_eq!(map.remove(Role::Data).len(), 1);
    assert_eq!(map.free_extents_total(), Extents::new(10));
}

#[test]
fn a_stored_map_is_checked_when_it_is_read() {
    let mut map = map_of(&[10]);
    map.insert(&[segment(Role::Data, 0, 0, 0, 10)]).unwrap();
    let stored = postcard::to_allocvec(&map).unwrap();
    assert_eq!(postcard::from_bytes::<ExtentMap>(&stored).unwrap(), map);
    let overlapping = [segment(Role::Data, 0, 0, 0, 10), segment(Role::Metadata, 0, 0, 9, 1)];
    let forged = (EXTENT, map.devices(), &overlapping[..]);
    let stored = postcard::to_allocvec(&forged).unwrap();
    assert!(postcard::from_bytes::<ExtentMap>(&stored).is_err());
}

/// Counts the claims on every extent, without the map's own arithmetic.
fn claims(map: &ExtentMap) -> std::collections::BTreeMap<(Uuid, u64), u32> {
    let mut claims = std::collections::BTreeMap::new();
    for segment in map.all_segments() {
        let start = segment.device_start.get();
        for extent in start..start + segment.count.get() {
            *claims.entry((segment.device, extent)).or_insert(0) += 1;
        }
    }
    claims
}

proptest! {
    #[test]
    fn allocations_never_overlap_nor_leave_gaps(
        sizes in prop::collection::vec(0_u64..40, 1..5),
        requests in prop::collection::vec((0_usize..4, 1_u64..12, 0_u8..5, any::<bool>()), 0..30),
    ) {
        let mut map = map_of(&sizes);
        let total: u64 = sizes.iter().sum();
        let mut lengths = [0_u64; 4];
        for (role_index, count, favourite, run) in requests {
            let role = Role::ALL[role_index];
            let favourite = device(favourite % u8::try_from(sizes.len()).unwrap());
            let proposal = if run {
                map.allocate_run(role, mib(count), favourite).map(|segment| vec![segment])
            } else {
                map.allocate(role, mib(count), Placement::Prefer(&[favourite]))
            };
            let free = map.free_extents_total().get();
            match proposal {
                Ok(segments) => {
                    map.insert(&segments).unwrap();
                    lengths[role_index] += count;
                }
                Err(ExtentError::NoRoom { .. }) => prop_assert!(run || free < count),
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
        let claims = claims(&map);
        prop_assert!(claims.values().all(|count| *count == 1));
        for (on, extent) in claims.keys() {
            let space = map.devices().iter().find(|space| space.device == *on).unwrap();
            prop_assert!(*extent < space.extents.get());
        }
        prop_assert_eq!(map.free_extents_total().get(), total - claims.len() as u64);
        for (role, length) in Role::ALL.into_iter().zip(lengths) {
            prop_assert_eq!(map.extents(role).get(), length);
            let mut next = 0;
            for line in map.linear_table(role).unwrap() {
                prop_assert_eq!(line.logical_start.get(), next);
                next += line.length.get();
            }
        }
        let stored = postcard::to_allocvec(&map).unwrap();
        prop_assert_eq!(postcard::from_bytes::<ExtentMap>(&stored).unwrap(), map);
    }
}
