//! What every device really costs: the data and the metadata that would be free without it.
//!
//! A data block is exclusive to a device when no other device reaches it. The kernel's reference
//! counts cannot tell: they count leaves, and a leaf that ten snapshots share counts once. So who
//! reaches what is found by walking, each node read once ([`super::survey`]).
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use super::btree::damage;
use super::data_owners::DataOwners;
use super::details::{DeviceDetails, list_devices};
use super::error::{MetadataError, Tree};
use super::fault::NodeFault;
use super::mappings::{TIME_BITS, device_roots};
use super::node::Node;
use super::owner::{Owner, Owners};
use super::reference_counts::ENTRIES_PER_BITMAP;
use super::source::BlockSource;
use super::superblock::Superblock;
use super::survey::{Below, Reached, Root, Surveyor, survey};
use crate::units::{DataBlocks, MetadataBlocks, ThinId};

/// What is wanted of a pool.
#[derive(Debug, Default)]
pub struct UsageRequest<'a> {
    /// How long the data device is: a metadata snapshot does not hold it.
    pub total_data_blocks: DataBlocks,
    /// Devices that are also looked at as one: what is freed when all of them go.
    pub set: &'a [ThinId],
}

/// What a pool's devices cost, each and together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MetadataUsage {
    /// Every device.
    pub devices: BTreeMap<ThinId, DeviceUsage>,
    /// The devices of the request's set as one; `None` without a set.
    pub set: Option<SetUsage>,
    /// Data blocks that any device maps.
    pub mapped_blocks: DataBlocks,
    /// Of these, the blocks that several devices map.
    pub shared_blocks: DataBlocks,
    /// Blocks of metadata that hold mappings, each counted once.
    pub metadata_blocks: MetadataBlocks,
}

/// What one device costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceUsage {
    /// What the kernel says of it.
    pub details: DeviceDetails,
    /// Data blocks that it maps, shared ones included.
    pub mapped_blocks: DataBlocks,
    /// Data blocks that are free once it is deleted.
    pub exclusive_blocks: DataBlocks,
    /// Blocks of metadata that hold its mappings, shared ones included.
    pub metadata_blocks: MetadataBlocks,
    /// Blocks of metadata that are free once it is deleted.
    pub exclusive_metadata_blocks: MetadataBlocks,
}

impl DeviceUsage {
    /// Data blocks that it maps and others too.
    pub fn shared_blocks(&self) -> DataBlocks {
        DataBlocks::new(self.mapped_blocks.get().saturating_sub(self.exclusive_blocks.get()))
    }
}

/// What several devices cost together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetUsage {
    /// Data blocks that are free once all of them are deleted.
    pub exclusive_blocks: DataBlocks,
    /// Blocks of metadata that are free once all of them are deleted.
    pub exclusive_metadata_blocks: MetadataBlocks,
}

