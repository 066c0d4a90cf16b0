//! Names that people give: checked once, at the edge, and on every read from disk.
#![forbid(unsafe_code)]

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A name that is refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing was given.
    #[error("the {what} name is empty; give one of 1 to {max} characters")]
    Empty {
        /// `pool`, `volume` or `orchestrator's`.
        what: &'static str,
        /// The longest name allowed, in bytes.
        max: usize,
    },
    /// The name is too long.
    #[error("{what} name of {length} bytes is too long; the limit is {max}")]
    TooLong {
        /// `pool`, `volume` or `orchestrator's`.
        what: &'static str,
        /// The length given, in bytes.
        length: usize,
        /// The longest name allowed, in bytes.
        max: usize,
    },
    /// The name holds something that would be ambiguous in a path or on a terminal.
    #[error("{what} name {name:?} is not allowed: {why}")]
    Forbidden {
        /// `pool`, `volume` or `orchestrator's`.
        what: &'static str,
        /// The name given.
        name: String,
        /// The rule that it breaks.
        why: &'static str,
    },
}

/// What holds for every name.
pub(super) fn check_text(what: &'static str, name: &str, max: usize) -> Result<(), NameError> {
    match name {
        "" => Err(NameError::Empty { what, max }),
        _ if name.len() > max => Err(NameError::TooLong { what, length: name.len(), max }),
        _ if name.chars().any(char::is_control) => {
            let why = "it holds a control character";
            Err(NameError::Forbidden { what, name: name.to_owned(), why })
        }
        _ => Ok(()),
    }
}

fn check(what: &'static str, name: &str, max: usize) -> Result<(), NameError> {
    check_text(what, name, max)?;
    let forbid = |why| Err(NameError::Forbidden { what, name: name.to_owned(), why });
    match name {
        "." | ".." => forbid("it means a directory"),
        _ if name.contains('/') => forbid("'/' separates the pool from the volume"),
        _ if name.trim() != name => forbid("it begins or ends with a space"),
        _ => Ok(()),
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks and wraps a name.
            pub fn new(name: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> Result<(), NameError> = $check;
                check(name)?;
                Ok(Self(name.to_owned()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(&name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

pub(super) use name_type;

/// Whether a name may appear as a path component under `/dev/thinly`.
pub fn is_path_safe(name: &str) -> bool {
    !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn check_pool(name: &str) -> Result<(), NameError> {
    check("pool", name, PoolName::BYTES_MAX)?;
    if !is_path_safe(name) || name.starts_with('-') {
        return Err(NameError::Forbidden {
            what: "pool",
            name: name.to_owned(),
            why: "use letters, digits, '.', '_' and '-', and begin with none of '.' and '-'",
        });
    }
    Ok(())
}

name_type! {
    /// A pool's name: it is a directory under `/dev/thinly`, so it is kept to safe characters.
    PoolName, check_pool
}

impl PoolName {
    /// The longest pool name, in bytes.
    pub const BYTES_MAX: usize = 64;
}

name_type! {
    /// The name of a volume or snapshot: any printable UTF-8 without `/`.
    VolumeName, |name| check("volume", name, VolumeName::BYTES_MAX)
}

impl VolumeName {
    /// The longest volume name, in bytes: what a CSI name may be (spec, "Size Limits").
    pub const BYTES_MAX: usize = 128;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_names_are_refused_with_the_rule() {
        for bad in ["", ".", "..", "a/b", "a\nb", " a", &"x".repeat(129)] {
            assert!(VolumeName::new(bad).is_err(), "{bad:?}");
        }
        for bad in ["-x", ".x", "a b", "a/b", &"x".repeat(65)] {
            assert!(PoolName::new(bad).is_err(), "{bad:?}");
        }
        assert!(VolumeName::new("pvc 0815 \u{e4}").is_ok());
        assert!(PoolName::new("p0.fast_1-a").is_ok());
    }

    #[test]
    fn a_bad_name_cannot_come_from_disk() {
        let encoded = postcard::to_allocvec("a/b").unwrap();
        assert!(postcard::from_bytes::<VolumeName>(&encoded).is_err());
    }
}
