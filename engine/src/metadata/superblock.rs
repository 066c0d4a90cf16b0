//! The superblock: block 0, and its copy under a metadata snapshot.
#![forbid(unsafe_code)]

use super::checksum::BlockKind;
use super::error::MetadataError;
use super::fault::SuperblockFault;
use super::field::{U32_BYTES, U64_BYTES, bytes_at, put_u64, u32_at, u64_at};
use super::source::BlockSource;
use super::space_map::SpaceMapRoot;
use crate::units::{BlockSize, SECTOR_BYTES, Sectors, TransactionId};

// struct thin_disk_superblock, dm-thin-metadata.c.
const CHECKSUM: usize = 0;
const FLAGS: usize = CHECKSUM + U32_BYTES;
const BLOCK_NUMBER: usize = FLAGS + U32_BYTES;
const UUID: usize = BLOCK_NUMBER + U64_BYTES;
const UUID_BYTES: usize = 16;
const MAGIC: usize = UUID + UUID_BYTES;
const VERSION: usize = MAGIC + U64_BYTES;
const TIME: usize = VERSION + U32_BYTES;
const TRANSACTION_ID: usize = TIME + U32_BYTES;
const HELD_ROOT: usize = TRANSACTION_ID + U64_BYTES;
const DATA_SPACE_MAP: usize = HELD_ROOT + U64_BYTES;
const SPACE_MAP_ROOT_BYTES: usize = 128;
const METADATA_SPACE_MAP: usize = DATA_SPACE_MAP + SPACE_MAP_ROOT_BYTES;
const DATA_MAPPING_ROOT: usize = METADATA_SPACE_MAP + SPACE_MAP_ROOT_BYTES;
const DEVICE_DETAILS_ROOT: usize = DATA_MAPPING_ROOT + U64_BYTES;
const DATA_BLOCK_SIZE: usize = DEVICE_DETAILS_ROOT + U64_BYTES;
const METADATA_BLOCK_SIZE: usize = DATA_BLOCK_SIZE + U32_BYTES;
const METADATA_BLOCK_COUNT: usize = METADATA_BLOCK_SIZE + U32_BYTES;
const COMPAT_FLAGS: usize = METADATA_BLOCK_COUNT + U64_BYTES;
const COMPAT_RO_FLAGS: usize = COMPAT_FLAGS + U32_BYTES;
const INCOMPAT_FLAGS: usize = COMPAT_RO_FLAGS + U32_BYTES;

/// Where the live superblock is (`THIN_SUPERBLOCK_LOCATION`).
pub(super) const SUPERBLOCK_LOCATION: u64 = 0;
/// `THIN_SUPERBLOCK_MAGIC`.
const SUPERBLOCK_MAGIC: u64 = 27_022_010;
/// `THIN_VERSION`.
const SUPPORTED_VERSION: u32 = 2;
/// `THIN_METADATA_NEEDS_CHECK_FLAG`.
const NEEDS_CHECK: u32 = 1;
/// `THIN_METADATA_BLOCK_SIZE`, in sectors.
const METADATA_BLOCK_SECTORS: u32 = 8;

/// What the first block of a metadata device holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SuperblockState {
    /// Nothing but zeros: loading a pool table over it makes the kernel format it.
    Blank,
    /// A superblock that passed every check.
    Valid(Superblock),
}

