//! Disks of any size for one test: loop devices on sparse files, gone when the test ends.

use std::fs::{self, File};
use std::ops::Index;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};
use thinly_guest::agent::IN_GUEST;

use crate::command::sh;
use crate::leftovers;

/// Where the guest mounts its large disk.
const SCRATCH: &str = "/scratch";

/// That many GiB, in bytes.
pub const fn gib(count: u64) -> u64 {
    count << 30
}

/// That many MiB, in bytes.
pub const fn mib(count: u64) -> u64 {
    count << 20
}

/// The disks of one test. What the test left on top of them is taken down first when they go.
#[derive(Debug)]
pub struct Disks {
    dir: PathBuf,
    devices: Vec<PathBuf>,
}

impl Disks {
    /// Zeroed disks of these sizes, with blocks of 512 bytes.
    pub fn new(sizes_bytes: &[u64]) -> Result<Self> {
        Self::with_block_bytes(sizes_bytes, 512)
    }

    /// Zeroed disks of these sizes and this logical block size.
    pub fn with_block_bytes(sizes_bytes: &[u64], block_bytes: u32) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if std::env::var_os(IN_GUEST).is_none() {
            bail!("this test makes block devices and runs only in the guest: `make test-kernel`");
        }
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let dir = Path::new(SCRATCH).join(format!("disks-{}-{number}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let mut disks = Self { dir, devices: Vec::new() };
        for &size_bytes in sizes_bytes {
            disks.add(size_bytes, block_bytes)?;
        }
        Ok(disks)
    }

    /// Leaves the disks behind for a test after the next boot, and tells where they are.
    pub fn leave(self) -> PathBuf {
        std::mem::ManuallyDrop::new(self).dir.clone()
    }

    /// The disks that a test before the last boot left.
    pub fn left_in(dir: &Path) -> Result<Self> {
        let mut disks = Self { dir: dir.to_owned(), devices: Vec::new() };
        while disks.file(disks.devices.len()).exists() {
            disks.attach(512)?;
        }
        Ok(disks)
    }

    /// Adds one more disk.
    pub fn add(&mut self, size_bytes: u64, block_bytes: u32) -> Result<&Path> {
        File::create_new(self.file(self.devices.len()))?.set_len(size_bytes)?;
        self.attach(block_bytes)
    }

    fn file(&self, index: usize) -> PathBuf {
        self.dir.join(format!("disk{index}"))
    }

    fn attach(&mut self, block_bytes: u32) -> Result<&Path> {
        let file = self.file(self.devices.len());
        let file = file.display();
        let device = sh(&format!("losetup --find --show --sector-size {block_bytes} {file}"))?;
        let device = PathBuf::from(device);
        let name = device.file_name().context("a disk without a name")?;
        let queue = Path::new("/sys/class/block").join(name).join("queue");
        self.devices.push(device);
        // A kernel that was told otherwise keeps to it for everybody who gets this device later.
        let discards = fs::read_to_string(queue.join("discard_max_bytes"))?;
        ensure!(discards.trim() != "0", "somebody left {} without discards", queue.display());
        Ok(&self[self.devices.len() - 1])
    }

    /// The device nodes, in the order asked for.
    pub fn paths(&self) -> &[PathBuf] {
        &self.devices
    }

    /// Where the sparse files behind the disks are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes a disk larger, as a storage administrator would.
    pub fn grow(&self, index: usize, size_bytes: u64) -> Result<()> {
        File::options().write(true).open(self.file(index))?.set_len(size_bytes)?;
        sh(&format!("losetup --set-capacity {}", self[index].display()))?;
        Ok(())
    }
}

impl Index<usize> for Disks {
    type Output = Path;

    fn index(&self, index: usize) -> &Path {
        &self.devices[index]
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        for device in &self.devices {
            // The test's own verdict must not drown in this; the next guest starts clean anyway.
            if let Err(e) = leftovers::remove_above(device)
                .and_then(|()| sh(&format!("timeout 60 losetup --detach {}", device.display())))
            {
                eprintln!("cannot clean up {}: {e:#}", device.display());
            }
        }
        if let Err(e) = fs::remove_dir_all(&self.dir) {
            eprintln!("cannot remove {}: {e}", self.dir.display());
        }
    }
}
