//! `POOL/NAME` and `ORIGIN=SNAPSHOT`, as arguments give them.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use thinly_engine::catalogue::{NameError, PoolName, VolumeName};
use thiserror::Error;

/// An argument that is no such pair.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PairError {
    /// There is no pool before the volume.
    #[error("{0:?} names no pool; write it as POOL/NAME")]
    NoPool(String),
    /// There is no `=`, or more than one.
    #[error("{0:?} is no pair; write it as ORIGIN=SNAPSHOT, with one '='")]
    NoPair(String),
    /// One of its names is refused.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Checks a pool's name; a uuid has the same characters and passes.
pub(crate) fn parse_pool(text: &str) -> Result<String, NameError> {
    PoolName::new(text).map(String::from)
}

/// A volume or snapshot of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumePath {
    /// The pool's name or uuid.
    pub pool: String,
    /// The volume's or snapshot's name.
    pub volume: VolumeName,
}

impl FromStr for VolumePath {
    type Err = PairError;

    fn from_str(text: &str) -> Result<Self, PairError> {
        let (pool, volume) =
            text.split_once('/').ok_or_else(|| PairError::NoPool(text.to_owned()))?;
        Ok(Self { pool: parse_pool(pool)?, volume: VolumeName::new(volume)? })
    }
}

impl fmt::Display for VolumePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pool, self.volume)
    }
}

/// One member of a group: what to snapshot, and the snapshot's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The volume.
    pub origin: VolumeName,
    /// The name of its snapshot.
    pub snapshot: VolumeName,
}

impl FromStr for Member {
    type Err = PairError;

    fn from_str(text: &str) -> Result<Self, PairError> {
        let no_pair = || PairError::NoPair(text.to_owned());
        let (origin, snapshot) = text.split_once('=').ok_or_else(no_pair)?;
        if snapshot.contains('=') {
            return Err(no_pair());
        }
        Ok(Self { origin: VolumeName::new(origin)?, snapshot: VolumeName::new(snapshot)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_pool_and_a_name() {
        let path: VolumePath = "p0/pvc 1".parse().unwrap();
        assert_eq!((path.pool.as_str(), path.volume.as_str()), ("p0", "pvc 1"));
        assert_eq!(path.to_string(), "p0/pvc 1");
        for bad in ["", "web", "/web", "p0/", "p0/a/b", "p 0/web", "p0/..", "/dev/thinly/p0/web"] {
            assert!(bad.parse::<VolumePath>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_pair_has_one_equals_sign() {
        let member: Member = "web=web-1".parse().unwrap();
        assert_eq!((member.origin.as_str(), member.snapshot.as_str()), ("web", "web-1"));
        for bad in ["", "web", "web=", "=web", "a=b=c", "a/b=c"] {
            assert!(bad.parse::<Member>().is_err(), "{bad:?}");
        }
    }
}
