//! Both space maps, against the references that the trees make.
#![forbid(unsafe_code)]

use std::collections::HashSet;

use super::super::btree::{Visitor, walk};
use super::super::checksum::BlockKind;
use super::super::error::{KeyRange, MetadataError, SpaceMapKind, Tree};
use super::super::fault::NodeFault;
use super::super::fetch::{Fetched, fetch};
use super::super::field::{BLOCK_BYTES, u32_at, u64_at};
use super::super::heights::unreadable;
use super::super::node::Node;
use super::super::reference_counts::{
    BITMAP_HEADER_BYTES, BitmapSummary, ENTRIES_PER_BITMAP, ReferenceCounts, bitmap_count,
};
use super::super::space_map::{
    BLOCK_NUMBER, INDEX_ENTRIES, INDEX_ENTRY_BYTES, IndexEntry, MAX_METADATA_BITMAPS, SpaceMapRoot,
};
use super::super::superblock::Superblock;
use super::{Check, CheckFinding, Part};

/// A space map as it was read: where its bitmaps are, and the counts they cannot hold.
struct Stored {
    kind: SpaceMapKind,
    root: SpaceMapRoot,
    index: Vec<IndexEntry>,
    /// Ascending.
    large: Vec<(u64, u32)>,
    /// Whether all of it could be read.
    complete: bool,
}

impl Check<'_> {
    /// Compares both maps. The blocks of both count as references to metadata, so both are found
    /// before the metadata map is looked at.
    pub(super) fn space_maps(&mut self, live: &Superblock) -> Result<(), MetadataError> {
        let total = live.metadata_space_map.total_blocks;
        let block_count = self.source.block_count();
        if total > block_count {
            self.report.add(CheckFinding::BeyondDevice { stored: total, block_count });
        }
        let data = self.find(SpaceMapKind::Data, live.data_space_map)?;
        let metadata = self.find(SpaceMapKind::Metadata, live.metadata_space_map)?;
        self.compare_map(&data)?;
        self.compare_map(&metadata)
    }

    /// Reads all of a space map but its bitmaps.
    fn find(&mut self, kind: SpaceMapKind, root: SpaceMapRoot) -> Result<Stored, MetadataError> {
        let mut found =
            Found { check: self, kind, index: Vec::new(), large: Vec::new(), complete: true };
        let counts = Tree::ReferenceCounts(kind);
        walk(found.check.source, counts, root.ref_count_root, &mut found)?;
        match kind {
            SpaceMapKind::Data => {
                walk(found.check.source, Tree::Bitmaps, root.bitmap_root, &mut found)?;
            }
            SpaceMapKind::Metadata => found.read_index(&root),
        }
        let Found { index, large, mut complete, .. } = found;
        let wanted = root.total_blocks.div_ceil(ENTRIES_PER_BITMAP);
        let keys =
            (0..wanted).zip(&index).filter(|(wanted, (key, _))| wanted == key).count() as u64;
        if complete && (keys != wanted || index.len() as u64 > wanted) {
            complete = false;
            let fault = NodeFault::MissingBitmap { wanted, found: keys };
            self.space_map_block(kind, root.bitmap_root, fault);
        }
        let index: Vec<IndexEntry> = index.into_iter().map(|(_, entry)| entry).collect();
        for entry in &index {
            complete &= self.count_block(kind, entry.block);
        }
        Ok(Stored { kind, root, index, large, complete })
    }

    /// Counts a block of a space map; `false` when it cannot be one.
    fn count_block(&mut self, kind: SpaceMapKind, block: u64) -> bool {
        let block_count = self.metadata.total_blocks();
        let fault = match self.metadata.increment(block) {
            None => NodeFault::BeyondEnd { block_count },
            Some(before) if before > 0 => NodeFault::Reused,
            Some(_) => {
                self.upper.insert(block, Part::SpaceMap(kind));
                return true;
            }
        };
        self.space_map_block(kind, block, fault);
        false
    }

    fn space_map_block(&mut self, map: SpaceMapKind, block: u64, fault: NodeFault) {
        self.incomplete = true;
        self.report.add(CheckFinding::SpaceMapBlock { map, block, fault });
    }

    fn compare_map(&mut self, stored: &Stored) -> Result<(), MetadataError> {
        if !stored.complete {
            self.report.add(CheckFinding::NotChecked {
                what: match stored.kind {
                    SpaceMapKind::Data => "the count of references to data blocks",
                    SpaceMapKind::Metadata => "the count of references to metadata blocks",
                },
                why: "the space map is damaged",
            });
            return Ok(());
        }
        let mut order: Vec<(u64, usize)> =
            stored.index.iter().enumerate().map(|(index, entry)| (entry.block, index)).collect();
        order.sort_unstable();
        let blocks: Vec<u64> = order.iter().map(|(block, _)| *block).collect();
        let mut comparison = Comparison {
            check: self,
            stored,
            allocated: 0,
            examined: HashSet::new(),
            runs: Vec::new(),
        };
        let examine = |place: usize, bytes: &[u8]| {
            check_bitmap(blocks.get(place).copied().unwrap_or_default(), bytes)
        };
        fetch(comparison.check.source, &blocks, &examine, &mut |place, fetched| {
            if let Some((block, index)) = order.get(place) {
                comparison.take(*block, *index, fetched);
            }
            Ok(())
        })?;
        comparison.finish();
        Ok(())
    }
}

