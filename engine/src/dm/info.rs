//! What the kernel says of a device as a whole.
#![forbid(unsafe_code)]

use super::name::{DmName, DmUuid};
use crate::block_device::DeviceNumber;

/// One device, as every command on it reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
// Each is a flag of the kernel's; they are independent, so no enum would say it better.
#[allow(clippy::struct_excessive_bools)]
pub struct DeviceInfo {
    /// The name.
    pub name: DmName,
    /// The uuid, unless it was made without one.
    pub uuid: Option<DmUuid>,
    /// The number of `/dev/dm-N`.
    pub number: DeviceNumber,
    /// How often it is open; other dm devices above it count as well.
    pub open_count: u32,
    /// How many events its targets have raised.
    pub event_nr: u32,
    /// How many lines its live table has.
    pub target_count: u32,
    /// I/O to it waits.
    pub suspended: bool,
    /// I/O to it waits because a device below wants it so.
    pub internally_suspended: bool,
    /// A table is live.
    pub live_table: bool,
    /// A table was loaded and waits for the next resume.
    pub inactive_table: bool,
    /// The live table takes no writes.
    pub read_only: bool,
    /// It goes away with its last close.
    pub deferred_remove: bool,
}

/// One device in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDevice {
    /// The name.
    pub name: DmName,
    /// The uuid, unless it was made without one.
    pub uuid: Option<DmUuid>,
    /// The number of `/dev/dm-N`.
    pub number: DeviceNumber,
    /// How many events its targets have raised.
    pub event_nr: u32,
}
