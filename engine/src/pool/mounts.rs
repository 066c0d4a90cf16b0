//! Filesystems above thin devices: flushed before a freeze, so that the freeze is short.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::locks::lock;
use crate::block_device::DeviceNumber;
use crate::layout::{MountEntry, System, parse_mountinfo};

/// What is mounted where, read again only after it changed: a snapshot of a device that is in use
/// asks each time, beside a writer that wants the processor too.
#[derive(Debug, Default)]
pub(super) struct MountTable(Mutex<Option<Listing>>);

#[derive(Debug)]
struct Listing {
    file: File,
    mounts: Vec<MountEntry>,
}

impl Listing {
    fn read(path: &Path) -> io::Result<Self> {
        let mut listing = Self { file: File::open(path)?, mounts: Vec::new() };
        listing.read_again()?;
        Ok(listing)
    }

    /// The kernel remembers for each open file which state its reader has been told of
    /// (`mounts_poll`, `fs/proc_namespace.c`): since the open, or since the last answer. So what
    /// changes while it is read is told the next time.
    fn refresh(&mut self) -> io::Result<()> {
        let mut files = [PollFd::new(self.file.as_fd(), PollFlags::POLLPRI)];
        poll(&mut files, PollTimeout::ZERO)?;
        let told = files[0].revents().unwrap_or(PollFlags::POLLERR);
        if told.intersects(PollFlags::POLLPRI | PollFlags::POLLERR) {
            self.file.rewind()?;
            self.read_again()?;
        }
        Ok(())
    }

    fn read_again(&mut self) -> io::Result<()> {
        let mut text = String::new();
        self.file.read_to_string(&mut text)?;
        self.mounts = parse_mountinfo(&text);
        Ok(())
    }
}

impl MountTable {
    /// Flushes the filesystems mounted from these devices, one after the other. One that cannot be
    /// flushed is flushed by the freeze itself, which takes longer: no reason to fail.
    pub(super) fn sync_filesystems(&self, devices: &[DeviceNumber]) {
        if devices.is_empty() {
            return;
        }
        for place in self.places(&System::default(), devices).unwrap_or_default() {
            if let Ok(directory) = File::open(place) {
                let _ = nix::unistd::syncfs(directory);
            }
        }
    }

    /// Where these devices are mounted; the first of a device's places is enough, they all show one
    /// filesystem.
    fn places(&self, system: &System, devices: &[DeviceNumber]) -> io::Result<Vec<PathBuf>> {
        let mut kept = lock(&self.0);
        // Taken out: after an error it is read anew.
        let listing = match kept.take() {
            Some(mut listing) => {
                listing.refresh()?;
                listing
            }
            None => Listing::read(&system.proc.join("self/mountinfo"))?,
        };
        let place = |device: &DeviceNumber| {
            let mount = listing.mounts.iter().find(|mount| mount.is_on(system, *device))?;
            Some(mount.mount_point.clone())
        };
        let places = devices.iter().filter_map(place).collect();
        *kept = Some(listing);
        Ok(places)
    }
}