/// A superblock that passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Superblock {
    /// The block that it was read from: 0, or the held root.
    pub block: u64,
    /// The checksum on it: two commits that changed anything differ in it.
    pub checksum: u32,
    /// An earlier failure wants an offline check before the pool may change again.
    pub needs_check: bool,
    /// The pool's uuid; zeros unless a tool set it.
    pub uuid: [u8; UUID_BYTES],
    /// The format's version.
    pub version: u32,
    /// Counts snapshots over the pool's life; beyond 24 bits mappings corrupt each other.
    pub time: u32,
    /// The counter that a volume manager moves.
    pub transaction_id: TransactionId,
    /// Where the superblock of the metadata snapshot is, when one is held.
    pub held_root: Option<u64>,
    /// The data space map; zeroed in a held superblock.
    pub data_space_map: SpaceMapRoot,
    /// The metadata space map; zeroed in a held superblock.
    pub metadata_space_map: SpaceMapRoot,
    /// The root of the tree of device trees.
    pub data_mapping_root: u64,
    /// The root of the tree of device details.
    pub device_details_root: u64,
    /// How long a data block is.
    pub data_block_size: BlockSize,
    /// How long the metadata device was when the pool was formatted; growing does not update it.
    pub metadata_block_count: u64,
    /// Feature bits that an old kernel may ignore when it only reads; none exist today.
    pub compat_ro_flags: u32,
}

impl Superblock {
    /// Reads a superblock out of the bytes of `block`.
    pub(super) fn parse(block: u64, bytes: &[u8]) -> Result<Self, SuperblockFault> {
        check_identity(block, bytes)?;
        let block_size = u32_at(bytes, DATA_BLOCK_SIZE);
        let data_block_size = BlockSize::new(Sectors::new(u64::from(block_size)))
            .map_err(SuperblockFault::DataBlockSize)?;
        let metadata_block_sectors = u32_at(bytes, METADATA_BLOCK_SIZE);
        if metadata_block_sectors != METADATA_BLOCK_SECTORS {
            let found_bytes = u64::from(metadata_block_sectors) * SECTOR_BYTES;
            return Err(SuperblockFault::MetadataBlockSize { found_bytes });
        }
        let held_root = u64_at(bytes, HELD_ROOT);
        Ok(Self {
            block,
            checksum: BlockKind::stored(bytes),
            needs_check: u32_at(bytes, FLAGS) & NEEDS_CHECK != 0,
            uuid: bytes_at(bytes, UUID),
            version: u32_at(bytes, VERSION),
            time: u32_at(bytes, TIME),
            transaction_id: TransactionId::new(u64_at(bytes, TRANSACTION_ID)),
            held_root: (held_root != 0).then_some(held_root),
            data_space_map: SpaceMapRoot::parse(&bytes_at(bytes, DATA_SPACE_MAP)),
            metadata_space_map: SpaceMapRoot::parse(&bytes_at(bytes, METADATA_SPACE_MAP)),
            data_mapping_root: u64_at(bytes, DATA_MAPPING_ROOT),
            device_details_root: u64_at(bytes, DEVICE_DETAILS_ROOT),
            data_block_size,
            metadata_block_count: u64_at(bytes, METADATA_BLOCK_COUNT),
            compat_ro_flags: u32_at(bytes, COMPAT_RO_FLAGS),
        })
    }

    /// The bytes of a live superblock; what a generated pool has not is left out: flags, held root.
    #[cfg(any(test, feature = "generator"))]
    pub(super) fn encode(&self) -> [u8; super::field::BLOCK_BYTES] {
        use super::field::{put, put_u32};
        let mut bytes = [0; super::field::BLOCK_BYTES];
        put(&mut bytes, UUID, &self.uuid);
        put_u64(&mut bytes, MAGIC, SUPERBLOCK_MAGIC);
        put_u32(&mut bytes, VERSION, SUPPORTED_VERSION);
        put_u32(&mut bytes, TIME, self.time);
        put_u64(&mut bytes, TRANSACTION_ID, self.transaction_id.get());
        put_u64(&mut bytes, DATA_MAPPING_ROOT, self.data_mapping_root);
        put_u64(&mut bytes, DEVICE_DETAILS_ROOT, self.device_details_root);
        let sectors = self.data_block_size.sectors().get();
        put_u32(&mut bytes, DATA_BLOCK_SIZE, u32::try_from(sectors).unwrap_or(u32::MAX));
        put_u32(&mut bytes, METADATA_BLOCK_SIZE, METADATA_BLOCK_SECTORS);
        put_u64(&mut bytes, METADATA_BLOCK_COUNT, self.metadata_block_count);
        make_live(&mut bytes, &self.data_space_map, &self.metadata_space_map);
        bytes
    }
}

