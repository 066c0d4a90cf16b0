//! A pool's metadata from arbitrary bytes.
#![forbid(unsafe_code)]
#![allow(clippy::missing_panics_doc, reason = "a broken promise is told by a panic")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::checksum::BlockKind;
use super::field::BLOCK_BYTES;
use super::{
    BlockSource, CellBlocks, DeviceDetails, DiffKind, DiffRange, ImageFile, MapRequest,
    MetadataError, Severity, Superblock, SuperblockState, UsageRequest, check_closed, copy_closed,
    copy_held, device_details, diff, highest_mapped_block, list_devices, map, mapped_data_block,
    prove_devices, read_held_superblock, read_superblock, unshared, usage,
};
use crate::aligned::AlignedBuffer;
use crate::fuzzing::asks;
use crate::units::{DataBlocks, ThinId};

/// How long the image is.
const IMAGE_BLOCKS: usize = 64;
/// Bytes of one change of the image.
const CHANGE_BYTES: usize = 12;
/// What a block may be, by the lower bits of a change's second byte.
const KINDS: [BlockKind; 4] =
    [BlockKind::Superblock, BlockKind::Node, BlockKind::Index, BlockKind::Bitmap];
/// How many devices are compared with each other.
const DIFFS: usize = 3;
/// How many devices are looked up one by one.
const LOOKUPS: usize = 8;
/// No reader may ask for more: a key range is entered at most once at each of 63 levels, and an
/// empty leaf once for each of the 252 entries of a node.
const READS_MAX: u64 = 63 * 253 * IMAGE_BLOCKS as u64;

/// Input: changes of an image of zeros, each a block (1 byte), its kind (1 byte; bit 7: leave its
/// checksum wrong), the number of a word of eight bytes (2 bytes) and the word.
pub fn metadata_block(data: &[u8]) -> bool {
    let source = Counting { image: image_of(data), reads: AtomicU64::new(0) };
    let ids = [0, 1, 7, ThinId::MAX.get()].into_iter().filter_map(|id| ThinId::new(id).ok());
    let _ = prove_devices(&source, &ids.collect::<Vec<_>>());
    let is_read = match read_superblock(&source) {
        Ok(SuperblockState::Valid(live)) => read_all(&source, &live),
        _ => false,
    };
    check_closed_copy(&source, is_read);
    check_check(&source);
    is_read
}

fn image_of(data: &[u8]) -> Vec<u8> {
    let mut image = vec![0; IMAGE_BLOCKS * BLOCK_BYTES];
    let mut kinds = BTreeMap::new();
    for change in data.chunks_exact(CHANGE_BYTES) {
        let [block, kind, low, high, word @ ..] = change else { continue };
        let block = usize::from(*block) % IMAGE_BLOCKS;
        let place = usize::from(u16::from_le_bytes([*low, *high])) * 8 % BLOCK_BYTES;
        image[block * BLOCK_BYTES + place..][..8].copy_from_slice(word);
        kinds.insert(block, *kind);
    }
    for (block, kind) in kinds.into_iter().filter(|(_, kind)| !asks(*kind, 7)) {
        let kind = KINDS[usize::from(kind) % KINDS.len()];
        kind.seal(&mut image[block * BLOCK_BYTES..][..BLOCK_BYTES]);
    }
    image
}

/// Reads the live pool, and the held one where there is one; whether all of it was sound.
fn read_all(source: &Counting, live: &Superblock) -> bool {
    let Ok(devices) = list_devices(source, live) else { return false };
    check_lookups(source, live, &devices);
    check_diffs(source, live, &devices);
    if let Ok(Some(held)) = read_held_superblock(source, live) {
        for total in [live.data_space_map.total_blocks, 1 << 17] {
            check_held_copy(source, &held, DataBlocks::new(total));
        }
    }
    true
}

