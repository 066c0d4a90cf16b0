//! Maps of images, held against what plain sets say and against the sums of usage.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::fixture::{Device, Pool, Writer, diverge, share, superblock_of};
use super::super::mappings::mapped_data_block;
use super::super::usage::{UsageRequest, usage};
use super::*;

const DATA_BLOCKS: u64 = 4000;
/// Blocks that nothing uses in an image of 1024.
const FREE: u64 = 600;

fn id(id: u32) -> ThinId {
    ThinId::new(id).unwrap()
}

fn map_of(image: &Vec<u8>, cells: usize, shown: &[ThinId]) -> DataMap {
    let superblock = superblock_of(image);
    let total_data_blocks = DataBlocks::new(superblock.data_space_map.total_blocks);
    let request = MapRequest { total_data_blocks, cells, shown };
    map(image, &superblock, &request, &mut |_| ()).unwrap()
}

/// The data blocks of every device, looked up key by key.
fn looked_up(image: &Vec<u8>, devices: u32, keys: u64) -> Vec<BTreeSet<u64>> {
    let superblock = superblock_of(image);
    let find = |device, key| mapped_data_block(image, &superblock, id(device), key).unwrap();
    (0..devices).map(|device| (0..keys).filter_map(|key| find(device, key)).collect()).collect()
}

/// The cells of a holder that has `held`, where all devices have `all`.
fn plain(grid: CellGrid, all: &[BTreeSet<u64>], held: &BTreeSet<u64>) -> Vec<CellBlocks> {
    let mut cells = vec![CellBlocks::default(); grid.cell_count()];
    for block in held {
        let cell = (0..grid.cell_count()).find(|cell| grid.blocks_of(*cell).contains(block));
        let cell = &mut cells[cell.unwrap()];
        match all.iter().filter(|blocks| blocks.contains(block)).count() {
            1 => cell.exclusive += 1,
            _ => cell.shared += 1,
        }
    }
    cells
}

fn union<'a>(sets: impl Iterator<Item = &'a BTreeSet<u64>>) -> BTreeSet<u64> {
    sets.flatten().copied().collect()
}

/// Holds a map against plain sets, and its sums against those of usage.
fn check(image: &Vec<u8>, held: &[BTreeSet<u64>], cells: usize, shown: &[ThinId]) {
    let found = map_of(image, cells, shown);
    let grid = found.grid;
    assert_eq!(found.cells, plain(grid, held, &union(held.iter())));
    let numbered: Vec<(ThinId, &BTreeSet<u64>)> = (0..).map(id).zip(held).collect();
    let asked = |device: &ThinId| shown.contains(device);
    for (device, blocks) in numbered.iter().filter(|(device, _)| asked(device)) {
        assert_eq!(found.shown[device], plain(grid, held, blocks), "{device}");
    }
    let others: Vec<_> = numbered.iter().filter(|(device, _)| !asked(device)).collect();
    assert_eq!((found.shown.len(), found.other_count), (held.len() - others.len(), others.len()));
    let blocks = union(others.iter().map(|(_, blocks)| *blocks));
    let expected = if others.is_empty() { Vec::new() } else { plain(grid, held, &blocks) };
    assert_eq!(found.others, expected);
    check_sums(image, &found);
}

