//! What the filesystem at the head of a volume says of itself: its length and its identity.
#![forbid(unsafe_code)]

use uuid::Uuid;

use crate::units::Bytes;

/// What a filesystem states in its first superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilesystemFacts {
    /// Its name, as mount knows it.
    pub name: &'static str,
    /// Its length.
    pub length: Bytes,
    /// Its identity, as mount and udev show it.
    pub uuid: Uuid,
}

/// Reads the first superblock at the head of a volume; `None` when it is none that is known here.
pub fn filesystem_of(head: &[u8]) -> Option<FilesystemFacts> {
    ext(head).or_else(|| xfs(head)).or_else(|| btrfs(head))
}

/// `struct ext4_super_block` at byte 1024 (fs/ext4/ext4.h).
fn ext(head: &[u8]) -> Option<FilesystemFacts> {
    let superblock = head.get(1024..2048)?;
    if superblock.get(0x38..0x3a)? != [0x53, 0xef] {
        return None;
    }
    let low = u64::from(u32_at(superblock, 0x04)?);
    let shift = u32_at(superblock, 0x18)?;
    let has_64bit = u32_at(superblock, 0x60)? & 0x80 != 0;
    let has_journal = u32_at(superblock, 0x5c)? & 0x4 != 0;
    let has_extents = u32_at(superblock, 0x60)? & 0x40 != 0;
    let high = if has_64bit { u64::from(u32_at(superblock, 0x150)?) } else { 0 };
    let name = match (has_extents, has_journal) {
        (true, _) => "ext4",
        (false, true) => "ext3",
        (false, false) => "ext2",
    };
    let blocks = high.checked_shl(32)? | low;
    let length = Bytes::new(blocks.checked_mul(1024 << shift.min(16))?);
    Some(FilesystemFacts { name, length, uuid: uuid_at(superblock, 0x68)? })
}

/// `struct xfs_dsb` at byte 0 (`fs/xfs/libxfs/xfs_format.h`): big-endian.
#[allow(clippy::big_endian_bytes, reason = "XFS is big-endian on disk")]
fn xfs(head: &[u8]) -> Option<FilesystemFacts> {
    if head.get(..4)? != b"XFSB" {
        return None;
    }
    let block = u32::from_be_bytes(head.get(4..8)?.try_into().ok()?);
    let blocks = u64::from_be_bytes(head.get(8..16)?.try_into().ok()?);
    let length = Bytes::new(blocks.checked_mul(u64::from(block))?);
    Some(FilesystemFacts { name: "xfs", length, uuid: uuid_at(head, 0x20)? })
}

/// `struct btrfs_super_block` at byte 65536 (fs/btrfs/ctree.h).
fn btrfs(head: &[u8]) -> Option<FilesystemFacts> {
    let superblock = head.get(65536..65536 + 4096)?;
    if superblock.get(0x40..0x48)? != b"_BHRfS_M" {
        return None;
    }
    let length = u64::from_le_bytes(superblock.get(0x70..0x78)?.try_into().ok()?);
    let uuid = uuid_at(superblock, 0x20)?;
    Some(FilesystemFacts { name: "btrfs", length: Bytes::new(length), uuid })
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
}

fn uuid_at(bytes: &[u8], offset: usize) -> Option<Uuid> {
    Uuid::from_slice(bytes.get(offset..offset + 16)?).ok()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::process::Command;

    use super::*;

    const UUID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

    #[allow(
        clippy::disallowed_methods,
        reason = "the tools that make filesystems are the authority"
    )]
    fn made_by(tool: &str, arguments: &[&str]) -> FilesystemFacts {
        const LENGTH: u64 = 512 << 20;
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(LENGTH).unwrap();
        let run = Command::new(tool).args(arguments).arg(image.path()).output();
        let run = run.unwrap_or_else(|error| panic!("{tool}: {error}; install its package"));
        assert!(run.status.success(), "{tool}: {}", String::from_utf8_lossy(&run.stderr));
        let mut head = vec![0; 128 << 10];
        std::os::unix::fs::FileExt::read_exact_at(&File::open(image.path()).unwrap(), &mut head, 0)
            .unwrap();
        let facts = filesystem_of(&head).unwrap();
        assert_eq!(facts.length, Bytes::new(LENGTH), "{tool}");
        assert_eq!(facts.uuid, UUID.parse::<Uuid>().unwrap(), "{tool}");
        facts
    }

    #[test]
    fn lengths_and_identities_are_read_as_the_tools_wrote_them() {
        assert_eq!(made_by("mkfs.ext4", &["-q", "-F", "-U", UUID]).name, "ext4");
        assert_eq!(made_by("mkfs.xfs", &["-q", "-f", "-m", &format!("uuid={UUID}")]).name, "xfs");
        assert_eq!(made_by("mkfs.btrfs", &["-q", "-f", "-U", UUID]).name, "btrfs");
    }

    #[test]
    fn anything_else_is_nothing() {
        assert_eq!(filesystem_of(&vec![0; 128 << 10]), None);
        assert_eq!(filesystem_of(b"XFSB"), None);
    }
}
