//! Reading a live pool: nothing counts unless the superblock stood still meanwhile.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::details::{DeviceDetails, details_of};
use super::error::MetadataError;
use super::source::BlockSource;
use super::superblock::{Superblock, require_superblock};
use crate::units::ThinId;

/// How often a proof starts again. A commit takes several flushes and a proof a few reads, so
/// that even a pool that commits without a pause leaves room long before this.
const MAX_ATTEMPTS: u32 = 64;

/// What the disk holds of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The superblock before and after the lookup.
    pub superblock: Superblock,
    /// The device's details; `None` is proof that the pool has no such device.
    pub details: Option<DeviceDetails>,
}

/// What the disk holds of several devices, all under the same superblock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupProof {
    /// The superblock before and after the lookups.
    pub superblock: Superblock,
    /// The devices found; the pool has none of the others asked for.
    pub details: BTreeMap<ThinId, DeviceDetails>,
}

/// Looks one device up on a live pool.
pub fn prove_device(source: &dyn BlockSource, id: ThinId) -> Result<Proof, MetadataError> {
    let GroupProof { superblock, mut details } = prove_devices(source, &[id])?;
    Ok(Proof { superblock, details: details.remove(&id) })
}

/// Looks several devices up on a live pool, in one consistent pass.
///
/// The blocks below a superblock may be recycled after the next commit, so a pass counts only
/// when the superblock is the same after it. A damaged block under a superblock that moved is
/// no damage; under one that stands still it is.
pub fn prove_devices(
    source: &dyn BlockSource,
    ids: &[ThinId],
) -> Result<GroupProof, MetadataError> {
    let mut before = settled_superblock(source)?;
    for _ in 0..MAX_ATTEMPTS {
        let details = details_of(source, &before, ids);
        let after = settled_superblock(source)?;
        if after == before {
            return Ok(GroupProof { superblock: before, details: details? });
        }
        before = after;
    }
    Err(MetadataError::Moving { device: source.name(), attempts: MAX_ATTEMPTS })
}

/// Reads the superblock of a pool that may be writing it at this moment.
///
/// A read that meets the write halfway fails the checksum once; real damage fails it every time.
pub fn settled_superblock(source: &dyn BlockSource) -> Result<Superblock, MetadataError> {
    for _ in 1..MAX_ATTEMPTS {
        match require_superblock(source) {
            Err(MetadataError::Superblock { .. }) => {}
            settled => return settled,
        }
    }
    require_superblock(source)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::checksum::BlockKind;
    use super::super::field::put_u64;
    use super::super::fixture::{Changing, Device, Pool, superblock_of};
    use super::super::superblock::SuperblockState;
    use super::*;
    use crate::aligned::AlignedBuffer;
    use crate::units::TransactionId;

    fn image() -> Vec<u8> {
        let device = |id| Device { id, transaction: u64::from(id), ..Device::default() };
        Pool { devices: vec![device(3), device(9)], ..Pool::default() }.restore(1024)
    }

    fn id(id: u32) -> ThinId {
        ThinId::new(id).unwrap()
    }

    /// Stands for a commit: another transaction id under a right checksum.
    fn committed(mut superblock: AlignedBuffer, transaction_id: u32) -> AlignedBuffer {
        put_u64(&mut superblock, 48, u64::from(transaction_id));
        BlockKind::Superblock.seal(&mut superblock);
        superblock
    }

    #[test]
    fn proves_presence_and_absence_in_one_pass() {
        let image = image();
        let proof = prove_device(&image, id(9)).unwrap();
        assert_eq!(proof.details.unwrap().transaction_id, TransactionId::new(9));
        assert_eq!(prove_device(&image, id(4)).unwrap().details, None);
        let group = prove_devices(&image, &[id(9), id(4), id(3), id(9)]).unwrap();
        assert_eq!(group.details.into_keys().collect::<Vec<_>>(), [id(3), id(9)]);
    }

    #[test]
    fn starts_again_when_the_superblock_moves() {
        let reads = AtomicU32::new(0);
        let source = Changing(image(), |block, bytes: AlignedBuffer| {
            // Two commits while the first passes read.
            if block == 0 {
                committed(bytes, reads.fetch_add(1, Ordering::Relaxed).min(2))
            } else {
                bytes
            }
        });
        let proof = prove_device(&source, id(9)).unwrap();
        assert_eq!(proof.superblock.transaction_id, TransactionId::new(2));
        assert_eq!(reads.into_inner(), 4);
    }

    #[test]
    fn a_recycled_block_is_no_damage_and_a_still_one_is() {
        let image = image();
        let root = superblock_of(&image).device_details_root;
        let (reads, spoiled) = (AtomicU32::new(0), AtomicU32::new(1));
        let source = Changing(image, |block, bytes: AlignedBuffer| match block {
            0 => committed(bytes, reads.fetch_add(1, Ordering::Relaxed).min(1)),
            block
                if block == root
                    && reads.load(Ordering::Relaxed) <= spoiled.load(Ordering::Relaxed) =>
            {
                AlignedBuffer::zeroed(4096)
            }
            _ => bytes,
        });
        assert!(prove_device(&source, id(9)).unwrap().details.is_some());

        reads.store(5, Ordering::Relaxed);
        spoiled.store(u32::MAX, Ordering::Relaxed);
        let error = prove_device(&source, id(9)).unwrap_err();
        assert!(matches!(error, MetadataError::Node { .. }), "{error}");
    }

    #[test]
    fn a_pool_that_never_rests_is_reported() {
        let reads = AtomicU32::new(0);
        let source = Changing(image(), |block, bytes: AlignedBuffer| match block {
            0 => committed(bytes, reads.fetch_add(1, Ordering::Relaxed)),
            _ => bytes,
        });
        let error = prove_device(&source, id(9)).unwrap_err();
        assert!(matches!(error, MetadataError::Moving { attempts: MAX_ATTEMPTS, .. }), "{error}");
    }

    #[test]
    fn a_half_written_superblock_is_read_again_and_a_broken_one_is_named() {
        let reads = AtomicU32::new(0);
        let broken = AtomicU32::new(1);
        let source = Changing(image(), |block, mut bytes: AlignedBuffer| {
            if block == 0 && reads.fetch_add(1, Ordering::Relaxed) < broken.load(Ordering::Relaxed)
            {
                bytes[44] ^= 1;
            }
            bytes
        });
        assert!(prove_device(&source, id(9)).unwrap().details.is_some());
        broken.store(u32::MAX, Ordering::Relaxed);
        let error = prove_device(&source, id(9)).unwrap_err();
        assert!(matches!(error, MetadataError::Superblock { .. }), "{error}");
    }

    #[test]
    fn a_blank_device_proves_nothing() {
        let blank = vec![0_u8; 8192];
        assert_eq!(super::super::read_superblock(&blank).unwrap(), SuperblockState::Blank);
        assert!(matches!(prove_device(&blank, id(1)), Err(MetadataError::Blank { .. })));
    }
}
