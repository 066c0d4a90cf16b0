//! A disk of which one part refuses reads or writes when a test says so.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::layout::{Label, LabelRead, Role, read_labels};
use thinly_engine::units::SECTOR_BYTES;
use thinly_tests::{Disks, sh};

use crate::support::{Bed, new_pool_name};

/// A dm device between the pool and its disk.
pub(crate) struct Shaky {
    name: String,
    node: PathBuf,
    disk: String,
    sectors: u64,
}

/// A pool on one such disk.
pub(crate) fn shaky_bed() -> Result<(Bed, Shaky)> {
    let disks = Disks::new(&[1 << 30])?;
    let (disk, sectors) = (disks[0].display().to_string(), (1_u64 << 30) / SECTOR_BYTES);
    let name = new_pool_name();
    sh(&format!("dmsetup create --noudevsync {name} --table '0 {sectors} linear {disk} 0'"))?;
    let node = sh(&format!("dmsetup info -c --noheadings -o blkdevname {name}"))?;
    let node = Path::new("/dev").join(node.trim());
    let bed = Bed::with(disks, |asked| {
        asked.devices = vec![node.clone()];
        asked.raw = true;
    })?;
    Ok((bed, Shaky { name, node, disk, sectors }))
}

impl Shaky {
    pub(crate) fn label(&self) -> Result<Label> {
        let device = BlockDevice::open(&self.node, Access::ReadOnly)?;
        match read_labels(&device)? {
            LabelRead::Good(label) => Ok(label),
            other => bail!("no label: {other:?}"),
        }
    }

    /// Where a role is on the disk, in sectors.
    pub(crate) fn range(&self, role: Role) -> Result<(u64, u64)> {
        let label = self.label()?;
        if role == Role::Journal {
            let at = label.placements.first().context("no journal")?;
            return Ok((at.offset.get() / SECTOR_BYTES, at.length.get() / SECTOR_BYTES));
        }
        let segment = label.segments.iter().find(|segment| segment.role == role);
        let segment = segment.with_context(|| format!("no {role:?}"))?;
        let start = segment.device_offset(label.extent_bytes).context("too far")?;
        let length = segment.count.get() * label.extent_bytes.get();
        Ok((start.get() / SECTOR_BYTES, length / SECTOR_BYTES))
    }

    /// From now on a role's part fails: `error_writes` or `error_reads`, as dm-flakey calls it.
    pub(crate) fn fail(&self, role: Role, how: &str) -> Result<()> {
        let (start, _) = self.range(role)?;
        self.replace(role, &format!("flakey {} {start} 0 1000 1 {how}", self.disk))
    }

    /// From now on a role's part refuses everything.
    pub(crate) fn kill(&self, role: Role) -> Result<()> {
        self.replace(role, "error")
    }

    fn replace(&self, role: Role, target: &str) -> Result<()> {
        let (start, length) = self.range(role)?;
        let (disk, end) = (&self.disk, start + length);
        self.load(&format!(
            "0 {start} linear {disk} 0\\n{start} {length} {target}\\n\
             {end} {} linear {disk} {end}\\n",
            self.sectors - end
        ))
    }

    pub(crate) fn heal(&self) -> Result<()> {
        self.load(&format!("0 {} linear {} 0\\n", self.sectors, self.disk))
    }

    fn load(&self, table: &str) -> Result<()> {
        let name = &self.name;
        sh(&format!(
            "dmsetup suspend --noflush --nolockfs {name}; printf '{table}' | dmsetup load {name}
             dmsetup resume --noudevsync {name}"
        ))?;
        Ok(())
    }
}
