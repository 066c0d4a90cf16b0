//! Listening at a unix socket. Its permissions are the only authentication.
#![forbid(unsafe_code)]

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};
use thiserror::Error;

/// A socket that cannot be served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SocketError {
    /// Another process serves it.
    #[error("another process serves {path:?}; stop it, or give another socket")]
    Served {
        /// The socket.
        path: PathBuf,
    },
    /// Something else is at its path.
    #[error("{path:?} exists and is no socket; move it away, or give another socket")]
    Occupied {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{action} {path:?} failed")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// Listens, for this user alone. A socket that a dead process left is replaced; a live one's is not.
pub fn listen(path: &Path) -> Result<UnixListener, SocketError> {
    let fail = |action| move |source| SocketError::Io { action, path: path.to_owned(), source };
    // Whatever is created from here on, by anybody in this process, is ours alone.
    umask(Mode::from_bits_truncate(0o077));
    if let Some(directory) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(fail("creating the directory of"))?;
    }
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fail("looking at")(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::Occupied { path: path.to_owned() });
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(SocketError::Served { path: path.to_owned() });
        }
        Ok(_) => fs::remove_file(path).map_err(fail("removing the stale socket"))?,
    }
    let listener = UnixListener::bind(path).map_err(fail("listening at"))?;
    fs::set_permissions(path, Permissions::from_mode(0o600))
        .map_err(fail("setting the mode of"))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/some.sock");
        let listener = listen(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(mode(&path), 0o600);
        assert!(matches!(listen(&path), Err(SocketError::Served { .. })));
        drop(listener);
        drop(listen(&path).unwrap());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(matches!(listen(&path), Err(SocketError::Occupied { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