/// A lookup finds what a walk has found.
fn check_lookups(
    source: &Counting,
    superblock: &Superblock,
    devices: &BTreeMap<ThinId, DeviceDetails>,
) {
    for (id, details) in devices.iter().take(LOOKUPS) {
        let found = source.bounded(|source| device_details(source, superblock, *id));
        assert!(found.is_ok_and(|found| found == Some(*details)), "{id} is listed only");
        let highest = source.bounded(|source| highest_mapped_block(source, superblock, *id));
        if let Ok(Some(block)) = highest {
            let mapped = mapped_data_block(source, superblock, *id, block);
            assert!(matches!(mapped, Ok(Some(_))), "block {block} of {id}: {mapped:?}");
        }
        let alone = source.bounded(|source| unshared(source, *id)).unwrap_or_default();
        let lengths = alone.ranges.iter().map(|range| range.end - range.start);
        assert!(alone.mapped_blocks <= lengths.sum(), "{id} maps blocks twice");
        assert!(alone.ranges.is_sorted_by(|a, b| a.end < b.start), "{id}: {:?}", alone.ranges);
    }
}

/// A comparison ascends, the way back is its mirror, and nothing differs from itself.
fn check_diffs(
    source: &Counting,
    superblock: &Superblock,
    devices: &BTreeMap<ThinId, DeviceDetails>,
) {
    let ids: Vec<ThinId> = devices.keys().copied().take(DIFFS).collect();
    for to in &ids {
        let _ = ranges(source, superblock, None, *to);
        for from in &ids {
            let there = ranges(source, superblock, Some(*from), *to);
            // The way back may meet damage that both share: it reads the other path first.
            let back = ranges(source, superblock, Some(*to), *from);
            let (Ok(there), Ok(back)) = (there, back) else { continue };
            let back: Vec<DiffRange> = back.into_iter().map(mirrored).collect();
            assert_eq!(there, back, "{from} to {to} and back");
            assert!(from != to || there.is_empty(), "{to} differs from itself");
        }
    }
}

fn mirrored(range: DiffRange) -> DiffRange {
    let kind = match range.kind {
        DiffKind::Added => DiffKind::Removed,
        DiffKind::Changed => DiffKind::Changed,
        DiffKind::Removed => DiffKind::Added,
    };
    DiffRange { kind, ..range }
}

fn ranges(
    source: &Counting,
    superblock: &Superblock,
    from: Option<ThinId>,
    to: ThinId,
) -> Result<Vec<DiffRange>, MetadataError> {
    let mut found: Vec<DiffRange> = Vec::new();
    source.bounded(|source| {
        diff::<MetadataError>(source, superblock, from, to, &mut |range| {
            let end = |last: &DiffRange| last.virtual_block.checked_add(last.length.get());
            let ascends = found
                .last()
                .is_none_or(|last| end(last).is_some_and(|end| range.virtual_block >= end));
            assert!(ascends, "{range:?} after {:?}", found.last());
            found.push(range);
            Ok(())
        })
    })?;
    Ok(found)
}

/// A copy that succeeds is a pool with the same devices.
fn check_held_copy(source: &Counting, held: &Superblock, total: DataBlocks) {
    let Some(out) = file() else { return };
    let copied = source.bounded(|source| copy_held(source, held, total, &out, &mut |_, _| ()));
    if copied.is_err() {
        return;
    }
    let Ok(copy) = ImageFile::from_file(out, Path::new("copy")) else { return };
    let live = read_superblock(&copy);
    assert!(matches!(live, Ok(SuperblockState::Valid(_))), "the copy is no pool: {live:?}");
    let Ok(SuperblockState::Valid(live)) = live else { return };
    let devices = list_devices(&copy, &live);
    let wanted = list_devices(source, held);
    let same = devices.as_ref().is_ok_and(|devices| wanted.as_ref().ok() == Some(devices));
    assert!(same, "the copy has {devices:?}, the pool {wanted:?}");
    for id in devices.iter().flat_map(BTreeMap::keys).take(LOOKUPS) {
        let [theirs, ours] = [
            highest_mapped_block(source, held, *id).ok(),
            highest_mapped_block(&copy, &live, *id).ok(),
        ];
        assert_eq!(ours, theirs, "the last block of {id}");
    }
}

