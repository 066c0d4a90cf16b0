//! The data blocks that one device alone maps, whatever leaves lead to them, and who maps the others.
//!
//! A leaf that only this device reaches may well map a block that another device maps in a leaf of its
//! own: one write after a snapshot copies the leaf, and all its other blocks stay shared. So every
//! device is walked. The kernel's reference counts cannot tell either: they count leaves.
#![forbid(unsafe_code)]

use std::ops::Range;

use super::error::MetadataError;
use super::mappings::{TIME_BITS, device_roots};
use super::node::Node;
use super::owner::Owner;
use super::source::BlockSource;
use super::superblock::Superblock;
use super::survey::{Reached, Root, Surveyor, survey};
use super::usage::{believable, beyond_end};
use crate::units::{DataBlocks, ThinId};

/// The bit of the device itself.
const OWN: u64 = 1;
/// How many others have a bit each; the last bit stands for all that come after them.
const NAMED_MAX: usize = 62;
const MORE: u64 = 1 << (NAMED_MAX + 1);

/// What one device maps, divided by who else does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExclusiveData {
    /// Runs of data blocks that it alone maps; ascending.
    pub runs: Vec<Range<u64>>,
    /// How many these are.
    pub exclusive_blocks: u64,
    /// How many it maps that others map too.
    pub shared_blocks: u64,
}

/// Who else maps what one device maps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sharers {
    /// Devices; not every one in a pool with more than 62 others.
    pub devices: Vec<ThinId>,
    /// Whether one of those left out shares something.
    pub has_more: bool,
}

/// Finds the data blocks that a device alone maps.
///
/// Time: every node of the pool is read and checked once. Memory: two bits for each data block, and
/// what [`super::usage`] takes for nodes. Damage ends it: what cannot be read might be shared.
pub fn exclusive_data(
    source: &dyn BlockSource,
    superblock: &Superblock,
    total_data_blocks: DataBlocks,
    id: ThinId,
) -> Result<ExclusiveData, MetadataError> {
    Ok(Divided::read(source, superblock, total_data_blocks, id)?.exclusive())
}

/// The same, and who shares the rest: that takes a second reading where anything is shared.
pub fn exclusive_data_and_sharers(
    source: &dyn BlockSource,
    superblock: &Superblock,
    total_data_blocks: DataBlocks,
    id: ThinId,
) -> Result<(ExclusiveData, Sharers), MetadataError> {
    let divided = Divided::read(source, superblock, total_data_blocks, id)?;
    let exclusive = divided.exclusive();
    if exclusive.shared_blocks == 0 {
        return Ok((exclusive, Sharers::default()));
    }
    let (roots, others) = roots(source, superblock, id)?;
    let mut finder = SharerFinder { divided: &divided, mask: 0 };
    survey(source, &roots, &mut finder)?;
    let named = (1..=NAMED_MAX).zip(others);
    let devices = named.filter(|(bit, _)| finder.mask >> bit & 1 == 1).map(|(_, device)| device);
    let sharers = Sharers { devices: devices.collect(), has_more: finder.mask & MORE != 0 };
    Ok((exclusive, sharers))
}

/// The roots of all devices with a bit for each, and the others in the order of theirs.
fn roots(
    source: &dyn BlockSource,
    superblock: &Superblock,
    id: ThinId,
) -> Result<(Vec<Root>, Vec<ThinId>), MetadataError> {
    let mut others = Vec::new();
    let found = device_roots(source, superblock.data_mapping_root)?;
    let root = |(device, block): (ThinId, u64)| {
        let mask = if device == id {
            OWN
        } else {
            others.push(device);
            if others.len() <= NAMED_MAX { 1 << others.len() } else { MORE }
        };
        Root { device, block, owners: [Owner::NOBODY; 2], mask }
    };
    let roots = found.into_iter().map(root).collect();
    Ok((roots, others))
}

/// A set of data blocks.
struct Blocks {
    words: Vec<u64>,
    total: u64,
}

impl Blocks {
    fn new(total: u64) -> Self {
        let words = usize::try_from(total.div_ceil(u64::from(u64::BITS))).unwrap_or(0);
        Self { words: vec![0; words], total }
    }

    fn place(block: u64) -> (usize, u64) {
        let bits = u64::from(u64::BITS);
        (usize::try_from(block / bits).unwrap_or(usize::MAX), 1 << (block % bits))
    }

    fn insert(&mut self, block: u64) {
        let (word, bit) = Self::place(block);
        if let Some(word) = self.words.get_mut(word) {
            *word |= bit;
        }
    }

    fn holds(&self, block: u64) -> bool {
        let (word, bit) = Self::place(block);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }
}

/// What a device maps, and what any other does.
struct Divided {
    own: Blocks,
    others: Blocks,
}

impl Divided {
    fn read(
        source: &dyn BlockSource,
        superblock: &Superblock,
        total_data_blocks: DataBlocks,
        id: ThinId,
    ) -> Result<Self, MetadataError> {
        let total = believable(source, total_data_blocks);
        let found = Self { own: Blocks::new(total), others: Blocks::new(total) };
        let mut reading = Reading { source, found };
        survey(source, &roots(source, superblock, id)?.0, &mut reading)?;
        Ok(reading.found)
    }

    fn exclusive(&self) -> ExclusiveData {
        let mut found = ExclusiveData::default();
        for block in (0..self.own.total).filter(|block| self.own.holds(*block)) {
            if self.others.holds(block) {
                found.shared_blocks += 1;
                continue;
            }
            found.exclusive_blocks += 1;
            match found.runs.last_mut() {
                Some(run) if run.end == block => run.end += 1,
                _ => found.runs.push(block..block + 1),
            }
        }
        found
    }
}

