//! Against every mapping of both devices, against `thin_delta`, and against the nodes that they share.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use proptest::prelude::*;

use super::super::btree::{Visitor, lookup, walk};
use super::super::checksum::BlockKind;
use super::super::error::KeyRange;
use super::super::fault::NodeFault;
use super::super::field::BLOCK_BYTES;
use super::super::fixture::{Device, Pool, Writer, patch, share, superblock_of, thin_delta};
use super::super::mappings::TIME_BITS;
use super::super::node::Node;
use super::*;
use crate::aligned::AlignedBuffer;

const FREE: u64 = 700;

fn id(id: u32) -> ThinId {
    ThinId::new(id).unwrap()
}

/// A device of `count` mappings with gaps, and two that become snapshots of it.
fn family(count: u64) -> Vec<u8> {
    let runs = (0..count).map(|n| (n * 2 + n / 7, n, 1, 1)).collect();
    let mut devices = vec![Device { id: 1, runs, ..Device::default() }];
    devices.extend([2, 3].map(|id| Device { id, ..Device::default() }));
    let mut image = Pool { devices, ..Pool::default() }.restore(4096);
    share(&mut image, 1, 2);
    share(&mut image, 1, 3);
    image
}

/// A source that notes what is read.
struct Noting<'a>(&'a Vec<u8>, Mutex<Vec<u64>>);

impl BlockSource for Noting<'_> {
    fn read_block(&self, block: u64) -> Result<AlignedBuffer, MetadataError> {
        self.1.lock().unwrap().push(block);
        self.0.read_block(block)
    }

    fn block_count(&self) -> u64 {
        self.0.block_count()
    }

    fn name(&self) -> String {
        self.0.name()
    }
}

/// Every mapping and every node of a tree.
#[derive(Default)]
struct All {
    mappings: BTreeMap<u64, u64>,
    nodes: BTreeSet<u64>,
    height: usize,
}

impl Visitor for All {
    fn enter(&mut self, _: Tree, block: u64, _: KeyRange) -> Result<bool, MetadataError> {
        Ok(self.nodes.insert(block))
    }

    fn visit(&mut self, _: Tree, node: &Node) -> Result<(), MetadataError> {
        if node.is_internal() && node.keys() == KeyRange::ALL {
            self.height += 1;
        }
        for index in (0..node.entries()).filter(|_| !node.is_internal()) {
            self.mappings.insert(node.key(index), node.number(index) >> TIME_BITS);
        }
        Ok(())
    }
}

fn all_of(image: &Vec<u8>, device: u32) -> All {
    let superblock = superblock_of(image);
    let top = lookup(image, Tree::Devices, superblock.data_mapping_root, device.into()).unwrap();
    let root = u64_at(&top.unwrap(), 0);
    let mut all = All::default();
    walk(image, Tree::Mappings(id(device)), root, &mut all).unwrap();
    all.height = height_of(image, root);
    all
}

fn height_of(image: &Vec<u8>, block: u64) -> usize {
    let bytes = image.read_block(block).unwrap();
    let node = Node::parse(block, bytes, 8, KeyRange::ALL).unwrap();
    if node.is_internal() { 1 + height_of(image, node.number(0)) } else { 0 }
}

fn ranges(image: &Vec<u8>, from: Option<u32>, to: u32) -> Vec<DiffRange> {
    let mut found = Vec::new();
    diff::<MetadataError>(image, &superblock_of(image), from.map(id), id(to), &mut |range| {
        found.push(range);
        Ok(())
    })
    .unwrap();
    found
}

/// What differs by all the mappings of both.
fn expected(from: &All, to: &All) -> Vec<DiffRange> {
    let mut kinds = BTreeMap::new();
    for (key, data) in &to.mappings {
        match from.mappings.get(key) {
            None => drop(kinds.insert(*key, DiffKind::Added)),
            Some(other) if other != data => drop(kinds.insert(*key, DiffKind::Changed)),
            Some(_) => {}
        }
    }
    let gone = from.mappings.keys().filter(|key| !to.mappings.contains_key(key));
    kinds.extend(gone.map(|key| (*key, DiffKind::Removed)));
    let mut merged: Vec<DiffRange> = Vec::new();
    for (virtual_block, kind) in kinds {
        match merged.last_mut() {
            Some(last)
                if last.kind == kind && last.virtual_block + last.length.get() == virtual_block =>
            {
                last.length = DataBlocks::new(last.length.get() + 1);
            }
            _ => merged.push(DiffRange { virtual_block, length: DataBlocks::new(1), kind }),
        }
    }
    merged
}

