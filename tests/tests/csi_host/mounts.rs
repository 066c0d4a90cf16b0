//! Mounting, binding, unmounting.

use std::fs;
use std::os::unix::fs::FileExt;

use anyhow::Result;
use thinly_csi::host::HostErrorKind;
use thinly_csi::host::filesystem::Filesystem;
use thinly_csi::host::mount_table::{mounts_at, mounts_of};
use thinly_csi::host::mounting::{
    MountOptions, bind_device, bind_directory, mount_filesystem, unmount,
};
use thinly_csi::host::paths::Entry;
use thinly_csi::host::stats::filesystem_stats;
use thinly_engine::block_device::{Access, BlockDevice};
use thinly_tests::sh;

use crate::support::{Bed, SHORTEST_BYTES, made, mount_at, says};

/// Mounts it with options of its own, binds it read-only, and takes everything down.
fn lives(filesystem: Filesystem, option: &str) -> Result<()> {
    let bed = Bed::new(1)?;
    let device = &bed.disks[0];
    made(device, filesystem)?;
    let staging = bed.directory("staging")?;
    let options = MountOptions::parse(filesystem, ["noatime,noexec", option])?;
    mount_filesystem(device, filesystem, &staging, &options, false)?;
    let mount = mount_at(&staging)?;
    assert_eq!(mount.filesystem, filesystem.name());
    assert_eq!(mount.source, *device);
    for expected in ["rw", "noatime", "noexec", "nosuid", "nodev"] {
        assert!(says(&mount.options, expected), "{mount:?}");
    }
    assert!(says(&mount.super_options, option), "{mount:?}");
    assert!(options.agree_with(&mount, false) && !options.agree_with(&mount, true));
    fs::write(staging.path().join("file"), vec![1; 1 << 20])?;

    let stats = filesystem_stats(&staging)?;
    assert!(stats.total_bytes <= SHORTEST_BYTES && stats.available_bytes < stats.total_bytes);
    assert_eq!(stats.used_inodes + stats.free_inodes, stats.total_inodes);
    assert_eq!(stats.total_inodes == 0, filesystem == Filesystem::Btrfs);

    let target = bed.directory("target")?;
    let options = MountOptions::parse(filesystem, ["dev"])?;
    bind_directory(&staging, &target, true, &options)?;
    let bind = mount_at(&target)?;
    assert!(options.agree_with(&bind, true) && !says(&bind.options, "noexec"), "{bind:?}");
    let refused = fs::write(target.path().join("file"), "x").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(fs::read(target.path().join("file"))?.len(), 1 << 20);
    fs::write(staging.path().join("other"), "the filesystem itself stays writable")?;
    let number = BlockDevice::open(device, Access::ReadOnly)?.number().unwrap();
    assert_eq!(mounts_of(number)?.len(), 2);

    let again = bind_directory(&staging, &target, true, &options).unwrap_err();
    assert_eq!(again.kind(), HostErrorKind::Exists, "{again}");
    assert!(unmount(&target)? && !unmount(&target)?);
    assert!(target.remove()?);
    assert!(unmount(&staging)? && !unmount(&staging)?);

    mount_filesystem(device, filesystem, &staging, &MountOptions::default(), true)?;
    let mount = mount_at(&staging)?;
    assert!(says(&mount.options, "ro") && says(&mount.super_options, "ro"), "{mount:?}");
    assert!(fs::write(staging.path().join("file"), "x").is_err());
    assert_eq!(fs::read(staging.path().join("file"))?.len(), 1 << 20);
    Ok(())
}

#[test]
fn ext4_is_mounted_bound_and_unmounted() -> Result<()> {
    lives(Filesystem::Ext4, "commit=7")
}

#[test]
fn xfs_is_mounted_bound_and_unmounted() -> Result<()> {
    lives(Filesystem::Xfs, "logbsize=64k")
}

#[test]
fn btrfs_is_mounted_bound_and_unmounted() -> Result<()> {
    lives(Filesystem::Btrfs, "compress=zstd:1")
}

