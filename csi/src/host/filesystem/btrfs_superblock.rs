//! The identity of a Btrfs, changed where it is written: in its superblocks.
//!
//! Since kernel 5.0 a Btrfs has two identities when the feature `METADATA_UUID` is set: the visible
//! one in the superblock, and the one that is repeated in every block of metadata. Only the first
//! has to change. `btrfstune -M` does the same with a transaction of its own, which a filesystem
//! with a log of recent fsyncs does not survive: the log is bound to the superblock's generation.
//! A snapshot of a mounted filesystem has such a log, and what is in it was promised to somebody.
//! Here the generation stays what it is, and so does the log.
#![forbid(unsafe_code)]

use thinly_engine::aligned::AlignedBuffer;
use thinly_engine::block_device::BlockDevice;
use uuid::Uuid;

use crate::host::error::{HostError, Result};

/// Where the superblock and its copies are (fs/btrfs/disk-io.h).
const OFFSETS: [u64; 3] = [64 << 10, 64 << 20, 256 << 30];
const SUPERBLOCK_BYTES: usize = 4096;

// Fields of `struct btrfs_super_block` (include/uapi/linux/btrfs_tree.h).
const CHECKSUM: std::ops::Range<usize> = 0..4;
const CHECKSUM_FIELD_BYTES: usize = 32;
const IDENTITY: std::ops::Range<usize> = 0x20..0x30;
const OWN_OFFSET: std::ops::Range<usize> = 0x30..0x38;
const MAGIC: std::ops::Range<usize> = 0x40..0x48;
const DEVICES: std::ops::Range<usize> = 0x88..0x90;
const INCOMPAT: std::ops::Range<usize> = 0xbc..0xc4;
const CHECKSUM_TYPE: std::ops::Range<usize> = 0xc4..0xc6;
const METADATA_IDENTITY: std::ops::Range<usize> = 0x23b..0x24b;

const INCOMPAT_METADATA_UUID: u64 = 1 << 10;

/// Gives the filesystem this identity, in every copy of its superblock.
pub(super) fn set_identity(device: &BlockDevice, uuid: Uuid) -> Result<()> {
    // The kernel reads the first one only: it comes last, so that an interruption leaves the old
    // identity, and the next attempt starts over.
    for offset in OFFSETS.into_iter().rev() {
        let is_first = offset == OFFSETS[0];
        if offset + SUPERBLOCK_BYTES as u64 > device.size().get() {
            continue;
        }
        let mut block = AlignedBuffer::zeroed(SUPERBLOCK_BYTES);
        device.read_at(offset, &mut block)?;
        match change(&mut block, offset, uuid) {
            Ok(true) => device.write_at(offset, &block)?,
            Err(reason) if is_first => {
                return Err(HostError::Identity { device: device.path().to_owned(), reason });
            }
            // A copy that was never written, or is damaged, is for the kernel to renew.
            Ok(false) | Err(_) => {}
        }
    }
    Ok(())
}

/// Changes the identity in one superblock; `false` when it has it already.
fn change(block: &mut [u8], offset: u64, uuid: Uuid) -> std::result::Result<bool, &'static str> {
    const NO_SUPERBLOCK: &str = "there is no superblock of Btrfs";
    if block.get(MAGIC) != Some(b"_BHRfS_M") || number(block, OWN_OFFSET) != Some(offset) {
        return Err(NO_SUPERBLOCK);
    }
    if number(block, CHECKSUM_TYPE) != Some(0) {
        return Err("its checksums are not CRC-32C");
    }
    if number(block, DEVICES) != Some(1) {
        return Err("it has more than one device");
    }
    if block.get(CHECKSUM) != Some(&checksum(block)) {
        return Err("the checksum of its superblock is wrong");
    }
    let old: [u8; 16] = block[IDENTITY].try_into().map_err(|_| NO_SUPERBLOCK)?;
    if old == *uuid.as_bytes() {
        return Ok(false);
    }
    let features = number(block, INCOMPAT).ok_or(NO_SUPERBLOCK)?;
    if features & INCOMPAT_METADATA_UUID == 0 {
        block[METADATA_IDENTITY].copy_from_slice(&old);
        let features = features | INCOMPAT_METADATA_UUID;
        block[INCOMPAT].copy_from_slice(&features.to_le_bytes());
    }
    block[IDENTITY].copy_from_slice(uuid.as_bytes());
    let sum = checksum(block);
    block[CHECKSUM].copy_from_slice(&sum);
    Ok(true)
}

fn checksum(block: &[u8]) -> [u8; 4] {
    crc32c::crc32c(block.get(CHECKSUM_FIELD_BYTES..).unwrap_or_default()).to_le_bytes()
}

/// The little-endian number in a field of up to eight bytes.
fn number(block: &[u8], field: std::ops::Range<usize>) -> Option<u64> {
    let bytes = block.get(field)?;
    let mut wide = [0; 8];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(u64::from_le_bytes(wide))
}
