//! Paths that kubelet names. A pod may write below them, so that whatever is there can be swapped
//! for a symbolic link at any moment: no access to them, as root, follows one.
//!
//! Every access starts at a directory that was opened once, and lets the kernel walk the rest
//! (`openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`). Checking the path first and using
//! it afterwards would leave a gap.
#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, open, openat2, statat, unlinkat,
};
use rustix::io::Errno;

use super::error::{HostError, Result};
use super::mount_table::mounts_at;

/// The longest name of a directory's entry.
const NAME_BYTES_MAX: usize = 255;

const NOT_FOLLOWED: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// The directory below which all of kubelet's paths are.
#[derive(Debug, Clone)]
pub struct KubeletDir {
    inner: Arc<Opened>,
}

#[derive(Debug)]
struct Opened {
    /// As it is named in requests.
    path: PathBuf,
    /// As the table of mounts names it.
    real_path: PathBuf,
    directory: OwnedFd,
}

impl KubeletDir {
    /// Opens the directory, for as long as the value lives. Its own place may be reached through
    /// symbolic links, as administrators move it to larger disks.
    pub fn open(path: &Path) -> Result<Self> {
        let fail = |errno| match errno {
            Errno::NOENT => HostError::Missing { path: path.to_owned() },
            errno => HostError::kernel("opening", path, errno),
        };
        if let Err(reason) = components(path) {
            return Err(refusal(path, reason, Path::new("/")));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(path, flags, Mode::empty()).map_err(fail)?;
        let shown = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let real_path = std::fs::read_link(&shown).map_err(|source| HostError::Kernel {
            action: "finding the place of",
            path: path.to_owned(),
            source,
            said: String::new(),
        })?;
        Ok(Self { inner: Arc::new(Opened { path: path.to_owned(), real_path, directory }) })
    }

    /// The directory, as it was named.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Accepts a path of a request: absolute, below the directory, without `.`, `..`, doubled or
    /// trailing slashes. Nothing is looked at yet.
    pub fn resolve(&self, path: &Path) -> Result<HostPath> {
        let refuse = |reason| refusal(path, reason, &self.inner.path);
        let names = components(path).map_err(refuse)?;
        let directory = components(&self.inner.path).map_err(refuse)?;
        let below = names.strip_prefix(directory.as_slice());
        let below = below.ok_or_else(|| refuse("it is outside"))?;
        if below.is_empty() {
            return Err(refuse("it is the directory itself"));
        }
        let relative: PathBuf = below.iter().collect();
        Ok(HostPath {
            directory: Arc::clone(&self.inner),
            path: path.to_owned(),
            real_path: self.inner.real_path.join(&relative),
            relative,
        })
    }

    /// The same for a path as the table of mounts names it.
    pub fn resolve_mounted(&self, mount_point: &Path) -> Result<HostPath> {
        let below = mount_point.strip_prefix(&self.inner.real_path);
        let below = below.map_err(|_| refusal(mount_point, "it is outside", self.path()))?;
        self.resolve(&self.inner.path.join(below))
    }
}

fn refusal(path: &Path, reason: &'static str, directory: &Path) -> HostError {
    HostError::Path { path: path.to_owned(), reason, directory: directory.to_owned() }
}

/// The names in an absolute path that is written the one way that a path can be written.
/// `Path::components` would forgive what must not be forgiven here.
fn components(path: &Path) -> std::result::Result<Vec<&OsStr>, &'static str> {
    let bytes = path.as_os_str().as_bytes();
    let names = bytes.strip_prefix(b"/").ok_or("it is not absolute")?;
    names
        .split(|byte| *byte == b'/')
        .map(|name| match name {
            b"" => Err("it has an empty component, or ends with a slash"),
            b"." | b".." => Err("it has a component `.` or `..`"),
            name if name.contains(&0) => Err("it has a NUL byte"),
            name if name.len() > NAME_BYTES_MAX => Err("it has a component over 255 bytes"),
            name => Ok(OsStr::from_bytes(name)),
        })
        .collect()
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    Missing,
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A block device, which is what a device bound on a file looks like.
    BlockDevice,
    /// Anything else, a symbolic link too.
    Other,
}

impl Entry {
    fn of(mode: u32) -> Self {
        match FileType::from_raw_mode(mode) {
            FileType::Directory => Self::Directory,
            FileType::RegularFile => Self::File,
            FileType::BlockDevice => Self::BlockDevice,
            _ => Self::Other,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Missing => "nothing",
            Self::Directory => "a directory",
            Self::File => "a file",
            Self::BlockDevice => "a block device",
            Self::Other => "neither a directory nor a file",
        }
    }
}

/// A path below kubelet's directory.
#[derive(Clone)]
pub struct HostPath {
    directory: Arc<Opened>,
    path: PathBuf,
    real_path: PathBuf,
    relative: PathBuf,
}

impl fmt::Debug for HostPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HostPath").field(&self.path).finish()
    }
}

impl HostPath {
    /// The path, as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path as the table of mounts names it.
    pub(super) fn real_path(&self) -> &Path {
        &self.real_path
    }

