//! How a command says which device it means.
#![forbid(unsafe_code)]

use std::fmt;

use super::name::{DmName, DmUuid};
use crate::block_device::DeviceNumber;

/// A device by its name, its uuid or its number; the kernel wants exactly one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceKey {
    /// By name.
    Name(DmName),
    /// By uuid.
    Uuid(DmUuid),
    /// By number.
    Number(DeviceNumber),
}

impl From<&DmName> for DeviceKey {
    fn from(name: &DmName) -> Self {
        Self::Name(name.clone())
    }
}

impl From<&DmUuid> for DeviceKey {
    fn from(uuid: &DmUuid) -> Self {
        Self::Uuid(uuid.clone())
    }
}

impl From<DeviceNumber> for DeviceKey {
    fn from(number: DeviceNumber) -> Self {
        Self::Number(number)
    }
}

impl fmt::Display for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "dm device {name}"),
            Self::Uuid(uuid) => write!(f, "the dm device with uuid {uuid}"),
            Self::Number(number) => write!(f, "dm device {number}"),
        }
    }
}