fn check_sums(image: &Vec<u8>, found: &DataMap) {
    let total_data_blocks = found.grid.total_data_blocks();
    let request = UsageRequest { total_data_blocks, set: &[] };
    let usage = usage(image, &superblock_of(image), &request, &mut |_| ()).unwrap();
    let all = CellBlocks::sum(&found.cells);
    assert_eq!((all.mapped(), all.shared), (usage.mapped_blocks.get(), usage.shared_blocks.get()));
    for (device, cells) in &found.shown {
        let (sum, cost) = (CellBlocks::sum(cells), usage.devices[device]);
        assert_eq!(sum.exclusive, cost.exclusive_blocks.get(), "{device}");
        assert_eq!(sum.mapped(), cost.mapped_blocks.get(), "{device}");
    }
    let held = found.shown.values().chain([&found.others]);
    let alone: u64 = held.map(|cells| CellBlocks::sum(cells).exclusive).sum();
    assert_eq!(alone, all.exclusive, "every exclusive block is in one bar");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Devices that map blocks of each other without sharing a node, each block once at most.
    #[test]
    fn random_pools_are_mapped_as_plain_sets_say(
        held in prop::collection::vec(prop::collection::btree_set(0..DATA_BLOCKS, 0..700), 1..6),
        cells in 1_usize..5000,
        shown in prop::collection::btree_set(0_u32..7, 0..7),
    ) {
        let devices: Vec<Device> = (0..).zip(&held).map(|(id, blocks)| Device {
            id,
            runs: (0..).zip(blocks).map(|(key, data)| (key, *data, 1, 0)).collect(),
            ..Device::default()
        }).collect();
        let image = Pool { devices, data_blocks: DATA_BLOCKS, ..Pool::default() }.restore(1024);
        let shown: Vec<ThinId> = shown.into_iter().map(id).collect();
        check(&image, &held, cells, &shown);
    }

    /// Snapshots that share nodes until they are written to.
    #[test]
    fn snapshots_are_mapped_as_lookups_say(
        writes in prop::collection::vec((0_u32..4, 0_u64..1500), 0..30),
        cells in 1_usize..300,
        shown in prop::collection::btree_set(0_u32..4, 0..5),
    ) {
        let origin = Device { runs: vec![(0, 700, 1500, 0)], ..Device::default() };
        let copies = (1..4).map(|id| Device { id, ..Device::default() });
        let devices = std::iter::once(origin).chain(copies).collect();
        let mut image = Pool { devices, data_blocks: DATA_BLOCKS, ..Pool::default() }.restore(1024);
        (1..4).for_each(|copy| share(&mut image, 0, copy));
        let mut writer = Writer::new(&mut image, FREE);
        for (fresh, (device, key)) in (2500..).zip(writes) {
            writer.set(device, key, Some(fresh));
        }
        let shown: Vec<ThinId> = shown.into_iter().map(id).collect();
        check(&image, &looked_up(&image, 4, 1500), cells, &shown);
    }
}

fn many(count: u32) -> Vec<u8> {
    let devices = (0..count).map(|n| Device {
        id: n,
        runs: vec![(0, u64::from(n) * 10, 12, 0)],
        ..Device::default()
    });
    Pool { devices: devices.collect(), data_blocks: DATA_BLOCKS, ..Pool::default() }.restore(1024)
}

#[test]
fn every_bit_is_a_device_of_its_own() {
    let image = many(100);
    let held = looked_up(&image, 100, 12);
    let shown: Vec<ThinId> = (20..83).map(id).collect();
    check(&image, &held, 777, &shown);
    let more: Vec<ThinId> = (0..100).map(id).collect();
    let found = map_of(&image, 777, &more);
    assert_eq!((found.shown.len(), found.other_count), (SHOWN_MAX, 100 - SHOWN_MAX));
    check_sums(&image, &found);
}

#[test]
fn a_block_that_a_snapshot_replaced_is_seen_where_it_lies() {
    let origin = Device { runs: vec![(0, 0, 20_000, 0)], ..Device::default() };
    let devices = vec![origin, Device { id: 1, ..Device::default() }];
    let mut image = Pool { devices, ..Pool::default() }.restore(1024);
    share(&mut image, 0, 1);
    diverge(&mut image, 1, 1000, 99_999);
    let found = map_of(&image, 10, &[id(1)]);
    let cell = |exclusive, shared| CellBlocks { exclusive, shared };
    assert_eq!(found.cells[..3], [cell(1, 9_999), cell(0, 10_000), cell(0, 0)]);
    assert_eq!(found.cells[9], cell(1, 0));
    assert_eq!(found.shown[&id(1)][0], cell(0, 9_999));
    assert_eq!(found.shown[&id(1)][9], cell(1, 0));
    assert_eq!(found.others[0], cell(1, 9_999));
    assert_eq!(found.others[9], cell(0, 0));
}

#[test]
fn a_pool_without_devices_or_blocks_has_an_empty_map() {
    let image = Pool::default().restore(1024);
    let found = map_of(&image, 1000, &[id(7)]);
    assert_eq!((found.cells.len(), CellBlocks::sum(&found.cells).mapped()), (1000, 0));
    let request = MapRequest { total_data_blocks: DataBlocks::ZERO, cells: 0, shown: &[] };
    let found = map(&image, &superblock_of(&image), &request, &mut |_| ()).unwrap();
    assert!(found.cells.is_empty() && found.others.is_empty());
}

#[test]
fn a_mapping_beyond_the_end_is_damage() {
    let image = many(2);
    let request = MapRequest { total_data_blocks: DataBlocks::new(15), cells: 5, shown: &[] };
    let error = map(&image, &superblock_of(&image), &request, &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("15"), "{error}");
}

#[test]
fn each_node_is_met_once() {
    let mut image = many(3);
    share(&mut image, 0, 1);
    let request = MapRequest { total_data_blocks: DataBlocks::new(4000), cells: 9, shown: &[] };
    let mut met = 0;
    map(&image, &superblock_of(&image), &request, &mut |done| met = done).unwrap();
    assert_eq!(met, 2, "two of the three devices have one leaf");
}
