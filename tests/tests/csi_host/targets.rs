//! Targets that a pod has put symbolic links into.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::Result;
use thinly_csi::host::filesystem::{Filesystem, grow};
use thinly_csi::host::mounting::{
    MountOptions, bind_device, bind_directory, mount_filesystem, unmount,
};
use thinly_csi::host::{HostError, HostErrorKind};
use thinly_tests::sh;

use crate::support::Bed;

fn refused<T: std::fmt::Debug>(result: Result<T, HostError>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), HostErrorKind::Refused, "{error}");
}

#[test]
fn nothing_is_mounted_or_unmounted_where_a_link_leads() -> Result<()> {
    let (bed, staging) = Bed::staged(Filesystem::Ext4, 1)?;
    let device = &bed.disks[0];
    let outside = bed.outside("outside")?;
    fs::create_dir(outside.join("directory"))?;
    fs::write(outside.join("file"), "")?;
    sh(&format!("mount -t tmpfs none {}", outside.join("directory").display()))?;
    symlink(&outside, bed.path("on-the-way")?.path())?;
    symlink(outside.join("directory"), bed.path("directory")?.path())?;
    symlink(outside.join("file"), bed.path("file")?.path())?;
    symlink("staging", bed.path("to-staging")?.path())?;
    // Those of the neighbours come and go.
    let own = outside.parent().unwrap().display().to_string();
    let mounts = || -> Result<Vec<String>> {
        let all = fs::read_to_string("/proc/self/mountinfo")?;
        Ok(all.lines().filter(|line| line.contains(&own)).map(str::to_owned).collect())
    };
    let before = mounts()?;
    assert_eq!(before.len(), 2, "the staging directory and the one outside: {before:?}");

    let options = MountOptions::default();
    for directory in ["directory", "on-the-way/directory"] {
        let target = bed.path(directory)?;
        refused(mount_filesystem(device, Filesystem::Ext4, &target, &options, false));
        refused(bind_directory(&staging, &target, true, &options));
        let source = bed.directory("plain")?;
        refused(bind_directory(&target, &source, true, &options));
        refused(grow(device, Filesystem::Ext4, &target));
        assert!(!unmount(&target)?, "the mount that the link leads to is not its own");
    }
    for file in ["file", "on-the-way/file"] {
        refused(bind_device(device, &bed.path(file)?));
    }
    refused(grow(device, Filesystem::Ext4, &bed.path("to-staging")?));
    assert!(!unmount(&bed.path("to-staging")?)?);
    assert_eq!(mounts()?, before);
    Ok(())
}

/// The directory of a mount is swapped for a link to another mount's directory afterwards.
#[test]
fn a_swapped_parent_does_not_make_somebody_elses_mount_go() -> Result<()> {
    let bed = Bed::new(0)?;
    let parent = bed.directory("parent")?;
    let target = bed.directory("parent/target")?;
    sh(&format!("mount -t tmpfs none {}", target.path().display()))?;
    let outside = bed.outside("outside/target")?;
    sh(&format!("mount -t tmpfs none {}", outside.display()))?;
    fs::rename(parent.path(), bed.path("moved")?.path())?;
    symlink(bed.outside("outside")?, parent.path())?;
    assert!(!unmount(&target)?, "the mount moved with its directory");
    sh(&format!("findmnt {}", outside.display()))?;
    sh(&format!("findmnt {}", bed.path("moved/target")?.path().display()))?;
    Ok(())
}
