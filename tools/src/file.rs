//! Files that answers are written to: never over something, never half.
#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::failure::Failure;

/// Refuses a path that is taken, before any work is done for it.
pub(crate) fn refuse_existing(path: &Path) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(Failure::FileExists { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Failure::File { action: "write", path: path.to_owned(), source }),
    }
}

/// Writes a new file, durably; what could not be written whole is removed again. Names of volumes
/// are nobody else's business: only the owner may read it.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    create_new(path, |file| file.write_all(bytes).map_err(|error| refused(path, error)))
}

/// The same for what is written part by part.
pub(crate) fn create_new<T>(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let fail = |error| refused(path, error);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(fail)?;
    let written = write(&mut file).and_then(|value| {
        file.sync_all().and_then(|()| sync_directory(path)).map_err(fail)?;
        Ok(value)
    });
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(path);
    }
    written
}

fn refused(path: &Path, source: io::Error) -> Failure {
    match source.kind() {
        io::ErrorKind::AlreadyExists => Failure::FileExists { path: path.to_owned() },
        _ => Failure::File { action: "write", path: path.to_owned(), source },
    }
}

/// Reads a file whole.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|source| Failure::File { action: "read", path: path.to_owned(), source })
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("backup");
        refuse_existing(&path).unwrap();
        write_new(&path, b"one").unwrap();
        assert!(matches!(refuse_existing(&path), Err(Failure::FileExists { .. })));
        assert!(matches!(write_new(&path, b"two"), Err(Failure::FileExists { .. })));
        assert_eq!(read(&path).unwrap(), b"one");
    }

    #[test]
    fn a_missing_directory_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("no/backup");
        let message = write_new(&path, b"one").unwrap_err().message();
        assert!(message.contains("no/backup"), "{message}");
    }
}
