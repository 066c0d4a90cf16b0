//! What a volume carries: a filesystem that can be mounted, something else, or nothing.
#![forbid(unsafe_code)]

use super::filesystem::{FilesystemFacts, filesystem_of};
use super::signature::find_signatures_in;
use super::window::Window;

/// How much of a device's head the superblocks are in.
const HEAD_BYTES: usize = 128 << 10;

/// What a volume carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    /// Nothing that is known.
    Nothing,
    /// ext4, XFS or Btrfs.
    Filesystem(FilesystemFacts),
    /// Something else, by its name.
    Other(String),
}

/// The filesystem whose superblock is at the head of a device, whatever else is there.
pub fn filesystem_in(window: &Window) -> Option<FilesystemFacts> {
    filesystem_of(window.bytes(0, HEAD_BYTES)?)
}

/// What is on a device.
pub fn carried(window: &Window) -> Carried {
    let found = find_signatures_in(window);
    if found.is_empty() {
        return Carried::Nothing;
    }
    if let Some(facts) = filesystem_in(window)
        && let Some(superblock) = superblock_offset(facts.name)
        // What lies behind the superblock is the filesystem's own, contents of files among it: an
        // image of a disk in a file must not make the volume foreign. What lies before it belongs
        // to something that was put over the filesystem.
        && found.iter().all(|signature| signature.offset >= superblock)
    {
        return Carried::Filesystem(facts);
    }
    let mut names: Vec<&str> = found.iter().map(|signature| signature.name).collect();
    names.dedup();
    Carried::Other(names.join(", "))
}

/// Where the magic number of a filesystem is that a volume can carry.
fn superblock_offset(filesystem: &str) -> Option<u64> {
    match filesystem {
        "xfs" => Some(0),
        "ext4" => Some(1024 + 0x38),
        "btrfs" => Some(0x1_0040),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const UUID: Uuid = Uuid::from_u128(0x0f8f_ad5b_d9cb_469f_a165_7086_7728_950e);

    fn on(parts: &[(usize, &[u8])]) -> Carried {
        let mut image = vec![0; 4 << 20];
        for (offset, bytes) in parts {
            image[*offset..*offset + bytes.len()].copy_from_slice(bytes);
        }
        carried(&Window::of_bytes(&image))
    }

    fn is_filesystem(carried: &Carried, name: &str) -> bool {
        matches!(carried, Carried::Filesystem(facts) if facts.name == name && facts.uuid == UUID)
    }

    #[test]
    fn an_empty_device_carries_nothing() {
        assert_eq!(on(&[]), Carried::Nothing);
    }

    #[test]
    fn a_known_filesystem_has_its_identity() {
        let xfs = on(&[(0, b"XFSB"), (32, UUID.as_bytes())]);
        assert!(is_filesystem(&xfs, "xfs"), "{xfs:?}");
        let btrfs = on(&[(0x1_0040, b"_BHRfS_M"), (0x1_0020, UUID.as_bytes())]);
        assert!(is_filesystem(&btrfs, "btrfs"), "{btrfs:?}");
    }

    #[test]
    fn what_a_file_of_it_contains_does_not_make_a_filesystem_foreign() {
        let swap_in_a_file = (65536 - 10, &b"SWAPSPACE2"[..]);
        let xfs = on(&[(0, b"XFSB"), (32, UUID.as_bytes()), swap_in_a_file]);
        assert!(is_filesystem(&xfs, "xfs"), "{xfs:?}");
    }

    #[test]
    fn anything_before_the_superblock_was_put_over_it() {
        let swap = (4096 - 10, &b"SWAPSPACE2"[..]);
        let over_btrfs = on(&[(0x1_0040, b"_BHRfS_M"), swap]);
        assert_eq!(over_btrfs, Carried::Other("swap, Btrfs".into()));
        assert_eq!(on(&[(0, b"LUKS\xba\xbe")]), Carried::Other("LUKS".into()));
    }

    #[test]
    fn an_older_ext_is_none_that_the_driver_mounts() {
        assert!(matches!(on(&[(1024 + 0x38, &[0x53, 0xef])]), Carried::Other(_)));
    }
}