/// The checks that do not depend on what the pool looks like.
fn check_identity(block: u64, bytes: &[u8]) -> Result<(), SuperblockFault> {
    // Magic first: on a device that never held a pool it says more than a wrong checksum.
    let magic = u64_at(bytes, MAGIC);
    if magic != SUPERBLOCK_MAGIC {
        return Err(SuperblockFault::Magic { found: magic, expected: SUPERBLOCK_MAGIC });
    }
    let stored = BlockKind::stored(bytes);
    let computed = BlockKind::Superblock.compute(bytes);
    if stored != computed {
        return Err(SuperblockFault::Checksum { stored, computed });
    }
    let found = u64_at(bytes, BLOCK_NUMBER);
    if found != block {
        return Err(SuperblockFault::BlockNumber { found });
    }
    let version = u32_at(bytes, VERSION);
    if version != SUPPORTED_VERSION {
        return Err(SuperblockFault::Version { found: version, expected: SUPPORTED_VERSION });
    }
    let flags = u32_at(bytes, INCOMPAT_FLAGS);
    if flags != 0 {
        return Err(SuperblockFault::IncompatFlags { flags });
    }
    Ok(())
}

/// Turns the bytes of a superblock copy into a live superblock over other space maps.
///
/// Everything else, the needs-check flag included, stays what it was.
pub(super) fn make_live(bytes: &mut [u8], data: &SpaceMapRoot, metadata: &SpaceMapRoot) {
    put_u64(bytes, BLOCK_NUMBER, SUPERBLOCK_LOCATION);
    put_u64(bytes, HELD_ROOT, 0);
    for (place, root) in [(DATA_SPACE_MAP, data), (METADATA_SPACE_MAP, metadata)] {
        super::field::put(bytes, place, &[0; SPACE_MAP_ROOT_BYTES]);
        super::field::put(bytes, place, &root.encode());
    }
    BlockKind::Superblock.seal(bytes);
}

/// Gives a superblock another transaction id: a repair that had to invent one knows no better than the journal.
pub fn set_transaction_id(bytes: &mut [u8], id: TransactionId) {
    put_u64(bytes, TRANSACTION_ID, id.get());
    BlockKind::Superblock.seal(bytes);
}

/// Reads and checks block 0.
pub fn read_superblock(source: &dyn BlockSource) -> Result<SuperblockState, MetadataError> {
    let bytes = source.read_block(SUPERBLOCK_LOCATION)?;
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(SuperblockState::Blank);
    }
    parse(source, SUPERBLOCK_LOCATION, &bytes).map(SuperblockState::Valid)
}

/// Reads block 0 of a device that must hold a pool.
pub(super) fn require_superblock(source: &dyn BlockSource) -> Result<Superblock, MetadataError> {
    match read_superblock(source)? {
        SuperblockState::Valid(superblock) => Ok(superblock),
        SuperblockState::Blank => Err(MetadataError::Blank { device: source.name() }),
    }
}

/// Reads and checks the superblock under the metadata snapshot, when one is held.
pub fn read_held_superblock(
    source: &dyn BlockSource,
    superblock: &Superblock,
) -> Result<Option<Superblock>, MetadataError> {
    let Some(block) = superblock.held_root else {
        return Ok(None);
    };
    let bytes = source.read_block(block)?;
    parse(source, block, &bytes).map(Some)
}

fn parse(source: &dyn BlockSource, block: u64, bytes: &[u8]) -> Result<Superblock, MetadataError> {
    Superblock::parse(block, bytes).map_err(|fault| MetadataError::Superblock {
        device: source.name(),
        block,
        fault,
    })
}

#[cfg(test)]
mod tests {
    use super::super::field::put;
    use super::super::fixture::{Pool, block_of, hold, patch, superblock_of};
    use super::*;

