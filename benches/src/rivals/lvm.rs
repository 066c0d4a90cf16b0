//! The rival: LVM's thin volumes, by its own commands.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use thinly_engine::units::Bytes;
use uuid::Uuid;

use crate::program;

const POOL: &str = "pool";
/// A thin volume that is always active, as on a machine in use: the pool is then active as well,
/// and no command has to take it up first.
const ORIGIN: &str = "origin";

/// Where LVM keeps what every change leaves behind.
const BACKUP: &str = "/etc/lvm/backup";
const ARCHIVE: &str = "/etc/lvm/archive";

/// A volume group on one disk, with a thin pool and thin volumes.
///
/// Its commands run as people run them, with LVM's own configuration; but they look at this disk
/// alone, which makes them quicker and disturbs nobody.
#[derive(Debug)]
pub struct Lvm {
    disk: PathBuf,
    group: String,
    size: Bytes,
}

impl Lvm {
    /// Makes the group on an empty disk. `volume_count` thin volumes are known to it; none but the
    /// origin is active or exists in the kernel, and no command looks at the others there.
    pub fn new(disk: &Path, size: Bytes, volume_count: usize) -> Result<Self> {
        let group = format!("bench{}", Uuid::new_v4().simple());
        let lvm = Self { disk: disk.to_owned(), group, size };
        let (disk, group) = (disk.display().to_string(), lvm.group.as_str());
        lvm.run("vgcreate", &[group, &disk])?;
        let pool = ["--chunksize", "64k", "-l", "80%FREE", "--thinpool", POOL, group];
        lvm.run("lvcreate", &pool)?;
        lvm.create_as(&[], ORIGIN)?;
        lvm.run("vgchange", &["-an", group])?;
        lvm.populate(volume_count).context("writing thin volumes into LVM's metadata")?;
        lvm.run("lvchange", &["-ay", &format!("{group}/{ORIGIN}")])?;
        Ok(lvm)
    }

    /// What LVM calls itself.
    pub fn version() -> Result<String> {
        let said = program::output(program::command(program::path("lvm")).arg("version"))?;
        let said = String::from_utf8_lossy(&said);
        let line = said.lines().find_map(|line| line.trim().strip_prefix("LVM version:"));
        Ok(format!("LVM {}", line.unwrap_or("of an unknown version").trim()))
    }

    /// Creates a thin volume that is not active.
    pub fn create(&self, name: &str) -> Result<()> {
        self.create_as(&["-an"], name)
    }

    /// Creates a thin volume and makes its device.
    pub fn create_active(&self, name: &str) -> Result<PathBuf> {
        self.create_as(&[], name)?;
        Ok(Path::new("/dev/mapper").join(format!("{}-{name}", self.group)))
    }

    /// Takes a snapshot of the active origin; it is not activated.
    pub fn snapshot(&self, name: &str) -> Result<()> {
        self.run("lvcreate", &["-s", "-n", name, &format!("{}/{ORIGIN}", self.group)])
    }

    /// Removes thin volumes by one command, and their devices if they have any.
    pub fn remove(&self, names: &[String]) -> Result<()> {
        let volumes: Vec<String> =
            names.iter().map(|name| format!("{}/{name}", self.group)).collect();
        let volumes = volumes.iter().map(String::as_str);
        self.run("lvremove", &["-f"].into_iter().chain(volumes).collect::<Vec<_>>())
    }

