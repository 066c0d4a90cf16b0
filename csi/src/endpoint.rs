//! The socket that kubelet and the sidecars call on.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thinly::socket::SocketError;
use thiserror::Error;

/// Text that is no endpoint.
#[derive(Debug, Error)]
#[error("the endpoint {text:?} is not usable: {why}; give unix:///an/absolute/path.sock")]
pub struct EndpointError {
    /// The text.
    pub text: String,
    /// The rule that it breaks.
    pub why: &'static str,
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
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let wrong = |why| Err(EndpointError { text: text.to_owned(), why });
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

/// Listens, and warns of a directory that others may write: they can put a socket of theirs in the place of this one.
/// To enter it is no harm, because the socket itself is for root alone; kubelet makes directories that all may enter.
pub(crate) fn listen(endpoint: &Endpoint) -> Result<UnixListener, SocketError> {
    let path = endpoint.path();
    let listener = thinly::socket::listen(path)?;
    let fail = |action| move |source| SocketError::Io { action, path: path.to_owned(), source };
    listener.set_nonblocking(true).map_err(fail("setting up"))?;
    if path.parent().is_some_and(others_may_write) {
        tracing::warn!(socket = %path.display(), "others may write in the socket's directory; 0700 is enough");
    }
    Ok(listener)
}

fn others_may_write(directory: &Path) -> bool {
    fs::metadata(directory).is_ok_and(|found| found.permissions().mode() & 0o022 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_others_may_only_enter_is_no_harm() {
        let directory = tempfile::tempdir().unwrap();
        for (mode, may) in [(0o700, false), (0o755, false), (0o775, true), (0o757, true)] {
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(others_may_write(directory.path()), may, "{mode:o}");
        }
    }

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
}
