//! The file that says which metadata snapshot is ours, and whose locks say who reads under it.
#![forbid(unsafe_code)]

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use uuid::Uuid;

use super::error::PoolError;

/// Changes with every boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// The word of a snapshot that is about to be reserved.
const RESERVING: &str = "reserving";

/// What the note says of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noted {
    /// None is ours.
    Nothing,
    /// One of ours was about to be reserved; the pool had none then.
    Reserving,
    /// The one in this block is ours.
    Held(u64),
}

/// The note of one pool, open. It is never removed or replaced: the locks are on the file.
#[derive(Debug)]
pub(super) struct HeldNote {
    file: File,
    path: PathBuf,
    boot: String,
}

impl HeldNote {
    pub(super) fn open(pool: Uuid) -> Result<Self, PoolError> {
        let path = path(pool);
        let opened = || {
            let boot = fs::read_to_string(BOOT_ID)?.trim().to_owned();
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory)?;
            }
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            Ok((options.open(&path)?, boot))
        };
        match opened() {
            Ok((file, boot)) => Ok(Self { file, path, boot }),
            Err(source) => Err(PoolError::File { path, source }),
        }
    }

    /// Whether nobody else reads; then nobody else can begin until [`Self::share`] or the end.
    ///
    /// What was shared is given up first: the kernel changes a lock in the same two steps.
    pub(super) fn try_alone(&self) -> Result<bool, PoolError> {
        self.unlock()?;
        match self.file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(source)) => Err(self.fail(source)),
        }
    }

    /// Becomes a reader among others; waits for one that is alone.
    pub(super) fn share(&self) -> Result<(), PoolError> {
        self.unlock()?;
        loop {
            match self.file.lock_shared() {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return done.map_err(|source| self.fail(source)),
            }
        }
    }

    /// Is no reader any more.
    pub(super) fn unlock(&self) -> Result<(), PoolError> {
        self.file.unlock().map_err(|source| self.fail(source))
    }

    /// What the note says; one of an earlier boot says nothing.
    pub(super) fn read(&self) -> Result<Noted, PoolError> {
        let mut text = String::new();
        let mut file = &self.file;
        let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text));
        match read {
            Ok(_) => Ok(parse(&text, &self.boot)),
            Err(error) if error.kind() == ErrorKind::InvalidData => Ok(Noted::Nothing),
            Err(source) => Err(self.fail(source)),
        }
    }

    /// Writes the note in place, in one write of the same length each time: a kill leaves the old one or the new one.
    pub(super) fn write(&self, noted: Noted) -> Result<(), PoolError> {
        let word = match noted {
            Noted::Nothing => return self.clear(),
            Noted::Reserving => RESERVING.to_owned(),
            Noted::Held(block) => block.to_string(),
        };
        let line = format!("{} {word:<20}\n", self.boot);
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(line.as_bytes()))
            .map_err(|source| self.fail(source))
    }

    fn clear(&self) -> Result<(), PoolError> {
        self.file.set_len(0).map_err(|source| self.fail(source))
    }

    fn fail(&self, source: io::Error) -> PoolError {
        PoolError::File { path: self.path.clone(), source }
    }
}

/// Empties the note of a pool that was just brought up: nobody can be reading it yet.
pub(super) fn forget_held(pool: Uuid) {
    let _ = File::options().write(true).truncate(true).open(path(pool));
}

/// Under /run, which does not outlive the boot.
fn path(pool: Uuid) -> PathBuf {
    PathBuf::from(format!("/run/thinly/{pool}.held"))
}

fn parse(text: &str, boot: &str) -> Noted {
    match text.split_whitespace().collect::<Vec<_>>()[..] {
        [of, RESERVING] if of == boot => Noted::Reserving,
        [of, block] if of == boot => block.parse().map_or(Noted::Nothing, Noted::Held),
        _ => Noted::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(path: &std::path::Path) -> HeldNote {
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).open(path).unwrap();
        HeldNote { file, path: path.to_owned(), boot: "this-boot".to_owned() }
    }

    #[test]
    fn a_note_says_what_was_written_last_in_this_boot() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("note");
        let note = note(&path);
        assert_eq!(note.read().unwrap(), Noted::Nothing);
        for noted in [Noted::Held(u64::MAX), Noted::Reserving, Noted::Held(7), Noted::Nothing] {
            note.write(noted).unwrap();
            assert_eq!(note.read().unwrap(), noted);
        }
        for foreign in ["other-boot 7\n", "7\n", "this-boot\n", "this-boot x\n", "this-boot 7 8\n"]
        {
            fs::write(&path, foreign).unwrap();
            assert_eq!(note.read().unwrap(), Noted::Nothing, "{foreign:?}");
        }
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert_eq!(note.read().unwrap(), Noted::Nothing);
    }

    #[test]
    fn one_is_alone_or_many_share() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("note");
        let (first, second) = (note(&path), note(&path));
        assert!(first.try_alone().unwrap());
        assert!(!second.try_alone().unwrap());
        first.share().unwrap();
        second.share().unwrap();
        assert!(!first.try_alone().unwrap(), "the other one still reads");
        // What was shared is given up by the attempt, so the last one out is alone.
        assert!(second.try_alone().unwrap());
        drop(second);
        assert!(first.try_alone().unwrap());
    }
}
