//! No bytes may stop the process: random and mutated blocks, under right checksums, against
//! everything that reads.
#![forbid(unsafe_code)]

use std::sync::LazyLock;

use proptest::prelude::*;

use super::checksum::BlockKind;
use super::error::KeyRange;
use super::fault::NodeFault;
use super::field::BLOCK_BYTES;
use super::fixture::{Device, Pool, block_of, patch, superblock_of};
use super::node::Node;
use super::superblock::Superblock;
use super::{
    MetadataError, SuperblockState, UsageRequest, check_closed, copy_closed, copy_held, diff,
    highest_mapped_block, list_devices, prove_devices, read_held_superblock, read_superblock,
    usage,
};
use crate::aligned::AlignedBuffer;
use crate::units::{DataBlocks, ThinId};

/// A pool with trees of two levels, under a metadata snapshot.
static IMAGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let devices = (0..300).map(|id| Device {
        id,
        runs: (0..if id == 7 || id == 8 { 1000 } else { 2 }).map(|n| (n * 3, n, 1, 0)).collect(),
        ..Device::default()
    });
    let mut image = Pool { devices: devices.collect(), ..Pool::default() }.restore(512);
    super::fixture::hold(&mut image, 500);
    image
});

fn id(id: u32) -> ThinId {
    ThinId::new(id).unwrap()
}

/// Everything that reads; what it returns does not matter, that it returns does.
fn read_everything(image: &Vec<u8>) {
    let _ = prove_devices(image, &[id(0), id(7), id(299), ThinId::MAX]);
    let out = tempfile::tempfile().unwrap();
    let _ = copy_closed(image, &out, &mut |_, _| ());
    let _ = check_closed(image, &mut |_, _| ());
    let Ok(SuperblockState::Valid(superblock)) = read_superblock(image) else {
        return;
    };
    let _ = list_devices(image, &superblock);
    let request =
        UsageRequest { total_data_blocks: DataBlocks::new(100_000), set: &[id(0), id(7)] };
    let _ = usage(image, &superblock, &request, &mut |_| ());
    for id in [id(0), id(7), ThinId::MAX] {
        let _ = highest_mapped_block(image, &superblock, id);
    }
    for from in [None, Some(id(0)), Some(id(8))] {
        let _ = diff::<MetadataError>(image, &superblock, from, id(7), &mut |_| Ok(()));
    }
    let Ok(Some(held)) = read_held_superblock(image, &superblock) else {
        return;
    };
    let _ = copy_held(image, &held, DataBlocks::new(100_000), &out, &mut |_, _| ());
}

/// The blocks that hold anything, and what they hold.
fn used_blocks() -> Vec<(u64, BlockKind)> {
    let kinds = [BlockKind::Superblock, BlockKind::Node, BlockKind::Index, BlockKind::Bitmap];
    let blocks = (0..).zip(IMAGE.chunks_exact(BLOCK_BYTES));
    let kind = |bytes: &[u8]| {
        kinds.into_iter().find(|kind| kind.compute(bytes) == BlockKind::stored(bytes))
    };
    blocks.filter_map(|(block, bytes)| Some((block, kind(bytes)?))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_blocks_are_parsed(mut bytes in prop::collection::vec(any::<u8>(), BLOCK_BYTES), seal: bool) {
        for kind in [BlockKind::Superblock, BlockKind::Node] {
            if seal {
                kind.seal(&mut bytes);
            }
            let _ = Superblock::parse(0, &bytes);
            let _ = Node::parse(0, AlignedBuffer::padded(&bytes, BLOCK_BYTES), 24, KeyRange::ALL);
        }
    }

    #[test]
    fn short_blocks_are_parsed(bytes in prop::collection::vec(any::<u8>(), 0..BLOCK_BYTES)) {
        let _ = Superblock::parse(0, &bytes);
        let _ = Node::parse(0, AlignedBuffer::padded(&bytes, 1), 8, KeyRange::ALL);
        let _ = read_superblock(&bytes);
    }

    #[test]
    fn mutated_pools_are_read(
        mutations in prop::collection::vec(
            (any::<prop::sample::Index>(), prop_oneof![0_usize..64, 0..BLOCK_BYTES], any::<[u8; 8]>(), 1_usize..=8),
            1..6,
        )
    ) {
        let used = used_blocks();
        let mut image = IMAGE.clone();
        for (block, offset, field, length) in mutations {
            let (block, kind) = *block.get(&used);
            patch(&mut image, block, kind, offset.min(BLOCK_BYTES - 8), &field[..length]);
        }
        read_everything(&image);
    }

    #[test]
    fn pointers_to_anywhere_are_followed_safely(
        mutations in prop::collection::vec(
            (any::<prop::sample::Index>(), 0_usize..300, any::<prop::sample::Index>()),
            1..8,
        )
    ) {
        let used = used_blocks();
        let mut image = IMAGE.clone();
        for (block, entry, target) in mutations {
            let (block, kind) = *block.get(&used);
            let (target, _) = *target.get(&used);
            let offset = 32 + 252 * 8 + entry.min(250) * 8;
            patch(&mut image, block, kind, offset, &target.to_le_bytes());
        }
        read_everything(&image);
    }
}

#[test]
fn a_tree_that_bites_its_tail_is_reported() {
    let mut image = IMAGE.clone();
    let superblock = superblock_of(&image);
    let root = superblock.device_details_root;
    let node = block_of(&mut image, root).to_vec();
    assert_eq!(node[4], 1, "the root of 300 devices is an internal node");
    patch(&mut image, root, BlockKind::Node, 32 + 252 * 8, &root.to_le_bytes());
    let error = list_devices(&image, &superblock).unwrap_err();
    assert!(matches!(error, MetadataError::Node { fault: NodeFault::Cycle, .. }), "{error}");
    // A lookup meets the root again as its own first child, where the other keys do not belong.
    let error = super::device_details(&image, &superblock, id(0)).unwrap_err();
    assert!(matches!(error, MetadataError::Node { .. }), "{error}");
}

#[test]
fn a_chain_without_end_is_reported() {
    // A root with one entry that leads to itself: every key fits for ever.
    let mut image = IMAGE.clone();
    let superblock = superblock_of(&image);
    let root = superblock.device_details_root;
    patch(&mut image, root, BlockKind::Node, 16, &1_u32.to_le_bytes());
    patch(&mut image, root, BlockKind::Node, 32 + 252 * 8, &root.to_le_bytes());
    let error = super::device_details(&image, &superblock, id(0)).unwrap_err();
    assert!(
        matches!(error, MetadataError::Node { fault: NodeFault::TooDeep { .. }, .. }),
        "{error}"
    );
}