/// A pool whose check finds no error can be accounted for, and both count the same blocks.
fn check_check(source: &Counting) {
    let checked = source.bounded(|source| check_closed(source, &mut |_, _| ()));
    let Ok(SuperblockState::Valid(live)) = read_superblock(source) else { return };
    let request = UsageRequest {
        total_data_blocks: DataBlocks::new(live.data_space_map.total_blocks),
        set: &[],
    };
    let used = source.bounded(|source| usage(source, &live, &request, &mut |_| ()));
    let Ok(report) = checked else { return };
    if report.worst() == Some(Severity::Error) || live.held_root.is_some() {
        return;
    }
    assert!(used.is_ok(), "nothing is wrong, and there is no usage: {used:?}");
    let mapped = used.map(|used| used.mapped_blocks).ok();
    assert_eq!(mapped, Some(report.mapped_blocks), "usage and check count differently");
    let (total_data_blocks, cells) = (request.total_data_blocks, 1000);
    let request = MapRequest { total_data_blocks, cells, shown: &[] };
    let drawn = source.bounded(|source| map(source, &live, &request, &mut |_| ()));
    let drawn = drawn.map(|drawn| CellBlocks::sum(&drawn.cells).mapped()).ok();
    assert_eq!(drawn, mapped.map(DataBlocks::get), "the map has other blocks");
}

/// A copy of a closed pool is the pool, and says that it is sound only when it is.
fn check_closed_copy(source: &Counting, is_read: bool) {
    let Some(out) = file() else { return };
    let Ok(report) = source.bounded(|source| copy_closed(source, &out, &mut |_, _| ())) else {
        return;
    };
    assert!(is_read || report.damage.is_some(), "damage was not reported");
    let Ok(copy) = ImageFile::from_file(out, Path::new("copy")) else { return };
    let bytes = copy.read_blocks(0, IMAGE_BLOCKS);
    assert!(bytes.is_ok_and(|bytes| bytes[..] == source.image[..]), "the copy differs");
}

fn file() -> Option<File> {
    memfd_create(c"copy", MFdFlags::MFD_CLOEXEC).ok().map(File::from)
}

/// An image that counts how often it is read.
struct Counting {
    image: Vec<u8>,
    reads: AtomicU64,
}

impl Counting {
    /// Runs a reader that must come to an end.
    fn bounded<T>(&self, read: impl FnOnce(&Self) -> T) -> T {
        self.reads.store(0, Ordering::Relaxed);
        let result = read(self);
        let reads = self.reads.load(Ordering::Relaxed);
        assert!(reads <= READS_MAX, "{reads} reads of {IMAGE_BLOCKS} blocks");
        result
    }
}

impl BlockSource for Counting {
    fn read_block(&self, block: u64) -> Result<AlignedBuffer, MetadataError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.image.read_block(block)
    }

    fn block_count(&self) -> u64 {
        self.image.block_count()
    }

    fn name(&self) -> String {
        self.image.name()
    }
}

/// The changes that make an image out of zeros: how a real pool becomes a seed.
#[cfg(test)]
pub(crate) fn changes_of(image: &[u8]) -> Vec<u8> {
    let mut changes = Vec::new();
    for (block, bytes) in image.chunks_exact(BLOCK_BYTES).enumerate() {
        let kind = KINDS.iter().position(|kind| kind.compute(bytes) == BlockKind::stored(bytes));
        let words = bytes.chunks_exact(8).enumerate();
        for (place, word) in words.filter(|(_, word)| *word != [0; 8]) {
            changes.push(u8::try_from(block).unwrap());
            changes.push(u8::try_from(kind.unwrap_or(0x80)).unwrap());
            changes.extend(u16::try_from(place).unwrap().to_le_bytes());
            changes.extend(word);
        }
    }
    changes
}

/// Small pools of every shape: empty, with devices, shared, under a metadata snapshot.
#[cfg(test)]
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    use super::fixture::{Device, Pool, hold, share};

    let device = |id: u32, length| Device {
        id,
        transaction: 5,
        runs: vec![(u64::from(id), u64::from(id) * 3, length, 1)],
        ..Device::default()
    };
    let small = |devices| Pool { devices, data_blocks: 4096, ..Pool::default() };
    let image = |pool: &Pool| pool.restore(IMAGE_BLOCKS);
    let empty = image(&small(Vec::new()));
    let two = image(&small(vec![device(1, 1), device(7, 2)]));
    let mut held = image(&small(vec![device(0, 3), device(1, 1)]));
    share(&mut held, 0, 1);
    hold(&mut held, IMAGE_BLOCKS as u64 - 2);
    let deep = image(&small(vec![Device {
        id: 3,
        runs: (0..253).map(|block| (block, block, 1, 0)).collect(),
        ..Device::default()
    }]));
    let all = [("empty", empty), ("two", two), ("held", held), ("deep", deep)];
    all.into_iter().map(|(name, image)| (name, changes_of(&image))).collect()
}
