//! The mappings of thin devices: a tree of device trees.
#![forbid(unsafe_code)]

use super::btree;
use super::details::thin_id;
use super::error::{KeyRange, MetadataError, Tree};
use super::field::u64_at;
use super::node::Node;
use super::source::BlockSource;
use super::superblock::Superblock;
use crate::units::ThinId;

/// Bits of a mapping that hold its time; the rest is the data block (`pack_block_time`).
pub(super) const TIME_BITS: u32 = 24;

/// The highest mapped virtual block of a device; `None` when it maps nothing or does not exist.
///
/// The kernel does not store how long a device is: this is the least that it can have been.
pub fn highest_mapped_block(
    source: &dyn BlockSource,
    superblock: &Superblock,
    id: ThinId,
) -> Result<Option<u64>, MetadataError> {
    let key = u64::from(id.get());
    let top = btree::lookup(source, Tree::Devices, superblock.data_mapping_root, key)?;
    let Some(root) = top.map(|value| u64_at(&value, 0)) else {
        return Ok(None);
    };
    let last = btree::last_entry(source, Tree::Mappings(id), root)?;
    Ok(last.map(|(virtual_block, _)| virtual_block))
}

/// The data block that holds one virtual block of a device; `None` when it is not mapped.
pub fn mapped_data_block(
    source: &dyn BlockSource,
    superblock: &Superblock,
    id: ThinId,
    virtual_block: u64,
) -> Result<Option<u64>, MetadataError> {
    let key = u64::from(id.get());
    let top = btree::lookup(source, Tree::Devices, superblock.data_mapping_root, key)?;
    let Some(root) = top.map(|value| u64_at(&value, 0)) else {
        return Ok(None);
    };
    let mapping = btree::lookup(source, Tree::Mappings(id), root, virtual_block)?;
    Ok(mapping.map(|value| u64_at(&value, 0) >> TIME_BITS))
}

/// The roots of all device trees.
pub(super) fn device_roots(
    source: &dyn BlockSource,
    data_mapping_root: u64,
) -> Result<Vec<(ThinId, u64)>, MetadataError> {
    let mut roots = Roots { source, found: Vec::new() };
    btree::walk(source, Tree::Devices, data_mapping_root, &mut roots)?;
    Ok(roots.found)
}

struct Roots<'a> {
    source: &'a dyn BlockSource,
    found: Vec<(ThinId, u64)>,
}

