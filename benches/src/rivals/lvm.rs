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
    version: String,
}

impl Lvm {
    /// Makes the group on an empty disk. `volume_count` thin volumes are known to it, beside
    /// an active origin; only that one exists in the kernel, and no command looks for the others.
    pub fn new(disk: &Path, size: Bytes, volume_count: usize) -> Result<Self> {
        let group = format!("bench{}", Uuid::new_v4().simple());
        let mut lvm = Self { disk: disk.to_owned(), group, size, version: String::new() };
        let (disk, group) = (disk.display().to_string(), &*lvm.group.clone());
        lvm.run("vgcreate", &[group, &disk])?;
        // Not active, because metadata is not restored under an active pool.
        let pool = ["-an", "--chunksize", "64k", "-l", "80%FREE", "--thinpool", POOL, group];
        lvm.run("lvcreate", &pool)?;
        lvm.version =
            lvm.populate(volume_count).context("writing thin volumes into LVM's metadata")?;
        lvm.create_as(&[], ORIGIN)?;
        Ok(lvm)
    }

    /// What LVM calls itself.
    pub fn version(&self) -> &str {
        &self.version
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

    /// Adds volumes to the metadata as a text: LVM itself takes most of a second for each. Gives
    /// the version that LVM writes there.
    fn populate(&self, count: usize) -> Result<String> {
        let file = std::env::temp_dir().join(format!("{}.vg", self.group));
        let name = file.display().to_string();
        self.run("vgcfgbackup", &["-f", &name, &self.group])?;
        let text = fs::read_to_string(&file)?;
        fs::write(&file, with_volumes(&text, count)?)?;
        self.run("vgcfgrestore", &["--force", "-y", "-f", &name, &self.group])?;
        fs::remove_file(&file)?;
        let words = text.split_whitespace().skip_while(|word| *word != "version").nth(1);
        Ok(words.context("LVM's metadata does not tell its version")?.to_owned())
    }

    fn run(&self, name: &str, arguments: &[&str]) -> Result<()> {
        lvm(&self.disk, name, arguments).map(drop)
    }
}

/// Runs one of LVM's commands and gives what it writes. It looks at no other disk, which makes it
/// quicker and disturbs nobody.
pub(crate) fn lvm(disk: &Path, name: &str, arguments: &[&str]) -> Result<String> {
    let mut command = program::command(program::path(name));
    command.args(["-qq", "--devices"]).arg(disk).args(arguments);
    Ok(String::from_utf8(program::output(&mut command)?)?)
}

/// LVM's metadata with thin volumes in its pool.
fn with_volumes(text: &str, count: usize) -> Result<String> {
    let begin = "\tlogical_volumes {\n";
    let (head, tail) = text.split_once(begin).context("no volumes in LVM's metadata")?;
    let volumes = (0..count).map(|number| {
        let (id, device_id) = (lvm_uuid(Uuid::new_v4()), number + 1);
        format!(
            "\t\tfiller{number} {{
\t\t\tid = \"{id}\"
\t\t\tstatus = [\"READ\", \"WRITE\", \"VISIBLE\"]
\t\t\tflags = []
\t\t\tcreation_time = 1700000000
\t\t\tcreation_host = \"guest\"
\t\t\tsegment_count = 1
\t\t\tsegment1 {{
\t\t\t\tstart_extent = 0
\t\t\t\textent_count = 256
\t\t\t\ttype = \"thin\"
\t\t\t\tthin_pool = \"{POOL}\"
\t\t\t\ttransaction_id = 0
\t\t\t\tdevice_id = {device_id}
\t\t\t}}
\t\t}}
"
        )
    });
    Ok([head, begin]
        .into_iter()
        .map(str::to_owned)
        .chain(volumes)
        .chain([tail.to_owned()])
        .collect())
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

    const TEXT: &str = "vg {\n\tlogical_volumes {\n\t\tpool {\n\t\t}\n\t}\n}\n";

    #[test]
    fn volumes_differ_by_name_and_ids() -> Result<()> {
        assert_eq!(with_volumes(TEXT, 0)?, TEXT);
        assert!(with_volumes("vg {\n}\n", 1).is_err());
        let text = with_volumes(TEXT, 2)?;
        for line in ["\t\tfiller0 {", "\t\tfiller1 {", "\t\tpool {"] {
            assert_eq!(text.lines().filter(|found| *found == line).count(), 1, "{text}");
        }
        assert_eq!(text.matches('{').count(), text.matches('}').count());
        let values = |name: &str| -> Vec<String> {
            let lines = text.lines().filter_map(|line| line.trim().split_once(" = "));
            lines.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).collect()
        };
        assert_eq!(values("device_id"), ["1", "2"]);
        let ids = values("id");
        assert_ne!(ids[0], ids[1]);
        let groups: Vec<usize> = ids[0].trim_matches('"').split('-').map(str::len).collect();
        assert_eq!(groups, [6, 4, 4, 4, 4, 4, 6]);
        Ok(())
    }
}
