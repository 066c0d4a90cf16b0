//! The device-mapper: the only place that calls ioctl.
//!
//! Three steps lead down to the kernel. [`Dm`] is the interface that the engine uses, one function
//! per ioctl command. [`Control`] implements it on `/dev/mapper/control`: it fills an ioctl buffer,
//! submits it and reads the reply through bounded accessors. `sys` holds the kernel's constants and
//! structures, checked against `<linux/dm-ioctl.h>` by assertions and by a test.
//!
//! Tables, statuses and messages are values that print and parse exactly the kernel's text:
//! [`TableLine`], [`ThinPoolTable`], [`ThinTable`], [`LinearTable`], [`ThinPoolStatus`],
//! [`ThinStatus`], [`PoolMessage`].
//!
//! # The states of a device
//!
//! ```text
//!            create            load              resume
//!  (nothing) ------> no table ------> inactive ---------> live <---------+
//!      ^                 ^     clear  table      suspend   |  ^   resume |
//!      |                 +------------+                    v  |          |
//!      |                                               suspended --------+
//!      +---- remove (from any state, once no one has it open) ------------
//! ```
//!
//! A live or suspended device may hold an inactive table as well: the next resume swaps it in.
//! [`DeviceInfo`] shows each of these facts as the kernel does, by itself.
//!
//! # Without udev
//!
//! Nothing here waits for udev. The flags that udev's rules read ride in the upper half of the
//! cookie field with a cookie of zero, so no semaphore exists that somebody must release. They ask
//! udev to leave the devices alone: what a volume holds belongs to its tenant, not to the scanners
//! of the host.

mod api;
pub mod block;
mod buffer;
mod command;
mod commands;
mod control;
mod counters;
mod device_number;
mod error;
mod events;
mod flags;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod info;
mod key;
mod linear;
mod message;
mod name;
mod probe;
pub mod process;
mod reply;
mod request;
mod sys;
mod table;
mod text;
mod thin;
mod thin_pool;
mod thin_pool_status;

#[cfg(test)]
mod header_check;
#[cfg(test)]
mod text_properties;

pub use api::{Dm, StatusLine, SuspendOptions, TableSlot};
pub use buffer::BufferError;
pub use command::Command;
pub use control::{CONTROL_NODE, Control};
pub use counters::DmCounters;
pub use device_number::{DeviceReference, from_kernel_device, to_kernel_device};
pub use error::DmError;
pub use events::Wake;
pub use flags::{DmFlags, UdevFlags};
pub use info::{DeviceInfo, ListedDevice};
pub use key::DeviceKey;
pub use linear::LinearTable;
pub use message::PoolMessage;
pub use name::{DmName, DmUuid, NameError};
pub use probe::{DmVersion, Feature, Support, TargetVersion, Unsupported};
pub use table::{TableLine, Target};
pub use text::TextError;
pub use thin::{ThinStatus, ThinTable};
pub use thin_pool::{PoolFeature, ThinPoolTable};
pub use thin_pool_status::{DiscardMode, OnNoSpace, PoolMode, PoolUsage, ThinPoolStatus};
