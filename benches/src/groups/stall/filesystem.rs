//! A mounted ext4 with one file that is written from end to end.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use thinly_engine::units::Bytes;
use uuid::Uuid;

use crate::bed::fill;

/// Runs a program, which must succeed.
#[allow(clippy::disallowed_methods, reason = "what is compared are programs")]
pub(super) fn run(program: &str, arguments: &[impl AsRef<OsStr>]) -> Result<()> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("running {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} ended with {}: {said}", output.status);
    Ok(())
}

#[derive(Debug)]
pub(super) struct Mounted {
    directory: PathBuf,
}

impl Mounted {
    pub(super) fn new(device: &Path, file: Bytes) -> Result<Self> {
        // All of the file system is written now: later its own thread would write beside the writer.
        let now = ["-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"].map(OsStr::new);
        run("mkfs.ext4", &[&now[..], &[device.as_os_str()]].concat())?;
        let directory = std::env::temp_dir().join(format!("thinly-stall-{}", Uuid::new_v4()));
        fs::create_dir(&directory)?;
        let flags = MsFlags::MS_NOATIME;
        mount(Some(device), &directory, Some("ext4"), flags, None::<&str>)
            .with_context(|| format!("mounting {}", device.display()))?;
        let mounted = Self { directory };
        fill(&mounted.file(), file.get())?;
        Ok(mounted)
    }

    pub(super) fn file(&self) -> PathBuf {
        self.directory.join("data")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Whoever takes the device away next says that it is in use.
        let _ = umount2(&self.directory, MntFlags::empty());
        let _ = fs::remove_dir(&self.directory);
    }
}
