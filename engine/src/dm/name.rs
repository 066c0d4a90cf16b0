//! Names and uuids of dm devices, within the kernel's limits.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::sys;

/// A name or a uuid that the kernel would refuse or cut short.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing at all.
    #[error("a device-mapper {kind} must not be empty; give it at least one character")]
    Empty {
        /// `name` or `uuid`.
        kind: &'static str,
    },
    /// Longer than the kernel's field.
    #[error(
        "device-mapper {kind} {text:?} has {length_bytes} bytes, the kernel takes {max_bytes}; \
         choose a shorter one"
    )]
    TooLong {
        /// `name` or `uuid`.
        kind: &'static str,
        /// The refused text.
        text: String,
        /// Its length.
        length_bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// A character that ends the field or means a directory.
    #[error("device-mapper {kind} {text:?} contains {character:?}; leave that character out")]
    Character {
        /// `name` or `uuid`.
        kind: &'static str,
        /// The refused text.
        text: String,
        /// What is not allowed in it.
        character: char,
    },
    /// `control`, `.` or `..`: entries that `/dev/mapper` has already.
    #[error("device-mapper name {name:?} is taken by /dev/mapper itself; choose another one")]
    Reserved {
        /// The refused name.
        name: String,
    },
}

fn check(kind: &'static str, text: &str, max_bytes: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { kind });
    }
    if text.len() > max_bytes {
        let length_bytes = text.len();
        return Err(NameError::TooLong { kind, text: text.to_owned(), length_bytes, max_bytes });
    }
    if text.contains('\0') {
        return Err(NameError::Character { kind, text: text.to_owned(), character: '\0' });
    }
    Ok(())
}

macro_rules! text_type {
    ($name:ident) => {
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }
    };
}

/// The name of a dm device: what `/dev/mapper` shows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DmName(String);

impl DmName {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = sys::DM_NAME_LEN - 1;

    /// Checks the kernel's rules (`check_name`, dm-ioctl.c).
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        check("name", &name, Self::MAX_BYTES)?;
        if name.contains('/') {
            return Err(NameError::Character { kind: "name", text: name, character: '/' });
        }
        if matches!(name.as_str(), "control" | "." | "..") {
            return Err(NameError::Reserved { name });
        }
        Ok(Self(name))
    }
}

text_type!(DmName);

/// The uuid of a dm device: any text, set once, unique on the host.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DmUuid(String);

impl DmUuid {
    /// The longest uuid, in bytes.
    pub const MAX_BYTES: usize = sys::DM_UUID_LEN - 1;

    /// Checks the kernel's rules.
    pub fn new(uuid: impl Into<String>) -> Result<Self, NameError> {
        let uuid = uuid.into();
        check("uuid", &uuid, Self::MAX_BYTES)?;
        Ok(Self(uuid))
    }
}

text_type!(DmUuid);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_the_kernels_limits() {
        assert!(DmName::new("a".repeat(127)).is_ok());
        assert!(matches!(DmName::new("a".repeat(128)), Err(NameError::TooLong { .. })));
        assert!(matches!(DmName::new(""), Err(NameError::Empty { .. })));
        assert!(matches!(DmName::new("a/b"), Err(NameError::Character { character: '/', .. })));
        assert!(matches!(DmName::new("a\0"), Err(NameError::Character { .. })));
        for reserved in ["control", ".", ".."] {
            assert!(matches!(DmName::new(reserved), Err(NameError::Reserved { .. })));
        }
    }

    #[test]
    fn uuids_may_be_longer_and_hold_a_slash() {
        assert!(DmUuid::new("u/".repeat(64)).is_ok());
        assert!(matches!(DmUuid::new("u".repeat(129)), Err(NameError::TooLong { .. })));
        assert!(matches!(DmUuid::new(""), Err(NameError::Empty { .. })));
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let message = DmName::new("x".repeat(130)).unwrap_err().to_string();
        assert!(message.ends_with("the kernel takes 127; choose a shorter one"), "{message}");
    }
}