/// Finds out what every device below `superblock` costs.
///
/// `progress` gets the number of nodes met so far. Time: every node is read and checked once.
/// Memory: one byte (at worst four) for each data block of a stretch of 4096 with a mapped one,
/// twice that with a set; some 100 bytes for each node and 4 for each pointer to one; 16 bytes for
/// each mapping of a device that has one leaf only. Damage ends it: half a sum is no answer.
pub fn usage(
    source: &dyn BlockSource,
    superblock: &Superblock,
    request: &UsageRequest<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<MetadataUsage, MetadataError> {
    let details = list_devices(source, superblock)?;
    let roots = device_roots(source, superblock.data_mapping_root)?;
    let set: BTreeSet<ThinId> = request.set.iter().copied().collect();
    let ids: Vec<ThinId> = roots.iter().map(|(id, _)| *id).collect();
    let roots: Vec<Root> = roots
        .iter()
        .enumerate()
        .map(|(number, (device, block))| Root {
            device: *device,
            block: *block,
            owners: [Owner::number(number), owner_in_set(&set, *device)],
            mask: 0,
        })
        .collect();
    let total_blocks = believable(source, request.total_data_blocks);
    let mut tally = Tally {
        source,
        data: DataOwners::new(total_blocks),
        data_of_set: (!set.is_empty()).then(|| DataOwners::new(total_blocks)),
        nodes: Counts::new(ids.len()),
        nodes_of_set: Counts::new(1),
        met_blocks: 0,
        progress,
    };
    let below = survey(source, &roots, &mut tally)?;
    Ok(tally.finish(&details, &ids, &below))
}

/// How many data blocks there are. Every stretch of them has a bitmap: more than that is a damaged count, and memory
/// must not follow it.
pub(super) fn believable(source: &dyn BlockSource, total_data_blocks: DataBlocks) -> u64 {
    total_data_blocks.get().min(source.block_count().saturating_mul(ENTRIES_PER_BITMAP))
}

/// An entry of a leaf maps a data block that is not there.
pub(super) fn beyond_end(
    source: &dyn BlockSource,
    reached: &Reached,
    (key, data_block): (u64, u64),
    total: u64,
) -> MetadataError {
    let fault = NodeFault::DataBlockBeyondEnd { key, data_block, total };
    damage(source, Tree::Mappings(reached.device), reached.block, reached.keys, fault)
}

/// All of a set are number 0, and all others are several: only what the set alone reaches counts.
fn owner_in_set(set: &BTreeSet<ThinId>, device: ThinId) -> Owner {
    if set.contains(&device) { Owner::number(0) } else { Owner::SEVERAL }
}

/// How much each owner has alone, and how much several have.
struct Counts {
    single: Vec<u64>,
    several: u64,
}

impl Counts {
    fn new(owners: usize) -> Self {
        Self { single: vec![0; owners], several: 0 }
    }

    fn add(&mut self, owner: Owner, count: u64) {
        match owner.single() {
            Some(number) => {
                if let Some(single) = self.single.get_mut(number) {
                    *single += count;
                }
            }
            None if owner == Owner::SEVERAL => self.several += count,
            None => {}
        }
    }

    fn of(&self, number: usize) -> u64 {
        self.single.get(number).copied().unwrap_or(0)
    }

    fn all(&self) -> u64 {
        self.single.iter().sum::<u64>() + self.several
    }
}

struct Tally<'a> {
    source: &'a dyn BlockSource,
    data: DataOwners,
    data_of_set: Option<DataOwners>,
    nodes: Counts,
    nodes_of_set: Counts,
    met_blocks: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl Surveyor for Tally<'_> {
    fn node(&mut self, reached: &Reached) -> Result<(), MetadataError> {
        let [device, set] = reached.owners;
        self.nodes.add(device, 1);
        self.nodes_of_set.add(set, 1);
        self.met_blocks += 1;
        (self.progress)(self.met_blocks);
        Ok(())
    }

    fn leaf(&mut self, reached: &Reached, leaf: &Node<&[u8]>) -> Result<(), MetadataError> {
        let [device, set]: Owners = reached.owners;
        for index in 0..leaf.entries() {
            let data_block = leaf.number(index) >> TIME_BITS;
            if !self.data.claim(data_block, device) {
                let mapping = (leaf.key(index), data_block);
                return Err(beyond_end(self.source, reached, mapping, self.data.total_blocks()));
            }
            if let Some(data) = &mut self.data_of_set {
                data.claim(data_block, set);
            }
        }
        Ok(())
    }
}