    /// What is there: of a mount, its root.
    pub fn entry(&self) -> Result<Entry> {
        let found = match self.open_below(&self.relative, OFlags::NOFOLLOW) {
            Err(HostError::Missing { .. }) => return Ok(Entry::Missing),
            found => found?,
        };
        let stat = fstat(&found).map_err(|errno| self.fail("looking at", errno))?;
        Ok(Entry::of(stat.st_mode))
    }

    /// Makes a directory, for its owner and group; one that is already there is fine. Its parent
    /// must exist.
    pub fn create_directory(&self) -> Result<()> {
        let (parent, name) = self.parent()?;
        match mkdirat(&parent, name, Mode::from_raw_mode(0o750)) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => self.expect(Entry::Directory),
            Err(errno) => Err(self.fail("making the directory", errno)),
        }
    }

    /// Makes an empty file; one that is already there is fine. Its parent must exist.
    pub fn create_file(&self) -> Result<()> {
        let (parent, name) = self.parent()?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o640);
        match openat2(parent, name, flags, mode, NOT_FOLLOWED) {
            Ok(_) => Ok(()),
            Err(Errno::EXIST) => self.expect(Entry::File),
            Err(errno) => Err(self.fail("making the file", errno)),
        }
    }

    /// Removes an empty directory or an empty file, and nothing else; `false` when nothing is there.
    pub fn remove(&self) -> Result<bool> {
        let entry = self.entry()?;
        if entry == Entry::Missing {
            return Ok(false);
        }
        if !mounts_at(self)?.is_empty() {
            let user = "a filesystem or a device is mounted there";
            return Err(HostError::InUse { path: self.path.clone(), user });
        }
        let (parent, name) = self.parent()?;
        let flags = match entry {
            Entry::Directory => AtFlags::REMOVEDIR,
            Entry::File if self.file_is_empty(&parent, name)? => AtFlags::empty(),
            Entry::File => return Err(self.occupied("a file with contents", "an empty file")),
            other => return Err(self.occupied(other.words(), "an empty directory or file")),
        };
        match unlinkat(&parent, name, flags) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(Errno::NOTEMPTY) => {
                Err(self.occupied("a directory with entries", "an empty directory"))
            }
            Err(errno) => Err(self.fail("removing", errno)),
        }
    }

    fn file_is_empty(&self, parent: &OwnedFd, name: &OsStr) -> Result<bool> {
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.map_err(|errno| self.fail("looking at", errno))?;
        Ok(Entry::of(stat.st_mode) == Entry::File && stat.st_size == 0)
    }

    /// The directory that the last component is in, and that component.
    pub(super) fn parent(&self) -> Result<(OwnedFd, &OsStr)> {
        let parent = self.relative.parent().unwrap_or(Path::new(""));
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let name = self.relative.file_name().unwrap_or_default();
        Ok((self.open_below(parent, OFlags::DIRECTORY)?, name))
    }

    /// Opens what is there, without the right to read or write it; of a mount, its root.
    pub(super) fn open(&self, expected: Entry) -> Result<OwnedFd> {
        let found = self.open_below(&self.relative, OFlags::NOFOLLOW)?;
        let stat = fstat(&found).map_err(|errno| self.fail("looking at", errno))?;
        match Entry::of(stat.st_mode) {
            entry if entry == expected => Ok(found),
            // The kernel follows links on the way; the last component is left to us.
            Entry::Other => Err(self.refuse_link()),
            entry => Err(self.occupied(entry.words(), expected.words())),
        }
    }

    fn open_below(&self, relative: &Path, flags: OFlags) -> Result<OwnedFd> {
        let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
        // EAGAIN: something was renamed while the kernel made sure of staying below.
        let opened = loop {
            match openat2(&self.directory.directory, relative, flags, Mode::empty(), NOT_FOLLOWED) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => break opened,
            }
        };
        opened.map_err(|errno| match errno {
            Errno::NOENT => HostError::Missing { path: self.path.clone() },
            Errno::LOOP | Errno::XDEV => self.refuse_link(),
            Errno::NOTDIR => self.occupied("below something else", "below directories"),
            errno => self.fail("opening", errno),
        })
    }

    fn refuse_link(&self) -> HostError {
        refusal(&self.path, "it leads through a symbolic link", &self.directory.path)
    }

    fn expect(&self, expected: Entry) -> Result<()> {
        match self.entry()? {
            found if found == expected => Ok(()),
            found => Err(self.occupied(found.words(), expected.words())),
        }
    }

    pub(super) fn occupied(&self, found: &'static str, expected: &'static str) -> HostError {
        HostError::Occupied { path: self.path.clone(), found, expected }
    }

    pub(super) fn fail(&self, action: &'static str, errno: Errno) -> HostError {
        HostError::kernel(action, &self.path, errno)
    }

    /// A path that names this one's last component, for calls that take no descriptor: its parent
    /// is fixed by `parent`, which must outlive the path's use.
    pub(super) fn by_descriptor(parent: &OwnedFd, name: &OsStr) -> OsString {
        let mut path = OsString::from(format!("/proc/self/fd/{}/", parent.as_raw_fd()));
        path.push(name);
        path
    }
}

#[cfg(test)]
#[path = "paths_tests.rs"]
mod tests;
