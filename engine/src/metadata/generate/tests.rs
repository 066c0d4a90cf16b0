//! The kernel's tools judge generated images.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;

use super::super::census::{self, Counted};
use super::super::fixture::{
    Device as Expected, Pool as ExpectedPool, Run, counts_of, superblock_of, thin_check, thin_dump,
};
use super::super::list_devices;
use super::super::mappings::TIME_BITS;
use super::*;
use crate::units::{BlockSize, Sectors};

/// An image, and the mappings that it should hold.
struct Sample {
    image: Vec<u8>,
    mappings: BTreeMap<ThinId, Vec<u64>>,
    generated: Generated,
}

fn sample(shape: &Shape) -> Sample {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut mappings = BTreeMap::new();
    let generated = generate_observed(shape, file.as_file(), &mut |id, all| {
        assert!(mappings.insert(id, all.to_vec()).is_none());
    });
    Sample { image: fs::read(file.path()).unwrap(), mappings, generated: generated.unwrap() }
}

fn shapes() -> Vec<Shape> {
    let base = Shape::one_volume(60_000);
    vec![
        Shape::one_volume(0),
        base.clone(),
        Shape::snapshots(60_000, 12, Spread::Clustered),
        Shape::snapshots(60_000, 12, Spread::Random),
        Shape { run_blocks_max: 1, pool: Some(in_pool()), ..base.clone() },
        Shape { changed_blocks: 0, ..Shape::snapshots(1000, 4, Spread::Random) },
        Shape { volume_count: 3, node_entries: 252, seed: 9, ..base },
        Shape { snapshots_each: 2, changed_blocks: 5, ..Shape::small_volumes(300, 300) },
    ]
}

/// A pool with other facts than an image has by itself.
fn in_pool() -> InPool {
    InPool {
        first_id: ThinId::new(7).unwrap(),
        transaction_id: TransactionId::new(42),
        block_size: BlockSize::new(Sectors::new(128)).unwrap(),
    }
}

fn runs(mappings: &[u64]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (key, mapping) in (0..).zip(mappings) {
        let (data, time) = (mapping >> TIME_BITS, u32::try_from(mapping & 0xff_ffff).unwrap());
        match runs.last_mut() {
            Some((_, first, length, then)) if *first + *length == data && *then == time => {
                *length += 1;
            }
            _ => runs.push((key, data, 1, time)),
        }
    }
    runs
}

#[test]
fn the_tools_find_what_was_meant() {
    for shape in shapes() {
        let Sample { image, mappings, generated } = sample(&shape);
        thin_check(&image);
        let superblock = superblock_of(&image);
        let details = list_devices(&image, &superblock).unwrap();
        if let Some(pool) = shape.pool {
            assert_eq!(superblock.transaction_id, pool.transaction_id);
            assert_eq!(generated.devices[0], pool.first_id);
        }
        assert_eq!(details.keys().copied().collect::<Vec<_>>(), generated.devices);
        assert_eq!(mappings.keys().copied().collect::<Vec<_>>(), generated.devices);
        let devices = mappings.iter().map(|(id, mappings)| Expected {
            id: id.get(),
            transaction: details[id].transaction_id.get(),
            creation_time: details[id].creation_time,
            snap_time: details[id].snapshotted_time,
            runs: runs(mappings),
        });
        let expected = ExpectedPool {
            time: superblock.time,
            transaction: superblock.transaction_id.get(),
            block_sectors: if shape.pool.is_some() { 128 } else { 256 },
            data_blocks: superblock.data_space_map.total_blocks,
            devices: devices.collect(),
        };
        assert!(expected.xml() == thin_dump(&image), "{shape:?}");
    }
}

#[test]
fn the_counts_are_those_of_a_census() {
    for shape in shapes() {
        let Sample { image, generated, .. } = sample(&shape);
        let superblock = superblock_of(&image);
        let data_blocks = superblock.data_space_map.total_blocks;
        let empty = Counted {
            metadata: ReferenceCounts::new(generated.total_metadata_blocks.get()),
            data: ReferenceCounts::new(data_blocks),
        };
        let counted = census::count(&image, &superblock, empty, &mut |_| Ok(())).unwrap();
        let data = counts_of(&image, &superblock.data_space_map, false);
        let metadata = counts_of(&image, &superblock.metadata_space_map, true);
        assert_eq!(data.len() as u64, generated.used_data_blocks.get());
        assert_eq!(metadata.len() as u64, generated.used_metadata_blocks.get());
        assert_eq!(data, all_of(counted.data));
        // Blocks that no tree reaches hold the space maps, which refer to each of them once.
        let reached = all_of(counted.metadata);
        for (block, count) in metadata {
            assert_eq!(count, reached.get(&block).copied().unwrap_or(1), "{shape:?}: {block}");
        }
    }
}

/// Every count that is not zero; one more reference tells what there was before.
fn all_of(mut counts: ReferenceCounts) -> BTreeMap<u64, u32> {
    let blocks = 0..counts.total_blocks();
    blocks.map(|block| (block, counts.increment(block).unwrap())).filter(|(_, n)| *n > 0).collect()
}

#[test]
fn snapshots_share_what_did_not_change() {
    // A path for each changed leaf at most, and the trees of counts of 3 and more.
    for (spread, most) in [(Spread::Clustered, 4), (Spread::Random, 63)] {
        let alone = sample(&Shape::one_volume(60_000)).generated.used_metadata_blocks.get();
        let shape = Shape::snapshots(60_000, 10, spread);
        let Sample { image, generated, .. } = sample(&shape);
        let more = generated.used_metadata_blocks.get() - alone;
        assert!(
            (30..=10 * most + 100).contains(&more),
            "{spread:?}: {more} blocks more than {alone}"
        );
        assert_eq!(generated.used_data_blocks.get(), 60_600);
        let superblock = superblock_of(&image);
        let counts = counts_of(&image, &superblock.metadata_space_map, true);
        assert!(counts.values().any(|count| *count >= 3), "{spread:?}");
    }
}
