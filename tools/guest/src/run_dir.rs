//! The directory of one running guest: its sockets, logs and disks.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};

use crate::cache::Cache;

/// QEMU's socket to the agent's port.
pub const AGENT_SOCKET: &str = "agent.sock";
/// QEMU's own control socket.
pub const QMP_SOCKET: &str = "qmp.sock";
/// The supervisor's socket for clients.
pub const CONTROL_SOCKET: &str = "control.sock";
/// The guest's serial console.
pub const CONSOLE_LOG: &str = "console.log";
/// What the supervisor and QEMU say.
pub const SUPERVISOR_LOG: &str = "supervisor.log";
/// QEMU's command line, as a JSON list.
pub const QEMU_ARGS: &str = "qemu.json";
/// Locked while the guest lives.
const LOCK: &str = "lock";
/// A directory this young may belong to a guest whose supervisor has not started yet.
const YOUNG: Duration = Duration::from_mins(5);

/// A guest's directory.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes a new directory: the named one, or one of its own in the cache.
    pub fn create(cache: &Cache, named: Option<&Path>) -> Result<Self> {
        if let Some(path) = named {
            // It will be removed with the guest, so that nobody else's files may be in it.
            if path.exists() && fs::read_dir(path)?.next().is_some() {
                bail!("{} is not empty; a guest needs a directory of its own", path.display());
            }
            fs::create_dir_all(path)?;
            return Ok(Self { path: path.canonicalize()? });
        }
        let runs = cache.path("runs");
        fs::create_dir_all(&runs)?;
        sweep(&runs);
        let path = tempfile::Builder::new().prefix("").rand_bytes(8).tempdir_in(&runs)?.keep();
        Ok(Self { path })
    }

    /// The directory of a guest that was started before.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.join(QEMU_ARGS).exists() {
            bail!("{} is not the directory of a guest", path.display());
        }
        Ok(Self { path: path.canonicalize()? })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Holds the lock that says the guest lives.
    pub fn lock(&self) -> Result<Flock<File>> {
        let file = File::create(self.file(LOCK))?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, e)| e)
            .with_context(|| format!("{} is another guest's", self.path.display()))
    }

    /// Connects to a socket in the directory.
    pub fn connect(&self, name: &str) -> io::Result<UnixStream> {
        // A socket's path is limited to 107 bytes; through the directory's descriptor it is always short.
        let dir = File::open(&self.path)?;
        UnixStream::connect(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))
    }

    /// Listens on a socket in the directory.
    pub fn listen(&self, name: &str) -> io::Result<UnixListener> {
        let dir = File::open(&self.path)?;
        UnixListener::bind(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))
    }

    /// The last lines of a log in the directory.
    pub fn tail(&self, name: &str, lines: usize) -> String {
        let text = fs::read(self.file(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<_> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Removes it with everything in it.
    pub fn remove(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.path)
    }
}

/// Removes what guests left whose supervisor was killed.
fn sweep(runs: &Path) {
    for entry in fs::read_dir(runs).into_iter().flatten().flatten() {
        let old = entry
            .metadata()
            .and_then(|meta| meta.modified())
            .is_ok_and(|when| when.elapsed().is_ok_and(|age| age > YOUNG));
        let run = RunDir { path: entry.path() };
        if old && run.lock().is_ok() {
            // Nobody waits for this; what cannot go now goes next time.
            let _ = run.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_work_however_long_the_path_is() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x".repeat(200));
        fs::create_dir(&path).unwrap();
        let run = RunDir { path };
        let _listener = run.listen("a.sock").unwrap();
        run.connect("a.sock").unwrap();
    }

    #[test]
    fn a_living_guest_is_not_swept_away() {
        let place = tempfile::tempdir().unwrap();
        let (alive, dead) = (place.path().join("alive"), place.path().join("dead"));
        for dir in [&alive, &dead] {
            fs::create_dir(dir).unwrap();
            // The lock file is made before the directory is aged: making it changes the directory's time.
            File::create(dir.join(LOCK)).unwrap();
        }
        let _lock = RunDir { path: alive.clone() }.lock().unwrap();
        for dir in [&alive, &dead] {
            let old = std::time::SystemTime::now() - 2 * YOUNG;
            File::open(dir).unwrap().set_modified(old).unwrap();
        }
        sweep(place.path());
        assert!(alive.exists());
        assert!(!dead.exists());
    }
}