/// The driver's container gets its mounts to the host by propagation, which copies them once.
#[test]
fn a_read_only_bind_is_read_only_in_other_namespaces_too() -> Result<()> {
    let bed = Bed::new(1)?;
    let peer = bed.outside("peer")?;
    let (directory, peer) = (bed.kubelet.path().display(), peer.display());
    sh(&format!("mount --bind {directory} {directory}; mount --make-shared {directory}"))?;
    sh(&format!("mount --bind {directory} {peer}"))?;
    // What was opened before the bind is below it.
    let kubelet = thinly_csi::host::paths::KubeletDir::open(bed.kubelet.path())?;
    made(&bed.disks[0], Filesystem::Ext4)?;
    let place = |name| -> Result<_> {
        let path = kubelet.resolve(&kubelet.path().join(name))?;
        path.create_directory()?;
        Ok(path)
    };
    let (staging, target) = (place("staging")?, place("target")?);
    let options = MountOptions::default();
    mount_filesystem(&bed.disks[0], Filesystem::Ext4, &staging, &options, false)?;
    bind_directory(&staging, &target, true, &options)?;
    let copy = sh(&format!("findmnt -n -o OPTIONS {peer}/target"))?;
    for option in ["ro", "nosuid", "nodev"] {
        assert!(copy.split(',').any(|found| found == option), "{copy}");
    }
    assert!(fs::write(format!("{peer}/target/file"), "x").is_err());
    fs::write(format!("{peer}/staging/file"), "x")?;
    assert!(unmount(&target)? && unmount(&staging)?);
    assert!(sh(&format!("findmnt {peer}/target")).is_err(), "the copy went with it");
    Ok(())
}

#[test]
fn a_device_is_bound_on_a_file() -> Result<()> {
    let bed = Bed::new(1)?;
    let target = bed.path("device")?;
    assert_eq!(bind_device(&bed.disks[0], &target).unwrap_err().kind(), HostErrorKind::NotFound);
    target.create_file()?;
    bind_device(&bed.disks[0], &target)?;
    assert_eq!(target.entry()?, Entry::BlockDevice);
    fs::OpenOptions::new().write(true).open(target.path())?.write_all_at(b"by the bind", 4096)?;
    let read = sh(&format!("sync; dd if={} bs=4096 skip=1 count=1", bed.disks[0].display()))?;
    assert!(read.starts_with("by the bind"));
    assert_eq!(target.remove().unwrap_err().kind(), HostErrorKind::InUse);
    assert!(unmount(&target)? && !unmount(&target)?);
    assert_eq!(target.entry()?, Entry::File);
    assert!(target.remove()? && !target.remove()?);

    let file = bed.path("plain")?;
    file.create_file()?;
    target.create_file()?;
    let error = bind_device(file.path(), &target).unwrap_err();
    assert_eq!(error.kind(), HostErrorKind::Refused, "{error}");
    let directory = bed.directory("directory")?;
    let error = bind_device(&bed.disks[0], &directory).unwrap_err();
    assert_eq!(error.kind(), HostErrorKind::Exists, "{error}");
    Ok(())
}

#[test]
fn everything_stacked_on_a_path_is_unmounted_unless_it_is_used() -> Result<()> {
    let bed = Bed::new(0)?;
    let target = bed.directory("target")?;
    let below = bed.directory("target2")?;
    for path in [&target, &target, &target, &below] {
        sh(&format!("mount -t tmpfs none {}", path.path().display()))?;
    }
    assert_eq!(mounts_at(&target)?.len(), 3);
    assert_eq!(target.remove().unwrap_err().kind(), HostErrorKind::InUse);
    let file = fs::File::create(target.path().join("open"))?;
    assert_eq!(unmount(&target).unwrap_err().kind(), HostErrorKind::InUse);
    assert_eq!(mounts_at(&target)?.len(), 3);
    drop(file);
    assert!(unmount(&target)?);
    assert_eq!(mounts_at(&target)?, []);
    assert_eq!(mounts_at(&below)?.len(), 1, "its neighbour stays");
    assert!(target.remove()?);
    assert!(!unmount(&bed.path("never/there")?)?);
    Ok(())
}

#[test]
fn a_refused_mount_tells_what_the_filesystem_said() -> Result<()> {
    let bed = Bed::new(1)?;
    let target = bed.directory("target")?;
    let options = MountOptions::default();
    let missing = std::path::Path::new("/dev/no-such-device");
    let error = mount_filesystem(missing, Filesystem::Xfs, &target, &options, false).unwrap_err();
    assert_eq!(error.kind(), HostErrorKind::NotFound);
    assert!(error.to_string().contains("blockdev"), "{error}");
    for filesystem in Filesystem::ALL {
        let error = mount_filesystem(&bed.disks[0], filesystem, &target, &options, false);
        let error = error.unwrap_err();
        assert_eq!(error.kind(), HostErrorKind::Internal, "{error}");
        assert!(error.to_string().contains(&bed.disks[0].display().to_string()), "{error}");
    }
    assert_eq!(mounts_at(&target)?, []);
    Ok(())
}
