//! Clones: the same bytes on a second device, mounted beside the first.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Result, bail};
use thinly_csi::host::HostErrorKind;
use thinly_csi::host::filesystem::{
    CheckOutcome, Filesystem, Signature, check, new_identity, signature,
};
use thinly_csi::host::mounting::{MountOptions, mount_filesystem, unmount};
use thinly_tests::{Disks, sh};
use uuid::Uuid;

use crate::support::Bed;

/// What is on one disk itself, as a snapshot would hold it, while its filesystem stays mounted: the
/// sparse file behind it, copied without its holes.
fn copy(disks: &Disks, from: usize, to: usize) -> Result<()> {
    let directory = disks.dir().display();
    sh(&format!("cp --sparse=always {directory}/disk{from} {directory}/disk{to}"))?;
    Ok(())
}

/// A file that is durable by fsync alone: its filesystem has written no more than a log of it.
fn write_durably(path: &Path, contents: &str) -> Result<()> {
    let file = File::create(path)?;
    file.write_all_at(contents.as_bytes(), 0)?;
    file.sync_all()?;
    Ok(())
}

/// Writes a file to the first disk's filesystem and copies the disk while no more than a log has it. btrfs
/// writes a transaction when it likes (a `sync` anywhere is enough), which ends the log: then once more.
fn copy_with_log(disks: &Disks, path: &Path, filesystem: Filesystem) -> Result<()> {
    for _ in 0..20 {
        write_durably(path, "logged")?;
        let before = btrfs_superblock(&disks[0])?;
        copy(disks, 0, 1)?;
        let stood_still = btrfs_superblock(&disks[0])? == before;
        if filesystem != Filesystem::Btrfs || (stood_still && btrfs_log(&before) != 0) {
            return Ok(());
        }
    }
    bail!("no copy of {} has a log to lose", disks[0].display())
}

fn mounts_beside_its_source(filesystem: Filesystem) -> Result<()> {
    let (bed, source) = Bed::staged(filesystem, 3)?;
    let options = MountOptions::default();
    fs::write(source.path().join("old"), "old")?;
    sh(&format!("sync -f {}", source.path().display()))?;
    copy_with_log(&bed.disks, &source.path().join("logged"), filesystem)?;
    write_durably(&source.path().join("later"), "of the source only")?;

    let identity = Uuid::new_v4();
    for _ in 0..2 {
        new_identity(&bed.disks[1], filesystem, identity)?;
    }
    assert_eq!(check(&bed.disks[1], filesystem)?, CheckOutcome::Clean);
    let clone = bed.directory("clone")?;
    mount_filesystem(&bed.disks[1], filesystem, &clone, &options, false)?;
    let error = new_identity(&bed.disks[1], Filesystem::Btrfs, Uuid::new_v4()).unwrap_err();
    assert_eq!(error.kind(), HostErrorKind::InUse, "{error}");
    write_durably(&clone.path().join("later"), "of the clone only")?;

    // A clone of the clone, which has two identities already.
    copy(&bed.disks, 1, 2)?;
    let third = Uuid::new_v4();
    new_identity(&bed.disks[2], filesystem, third)?;
    let second_clone = bed.directory("second-clone")?;
    mount_filesystem(&bed.disks[2], filesystem, &second_clone, &options, false)?;

    for (place, later) in [
        (&source, "of the source only"),
        (&clone, "of the clone only"),
        (&second_clone, "of the clone only"),
    ] {
        let read = |name| fs::read_to_string(place.path().join(name));
        assert_eq!(read("old")?, "old");
        assert_eq!(read("logged")?, "logged");
        assert_eq!(read("later")?, later);
    }
    for place in [source, clone, second_clone] {
        assert!(unmount(&place)?);
    }
    if filesystem == Filesystem::Btrfs {
        for (disk, uuid) in [(1, identity), (2, third)] {
            assert_eq!(signature(&bed.disks[disk])?, Signature::Known(filesystem, uuid));
            sh(&format!("btrfs check --readonly {} 2>&1", bed.disks[disk].display()))?;
        }
    }
    Ok(())
}

fn btrfs_superblock(device: &Path) -> Result<[u8; 4096]> {
    let mut superblock = [0; 4096];
    File::open(device)?.read_exact_at(&mut superblock, 64 << 10)?;
    Ok(superblock)
}

/// Where the log is that a superblock names; 0 without one.
fn btrfs_log(superblock: &[u8; 4096]) -> u64 {
    let mut address = [0; 8];
    address.copy_from_slice(&superblock[0x60..][..8]);
    u64::from_le_bytes(address)
}

#[test]
fn a_clone_of_ext4_mounts_beside_its_source() -> Result<()> {
    mounts_beside_its_source(Filesystem::Ext4)
}

#[test]
fn a_clone_of_xfs_mounts_beside_its_source() -> Result<()> {
    mounts_beside_its_source(Filesystem::Xfs)
}

#[test]
fn a_clone_of_btrfs_mounts_beside_its_source() -> Result<()> {
    mounts_beside_its_source(Filesystem::Btrfs)
}

#[test]
fn an_identity_is_not_written_over_something_else() -> Result<()> {
    let bed = Bed::new(1)?;
    let error = new_identity(&bed.disks[0], Filesystem::Btrfs, Uuid::new_v4()).unwrap_err();
    assert_eq!(error.kind(), HostErrorKind::Unsupported, "{error}");
    assert_eq!(signature(&bed.disks[0])?, Signature::None);
    Ok(())
}
