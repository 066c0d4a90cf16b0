//! Checking the metadata of a pool: the structure of every tree, and both space maps against what
//! the trees reach.
//!
//! The counts of data blocks are held against the mappings too: a count that is too low lets the
//! kernel give a block away that a volume uses, and nothing else would notice before it is too late.
#![forbid(unsafe_code)]

mod finding;
mod space_map;
#[cfg(test)]
mod tests;
mod trees;

use std::collections::{BTreeMap, HashMap};

pub use self::finding::{CheckFinding, Severity};
use super::details::DeviceDetails;
use super::error::{MetadataError, SpaceMapKind};
use super::reference_counts::{ENTRIES_PER_BITMAP, ReferenceCounts};
use super::source::BlockSource;
use super::superblock::SuperblockState;
use super::superblock::{SUPERBLOCK_LOCATION, Superblock, read_held_superblock, read_superblock};
use crate::units::{DataBlocks, ThinId};

/// How many findings are kept; the rest are counted. Damage all over a device is one thing to know.
const FINDINGS_MAX: usize = 1000;

/// What a check found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct CheckReport {
    /// What it found, in the order of the reading.
    pub findings: Vec<CheckFinding>,
    /// How many findings more there were.
    pub more_findings: u64,
    /// Devices that were read.
    pub device_count: u64,
    /// Nodes of device trees that were read, each once.
    pub node_count: u64,
    /// Data blocks that are in use.
    pub mapped_blocks: DataBlocks,
    /// The devices and their details, as far as they could be read.
    pub devices: BTreeMap<ThinId, DeviceDetails>,
}

impl CheckReport {
    /// The worst finding's severity; `None` when nothing was found.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(CheckFinding::severity).max()
    }

    /// Data blocks that nothing uses and the space map counts; at least these, when findings were left out.
    pub fn leaked_data_blocks(&self) -> DataBlocks {
        let leaked = self.findings.iter().filter_map(|finding| match finding {
            CheckFinding::Leaked { map: SpaceMapKind::Data, length, counted: 0, .. } => {
                Some(*length)
            }
            _ => None,
        });
        DataBlocks::new(leaked.sum())
    }

    fn add(&mut self, finding: CheckFinding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.more_findings += 1;
        }
    }
}

/// Checks the metadata of a closed pool, or an image of it.
///
/// `progress` gets nodes met and about their total. Time: every block that is in use is read and
/// checked once. Memory: two bits for each metadata block, and for each data block of a stretch of
/// 16320 with a mapped one, one byte for each block of a stretch with one of three references or more, and what
/// [`super::usage`] needs for nodes.
pub fn check_closed(
    source: &dyn BlockSource,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<CheckReport, MetadataError> {
    let mut report = CheckReport::default();
    let live = match read_superblock(source) {
        Ok(SuperblockState::Valid(live)) => live,
        Ok(SuperblockState::Blank) => {
            return Err(MetadataError::Blank { device: source.name() });
        }
        Err(damage @ MetadataError::Superblock { .. }) => {
            report.add(CheckFinding::Damage(damage));
            return Ok(report);
        }
        Err(error) => return Err(error),
    };
    if live.needs_check {
        report.add(CheckFinding::NeedsCheck);
    }
    let held = match read_held_superblock(source, &live) {
        Ok(held) => held,
        Err(damage) => {
            report.add(CheckFinding::Damage(damage));
            None
        }
    };
    if let Some(block) = live.held_root {
        report.add(CheckFinding::HeldRoot { block });
    }
    let data_blocks = data_blocks_of(source, &live);
    let mut check = Check::new(source, report, data_blocks);
    check.count_superblock(SUPERBLOCK_LOCATION);
    let guess = live.metadata_space_map.allocated_blocks;
    let mut progress = |done: u64| progress(done, guess.max(done));
    check.trees(&live, held.as_ref(), &mut progress)?;
    check.space_maps(&live)?;
    Ok(check.finish())
}

/// Checks the trees of an open pool under its metadata snapshot. Its space maps change all the time
/// and are not part of the snapshot.
pub fn check_held(
    source: &dyn BlockSource,
    held: &Superblock,
    total_data_blocks: DataBlocks,
    progress: &mut dyn FnMut(u64),
) -> Result<CheckReport, MetadataError> {
    let mut check = Check::new(source, CheckReport::default(), total_data_blocks.get());
    if held.needs_check {
        check.report.add(CheckFinding::NeedsCheck);
    }
    check.trees(held, None, progress)?;
    check.report.add(CheckFinding::NotChecked {
        what: "the count of references to each block",
        why: "the pool is open; close it, or check an image of a closed pool",
    });
    Ok(check.finish())
}

/// Every stretch of data blocks has a bitmap, and more bitmaps than metadata blocks are a damaged
/// count, which memory must not follow.
fn data_blocks_of(source: &dyn BlockSource, live: &Superblock) -> u64 {
    let most = source.block_count().saturating_mul(ENTRIES_PER_BITMAP);
    live.data_space_map.total_blocks.min(most)
}

/// A check that is under way.
struct Check<'a> {
    source: &'a dyn BlockSource,
    report: CheckReport,
    /// References found to metadata blocks, and to data blocks.
    metadata: ReferenceCounts,
    data: ReferenceCounts,
    /// Blocks that are no nodes of device trees, and what they are.
    upper: HashMap<u64, Part>,
    /// Whether something could not be read: then less is counted than there is.
    incomplete: bool,
}

/// What a block outside the device trees is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Superblock,
    Details,
    Devices,
    SpaceMap(SpaceMapKind),
}

impl<'a> Check<'a> {
    fn new(source: &'a dyn BlockSource, report: CheckReport, data_blocks: u64) -> Self {
        Self {
            source,
            report,
            metadata: ReferenceCounts::new(source.block_count()),
            data: ReferenceCounts::new(data_blocks),
            upper: HashMap::new(),
            incomplete: false,
        }
    }

    fn count_superblock(&mut self, block: u64) {
        self.metadata.increment(block);
        self.upper.insert(block, Part::Superblock);
    }

    fn damaged(&mut self, damage: MetadataError) {
        self.incomplete = true;
        self.report.add(CheckFinding::Damage(damage));
    }

    fn finish(mut self) -> CheckReport {
        self.report.mapped_blocks = DataBlocks::new(self.data.allocated_blocks());
        self.report
    }
}