/// The checks of a bitmap block.
fn check_bitmap(block: u64, bytes: &[u8]) -> Result<(), NodeFault> {
    check_block(BlockKind::Bitmap, block, bytes)
}

fn check_block(kind: BlockKind, block: u64, bytes: &[u8]) -> Result<(), NodeFault> {
    let (stored, computed) = (BlockKind::stored(bytes), kind.compute(bytes));
    if stored != computed {
        return Err(NodeFault::Checksum { stored, computed });
    }
    match u64_at(bytes, BLOCK_NUMBER) {
        found if found == block => Ok(()),
        found => Err(NodeFault::BlockNumber { found }),
    }
}

/// A space map while it is read.
struct Found<'a, 'b> {
    check: &'a mut Check<'b>,
    kind: SpaceMapKind,
    index: Vec<(u64, IndexEntry)>,
    large: Vec<(u64, u32)>,
    complete: bool,
}

impl Found<'_, '_> {
    /// The metadata map has its index in one block.
    fn read_index(&mut self, root: &SpaceMapRoot) {
        let block = root.bitmap_root;
        if !self.check.count_block(self.kind, block) {
            self.complete = false;
            return;
        }
        let bitmaps = root.total_blocks.div_ceil(ENTRIES_PER_BITMAP).min(MAX_METADATA_BITMAPS);
        let read = self.check.source.read_block(block).map_err(|error| unreadable(&error));
        let read = read.and_then(|bytes| {
            check_block(BlockKind::Index, block, &bytes)?;
            Ok(bytes)
        });
        match read {
            Err(fault) => {
                self.complete = false;
                self.check.space_map_block(self.kind, block, fault);
            }
            Ok(bytes) => {
                let entries = bytes.get(INDEX_ENTRIES..BLOCK_BYTES).unwrap_or_default();
                let entries = entries.chunks_exact(INDEX_ENTRY_BYTES).map(IndexEntry::parse);
                self.index.extend((0..bitmaps).zip(entries));
            }
        }
    }
}

impl Visitor for Found<'_, '_> {
    fn enter(&mut self, _: Tree, block: u64, _: KeyRange) -> Result<bool, MetadataError> {
        let enter = self.check.count_block(self.kind, block);
        self.complete &= enter;
        Ok(enter)
    }

    fn damaged(&mut self, damage: MetadataError) -> Result<(), MetadataError> {
        self.complete = false;
        self.check.damaged(damage);
        Ok(())
    }

    fn visit(&mut self, tree: Tree, node: &Node) -> Result<(), MetadataError> {
        for index in (0..node.entries()).filter(|_| !node.is_internal()) {
            let (key, value) = (node.key(index), node.value(index));
            if tree == Tree::Bitmaps {
                self.index.push((key, IndexEntry::parse(value)));
            } else {
                self.large.push((key, u32_at(value, 0)));
            }
        }
        Ok(())
    }
}

/// A run of blocks whose counts differ in the same way.
struct Run {
    first: u64,
    length: u64,
    stored: u32,
    counted: u32,
}

/// A map while its bitmaps come in, in any order.
struct Comparison<'a, 'b> {
    check: &'a mut Check<'b>,
    stored: &'a Stored,
    allocated: u64,
    /// Bitmaps that were compared entry by entry.
    examined: HashSet<u64>,
    runs: Vec<Run>,
}

impl Comparison<'_, '_> {
    fn take(&mut self, block: u64, index: usize, fetched: Fetched<'_, Result<(), NodeFault>>) {
        let checked = match fetched {
            Ok((Ok(()), bytes)) => Ok(bytes),
            Ok((Err(fault), _)) => Err(fault),
            Err(error) => Err(unreadable(&error)),
        };
        match checked {
            Ok(bytes) => self.compare(index, bytes.get(BITMAP_HEADER_BYTES..).unwrap_or_default()),
            Err(fault) => self.check.space_map_block(self.stored.kind, block, fault),
        }
    }

