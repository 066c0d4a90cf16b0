//! Where images are kept between runs, and the lock under which they are made.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};

/// The directory of everything that is built once.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `THINLY_CACHE`, or `thinly` in the user's cache directory.
    pub fn open() -> Result<Self> {
        let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let root = match (named("THINLY_CACHE"), named("XDG_CACHE_HOME"), named("HOME")) {
            (Some(own), _, _) => std::path::absolute(PathBuf::from(own))?,
            (None, Some(xdg), _) => PathBuf::from(xdg).join("thinly"),
            (None, None, Some(home)) => PathBuf::from(home).join(".cache/thinly"),
            (None, None, None) => {
                anyhow::bail!("none of THINLY_CACHE, XDG_CACHE_HOME and HOME is set")
            }
        };
        fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        Ok(Self { root })
    }

    /// A file or directory in the cache.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Returns the directory `name`, made by `build` if it is not there yet.
    ///
    /// `build` fills a temporary directory that is renamed when it is complete: what exists is whole.
    /// A second process waits for the first and uses its work.
    pub fn get_or_build(
        &self,
        name: &str,
        build: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let done = self.path(name);
        if done.is_dir() {
            return Ok(done);
        }
        let _lock = self.lock(&format!("{name}.lock"))?;
        if done.is_dir() {
            return Ok(done);
        }
        let work = tempfile::Builder::new().prefix("building-").tempdir_in(&self.root)?;
        build(work.path())?;
        fs::rename(work.keep(), &done)?;
        Ok(done)
    }

    /// Waits for the lock of that name and holds it while the value lives.
    pub fn lock(&self, name: &str) -> Result<Flock<File>> {
        let path = self.path(name);
        let file =
            File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, e)| e)
            .with_context(|| format!("cannot lock {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_to_build_is_not_there_and_is_built_again() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache { root: place.path().to_owned() };
        cache.get_or_build("thing", |_| anyhow::bail!("no")).unwrap_err();
        assert!(!cache.path("thing").exists());
        let made = cache.get_or_build("thing", |dir| Ok(fs::write(dir.join("a"), "1")?)).unwrap();
        assert_eq!(fs::read_to_string(made.join("a")).unwrap(), "1");
        cache.get_or_build("thing", |_| panic!("it is there")).unwrap();
    }

    #[test]
    fn two_who_want_the_same_thing_build_it_once() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache { root: place.path().to_owned() };
        let built = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    cache
                        .get_or_build("thing", |_| {
                            built.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                            Ok(())
                        })
                        .unwrap();
                });
            }
        });
        assert_eq!(built.into_inner(), 1);
    }
}
