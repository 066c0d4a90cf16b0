//! The socket that kubelet and the sidecars call on. Its permissions are the only authentication.
#![forbid(unsafe_code)]

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::sys::stat::{Mode, umask};
use thiserror::Error;

/// A socket that cannot be served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SocketError {
    /// Text that is no endpoint.
    #[error("the endpoint {text:?} is not usable: {why}; give unix:///an/absolute/path.sock")]
    Endpoint {
        /// The text.
        text: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// Another process serves it.
    #[error("another process serves {path:?}; stop it, or give another --endpoint")]
    Served {
        /// The socket.
        path: PathBuf,
    },
    /// Something else is at its path.
    #[error("{path:?} exists and is no socket; move it away, or give another --endpoint")]
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

/// Where to serve: `unix:///path.sock`, as `CSI_ENDPOINT` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(PathBuf);

impl Endpoint {
    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl FromStr for Endpoint {
    type Err = SocketError;

    fn from_str(text: &str) -> Result<Self, SocketError> {
        let wrong = |why| Err(SocketError::Endpoint { text: text.to_owned(), why });
        let path = match text.strip_prefix("unix:") {
            Some(path) => path.strip_prefix("//").unwrap_or(path),
            None if text.contains("://") => return wrong("only unix sockets are served"),
            None => text,
        };
        let path = Path::new(path);
        if !path.is_absolute() {
            return wrong("the path is not absolute");
        }
        if path.extension().is_none_or(|extension| extension != "sock") {
            return wrong("the path does not end in .sock");
        }
        Ok(Self(path.to_owned()))
    }
}

/// Listens, for this user alone. A socket that a dead process left is replaced; a live one's is not.
pub(crate) fn listen(endpoint: &Endpoint) -> Result<UnixListener, SocketError> {
    let path = endpoint.path();
    let fail = |action| move |source| SocketError::Io { action, path: path.to_owned(), source };
    // Whatever is created from here on, by anybody in this process, is ours alone.
    umask(Mode::from_bits_truncate(0o077));
    if let Some(directory) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(fail("creating the directory of"))?;
        let mode = fs::metadata(directory).map_err(fail("looking at the directory of"))?;
        if mode.permissions().mode() & 0o077 != 0 {
            tracing::warn!(directory = %directory.display(), "others may enter the socket's directory; 0700 is enough");
        }
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
    listener.set_nonblocking(true).map_err(fail("setting up"))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_absolute_paths_of_unix_sockets() {
        for text in ["unix:///run/csi.sock", "unix:/run/csi.sock", "/run/csi.sock"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().path(), Path::new("/run/csi.sock"));
        }
        for text in ["tcp://0.0.0.0:80", "unix://run/csi.sock", "csi.sock", "/run/csi", ""] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(error.to_string().contains("unix:///"), "{error}");
        }
    }

    #[test]
    fn a_stale_socket_is_replaced_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/csi.sock");
        let endpoint: Endpoint = path.to_str().unwrap().parse().unwrap();
        let listener = listen(&endpoint).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(mode(&path) & 0o077, 0);
        assert!(matches!(listen(&endpoint), Err(SocketError::Served { .. })));
        drop(listener);
        drop(listen(&endpoint).unwrap());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(matches!(listen(&endpoint), Err(SocketError::Occupied { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