impl btree::Visitor for Roots<'_> {
    fn enter(&mut self, _: Tree, _: u64, _: KeyRange) -> Result<bool, MetadataError> {
        Ok(true)
    }

    fn visit(&mut self, tree: Tree, node: &Node) -> Result<(), MetadataError> {
        for index in (0..node.entries()).filter(|_| !node.is_internal()) {
            self.found.push((thin_id(self.source, tree, node, index)?, node.number(index)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::checksum::BlockKind;
    use super::super::fault::NodeFault;
    use super::super::fixture::{
        Device, Pool, Run, diverge, patch, random_pool, share, superblock_of, thin_dump,
    };
    use super::super::{DeviceDetails, list_devices};
    use super::*;

    #[derive(Default)]
    struct Runs(Vec<Run>);

    impl btree::Visitor for Runs {
        fn enter(&mut self, _: Tree, _: u64, _: KeyRange) -> Result<bool, MetadataError> {
            Ok(true)
        }

        fn visit(&mut self, _: Tree, node: &Node) -> Result<(), MetadataError> {
            for index in (0..node.entries()).filter(|_| !node.is_internal()) {
                let (key, value) = (node.key(index), node.number(index));
                let (data, time) = (value >> TIME_BITS, u32::try_from(value & 0xff_ffff).unwrap());
                match self.0.last_mut() {
                    Some((origin, first, length, then))
                        if *origin + *length == key
                            && *first + *length == data
                            && *then == time =>
                    {
                        *length += 1;
                    }
                    _ => self.0.push((key, data, 1, time)),
                }
            }
            Ok(())
        }
    }

    /// The pool as this reader sees it, in the words of `thin_dump`.
    fn dump(image: &Vec<u8>) -> String {
        let superblock = superblock_of(image);
        let device = |(id, details): (ThinId, DeviceDetails)| {
            let key = u64::from(id.get());
            let root =
                btree::lookup(image, Tree::Devices, superblock.data_mapping_root, key).unwrap();
            let mut runs = Runs::default();
            let root = u64_at(&root.unwrap(), 0);
            btree::walk(image, Tree::Mappings(id), root, &mut runs).unwrap();
            let highest = runs.0.last().map(|(origin, _, length, _)| origin + length - 1);
            assert_eq!(highest_mapped_block(image, &superblock, id).unwrap(), highest);
            let device = Device {
                id: id.get(),
                transaction: details.transaction_id.get(),
                creation_time: details.creation_time,
                snap_time: details.snapshotted_time,
                runs: runs.0,
            };
            assert_eq!(device.mapped(), details.mapped_blocks.get());
            device
        };
        let devices = list_devices(image, &superblock).unwrap();
        let pool = Pool {
            time: superblock.time,
            transaction: superblock.transaction_id.get(),
            block_sectors: u32::try_from(superblock.data_block_size.sectors().get()).unwrap(),
            data_blocks: superblock.data_space_map.total_blocks,
            devices: devices.into_iter().map(device).collect(),
        };
        pool.xml()
    }

    #[test]
    fn agrees_with_thin_dump_on_random_pools() {
        for seed in 10..16 {
            let image = random_pool(seed, 7, 1 << 26).restore(8192);
            assert_eq!(dump(&image), thin_dump(&image));
        }
    }

    #[test]
    fn agrees_with_thin_dump_on_a_deep_tree_and_its_snapshots() {
        let runs = (0..20_000).map(|n| (n * 5, n, 1, 0xff_ffff)).collect();
        let origin = Device { id: 1, runs, ..Device::default() };
        let devices = vec![origin, Device { id: 2, ..Device::default() }];
        let mut image = Pool { devices, ..Pool::default() }.restore(1024);
        share(&mut image, 1, 2);
        diverge(&mut image, 2, 1000, 99_999);
        assert_eq!(dump(&image), thin_dump(&image));
    }

    #[test]
    fn the_extremes_of_blocks_and_times_are_read() {
        let runs = vec![(0, (1 << 34) - 1, 1, 0xff_ffff), ((1 << 40) - 1, 0, 1, 0)];
        let devices = [
            Device { id: 0, runs, ..Device::default() },
            Device { id: ThinId::MAX.get(), ..Device::default() },
        ];
        // Too many data blocks for their space map to be written: the mappings are patched in.
        let small = devices.iter().cloned().map(|mut device| {
            device.runs.iter_mut().for_each(|run| run.1 = 0);
            device
        });
        let mut image = Pool { devices: small.collect(), ..Pool::default() }.restore(1024);
        let superblock = superblock_of(&image);
        let id = ThinId::new(0).unwrap();
        assert_eq!(highest_mapped_block(&image, &superblock, id).unwrap(), Some((1 << 40) - 1));
        assert_eq!(highest_mapped_block(&image, &superblock, ThinId::MAX).unwrap(), None);
        assert_eq!(
            highest_mapped_block(&image, &superblock, ThinId::new(7).unwrap()).unwrap(),
            None
        );
        let top = btree::lookup(&image, Tree::Devices, superblock.data_mapping_root, 0).unwrap();
        let root = u64_at(&top.unwrap(), 0);
        let value = ((1_u64 << 34) - 1) << 24 | 0xff_ffff;
        patch(&mut image, root, BlockKind::Node, 32 + 252 * 8, &value.to_le_bytes());
        let mut found = Runs::default();
        btree::walk(&image, Tree::Mappings(id), root, &mut found).unwrap();
        assert_eq!(found.0, devices[0].runs);
    }

    #[test]
    fn damage_names_the_device_and_the_blocks_it_takes() {
        let runs = (0..20_000).map(|n| (n, n * 2, 1, 0)).collect();
        let devices = vec![Device { id: 3, runs, ..Device::default() }];
        let mut image = Pool { devices, ..Pool::default() }.restore(1024);
        let superblock = superblock_of(&image);
        let id = ThinId::new(3).unwrap();
        let top = btree::lookup(&image, Tree::Devices, superblock.data_mapping_root, 3).unwrap();
        let root = u64_at(&top.unwrap(), 0);
        let node = btree::read_node(&image, Tree::Mappings(id), root, KeyRange::ALL).unwrap();
        let second = node.child_keys(1);
        patch(&mut image, node.number(1), BlockKind::Node, 16, &0xffff_u32.to_le_bytes());
        let error =
            btree::walk(&image, Tree::Mappings(id), root, &mut Runs::default()).unwrap_err();
        let MetadataError::Node { block, tree, keys, fault, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!((*block, *tree, *keys), (node.number(1), Tree::Mappings(id), second));
        assert!(matches!(fault, NodeFault::EntryCount { entries: 0xffff, .. }));
        let blocks = format!("virtual blocks {} to {}", second.first, second.end.unwrap() - 1);
        let message = error.to_string();
        assert!(message.contains("thin device 3") && message.contains(&blocks), "{message}");
    }
}
