//! The details that the kernel keeps of each thin device.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::btree::{self, Visitor, lookup_many};
use super::error::{KeyRange, MetadataError, Tree};
use super::fault::NodeFault;
use super::field::{U32_BYTES, U64_BYTES, u32_at, u64_at};
#[cfg(any(test, feature = "generator"))]
use super::field::{put_u32, put_u64};
use super::node::Node;
use super::source::BlockSource;
use super::superblock::Superblock;
use crate::units::{DataBlocks, ThinId, TransactionId};

// struct disk_device_details, dm-thin-metadata.c.
const MAPPED_BLOCKS: usize = 0;
const TRANSACTION_ID: usize = MAPPED_BLOCKS + U64_BYTES;
const CREATION_TIME: usize = TRANSACTION_ID + U64_BYTES;
const SNAPSHOTTED_TIME: usize = CREATION_TIME + U32_BYTES;
/// Bytes of the whole record.
pub(super) const DETAILS_BYTES: usize = SNAPSHOTTED_TIME + U32_BYTES;

/// What the kernel keeps of one thin device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceDetails {
    /// How many blocks it maps, shared ones included.
    pub mapped_blocks: DataBlocks,
    /// The pool's transaction id when the device was made.
    pub transaction_id: TransactionId,
    /// The pool's time when the device was made.
    pub creation_time: u32,
    /// The pool's time when the device last became part of a snapshot.
    pub snapshotted_time: u32,
}

impl DeviceDetails {
    pub(super) fn parse(value: &[u8]) -> Self {
        Self {
            mapped_blocks: DataBlocks::new(u64_at(value, MAPPED_BLOCKS)),
            transaction_id: TransactionId::new(u64_at(value, TRANSACTION_ID)),
            creation_time: u32_at(value, CREATION_TIME),
            snapshotted_time: u32_at(value, SNAPSHOTTED_TIME),
        }
    }

    /// The bytes of the record.
    #[cfg(any(test, feature = "generator"))]
    pub(super) fn encode(&self) -> [u8; DETAILS_BYTES] {
        let mut bytes = [0; DETAILS_BYTES];
        put_u64(&mut bytes, MAPPED_BLOCKS, self.mapped_blocks.get());
        put_u64(&mut bytes, TRANSACTION_ID, self.transaction_id.get());
        put_u32(&mut bytes, CREATION_TIME, self.creation_time);
        put_u32(&mut bytes, SNAPSHOTTED_TIME, self.snapshotted_time);
        bytes
    }
}

/// Looks up one device below one superblock; `None` when the pool has no such device.
pub fn device_details(
    source: &dyn BlockSource,
    superblock: &Superblock,
    id: ThinId,
) -> Result<Option<DeviceDetails>, MetadataError> {
    Ok(details_of(source, superblock, &[id])?.remove(&id))
}

/// Looks up several devices below one superblock, reading each node once.
pub(super) fn details_of(
    source: &dyn BlockSource,
    superblock: &Superblock,
    ids: &[ThinId],
) -> Result<BTreeMap<ThinId, DeviceDetails>, MetadataError> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    let keys: Vec<u64> = ids.iter().map(|id| u64::from(id.get())).collect();
    let found = lookup_many(source, Tree::Details, superblock.device_details_root, &keys)?;
    let details = ids.into_iter().filter_map(|id| {
        let value = found.get(&u64::from(id.get()))?;
        Some((id, DeviceDetails::parse(value)))
    });
    Ok(details.collect())
}

/// Lists every device below one superblock, reading each node once.
pub fn list_devices(
    source: &dyn BlockSource,
    superblock: &Superblock,
) -> Result<BTreeMap<ThinId, DeviceDetails>, MetadataError> {
    let mut listing = Listing { source, devices: BTreeMap::new() };
    btree::walk(source, Tree::Details, superblock.device_details_root, &mut listing)?;
    Ok(listing.devices)
}