/// Compares two devices, and proves what was read: nothing twice, nothing that both share, but for
/// one node a level by which the trees differ in height.
fn check(image: &Vec<u8>, from: u32, to: u32) {
    let (a, b) = (all_of(image, from), all_of(image, to));
    assert_eq!(ranges(image, Some(from), to), expected(&a, &b), "{from} to {to}");
    let source = Noting(image, Mutex::default());
    let superblock = superblock_of(image);
    let report =
        diff::<MetadataError>(&source, &superblock, Some(id(from)), id(to), &mut |_| Ok(()));
    let mut read = source.1.into_inner().unwrap();
    read.retain(|block| a.nodes.contains(block) || b.nodes.contains(block));
    let distinct: BTreeSet<u64> = read.iter().copied().collect();
    assert_eq!(distinct.len(), read.len(), "a node was read twice: {read:?}");
    assert_eq!(report.unwrap().nodes_read, read.len() as u64);
    let shared = distinct.iter().filter(|block| a.nodes.contains(block) && b.nodes.contains(block));
    let shared = shared.count();
    assert!(shared <= a.height.abs_diff(b.height), "{shared} shared nodes were read");
}

/// Kinds in the words of `thin_delta`, runs of equal ones joined.
fn as_delta(ranges: &[DiffRange]) -> Vec<(String, u64, u64)> {
    let word = |kind| match kind {
        DiffKind::Added => "right_only",
        DiffKind::Changed => "different",
        DiffKind::Removed => "left_only",
    };
    ranges.iter().map(|r| (word(r.kind).to_owned(), r.virtual_block, r.length.get())).collect()
}

/// What `thin_delta` says, without what is the same; it cuts runs where the data blocks jump.
fn delta(image: &[u8], ids: [u32; 2]) -> Vec<(String, u64, u64)> {
    let mut rows: Vec<(String, u64, u64)> = Vec::new();
    for (kind, first, length) in thin_delta(image, ids) {
        match rows.last_mut() {
            _ if kind == "same" => {}
            Some((last, start, so_far)) if *last == kind && *start + *so_far == first => {
                *so_far += length;
            }
            _ => rows.push((kind, first, length)),
        }
    }
    rows
}