    /// Counts as the trees make them.
    fn counts(&self) -> &ReferenceCounts {
        match self.stored.kind {
            SpaceMapKind::Data => &self.check.data,
            SpaceMapKind::Metadata => &self.check.metadata,
        }
    }

    fn compare(&mut self, index: usize, bitmap: &[u8]) {
        let number = index as u64;
        let first = number.saturating_mul(ENTRIES_PER_BITMAP);
        let entries = self.stored.root.total_blocks.saturating_sub(first).min(ENTRIES_PER_BITMAP);
        let same = match self.counts().bitmap(number) {
            Some(counted) => counted == bitmap,
            None => bitmap.iter().all(|byte| *byte == 0),
        };
        let summary = if same {
            self.counts().summary(number)
        } else {
            self.examined.insert(number);
            self.compare_entries(first, entries, bitmap)
        };
        self.allocated += entries.saturating_sub(u64::from(summary.free));
        let said = self.stored.index.get(index).map(|entry| entry.summary);
        // The kernel counts a whole bitmap as free when it adds one (`sm_ll_extend`), also where
        // the device ends inside of it; thin_restore counts what there is.
        let missing = u32::try_from(ENTRIES_PER_BITMAP - entries).unwrap_or(0);
        // `none_free_before` may lie below the first free block, never above it.
        let fits = |said: BitmapSummary| {
            (said.free == summary.free || said.free == summary.free + missing)
                && (said.first_free <= summary.first_free || summary.free == 0)
        };
        if let Some(said) = said.filter(|said| !fits(*said)) {
            self.check.report.add(CheckFinding::IndexEntry {
                map: self.stored.kind,
                bitmap: number,
                stored_free: said.free,
                found_free: summary.free,
            });
        }
    }

    /// One by one, where the bitmap is not the same as ours.
    fn compare_entries(&mut self, first: u64, entries: u64, bitmap: &[u8]) -> BitmapSummary {
        let mut summary =
            BitmapSummary { free: 0, first_free: u32::try_from(entries).unwrap_or(u32::MAX) };
        for entry in 0..entries {
            let block = first + entry;
            let stored = bitmap_count(bitmap, entry).unwrap_or_else(|| self.stored.large(block));
            if stored == 0 {
                summary.free += 1;
                summary.first_free = summary.first_free.min(u32::try_from(entry).unwrap_or(0));
            }
            let counted = self.counts().count(block);
            if stored != counted {
                self.differs(block, stored, counted);
            }
        }
        summary
    }

    /// The counts that no bitmap holds, of the bitmaps that are the same as ours.
    fn compare_large(&mut self) {
        let large: Vec<(u64, u32)> = self
            .counts()
            .large()
            .filter(|(block, _)| !self.examined.contains(&(block / ENTRIES_PER_BITMAP)))
            .filter(|(block, counted)| self.stored.large(*block) != *counted)
            .collect();
        for (block, counted) in large {
            self.differs(block, self.stored.large(block), counted);
        }
    }

    fn differs(&mut self, block: u64, stored: u32, counted: u32) {
        match self.runs.last_mut() {
            Some(run)
                if run.first + run.length == block
                    && (run.stored, run.counted) == (stored, counted) =>
            {
                run.length += 1;
            }
            _ => self.runs.push(Run { first: block, length: 1, stored, counted }),
        }
    }

    fn finish(mut self) {
        let map = self.stored.kind;
        self.compare_large();
        let runs = std::mem::take(&mut self.runs);
        // What damage took away was not counted, which is no leak.
        for Run { first, length, stored, counted } in runs {
            if counted > stored {
                let finding = CheckFinding::CountTooLow { map, first, length, stored, counted };
                self.check.report.add(finding);
            } else if !self.check.incomplete {
                let finding = CheckFinding::Leaked { map, first, length, stored, counted };
                self.check.report.add(finding);
            }
        }
        let (stored, found) = (self.stored.root.allocated_blocks, self.allocated);
        if stored != found && !self.check.incomplete {
            self.check.report.add(CheckFinding::AllocatedBlocks { map, stored, found });
        }
    }
}

impl Stored {
    /// The count of a block whose bitmap says that it is in the tree.
    fn large(&self, block: u64) -> u32 {
        let place = self.large.binary_search_by_key(&block, |(block, _)| *block);
        place.ok().and_then(|place| self.large.get(place)).map_or(0, |(_, count)| *count)
    }
}
