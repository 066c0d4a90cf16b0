//! What a check must find, and what it must not.
#![forbid(unsafe_code)]

use super::super::checksum::BlockKind;
use super::super::field::{BLOCK_BYTES, u32_at, u64_at};
use super::super::fixture::{
    Device, Pool, block_of, diverge, hold, patch, random_pool, share, superblock_of, thin_check,
};
use super::super::generate::{Shape, Spread, generate};
use super::*;

fn check(image: &Vec<u8>) -> CheckReport {
    check_closed(image, &mut |_, _| ()).unwrap()
}

fn kinds(image: &Vec<u8>) -> Vec<&'static str> {
    check(image).findings.iter().map(CheckFinding::kind).collect()
}

fn is_clean(image: &Vec<u8>) {
    let report = check(image);
    let told: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(report.worst() <= Some(Severity::Note), "{told:#?}");
    assert!(told.len() <= 2, "{told:#?}");
}

/// A pool of some devices, one with a tree of two levels.
fn pool() -> Vec<u8> {
    let deep = (0..3000).map(|n| (n * 7, n, 1, 0)).collect();
    let devices = vec![
        Device { id: 1, runs: deep, ..Device::default() },
        Device { id: 5, runs: vec![(0, 9000, 20, 1)], ..Device::default() },
        Device { id: 9, ..Device::default() },
    ];
    Pool { devices, ..Pool::default() }.restore(1024)
}

#[test]
fn sound_pools_are_clean() {
    is_clean(&pool());
    is_clean(&Pool::default().restore(1024));
    for (seed, devices) in [(0, 5), (1, 5), (2, 5), (7, 60)] {
        // Random pools have times that no pool has.
        let mut found = kinds(&random_pool(seed, devices, 50_000).restore(16_384));
        found.retain(|kind| !["FromTheFuture", "IndexEntry", "AllocatedBlocks"].contains(kind));
        assert!(found.is_empty(), "{found:?}");
    }
}

#[test]
fn shared_nodes_are_clean_when_their_counts_are() {
    let file = tempfile::tempfile().unwrap();
    let shape = Shape::snapshots(20_000, 6, Spread::Random);
    generate(&shape, &file).unwrap();
    let image = super::super::ImageFile::from_file(file, std::path::Path::new("image")).unwrap();
    let report = check_closed(&image, &mut |_, _| ()).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert!(report.device_count > 3);
}

#[test]
fn a_count_that_is_too_low_is_an_error() {
    // Sharing by hand leaves the counts as they were: the root is in use twice and counted once.
    let mut image = pool();
    share(&mut image, 1, 9);
    let report = check(&image);
    assert_eq!(report.worst(), Some(Severity::Error));
    let kinds = kinds(&image);
    assert!(kinds.contains(&"CountTooLow"), "{kinds:?}");
    assert!(kinds.contains(&"Leaked"), "the empty root that nothing leads to: {kinds:?}");
}

#[test]
fn data_counts_are_held_against_the_mappings() {
    let mut image = pool();
    share(&mut image, 1, 9);
    diverge(&mut image, 9, 1000, 70_000);
    let found = check(&image).findings;
    let too_low = found.iter().any(|finding| {
        matches!(
            finding,
            CheckFinding::CountTooLow {
                map: SpaceMapKind::Data,
                first: 70_000,
                length: 1,
                stored: 0,
                counted: 1
            }
        )
    });
    assert!(too_low, "{found:?}");
}

#[test]
fn a_leak_is_a_warning_and_named_with_its_counts() {
    let mut image = pool();
    let index = superblock_of(&image).metadata_space_map.bitmap_root;
    let bitmap = u64_at(block_of(&mut image, index), 16);
    // Blocks 1020 to 1023 of metadata: counted twice, and free until now.
    patch(&mut image, bitmap, BlockKind::Bitmap, 16 + 255, &[0b01_01_01_01]);
    let report = check(&image);
    assert_eq!(report.worst(), Some(Severity::Warning));
    assert!(
        matches!(
            report.findings[..],
            [
                CheckFinding::IndexEntry { map: SpaceMapKind::Metadata, bitmap: 0, .. },
                CheckFinding::Leaked {
                    map: SpaceMapKind::Metadata,
                    first: 1020,
                    length: 4,
                    stored: 2,
                    counted: 0
                },
                CheckFinding::AllocatedBlocks { map: SpaceMapKind::Metadata, .. },
            ]
        ),
        "{:?}",
        report.findings
    );
}

#[test]
fn details_are_held_against_the_trees() {
    let image = pool();
    let superblock = superblock_of(&image);
    let with = |block, offset: usize, field: &[u8]| {
        let mut image = image.clone();
        patch(&mut image, block, BlockKind::Node, offset, field);
        kinds(&image)
    };
    let details = superblock.device_details_root;
    let values = 32 + 126 * 8;
    assert_eq!(with(details, values, &[77]), ["MappedBlocks"]);
    assert_eq!(with(details, values + 16, &[77]), ["FromTheFuture"]);
    assert_eq!(with(details, 32, &2_u64.to_le_bytes()), ["NoDetails", "NoMappings"]);
    let devices = superblock.data_mapping_root;
    let leaf = {
        let mut image = image.clone();
        u64_at(block_of(&mut image, devices), 32 + 252 * 8 + 8)
    };
    let time = ((9000_u64 << 24) | 0xff).to_le_bytes();
    assert_eq!(with(leaf, 32 + 252 * 8, &time), ["FromTheFuture"]);
}

