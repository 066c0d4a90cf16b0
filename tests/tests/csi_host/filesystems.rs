//! Making and growing filesystems on devices.

use std::fs;

use anyhow::Result;
use thinly_csi::host::HostErrorKind;
use thinly_csi::host::filesystem::{
    CheckOutcome, Filesystem, Signature, check, grow, make, needs_growth, signature,
};
use thinly_csi::host::mounting::unmount;
use thinly_csi::host::stats::filesystem_stats;
use thinly_tests::{mib, sh};
use uuid::Uuid;

use crate::support::{Bed, SHORTEST_BYTES};

fn grows(filesystem: Filesystem) -> Result<()> {
    let (bed, staging) = Bed::staged(filesystem, 1)?;
    let device = &bed.disks[0];
    fs::write(staging.path().join("file"), "kept")?;
    assert!(!needs_growth(device, filesystem)?);
    grow(device, filesystem, &staging)?;
    let before = filesystem_stats(&staging)?.total_bytes;
    bed.disks.grow(0, SHORTEST_BYTES + mib(256))?;
    assert!(needs_growth(device, filesystem)?);
    let elsewhere = bed.directory("elsewhere")?;
    let error = grow(device, filesystem, &elsewhere).unwrap_err();
    assert_eq!(error.kind(), HostErrorKind::NotFound, "{error}");
    grow(device, filesystem, &staging)?;
    let after = filesystem_stats(&staging)?.total_bytes;
    assert!(after >= before + mib(230), "{before} {after}");
    grow(device, filesystem, &staging)?;
    assert_eq!(fs::read_to_string(staging.path().join("file"))?, "kept");
    assert!(unmount(&staging)?);
    assert!(!needs_growth(device, filesystem)?);
    assert_eq!(check(device, filesystem)?, CheckOutcome::Clean);
    Ok(())
}

#[test]
fn ext4_grows_while_it_is_mounted() -> Result<()> {
    grows(Filesystem::Ext4)
}

#[test]
fn xfs_grows_while_it_is_mounted() -> Result<()> {
    grows(Filesystem::Xfs)
}

#[test]
fn btrfs_grows_while_it_is_mounted() -> Result<()> {
    grows(Filesystem::Btrfs)
}

#[test]
fn a_device_with_something_else_on_it_is_left_alone() -> Result<()> {
    let bed = Bed::new(1)?;
    let device = &bed.disks[0];
    let path = device.display();
    // Where superblocks and their first copies go; the whole device takes minutes under emulation.
    let sum = || sh(&format!("sync; (head -c 4M {path}; tail -c 1M {path}) | cksum"));
    for (line, name) in [
        (format!("mkswap {path}"), "swap"),
        (
            format!(
                "mdadm --create /dev/md/x{} --run --force --level=1 --raid-devices=1 {path} 2>&1; \
                 mdadm --stop /dev/md/x{}",
                std::process::id(),
                std::process::id()
            ),
            "md 1.2",
        ),
        (format!("printf 'LUKS\\xba\\xbe' | dd of={path} conv=notrunc"), "LUKS"),
        (
            format!("echo 'start=2048' | sfdisk --no-reread --no-tell-kernel {path}"),
            "DOS partition table",
        ),
    ] {
        sh(&line)?;
        let Signature::Foreign(found) = signature(device)? else { panic!("{name}") };
        assert!(found.contains(name), "{found}");
        let before = sum()?;
        for (filesystem, force) in [(Filesystem::Ext4, false), (Filesystem::Xfs, true)] {
            let error = make(device, filesystem, Uuid::new_v4(), &[], force, &mut |_| {});
            let error = error.unwrap_err();
            assert_eq!(error.kind(), HostErrorKind::Refused, "{error}");
        }
        assert_eq!(sum()?, before, "not a byte was written over {name}");
        sh(&format!("blkdiscard {path}"))?;
    }
    assert_eq!(signature(device)?, Signature::None);
    Ok(())
}
