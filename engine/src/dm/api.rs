//! The interface that the engine uses: one function per ioctl command.
#![forbid(unsafe_code)]

use super::counters::DmCounters;
use super::error::DmError;
use super::info::{DeviceInfo, ListedDevice};
use super::key::DeviceKey;
use super::message::PoolMessage;
use super::name::{DmName, DmUuid};
use super::probe::{DmVersion, TargetVersion};
use super::table::TableLine;
use super::text::TextError;
use super::thin::ThinStatus;
use super::thin_pool_status::ThinPoolStatus;
use crate::block_device::DeviceNumber;
use crate::units::Sectors;

/// How a device is suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuspendOptions {
    /// Freeze the filesystem that is mounted directly on the device.
    pub lock_fs: bool,
    /// Drain the requests in flight. Without it they are queued again, and nothing is frozen,
    /// whatever `lock_fs` says.
    pub flush: bool,
}

impl Default for SuspendOptions {
    fn default() -> Self {
        Self { lock_fs: true, flush: true }
    }
}

/// Which of a device's two tables is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableSlot {
    /// The one that serves requests.
    Live,
    /// The one that the next resume swaps in.
    Inactive,
}

/// What one target of a device says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusLine {
    /// The first sector of the device that the target serves.
    pub start: Sectors,
    /// How many sectors it serves.
    pub length: Sectors,
    /// The target's name.
    pub kind: String,
    /// Its text.
    pub text: String,
}

impl StatusLine {
    /// The text as a pool's status.
    pub fn thin_pool(&self) -> Result<ThinPoolStatus, TextError> {
        self.of_kind("thin-pool")?.parse()
    }

    /// The text as a thin's status.
    pub fn thin(&self) -> Result<ThinStatus, TextError> {
        self.of_kind("thin")?.parse()
    }

    fn of_kind(&self, expected: &'static str) -> Result<&str, TextError> {
        if self.kind == expected {
            Ok(&self.text)
        } else {
            Err(TextError::Kind { expected, found: self.kind.clone() })
        }
    }
}

/// The device-mapper's commands.
///
/// Every function is one ioctl; none waits for udev, retries or sleeps. A read whose answer does
/// not fit is asked again with a larger buffer. Devices are named by their dm name.
pub trait Dm: Send + Sync + std::fmt::Debug {
    /// The version of the kernel's ioctl interface.
    fn version(&self) -> Result<DmVersion, DmError>;

    /// The targets that the kernel has loaded; others may be loaded on demand.
    fn target_versions(&self) -> Result<Vec<TargetVersion>, DmError>;

    /// Every device whose name starts with `name_prefix` and whose uuid starts with `uuid_prefix`;
    /// either may be empty. The kernel walks over all its devices for it.
    fn list(&self, name_prefix: &str, uuid_prefix: &str) -> Result<Vec<ListedDevice>, DmError>;

    /// Makes a device without a table.
    fn create(&self, name: &DmName, uuid: &DmUuid) -> Result<DeviceInfo, DmError>;

    /// Loads a table into the inactive slot, replacing what is there.
    fn load(
        &self,
        device: &DmName,
        table: &[TableLine],
        read_only: bool,
    ) -> Result<DeviceInfo, DmError>;

    /// Empties the inactive slot.
    fn clear(&self, device: &DmName) -> Result<DeviceInfo, DmError>;

    /// Swaps the inactive table in, if there is one, and lets requests through.
    fn resume(&self, device: &DmName) -> Result<DeviceInfo, DmError>;

    /// Holds requests back. On a suspended device nothing happens.
    ///
    /// A process that ends before the resume leaves the device, and all who use it, hanging.
    fn suspend(&self, device: &DmName, options: SuspendOptions) -> Result<DeviceInfo, DmError>;

    /// Removes a device that nobody has open.
    fn remove(&self, device: &DmName) -> Result<(), DmError>;

    /// Removes a device now, or with its last close.
    fn remove_deferred(&self, device: &DmName) -> Result<(), DmError>;

    /// What the kernel says of a device.
    fn info(&self, device: &DmName) -> Result<DeviceInfo, DmError>;

    /// What the kernel says of the device with this uuid.
    fn info_by_uuid(&self, uuid: &DmUuid) -> Result<DeviceInfo, DmError>;

    /// The devices that a device's table holds: of the live one, if there is one.
    fn deps(&self, device: &DmName) -> Result<Vec<DeviceNumber>, DmError>;

    /// A table; empty where the slot is.
    fn table(&self, device: &DmName, slot: TableSlot) -> Result<Vec<TableLine>, DmError>;

    /// What the targets of the live table say. With `flush` a pool commits first.
    fn status(&self, device: &DmName, flush: bool) -> Result<Vec<StatusLine>, DmError>;

    /// Sends a message to the target at sector 0; some targets answer with text.
    fn message(&self, device: &DmName, message: &str) -> Result<Option<String>, DmError>;

    /// How many commands of each kind were issued.
    fn counters(&self) -> DmCounters;

    /// The status of a pool. With `flush` it commits first.
    fn pool_status(&self, pool: &DmName, flush: bool) -> Result<ThinPoolStatus, DmError> {
        single(pool, &self.status(pool, flush)?, StatusLine::thin_pool)
    }

    /// The status of an active thin.
    fn thin_status(&self, thin: &DmName) -> Result<ThinStatus, DmError> {
        single(thin, &self.status(thin, false)?, StatusLine::thin)
    }

    /// Sends a message to a pool. That it was taken does not say that it was committed: read the
    /// status before relying on it.
    fn pool_message(&self, pool: &DmName, message: &PoolMessage) -> Result<(), DmError> {
        self.message(pool, &message.to_string()).map(|_| ())
    }
}

/// Reads the only line of a status.
fn single<T>(
    device: &DmName,
    lines: &[StatusLine],
    read: impl Fn(&StatusLine) -> Result<T, TextError>,
) -> Result<T, DmError> {
    let device = DeviceKey::from(device);
    match lines {
        [line] => read(line).map_err(|source| DmError::Text { device, source }),
        lines => Err(DmError::TargetCount { device, count: lines.len() }),
    }
}
