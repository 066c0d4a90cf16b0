//! The checksum that the kernel puts on every metadata block.
#![forbid(unsafe_code)]

use super::field::{BLOCK_BYTES, U32_BYTES, put_u32, u32_at};

/// Where every kind of block keeps its checksum.
const CHECKSUM: usize = 0;

/// What a block holds; each kind has its own salt, so that one is never taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// `SUPERBLOCK_CSUM_XOR`, dm-thin-metadata.c.
    Superblock,
    /// `BTREE_CSUM_XOR`, dm-btree-spine.c.
    Node,
    /// `INDEX_CSUM_XOR`, dm-space-map-common.c.
    Index,
    /// `BITMAP_CSUM_XOR`, dm-space-map-common.c.
    Bitmap,
}

impl BlockKind {
    const fn salt(self) -> u32 {
        match self {
            Self::Superblock => 160_774,
            Self::Node => 121_107,
            Self::Index => 160_478,
            Self::Bitmap => 240_779,
        }
    }

    /// The checksum that `block` should carry as a block of this kind.
    ///
    /// The kernel's CRC-32C leaves out the final complement, which the crate applies.
    pub(super) fn compute(self, block: &[u8]) -> u32 {
        let covered = block.get(CHECKSUM + U32_BYTES..BLOCK_BYTES).unwrap_or_default();
        !crc32c::crc32c(covered) ^ self.salt()
    }

    /// The checksum that `block` carries.
    pub(super) fn stored(block: &[u8]) -> u32 {
        u32_at(block, CHECKSUM)
    }

    /// Puts the right checksum on `block`.
    pub(super) fn seal(self, block: &mut [u8]) {
        let checksum = self.compute(block);
        put_u32(block, CHECKSUM, checksum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_salt() {
        let mut block = vec![0x5a; BLOCK_BYTES];
        let kinds = [BlockKind::Superblock, BlockKind::Node, BlockKind::Index, BlockKind::Bitmap];
        for kind in kinds {
            kind.seal(&mut block);
            let matching: Vec<_> =
                kinds.iter().filter(|k| k.compute(&block) == BlockKind::stored(&block)).collect();
            assert_eq!(matching, [&kind]);
        }
    }
}