struct Listing<'a> {
    source: &'a dyn BlockSource,
    devices: BTreeMap<ThinId, DeviceDetails>,
}

impl Visitor for Listing<'_> {
    fn enter(&mut self, _: Tree, _: u64, _: KeyRange) -> Result<bool, MetadataError> {
        Ok(true)
    }

    fn visit(&mut self, tree: Tree, node: &Node) -> Result<(), MetadataError> {
        if node.is_internal() {
            return Ok(());
        }
        for index in 0..node.entries() {
            let id = thin_id(self.source, tree, node, index)?;
            self.devices.insert(id, DeviceDetails::parse(node.value(index)));
        }
        Ok(())
    }
}

/// The thin id that is the key of an entry.
pub(super) fn thin_id(
    source: &dyn BlockSource,
    tree: Tree,
    node: &Node,
    index: usize,
) -> Result<ThinId, MetadataError> {
    let key = node.key(index);
    u32::try_from(key).ok().and_then(|id| ThinId::new(id).ok()).ok_or_else(|| {
        let fault = NodeFault::ThinIdTooLarge { key };
        btree::damage(source, tree, node.block(), node.keys(), fault)
    })
}

#[cfg(test)]
mod tests {
    use super::super::checksum::BlockKind;
    use super::super::fixture::{Device, Pool, patch, superblock_of, thin_ls};
    use super::super::node::KEYS;
    use super::*;

    fn many(count: u32) -> Pool {
        let devices = (0..count).map(|n| Device {
            id: if n + 1 == count { ThinId::MAX.get() } else { n * 3 },
            transaction: u64::from(n) << 33,
            creation_time: n,
            snap_time: n ^ 0xffff,
            runs: vec![(u64::from(n), u64::from(n), 1 + u64::from(n % 3), 0)],
        });
        Pool { devices: devices.collect(), time: 0xffff, ..Pool::default() }
    }

    #[test]
    fn agrees_with_thin_ls_on_many_devices() {
        let image = many(1000).restore(4096);
        let superblock = superblock_of(&image);
        let devices = list_devices(&image, &superblock).unwrap();
        let ours: Vec<Vec<u64>> = devices
            .iter()
            .map(|(id, details)| {
                vec![
                    u64::from(id.get()),
                    details.mapped_blocks.get(),
                    details.transaction_id.get(),
                    u64::from(details.creation_time),
                    u64::from(details.snapshotted_time),
                ]
            })
            .collect();
        assert_eq!(ours.len(), 1000);
        assert_eq!(ours, thin_ls(&image, "DEV,MAPPED_BLOCKS,TRANSACTION,CREATE_TIME,SNAP_TIME"));
        for id in (0..3100).chain([ThinId::MAX.get() - 1, ThinId::MAX.get()]) {
            let id = ThinId::new(id).unwrap();
            let found = device_details(&image, &superblock, id).unwrap();
            assert_eq!(found.as_ref(), devices.get(&id), "{id}");
        }
    }

    #[test]
    fn an_empty_pool_has_no_devices() {
        let image = Pool::default().restore(1024);
        let superblock = superblock_of(&image);
        assert!(list_devices(&image, &superblock).unwrap().is_empty());
        assert_eq!(device_details(&image, &superblock, ThinId::MAX).unwrap(), None);
    }

    #[test]
    fn an_id_above_24_bits_is_damage() {
        let mut image = many(3).restore(1024);
        let superblock = superblock_of(&image);
        let root = superblock.device_details_root;
        let last_key = KEYS + 2 * U64_BYTES;
        patch(&mut image, root, BlockKind::Node, last_key, &0x0100_0000_u64.to_le_bytes());
        let error = list_devices(&image, &superblock).unwrap_err();
        let expected = NodeFault::ThinIdTooLarge { key: 0x0100_0000 };
        assert!(
            matches!(&error, MetadataError::Node { fault, .. } if *fault == expected),
            "{error}"
        );
    }
}