#[derive(Debug, Clone)]
enum Edit {
    Set(u32, prop::sample::Index, Option<u64>),
    Split(u32),
    Snapshot,
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let set = (1..3_u32, any::<prop::sample::Index>(), prop::option::of(0..90_000_u64))
        .prop_map(|(id, at, data)| Edit::Set(id, at, data));
    let edit =
        prop_oneof![20 => set, 1 => (1..3_u32).prop_map(Edit::Split), 1 => Just(Edit::Snapshot)];
    prop::collection::vec(edit, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn agrees_with_every_mapping_of_both(count in prop_oneof![1..4_u64, 200..300_u64, 1..20_000_u64], edits in edits()) {
        let mut image = family(count);
        let mut free = FREE;
        for edit in &edits {
            if matches!(edit, Edit::Snapshot) {
                share(&mut image, 1, 2);
                continue;
            }
            let mut writer = Writer::new(&mut image, free);
            match edit {
                Edit::Set(id, at, data) => {
                    writer.set(*id, at.index(usize::try_from(count * 2 + count / 7 + 20).unwrap()) as u64, *data);
                }
                Edit::Split(id) => writer.split_root(*id),
                Edit::Snapshot => {}
            }
            free = writer.free;
        }
        for (from, to) in [(1, 2), (2, 1), (3, 1), (2, 3), (1, 1)] {
            check(&image, from, to);
        }
        let all = all_of(&image, 2);
        prop_assert_eq!(ranges(&image, None, 2), expected(&All::default(), &all));
    }
}

#[test]
fn agrees_with_thin_delta() {
    // It takes no node that is less than a third full, which the halves of most roots are.
    for (count, is_split) in [(3, false), (252, true), (20_000, false), (50_000, false)] {
        let mut image = family(count);
        let mut writer = Writer::new(&mut image, FREE);
        for n in 0..60 {
            let key = n * 37 % (count * 2);
            writer.set(1 + u32::try_from(n % 2).unwrap(), key, (n % 3 != 0).then_some(50_000 + n));
        }
        if is_split {
            writer.split_root(2);
        }
        for ids in [[1, 2], [2, 1], [3, 2]] {
            let ours = as_delta(&ranges(&image, Some(ids[0]), ids[1]));
            assert!(!ours.is_empty());
            assert_eq!(ours, delta(&image, ids), "{ids:?} of {count}");
        }
    }
}

#[test]
fn the_cost_is_in_what_differs() {
    let mut image = family(20_000);
    let cost = |image: &Vec<u8>| {
        let superblock = superblock_of(image);
        diff::<MetadataError>(image, &superblock, Some(id(1)), id(2), &mut |_| Ok(()))
            .unwrap()
            .nodes_read
    };
    assert_eq!(cost(&image), 0, "a snapshot that nobody wrote to shares its root");
    Writer::new(&mut image, FREE).set(2, 20_000, Some(7));
    assert_eq!(cost(&image), 4, "one block was written: a root and a leaf on each side");
    assert_eq!(ranges(&image, Some(1), 2).len(), 1);
}

#[test]
fn neighbours_of_another_kind_stay_apart_and_the_last_block_counts() {
    let runs = |data| vec![(0, data, 4, 1), (u64::MAX >> 1, data, 1, 1)];
    let mut devices = vec![Device { id: 1, runs: runs(0), ..Device::default() }];
    devices.push(Device { id: 2, runs: vec![(2, 2, 1, 9), (3, 50, 3, 1)], ..Device::default() });
    let image = Pool { devices, ..Pool::default() }.restore(1024);
    let range = |virtual_block, length, kind| DiffRange {
        virtual_block,
        length: DataBlocks::new(length),
        kind,
    };
    let expected = [
        range(0, 2, DiffKind::Removed),
        range(3, 1, DiffKind::Changed),
        range(4, 2, DiffKind::Added),
        range(u64::MAX >> 1, 1, DiffKind::Removed),
    ];
    assert_eq!(ranges(&image, Some(1), 2), expected);
}

#[test]
fn a_sink_that_fails_and_a_device_that_is_not_there_end_it() {
    let image = family(20);
    let superblock = superblock_of(&image);
    let missing = diff::<MetadataError>(&image, &superblock, None, id(9), &mut |_| Ok(()));
    assert!(matches!(missing, Err(MetadataError::NoDevice { .. })), "{missing:?}");
    let full = || MetadataError::Blank { device: "full".to_owned() };
    let ended = diff(&image, &superblock, None, id(1), &mut |_| Err(full()));
    assert!(matches!(ended, Err(MetadataError::Blank { .. })), "{ended:?}");
}

#[test]
fn a_leaf_at_another_depth_is_damage() {
    let mut image = family(20_000);
    let mut writer = Writer::new(&mut image, FREE);
    writer.split_root(2);
    let root = writer.root(2);
    let second = u64_at(&image[usize::try_from(root).unwrap() * BLOCK_BYTES..], 32 + 252 * 8 + 8);
    let below = u64_at(&image[usize::try_from(second).unwrap() * BLOCK_BYTES..], 32 + 252 * 8);
    patch(&mut image, root, BlockKind::Node, 32 + 252 * 8 + 8, &below.to_le_bytes());
    let superblock = superblock_of(&image);
    let damage = diff::<MetadataError>(&image, &superblock, None, id(2), &mut |_| Ok(()));
    let error = damage.unwrap_err();
    let is_uneven = matches!(error, MetadataError::Node { fault: NodeFault::UnevenDepth, .. });
    assert!(is_uneven, "{error}");
}
