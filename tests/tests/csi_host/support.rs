//! Disks, and a directory that stands for kubelet's.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;
use thinly_csi::host::filesystem::{Filesystem, make};
use thinly_csi::host::mount_table::{MountEntry, mounts_at};
use thinly_csi::host::mounting::{MountOptions, mount_filesystem};
use thinly_csi::host::paths::{HostPath, KubeletDir};
use thinly_tests::{Disks, sh};
use uuid::Uuid;

/// XFS is not made any shorter than 300 MiB.
pub(crate) const SHORTEST_BYTES: u64 = 320 << 20;

/// Disks, and a directory that stands for kubelet's; what is mounted below it goes with it.
#[derive(Debug)]
pub(crate) struct Bed {
    pub(crate) temporary: TempDir,
    pub(crate) kubelet: KubeletDir,
    pub(crate) disks: Disks,
}

impl Bed {
    pub(crate) fn new(disks: usize) -> Result<Self> {
        let temporary = tempfile::tempdir()?;
        let directory = temporary.path().join("kubelet");
        std::fs::create_dir(&directory)?;
        let kubelet = KubeletDir::open(&directory)?;
        let disks = Disks::new(&vec![SHORTEST_BYTES; disks])?;
        Ok(Self { temporary, kubelet, disks })
    }

    /// A filesystem on the first disk, mounted at `staging`.
    pub(crate) fn staged(filesystem: Filesystem, disks: usize) -> Result<(Self, HostPath)> {
        let bed = Self::new(disks)?;
        made(&bed.disks[0], filesystem)?;
        let staging = bed.directory("staging")?;
        let options = MountOptions::default();
        mount_filesystem(&bed.disks[0], filesystem, &staging, &options, false)?;
        Ok((bed, staging))
    }

    pub(crate) fn path(&self, below: &str) -> Result<HostPath> {
        Ok(self.kubelet.resolve(&self.kubelet.path().join(below))?)
    }

    pub(crate) fn directory(&self, below: &str) -> Result<HostPath> {
        let path = self.path(below)?;
        path.create_directory()?;
        Ok(path)
    }

    /// A place beside kubelet's directory.
    pub(crate) fn outside(&self, name: &str) -> Result<PathBuf> {
        let outside = self.temporary.path().join(name);
        std::fs::create_dir_all(&outside)?;
        Ok(outside)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let directory = self.temporary.path().display();
        let line = format!(
            "awk '$5 ~ \"^{directory}\" {{ print $5 }}' /proc/self/mountinfo | tac | xargs -r -n 1 umount"
        );
        if let Err(error) = sh(&line) {
            eprintln!("cannot unmount what is below {directory}: {error:#}");
        }
    }
}

/// Makes a filesystem, and gives its identity.
pub(crate) fn made(device: &Path, filesystem: Filesystem) -> Result<Uuid> {
    let uuid = Uuid::new_v4();
    make(device, filesystem, uuid, &[], false, &mut |_| {})?;
    Ok(uuid)
}

/// The one mount on a path.
pub(crate) fn mount_at(path: &HostPath) -> Result<MountEntry> {
    let mut mounts = mounts_at(path)?;
    anyhow::ensure!(mounts.len() == 1, "{path:?}: {mounts:?}");
    mounts.pop().context("no mount")
}

/// Whether a mount says this of itself.
pub(crate) fn says(options: &[String], option: &str) -> bool {
    options.iter().any(|found| found == option)
}
