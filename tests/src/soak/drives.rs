//! Disks that refuse reads or writes for a while: a dm linear between the pool and each.
#![forbid(unsafe_code)]

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::layout::{LabelRead, Role, read_labels};
use thinly_engine::units::SECTOR_BYTES;

use crate::{Disks, sh};

/// What a part of a drive refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusing {
    Reads,
    Writes,
    Everything,
}

/// All of them, of one length.
#[derive(Debug)]
pub(super) struct Drives {
    disks: Disks,
    names: Vec<String>,
    nodes: Vec<PathBuf>,
    sectors: u64,
}

impl Drives {
    pub(super) fn new(count: usize, bytes: u64) -> Result<Self> {
        let disks = Disks::new(&vec![bytes; count])?;
        let sectors = bytes / SECTOR_BYTES;
        let (mut names, mut nodes) = (Vec::new(), Vec::new());
        for disk in disks.paths() {
            let name = format!("drive-{}", uuid::Uuid::new_v4().simple());
            let table = format!("0 {sectors} linear {} 0", disk.display());
            sh(&format!("dmsetup create --noudevsync {name} --table '{table}'"))?;
            let node = sh(&format!("dmsetup info -c --noheadings -o blkdevname {name}"))?;
            nodes.push(Path::new("/dev").join(node.trim()));
            names.push(name);
        }
        Ok(Self { disks, names, nodes, sectors })
    }

    /// Those of the pool that is soaked.
    pub(super) fn nodes(&self) -> &[PathBuf] {
        &self.nodes[1..]
    }

    /// That of the other pool, which never fails.
    pub(super) fn other(&self) -> &Path {
        &self.nodes[0]
    }

    /// Where files can be kept meanwhile.
    pub(super) fn directory(&self) -> &Path {
        self.disks.dir()
    }

    /// From now on one of [`Drives::nodes`] refuses what belongs to a role; says whether anything there does.
    pub(super) fn fail(&self, index: usize, role: Role, what: Refusing) -> Result<bool> {
        let index = index + 1;
        let ranges = self.ranges(index, role)?;
        let disk = self.disks[index].display().to_string();
        let mut table = String::new();
        let mut end = 0;
        for (start, length) in ranges.iter().copied().chain([(self.sectors, 0)]) {
            if start > end {
                write!(table, "{end} {} linear {disk} {end}\\n", start - end)?;
            }
            if length > 0 {
                let target = match what {
                    Refusing::Reads => format!("flakey {disk} {start} 0 1000 1 error_reads"),
                    Refusing::Writes => format!("flakey {disk} {start} 0 1000 1 error_writes"),
                    Refusing::Everything => "error".to_owned(),
                };
                write!(table, "{start} {length} {target}\\n")?;
            }
            end = start + length;
        }
        self.load(index, &table)?;
        Ok(!ranges.is_empty())
    }

    /// All drives serve everything again.
    pub(super) fn heal(&self) -> Result<()> {
        for (index, disk) in self.disks.paths().iter().enumerate() {
            let whole = format!("0 {} linear {} 0", self.sectors, disk.display());
            let table = sh(&format!("dmsetup table {}", self.names[index]))?;
            if table.contains("error") || table.contains("flakey") {
                self.load(index, &format!("{whole}\\n"))?;
            }
        }
        Ok(())
    }

    /// Where a role is on a drive, in sectors, in order.
    fn ranges(&self, index: usize, role: Role) -> Result<Vec<(u64, u64)>> {
        let device = BlockDevice::open(&self.nodes[index], Access::ReadOnly)?;
        let label = match read_labels(&device)? {
            LabelRead::Good(label) => label,
            LabelRead::Absent => return Ok(Vec::new()),
            other => bail!("a label: {other:?}"),
        };
        let mut ranges = Vec::new();
        for segment in label.segments.iter().filter(|segment| segment.role == role) {
            let start = segment.device_offset(label.extent_bytes).context("too far")?;
            let length = segment.count.get() * label.extent_bytes.get();
            ranges.push((start.get() / SECTOR_BYTES, length / SECTOR_BYTES));
        }
        if role == Role::Journal {
            let places = label.placements.iter();
            ranges.extend(
                places.map(|at| (at.offset.get() / SECTOR_BYTES, at.length.get() / SECTOR_BYTES)),
            );
        }
        ranges.sort_unstable();
        ranges.dedup_by_key(|range| range.0);
        Ok(ranges)
    }

    fn load(&self, index: usize, table: &str) -> Result<()> {
        let name = &self.names[index];
        sh(&format!(
            "dmsetup suspend --noflush --nolockfs {name}; printf '{table}' | dmsetup load {name}
             dmsetup resume --noudevsync {name}"
        ))?;
        Ok(())
    }
}