struct Reading<'a> {
    source: &'a dyn BlockSource,
    found: Divided,
}

impl Surveyor for Reading<'_> {
    fn node(&mut self, _: &Reached) -> Result<(), MetadataError> {
        Ok(())
    }

    fn leaf(&mut self, reached: &Reached, leaf: &Node<&[u8]>) -> Result<(), MetadataError> {
        let Divided { own, others } = &mut self.found;
        for index in 0..leaf.entries() {
            let block = leaf.number(index) >> TIME_BITS;
            if block >= own.total {
                return Err(beyond_end(self.source, reached, (leaf.key(index), block), own.total));
            }
            if reached.mask & OWN != 0 {
                own.insert(block);
            }
            if reached.mask & !OWN != 0 {
                others.insert(block);
            }
        }
        Ok(())
    }
}

struct SharerFinder<'a> {
    divided: &'a Divided,
    /// The bits of all that map a block of the device.
    mask: u64,
}

impl Surveyor for SharerFinder<'_> {
    fn node(&mut self, _: &Reached) -> Result<(), MetadataError> {
        Ok(())
    }

    fn leaf(&mut self, reached: &Reached, leaf: &Node<&[u8]>) -> Result<(), MetadataError> {
        let mut blocks = (0..leaf.entries()).map(|index| leaf.number(index) >> TIME_BITS);
        if reached.mask & !self.mask & !OWN != 0
            && blocks.any(|block| self.divided.own.holds(block))
        {
            self.mask |= reached.mask;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::fixture::{Device, Pool, diverge, share, superblock_of};
    use super::*;

    fn id(id: u32) -> ThinId {
        ThinId::new(id).unwrap()
    }

    fn read(image: &Vec<u8>, device: u32) -> (ExclusiveData, Sharers) {
        let superblock = superblock_of(image);
        let total = DataBlocks::new(superblock.data_space_map.total_blocks);
        let found = exclusive_data_and_sharers(image, &superblock, total, id(device)).unwrap();
        assert_eq!(exclusive_data(image, &superblock, total, id(device)).unwrap(), found.0);
        found
    }

    /// The trap: after a write the leaf is the device's own, and all but one of its blocks are not.
    #[test]
    fn a_block_in_a_leaf_of_its_own_may_be_shared_all_the_same() {
        let runs = vec![(0, 0, 1000, 0)];
        let mut devices: Vec<Device> =
            (1..=2).map(|id| Device { id, ..Device::default() }).collect();
        devices[0].runs = runs;
        let mut image = Pool { devices, ..Pool::default() }.restore(1024);
        share(&mut image, 1, 2);
        let (all_shared, sharers) = read(&image, 2);
        assert_eq!((all_shared.exclusive_blocks, all_shared.shared_blocks), (0, 1000));
        assert_eq!(sharers, Sharers { devices: vec![id(1)], has_more: false });
        diverge(&mut image, 2, 500, 7777);
        let (found, sharers) = read(&image, 2);
        assert_eq!((found.exclusive_blocks, found.shared_blocks), (1, 999));
        assert_eq!((found.runs[0].clone(), found.runs.len()), (7777..7778, 1));
        assert_eq!(sharers.devices, [id(1)]);
        let (origin, _) = read(&image, 1);
        assert_eq!((origin.exclusive_blocks, origin.shared_blocks), (1, 999));
        assert_eq!(read(&image, 9), (ExclusiveData::default(), Sharers::default()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Pools whose devices map blocks of each other without sharing a node, more than have a bit.
        #[test]
        fn random_pools_are_divided_as_plain_sets_say(
            devices in prop::collection::vec(
                prop::collection::btree_map(0_u64..3000, 0_u64..4000, 0..60), 2..80),
        ) {
            let pool: Vec<Device> = (0..).zip(&devices).map(|(id, mapped)| Device {
                id,
                runs: mapped.iter().map(|(key, data)| (*key, *data, 1, 0)).collect(),
                ..Device::default()
            }).collect();
            let image = Pool { devices: pool, data_blocks: 4000, ..Pool::default() }.restore(1024);
            let held: Vec<BTreeSet<u64>> =
                devices.iter().map(|mapped| mapped.values().copied().collect()).collect();
            let last = held.len() - 1;
            let (own, others) = (&held[last], &held[..last]);
            let (found, sharers) = read(&image, u32::try_from(last).unwrap());
            let is_shared = |block: &u64| others.iter().any(|held| held.contains(block));
            let alone: Vec<u64> = own.iter().copied().filter(|block| !is_shared(block)).collect();
            prop_assert_eq!(found.exclusive_blocks, alone.len() as u64);
            prop_assert_eq!(found.runs.into_iter().flatten().collect::<Vec<_>>(), alone);
            prop_assert_eq!(
                found.shared_blocks, own.iter().filter(|block| is_shared(block)).count() as u64);
            let sharing: Vec<ThinId> = (0..).zip(others)
                .filter(|(_, held)| !held.is_disjoint(own)).map(|(number, _)| id(number)).collect();
            let named = sharing.iter().copied().filter(|id| id.get() < 62).collect::<Vec<_>>();
            prop_assert_eq!(sharers.has_more, named.len() < sharing.len());
            prop_assert_eq!(sharers.devices, named);
        }
    }
}
