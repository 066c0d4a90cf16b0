//! What a device carries.
#![forbid(unsafe_code)]

use std::path::Path;

use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::layout::{FilesystemFacts, Window, filesystem_of, find_signatures_in};
use uuid::Uuid;

use super::Filesystem;
use crate::host::error::Result;

/// How much of a device's head the superblocks are in.
const HEAD_BYTES: usize = 128 << 10;

/// What a device carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// Nothing that is known.
    None,
    /// A filesystem that a volume can carry, and its identity.
    Known(Filesystem, Uuid),
    /// Something else, by its name.
    Foreign(String),
}

/// Looks at what a device, or an image file, carries.
pub fn signature(device: &Path) -> Result<Signature> {
    Ok(signature_in(&Window::read(&BlockDevice::open_any(device, Access::ReadOnly)?)?))
}

/// What the superblock of a device's filesystem says; `None` when it has none of ours.
pub(super) fn facts(device: &Path) -> Result<Option<(Filesystem, FilesystemFacts)>> {
    Ok(facts_in(&Window::read(&BlockDevice::open_any(device, Access::ReadOnly)?)?))
}

fn facts_in(window: &Window) -> Option<(Filesystem, FilesystemFacts)> {
    let facts = filesystem_of(window.bytes(0, HEAD_BYTES)?)?;
    Some((facts.name.parse().ok()?, facts))
}

fn signature_in(window: &Window) -> Signature {
    let found = find_signatures_in(window);
    if found.is_empty() {
        return Signature::None;
    }
    if let Some((filesystem, facts)) = facts_in(window) {
        // What lies behind the superblock is the filesystem's own, contents of files among it: an
        // image of a disk in a file must not make the volume foreign. What lies before it belongs
        // to something that was put over the filesystem.
        let superblock: u64 = match filesystem {
            Filesystem::Xfs => 0,
            Filesystem::Ext4 => 1024 + 0x38,
            Filesystem::Btrfs => 0x1_0040,
        };
        if found.iter().all(|signature| signature.offset >= superblock) {
            return Signature::Known(filesystem, facts.uuid);
        }
    }
    let mut names: Vec<&str> = found.iter().map(|signature| signature.name).collect();
    names.dedup();
    Signature::Foreign(names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: Uuid = Uuid::from_u128(0x0f8f_ad5b_d9cb_469f_a165_7086_7728_950e);

    fn image(parts: &[(usize, &[u8])]) -> Window {
        let mut image = vec![0; 4 << 20];
        for (offset, bytes) in parts {
            image[*offset..*offset + bytes.len()].copy_from_slice(bytes);
        }
        Window::of_bytes(&image)
    }

    #[test]
    fn an_empty_device_carries_nothing() {
        assert_eq!(signature_in(&image(&[])), Signature::None);
    }

    #[test]
    fn a_known_filesystem_has_its_identity() {
        let xfs = image(&[(0, b"XFSB"), (32, UUID.as_bytes())]);
        assert_eq!(signature_in(&xfs), Signature::Known(Filesystem::Xfs, UUID));
        let btrfs = image(&[(0x1_0040, b"_BHRfS_M"), (0x1_0020, UUID.as_bytes())]);
        assert_eq!(signature_in(&btrfs), Signature::Known(Filesystem::Btrfs, UUID));
    }

    #[test]
    fn what_a_file_of_it_contains_does_not_make_a_filesystem_foreign() {
        let swap_in_a_file = (65536 - 10, &b"SWAPSPACE2"[..]);
        let xfs = image(&[(0, b"XFSB"), (32, UUID.as_bytes()), swap_in_a_file]);
        assert_eq!(signature_in(&xfs), Signature::Known(Filesystem::Xfs, UUID));
    }

    #[test]
    fn anything_before_the_superblock_was_put_over_it() {
        let swap = (4096 - 10, &b"SWAPSPACE2"[..]);
        let over_btrfs = image(&[(0x1_0040, b"_BHRfS_M"), swap]);
        assert_eq!(signature_in(&over_btrfs), Signature::Foreign("swap, Btrfs".into()));
        let luks = image(&[(0, b"LUKS\xba\xbe")]);
        assert_eq!(signature_in(&luks), Signature::Foreign("LUKS".into()));
    }
}