impl Tally<'_> {
    fn finish(
        self,
        details: &BTreeMap<ThinId, DeviceDetails>,
        ids: &[ThinId],
        below: &[Below],
    ) -> MetadataUsage {
        let mut data = Counts::new(ids.len());
        self.data.runs(&mut |_, length, owner| data.add(owner, length));
        let set = self.data_of_set.as_ref().map(|owners| {
            let mut data = Counts::new(1);
            owners.runs(&mut |_, length, owner| data.add(owner, length));
            SetUsage {
                exclusive_blocks: DataBlocks::new(data.of(0)),
                exclusive_metadata_blocks: MetadataBlocks::new(self.nodes_of_set.of(0)),
            }
        });
        let devices = ids.iter().zip(below).enumerate().filter_map(|(number, (id, below))| {
            let usage = DeviceUsage {
                details: *details.get(id)?,
                mapped_blocks: DataBlocks::new(below.mappings),
                exclusive_blocks: DataBlocks::new(data.of(number)),
                metadata_blocks: MetadataBlocks::new(below.nodes),
                exclusive_metadata_blocks: MetadataBlocks::new(self.nodes.of(number)),
            };
            Some((*id, usage))
        });
        MetadataUsage {
            devices: devices.collect(),
            set,
            mapped_blocks: DataBlocks::new(data.all()),
            shared_blocks: DataBlocks::new(data.several),
            metadata_blocks: MetadataBlocks::new(self.nodes.all()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use std::sync::atomic::{AtomicU64, Ordering};

    use proptest::prelude::*;

    use super::super::fixture::{Changing, Device, Pool, diverge, share, superblock_of, thin_ls};
    use super::super::generate::{Shape, Spread, generate};
    use super::*;

    fn id(id: u32) -> ThinId {
        ThinId::new(id).unwrap()
    }

    fn usage_of(image: &Vec<u8>, set: &[ThinId]) -> MetadataUsage {
        let superblock = superblock_of(image);
        let total_data_blocks = DataBlocks::new(superblock.data_space_map.total_blocks);
        let request = UsageRequest { total_data_blocks, set };
        usage(image, &superblock, &request, &mut |_| ()).unwrap()
    }

    /// Mapped, exclusive and shared blocks by device.
    fn rows(image: &Vec<u8>) -> Vec<Vec<u64>> {
        let devices = usage_of(image, &[]).devices.into_iter();
        devices
            .map(|(id, usage)| {
                let [mapped, exclusive, shared] =
                    [usage.mapped_blocks, usage.exclusive_blocks, usage.shared_blocks()];
                vec![u64::from(id.get()), mapped.get(), exclusive.get(), shared.get()]
            })
            .collect()
    }

    fn judged(image: &[u8]) -> Vec<Vec<u64>> {
        thin_ls(image, "DEV,MAPPED_BLOCKS,EXCLUSIVE_BLOCKS,SHARED_BLOCKS")
    }

    fn deep() -> Vec<u8> {
        let runs = (0..20_000).map(|n| (n * 5, n, 1, 0)).collect();
        let devices = (1..=3).map(|id| Device { id, ..Device::default() }).chain([Device {
            id: 9,
            runs: vec![(0, 50_000, 300, 0)],
            ..Device::default()
        }]);
        let mut devices: Vec<Device> = devices.collect();
        devices[0].runs = runs;
        Pool { devices, ..Pool::default() }.restore(1024)
    }

    #[test]
    fn a_snapshot_shares_until_it_diverges() {
        let mut image = deep();
        share(&mut image, 1, 2);
        assert_eq!(rows(&image), judged(&image));
        share(&mut image, 1, 3);
        diverge(&mut image, 2, 1000, 99_999);
        assert_eq!(rows(&image), judged(&image));
        let two = &usage_of(&image, &[]).devices[&id(2)];
        assert_eq!((two.exclusive_blocks.get(), two.exclusive_metadata_blocks.get()), (1, 2));
        assert_eq!(two.metadata_blocks, usage_of(&image, &[]).devices[&id(1)].metadata_blocks);
    }

    #[test]
    fn a_set_frees_what_only_its_members_share() {
        let mut image = deep();
        share(&mut image, 1, 2);
        diverge(&mut image, 2, 1000, 99_999);
        let alone = usage_of(&image, &[id(1)]).set.unwrap();
        assert_eq!(alone.exclusive_blocks.get(), 1, "the block that the snapshot replaced");
        let both = usage_of(&image, &[id(2), id(1)]);
        let set = both.set.unwrap();
        assert_eq!(set.exclusive_blocks.get(), 20_001);
        let nodes =
            both.devices[&id(9)].metadata_blocks.get() + both.devices[&id(3)].metadata_blocks.get();
        assert_eq!(set.exclusive_metadata_blocks.get() + nodes, both.metadata_blocks.get());
        assert_eq!(both.mapped_blocks.get(), 20_301);
        assert_eq!(both.shared_blocks.get(), 19_999);
        let none = usage_of(&image, &[id(77)]).set.unwrap();
        assert_eq!(none.exclusive_blocks, DataBlocks::ZERO);
    }

    /// However many volumes share the nodes: what is read is what is in use, and little more.
    #[test]
    fn reads_grow_with_metadata_and_not_with_volumes() {
        let shapes = [
            Shape::small_volumes(200, 100),
            Shape::small_volumes(800, 100),
            Shape::snapshots(20_000, 10, Spread::Random),
            Shape::snapshots(20_000, 40, Spread::Random),
        ];
        for shape in shapes {
            let file = tempfile::NamedTempFile::new().unwrap();
            let made = generate(&shape, file.as_file()).unwrap();
            let reads = AtomicU64::new(0);
            let source = Changing(std::fs::read(file.path()).unwrap(), |_, bytes| {
                reads.fetch_add(1, Ordering::Relaxed);
                bytes
            });
            let superblock = superblock_of(&source.0);
            let total_data_blocks = DataBlocks::new(superblock.data_space_map.total_blocks);
            let request = UsageRequest { total_data_blocks, set: &[] };
            let mut met = 0;
            let found = usage(&source, &superblock, &request, &mut |nodes| met = nodes).unwrap();
            assert_eq!(met, found.metadata_blocks.get(), "each node once");
            let (reads, used) = (reads.into_inner(), made.used_metadata_blocks.get());
            // Between blocks that are wanted a few are read along.
            assert!(met <= reads && reads <= used + used / 4, "{reads} reads, {used} blocks");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Pools whose devices map blocks of each other without sharing a node.
        #[test]
        fn random_pools_cost_what_plain_sets_say(
            devices in prop::collection::vec(
                prop::collection::btree_map(0_u64..3000, 0_u64..4000, 0..700), 1..6),
            set in prop::collection::btree_set(0_u32..6, 0..3),
        ) {
            let pool: Vec<Device> = (0..).zip(&devices).map(|(id, mapped)| Device {
                id,
                runs: mapped.iter().map(|(key, data)| (*key, *data, 1, 0)).collect(),
                ..Device::default()
            }).collect();
            let image = Pool { devices: pool, data_blocks: 4000, ..Pool::default() }.restore(1024);
            let held: Vec<BTreeSet<u64>> =
                devices.iter().map(|mapped| mapped.values().copied().collect()).collect();
            let alone = |members: &dyn Fn(usize) -> bool| {
                let mut reached: BTreeMap<u64, (bool, bool)> = BTreeMap::new();
                for (number, blocks) in held.iter().enumerate() {
                    for block in blocks {
                        let (inside, outside) = reached.entry(*block).or_default();
                        *inside |= members(number);
                        *outside |= !members(number);
                    }
                }
                reached.values().filter(|by| **by == (true, false)).count() as u64
            };
            let ids: Vec<ThinId> = set.iter().map(|number| id(*number)).collect();
            let found = usage_of(&image, &ids);
            for (number, usage) in found.devices.values().enumerate() {
                prop_assert_eq!(usage.mapped_blocks.get(), devices[number].len() as u64);
                prop_assert_eq!(usage.exclusive_blocks.get(), alone(&|other| other == number));
            }
            let together = alone(&|number| set.contains(&u32::try_from(number).unwrap()));
            prop_assert_eq!(
                found.set.map(|set| set.exclusive_blocks.get()),
                (!set.is_empty()).then_some(together)
            );
        }
    }
}