#[test]
fn damage_costs_one_finding_and_the_rest_is_read() {
    let mut image = pool();
    let superblock = superblock_of(&image);
    let devices = superblock.data_mapping_root;
    let root = u64_at(block_of(&mut image, devices), 32 + 252 * 8);
    let first_leaf = u64_at(block_of(&mut image, root), 32 + 252 * 8);
    let entries = u64::from(u32_at(block_of(&mut image, first_leaf), 16));
    block_of(&mut image, first_leaf)[50] ^= 1;
    let report = check(&image);
    assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
    let told = report.findings[0].to_string();
    assert!(told.contains("thin device 1") && told.contains("virtual blocks 0 to"), "{told}");
    assert_eq!(report.mapped_blocks.get() + entries, 3020, "one leaf is gone");
    assert_eq!(report.device_count, 3);
}

#[test]
fn the_flag_and_the_held_root_are_told() {
    let mut image = pool();
    patch(&mut image, 0, BlockKind::Superblock, 4, &[1]);
    assert_eq!(kinds(&image), ["NeedsCheck"]);
    hold(&mut image, 1000);
    let found = kinds(&image);
    assert!(found.contains(&"HeldRoot") && found.contains(&"CountTooLow"), "{found:?}");
    block_of(&mut image, 1000)[60] ^= 1;
    assert!(kinds(&image).contains(&"Damage"));
}

#[test]
fn space_maps_of_another_size_are_told() {
    let image = pool();
    let with = |offset: usize, field: u64| {
        let mut image = image.clone();
        patch(&mut image, 0, BlockKind::Superblock, offset, &field.to_le_bytes());
        kinds(&image)
    };
    assert!(with(192, 1 << 20).contains(&"BeyondDevice"));
    assert!(with(64, 3_000_000).contains(&"SpaceMapBlock"), "bitmaps are missing");
    assert!(with(64, u64::MAX).contains(&"SpaceMapBlock"), "absurd");
    assert!(with(64 + 8, 1).contains(&"AllocatedBlocks"));
    assert!(!with(64 + 16, 1 << 40).is_empty(), "a root beyond the end");
    assert!(!with(64 + 24, 0).is_empty(), "a root that is the superblock");
}

#[test]
fn the_kernel_counts_what_lies_beyond_the_end_as_free() {
    let image = pool();
    let index = superblock_of(&image).metadata_space_map.bitmap_root;
    let with = |more: u32| {
        let mut image = image.clone();
        let free = u32_at(block_of(&mut image, index), 16 + 8) + more;
        patch(&mut image, index, BlockKind::Index, 16 + 8, &free.to_le_bytes());
        kinds(&image)
    };
    assert!(with(16_320 - 1024).is_empty());
    assert_eq!(with(16_320 - 1023), ["IndexEntry"]);
}

/// Every bit of every block of a small image, in use or not.
#[test]
fn a_flipped_bit_is_found_or_outside_of_what_is_used() {
    let file = tempfile::NamedTempFile::new().unwrap();
    generate(&Shape::small_volumes(3, 5), file.as_file()).unwrap();
    let image = std::fs::read(file.path()).unwrap();
    let total = (image.len() / BLOCK_BYTES) as u64;
    is_clean(&image);
    let used: Vec<bool> = {
        let superblock = superblock_of(&image);
        let counts = super::super::fixture::counts_of(&image, &superblock.metadata_space_map, true);
        (0..total).map(|block| counts.contains_key(&block)).collect()
    };
    assert!(used.iter().filter(|used| **used).count() > 7);
    let mut flipped = image.clone();
    for (block, used) in used.into_iter().enumerate() {
        // A checksum finds every single bit alike; the first bytes are special, so all of theirs.
        let bits = (0..64 * 8).chain((64 * 8..BLOCK_BYTES * 8).step_by(61));
        for bit in bits {
            let place = block * BLOCK_BYTES + bit / 8;
            flipped[place] ^= 1 << (bit % 8);
            let found = !kinds(&flipped).is_empty();
            assert_eq!(found, used, "bit {bit} of block {block}");
            flipped[place] = image[place];
        }
    }
}

/// The judge of others agrees where it looks: what it refuses is refused here.
#[test]
fn what_thin_check_refuses_is_refused() {
    let image = pool();
    let blocks: Vec<u64> = (0..1024).collect();
    let mut refused = 0;
    for block in blocks.iter().step_by(3) {
        let mut image = image.clone();
        block_of(&mut image, *block)[100] ^= 0x40;
        let judged = std::panic::catch_unwind(|| thin_check(&image)).is_err();
        refused += u32::from(judged);
        assert!(!judged || !kinds(&image).is_empty(), "block {block}");
        if block > &60 {
            break;
        }
    }
    assert!(refused > 3, "{refused}");
}
