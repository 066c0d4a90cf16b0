//! LVM's pool with a large volume and a small neighbour.
#![forbid(unsafe_code)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use thinly_engine::dm::{Control, Dm, DmName, ThinPoolStatus};
use thinly_engine::metadata::generate::{InPool, Shape};
use thinly_engine::units::{BlockSize, Bytes, ThinId, TransactionId};

use super::prepare::{BLOCK_BYTES, generated};
use super::{Deletion, beside_reader};
use crate::bed::fill;
use crate::rivals::lvm::lvm;

/// The volume group, and what is in it.
const GROUP: &str = "thinlyreap";
const LARGE: &str = "large";
const NEIGHBOUR: &str = "neighbour";
/// LVM keeps names that begin with "snapshot" for itself.
const COPY: &str = "copy";

/// Enough for some millions of mappings.
const METADATA_SIZE: &str = "256m";

/// LVM, by its commands.
#[derive(Debug)]
pub(super) struct Lvm {
    disk: PathBuf,
    length: Bytes,
}

impl Lvm {
    pub(super) fn new(disk: &Path, mappings: u64, length: Bytes) -> Result<Self> {
        let made = Self { disk: disk.to_owned(), length };
        made.run("vgcreate", &[GROUP, &disk.display().to_string()])?;
        let chunk = format!("{}k", BLOCK_BYTES.get() >> 10);
        let sizes = ["-l", "98%FREE", "--chunksize", &chunk, "--poolmetadatasize", METADATA_SIZE];
        let pool = ["--poolmetadataspare", "n", "--thinpool", "pool", GROUP];
        made.run("lvcreate", &[&sizes[..], &pool].concat())?;
        made.create(LARGE, Bytes::new(mappings * BLOCK_BYTES.get()))?;
        made.run("vgchange", &["-an", GROUP])?;
        made.replace_metadata(mappings)?;
        made.create(NEIGHBOUR, length)?;
        fill(&device(NEIGHBOUR), length.get())?;
        Ok(made)
    }

    pub(super) fn delete_snapshot(&self) -> Result<Deletion> {
        self.run("lvcreate", &["-s", "-n", COPY, &format!("{GROUP}/{LARGE}")])?;
        self.delete(COPY)
    }

    pub(super) fn delete_volume(&self) -> Result<Deletion> {
        self.delete(LARGE)
    }

    fn delete(&self, volume: &str) -> Result<Deletion> {
        beside_reader("lvremove", &device(NEIGHBOUR), self.length, || {
            self.run("lvremove", &["-f", &format!("{GROUP}/{volume}")]).map(drop)
        })
    }

    /// All that is in use at the end must be the neighbour: the volume was as large as the others'.
    pub(super) fn finish(self) -> Result<()> {
        let pool = DmName::new(format!("{GROUP}-pool-tpool"))?;
        let status = Control::open()?.status(&pool, false)?;
        let status = status.first().context("LVM's pool has no status")?.thin_pool()?;
        let ThinPoolStatus::Working(usage) = status else {
            anyhow::bail!("LVM's pool went out of service: {status:?}");
        };
        let used = block_size()?.length_of(usage.used_data_blocks);
        ensure!(used == self.length, "LVM's pool has {used} bytes in use, not {}", self.length);
        self.run("vgremove", &["-f", GROUP])?;
        self.run("pvremove", &[&self.disk.display().to_string()]).map(drop)
    }

    fn create(&self, name: &str, size: Bytes) -> Result<()> {
        let (size, pool) = (format!("{}b", size.get()), format!("{GROUP}/pool"));
        self.run("lvcreate", &["-V", &size, "-T", &pool, "-n", name]).map(drop)
    }

    /// Puts generated metadata where the closed pool has its own.
    fn replace_metadata(&self, mappings: u64) -> Result<()> {
        let transaction_id = self.number("lvs", "transaction_id", &format!("{GROUP}/pool"))?;
        let first_id = self.number("lvs", "thin_id", &format!("{GROUP}/{LARGE}"))?;
        let pool = InPool {
            first_id: ThinId::new(u32::try_from(first_id)?)?,
            transaction_id: TransactionId::new(transaction_id),
            block_size: block_size()?,
        };
        let shape = Shape { pool: Some(pool), run_blocks_max: 1, ..Shape::one_volume(mappings) };
        let image = generated(&shape)?;
        let extent = self.number("vgs", "vg_extent_size", GROUP)?;
        let start = self.number("pvs", "pe_start", &self.disk.display().to_string())?;
        let first = self.first_extent(&format!("{GROUP}/pool_tmeta"))?;
        copy(&image.open()?, &self.disk, start + first * extent)
    }

    /// The first of a volume's extents on the disk; there is one run of them.
    fn first_extent(&self, volume: &str) -> Result<u64> {
        let ranges = self.field("lvs", "seg_pe_ranges", volume)?;
        let (_, range) = ranges.rsplit_once(':').context("a volume that is nowhere")?;
        let (first, _) = range.split_once('-').context("a range without an end")?;
        Ok(first.parse()?)
    }

    fn number(&self, command: &str, field: &str, of: &str) -> Result<u64> {
        let text = self.field(command, field, of)?;
        text.parse().with_context(|| format!("{field} of {of} is {text:?}"))
    }

    fn field(&self, command: &str, field: &str, of: &str) -> Result<String> {
        let plain = ["--noheadings", "--nosuffix", "--units", "b", "-o", field];
        let all: &[&str] = if command == "lvs" { &["-a"] } else { &[] };
        Ok(self.run(command, &[&plain[..], all, &[of]].concat())?.trim().to_owned())
    }

    fn run(&self, command: &str, arguments: &[&str]) -> Result<String> {
        lvm(&self.disk, command, arguments)
    }
}

fn device(name: &str) -> PathBuf {
    Path::new("/dev/mapper").join(format!("{GROUP}-{name}"))
}

fn block_size() -> Result<BlockSize> {
    Ok(BlockSize::new(BLOCK_BYTES.to_sectors_exact()?)?)
}

/// Writes a file to a place on a disk.
fn copy(image: &File, disk: &Path, offset: u64) -> Result<()> {
    const STEP_BYTES: usize = 1 << 20;
    let disk = File::options().write(true).open(disk)?;
    let mut buffer = vec![0; STEP_BYTES];
    let mut done = 0;
    loop {
        let count = image.read_at(&mut buffer, done)?;
        if count == 0 {
            return Ok(disk.sync_all()?);
        }
        disk.write_all_at(&buffer[..count], offset + done)?;
        done += count as u64;
    }
}
