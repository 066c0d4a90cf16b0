//! LVM by its commands, each a process that is started, as people run them.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::BLOCK_BYTES;
use super::contender::{Contender, Sizes, Target};
use crate::rivals::lvm::lvm;

pub(super) const NAME: &str = "lvcreate -s";

/// The volume group.
const GROUP: &str = "thinlystall";
/// LVM keeps names that begin with "snapshot" for itself.
const SNAPSHOT: &str = "copy";

#[derive(Debug)]
pub(super) struct Lvm {
    disk: PathBuf,
}

impl Lvm {
    pub(super) fn new(disk: &Path, sizes: Sizes) -> Result<Self> {
        let lvm = Self { disk: disk.to_owned() };
        lvm.run("vgcreate", &[GROUP, &disk.display().to_string()])?;
        let chunk = format!("{}k", BLOCK_BYTES.get() >> 10);
        let pool = ["-l", "80%FREE", "--chunksize", &chunk, "--thinpool", "pool", GROUP];
        lvm.run("lvcreate", &pool)?;
        let length = format!("{}b", sizes.volume.get());
        let pool = format!("{GROUP}/pool");
        for target in Target::ALL {
            lvm.run("lvcreate", &["-V", &length, "-T", &pool, "-n", target.volume()])?;
        }
        Ok(lvm)
    }

    fn run(&self, command: &str, arguments: &[&str]) -> Result<()> {
        lvm(&self.disk, command, arguments).map(drop)
    }
}

impl Contender for Lvm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn device(&self, target: Target) -> Result<PathBuf> {
        Ok(Path::new("/dev/mapper").join(format!("{GROUP}-{}", target.volume())))
    }

    fn snapshot(&mut self, target: Target) -> Result<()> {
        self.run("lvcreate", &["-s", "-n", SNAPSHOT, &format!("{GROUP}/{}", target.volume())])
    }

    fn forget(&mut self, _: Target) -> Result<()> {
        self.run("lvremove", &["-f", &format!("{GROUP}/{SNAPSHOT}")])
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.run("vgremove", &["-f", GROUP])?;
        self.run("pvremove", &[&self.disk.display().to_string()])
    }
}
