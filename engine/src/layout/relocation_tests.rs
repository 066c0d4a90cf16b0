#![forbid(unsafe_code)]

use super::*;
use crate::layout::DeviceSpace;
use crate::units::Bytes;
use proptest::prelude::*;

const EXTENT: Bytes = Bytes::new(1 << 20);

fn device(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn map(lengths: &[u64]) -> ExtentMap {
    let spaces = (1..)
        .zip(lengths)
        .map(|(n, length)| DeviceSpace { device: device(n), extents: Extents::new(*length) });
    ExtentMap::new(EXTENT, &spaces.collect::<Vec<_>>()).unwrap()
}

fn segment(role: Role, logical: u64, on: u128, start: u64, count: u64) -> Segment {
    Segment {
        role,
        logical_start: Extents::new(logical),
        device: device(on),
        device_start: Extents::new(start),
        count: Extents::new(count),
    }
}

/// Moves one extent at a time, as it is done for real.
fn walk(mut map: ExtentMap, leaving: Uuid, stuck: &Stuck) -> Result<ExtentMap, ExtentError> {
    while let Some(step) = next_relocation(&map, leaving, Extents::new(1), stuck)? {
        assert_eq!(step.from.count, Extents::new(1));
        let segments = step.applied(&map);
        let as_told = segments.clone();
        map.remove(step.from.role);
        map.insert(&segments)?;
        assert_eq!(
            map.segments(step.from.role),
            as_told,
            "the table is made of the one, later of the other"
        );
    }
    Ok(map)
}

#[test]
fn one_device_is_emptied_and_what_stood_together_stays_together() {
    let mut pool = map(&[100, 100, 100]);
    pool.insert(&[
        segment(Role::Journal, 0, 1, 0, 8),
        segment(Role::Journal, 8, 2, 0, 8),
        segment(Role::Metadata, 0, 1, 8, 4),
        segment(Role::Data, 0, 1, 12, 80),
        segment(Role::Data, 80, 2, 8, 50),
    ])
    .unwrap();
    let after = walk(pool.clone(), device(1), &Stuck::new()).unwrap();
    assert_eq!(after.segments_on(device(1)), [segment(Role::Journal, 0, 1, 0, 8)]);
    for role in Role::ALL {
        assert_eq!(after.extents(role), pool.extents(role), "{role}");
    }
    assert!(after.segments(Role::Data).len() <= 4, "{:?}", after.segments(Role::Data));
    assert_eq!(after, emptied(&pool, device(1)).unwrap(), "the thought and the deed are one");
}

#[test]
fn without_room_the_numbers_are_told_before_anything_moves() {
    let mut pool = map(&[100, 20]);
    pool.insert(&[segment(Role::Data, 0, 1, 0, 50)]).unwrap();
    let error = emptied(&pool, device(1)).unwrap_err();
    let expected =
        ExtentError::NoRoom { role: Role::Data, needs: Extents::new(50), free: Extents::new(20) };
    assert_eq!(error, expected);
}

#[test]
fn what_is_stuck_stays_and_the_rest_goes() {
    let mut pool = map(&[100, 100]);
    pool.insert(&[segment(Role::Data, 0, 1, 0, 10)]).unwrap();
    let stuck: Stuck =
        [(Role::Data, Extents::new(0)), (Role::Data, Extents::new(7))].into_iter().collect();
    let after = walk(pool, device(1), &stuck).unwrap();
    let expected = [segment(Role::Data, 0, 1, 0, 1), segment(Role::Data, 7, 1, 7, 1)];
    assert_eq!(after.segments_on(device(1)), expected);
}

#[test]
fn data_comes_to_a_device_for_metadata_alone_only_at_last() {
    let metadata = segment(Role::Metadata, 0, 2, 0, 4);
    let mut pool = map(&[100, 100, 6]);
    pool.insert(&[metadata, segment(Role::Data, 0, 1, 0, 10)]).unwrap();
    let after = emptied(&pool, device(1)).unwrap();
    let expected = [segment(Role::Data, 0, 3, 0, 6), segment(Role::Data, 6, 2, 4, 4)];
    assert_eq!(after.segments(Role::Data), expected);
}

proptest! {
    /// Whatever lies where: no extent is lost, none is claimed twice (the map would refuse), and each
    /// step changes the place of the extent that it names and of no other.
    #[test]
    fn only_the_named_extent_changes_its_place(
        pieces in prop::collection::vec((0_u128..3, 1_u64..6, prop::bool::ANY), 1..12),
        leaving in 1_u128..4,
    ) {
        let mut pool = map(&[60, 60, 60]);
        let mut next = [0_u64; 3];
        let mut logical = [0_u64; 2];
        for (on, count, is_data) in pieces {
            let at = usize::try_from(on).unwrap();
            let role = if is_data { Role::Data } else { Role::Metadata };
            let piece =
                segment(role, logical[usize::from(is_data)], on + 1, next[at], count);
            // A gap behind some of them, so that free runs are short.
            next[at] += count + count % 2;
            logical[usize::from(is_data)] += count;
            pool.insert(&[piece]).unwrap();
        }
        let leaving = device(leaving);
        let place = |map: &ExtentMap, role: Role, at: u64| {
            map.segments(role).into_iter().find_map(|s| {
                let inside = at.checked_sub(s.logical_start.get())?;
                (inside < s.count.get()).then(|| (s.device, s.device_start.get() + inside))
            })
        };
        while let Ok(Some(step)) = next_relocation(&pool, leaving, Extents::new(1), &Stuck::new()) {
            let mut after = pool.clone();
            after.remove(step.from.role);
            after.insert(&step.applied(&pool)).unwrap();
            for role in Role::ALL {
                for at in 0..pool.extents(role).get() {
                    let moved = role == step.from.role && at == step.from.logical_start.get();
                    let (was, is) = (place(&pool, role, at), place(&after, role, at));
                    prop_assert_eq!(was != is, moved);
                    if moved {
                        prop_assert_eq!(is, Some((step.device, step.device_start.get())));
                    }
                }
            }
            pool = after;
        }
    }
}