    fn fault(image: &Vec<u8>) -> SuperblockFault {
        match read_superblock(image) {
            Err(MetadataError::Superblock { block: 0, fault, .. }) => fault,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_what_thin_restore_wrote() {
        let pool = Pool {
            time: 0x00ff_ffff,
            transaction: u64::MAX - 1,
            block_sectors: 1024,
            data_blocks: 123_456,
            ..Pool::default()
        };
        let superblock = superblock_of(&pool.restore(1024));
        assert_eq!(superblock.time, 0x00ff_ffff);
        assert_eq!(superblock.transaction_id, TransactionId::new(u64::MAX - 1));
        assert_eq!(superblock.data_block_size.sectors(), Sectors::new(1024));
        assert_eq!(superblock.data_space_map.total_blocks, 123_456);
        assert_eq!(superblock.metadata_space_map.total_blocks, 1024);
        assert_eq!(superblock.metadata_block_count, 1024);
        assert_eq!((superblock.held_root, superblock.needs_check), (None, false));
    }

    #[test]
    fn zeros_are_blank_and_one_bit_is_not() {
        let mut image = vec![0; 8192];
        image[5000] = 1;
        assert_eq!(read_superblock(&image).unwrap(), SuperblockState::Blank);
        image[4095] = 1;
        assert!(matches!(fault(&image), SuperblockFault::Magic { found: 0, .. }));
    }

    #[test]
    fn every_damaged_field_is_named() {
        let good = Pool::default().restore(1024);
        let with = |offset: usize, field: &[u8]| {
            let mut image = good.clone();
            patch(&mut image, 0, BlockKind::Superblock, offset, field);
            fault(&image)
        };
        assert!(matches!(with(MAGIC, &[0]), SuperblockFault::Magic { .. }));
        assert_eq!(with(BLOCK_NUMBER, &[9]), SuperblockFault::BlockNumber { found: 9 });
        assert!(matches!(with(VERSION, &[3]), SuperblockFault::Version { found: 3, .. }));
        assert_eq!(with(INCOMPAT_FLAGS, &[4]), SuperblockFault::IncompatFlags { flags: 4 });
        assert!(matches!(with(DATA_BLOCK_SIZE, &[1]), SuperblockFault::DataBlockSize(_)));
        assert!(matches!(
            with(METADATA_BLOCK_SIZE, &[1]),
            SuperblockFault::MetadataBlockSize { found_bytes: 512 }
        ));
        for offset in [0, FLAGS, TIME, TRANSACTION_ID, HELD_ROOT, 4095] {
            let mut image = good.clone();
            image[offset] ^= 0x10;
            assert!(matches!(fault(&image), SuperblockFault::Checksum { .. }), "{offset}");
        }
    }

    #[test]
    fn needs_check_is_read() {
        let mut image = Pool::default().restore(1024);
        patch(&mut image, 0, BlockKind::Superblock, FLAGS, &[1]);
        assert!(superblock_of(&image).needs_check);
    }

    #[test]
    fn the_held_superblock_has_no_space_maps() {
        let mut image = Pool::default().restore(1024);
        let live = superblock_of(&image);
        assert_eq!(read_held_superblock(&image, &live).unwrap(), None);
        let held = hold(&mut image, 1000);
        assert_eq!(held.block, 1000);
        assert_eq!(held.data_space_map, SpaceMapRoot::default());
        assert_eq!(held.device_details_root, live.device_details_root);

        let live = superblock_of(&image);
        put(block_of(&mut image, 1000), TIME, &[0xff]);
        let error = read_held_superblock(&image, &live).unwrap_err();
        assert!(matches!(error, MetadataError::Superblock { block: 1000, .. }), "{error}");
        let live = Superblock { held_root: Some(1 << 40), ..live };
        let error = read_held_superblock(&image, &live).unwrap_err();
        assert!(matches!(error, MetadataError::BeyondEnd { .. }), "{error}");
    }
}