    /// Takes everything off the disk. The volumes that only LVM knows cannot be removed one by one.
    pub fn finish(self) -> Result<()> {
        self.run("vgchange", &["-an", &self.group])?;
        self.run("pvremove", &["-ff", "-y", &self.disk.display().to_string()])?;
        for directory in [BACKUP, ARCHIVE] {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with(&self.group) {
                    fs::remove_file(entry.path())?;
                }
            }
        }
        Ok(())
    }

    fn create_as(&self, flags: &[&str], name: &str) -> Result<()> {
        let (size, pool) = (format!("{}b", self.size), format!("{}/{POOL}", self.group));
        let what = ["-V", &size, "-T", &pool, "-n", name];
        self.run("lvcreate", &[flags, &what].concat())
    }

    /// Adds volumes to the metadata as a text: LVM itself takes most of a second for each.
    fn populate(&self, count: usize) -> Result<()> {
        let file = std::env::temp_dir().join(format!("{}.vg", self.group));
        let name = file.display().to_string();
        self.run("vgcfgbackup", &["-f", &name, &self.group])?;
        fs::write(&file, with_volumes(&fs::read_to_string(&file)?, count)?)?;
        self.run("vgcfgrestore", &["--force", "-y", "-f", &name, &self.group])?;
        Ok(fs::remove_file(&file)?)
    }

    fn run(&self, name: &str, arguments: &[&str]) -> Result<()> {
        let mut command = program::command(program::path(name));
        command.args(["-qq", "--devices"]).arg(&self.disk).args(arguments);
        program::output(&mut command).map(drop)
    }
}

/// LVM's metadata with more volumes like the origin.
fn with_volumes(text: &str, count: usize) -> Result<String> {
    let (begin, end) = (format!("\t\t{ORIGIN} {{\n"), "\n\t\t}\n");
    let (head, rest) = text.split_once(&begin).context("no such volume in LVM's metadata")?;
    let (body, tail) = rest.split_once(end).context("LVM's metadata ends in a volume")?;
    let mut more = format!("{head}{begin}{body}{end}");
    for number in 0..count {
        let id = lvm_uuid(Uuid::new_v4());
        // The origin is the pool's first volume.
        let device_id = number + 2;
        let lines = body.lines().map(|line| match line.trim().split_once(" = ") {
            Some(("id", _)) => format!("\t\t\tid = \"{id}\""),
            Some(("device_id", _)) => format!("\t\t\t\tdevice_id = {device_id}"),
            _ => line.to_owned(),
        });
        let lines = lines.collect::<Vec<String>>().join("\n");
        more.extend([&format!("\n\t\tfiller{number} {{\n"), &lines, end]);
    }
    Ok(more + tail)
}

/// 32 characters in the groups that LVM wants.
fn lvm_uuid(uuid: Uuid) -> String {
    let hex = uuid.simple().to_string();
    let mut rest = hex.as_str();
    let groups = [6, 4, 4, 4, 4, 4, 6].map(|length| {
        let (group, after) = rest.split_at(length);
        rest = after;
        group
    });
    groups.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
vg {
\tlogical_volumes {

\t\torigin {
\t\t\tid = \"cwYZcs-PjUV-Mzag-RcEl-vCrH-k1n2-uPon9z\"
\t\t\tsegment1 {
\t\t\t\ttype = \"thin\"
\t\t\t\tdevice_id = 1
\t\t\t}
\t\t}

\t\tpool {
\t\t}
\t}
}
";

    #[test]
    fn volumes_are_like_the_origin_but_for_name_and_ids() -> Result<()> {
        assert_eq!(with_volumes(TEXT, 0)?, TEXT);
        let text = with_volumes(TEXT, 2)?;
        for line in ["\t\tfiller0 {", "\t\tfiller1 {", "\t\tpool {", "\t\torigin {"] {
            assert_eq!(text.lines().filter(|found| *found == line).count(), 1, "{text}");
        }
        let values = |name: &str| -> Vec<String> {
            let lines = text.lines().filter_map(|line| line.trim().split_once(" = "));
            lines.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).collect()
        };
        assert_eq!(values("device_id"), ["1", "2", "3"]);
        assert_eq!(values("type"), ["\"thin\""; 3]);
        let mut ids = values("id");
        assert!(ids.iter().all(|id| id.len() == ids[0].len()), "{ids:?}");
        ids.dedup();
        assert_eq!(ids.len(), 3);
        Ok(())
    }
}
