//! The ioctl commands in use, by the kernel's names.
#![forbid(unsafe_code)]

use std::fmt;

use super::sys;

/// One command of the control node. Suspend and resume are one ioctl, told apart by a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Command {
    /// `DM_VERSION`.
    Version,
    /// `DM_LIST_DEVICES`.
    ListDevices,
    /// `DM_DEV_CREATE`.
    Create,
    /// `DM_DEV_REMOVE`.
    Remove,
    /// `DM_DEV_SUSPEND` with the suspend flag.
    Suspend,
    /// `DM_DEV_SUSPEND` without the suspend flag.
    Resume,
    /// `DM_DEV_STATUS`: facts of the device, not of its targets.
    Info,
    /// `DM_TABLE_LOAD`.
    TableLoad,
    /// `DM_TABLE_CLEAR`.
    TableClear,
    /// `DM_TABLE_DEPS`.
    TableDeps,
    /// `DM_TABLE_STATUS`: tables and statuses of the targets.
    TableStatus,
    /// `DM_LIST_VERSIONS`.
    ListVersions,
    /// `DM_TARGET_MSG`.
    Message,
    /// `DM_DEV_ARM_POLL`.
    ArmPoll,
    /// `DM_GET_TARGET_VERSION`.
    TargetVersion,
}

impl Command {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 15] = [
        Self::Version,
        Self::ListDevices,
        Self::Create,
        Self::Remove,
        Self::Suspend,
        Self::Resume,
        Self::Info,
        Self::TableLoad,
        Self::TableClear,
        Self::TableDeps,
        Self::TableStatus,
        Self::ListVersions,
        Self::Message,
        Self::ArmPoll,
        Self::TargetVersion,
    ];

    /// The position in [`Command::ALL`].
    pub(super) const fn index(self) -> usize {
        self as usize
    }

    /// The kernel's command number.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Version => sys::DM_VERSION_CMD,
            Self::ListDevices => sys::DM_LIST_DEVICES_CMD,
            Self::Create => sys::DM_DEV_CREATE_CMD,
            Self::Remove => sys::DM_DEV_REMOVE_CMD,
            Self::Suspend | Self::Resume => sys::DM_DEV_SUSPEND_CMD,
            Self::Info => sys::DM_DEV_STATUS_CMD,
            Self::TableLoad => sys::DM_TABLE_LOAD_CMD,
            Self::TableClear => sys::DM_TABLE_CLEAR_CMD,
            Self::TableDeps => sys::DM_TABLE_DEPS_CMD,
            Self::TableStatus => sys::DM_TABLE_STATUS_CMD,
            Self::ListVersions => sys::DM_LIST_VERSIONS_CMD,
            Self::Message => sys::DM_TARGET_MSG_CMD,
            Self::ArmPoll => sys::DM_DEV_ARM_POLL_CMD,
            Self::TargetVersion => sys::DM_GET_TARGET_VERSION_CMD,
        }
    }

    /// What the command does, in words that fit after "cannot".
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Version => "ask the device-mapper's version",
            Self::ListDevices => "list devices",
            Self::Create => "create",
            Self::Remove => "remove",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Info => "look up",
            Self::TableLoad => "load a table into",
            Self::TableClear => "clear the inactive table of",
            Self::TableDeps => "list the devices below",
            Self::TableStatus => "read the status of",
            Self::ListVersions => "list target versions",
            Self::Message => "send a message to",
            Self::ArmPoll => "arm the event poll",
            Self::TargetVersion => "ask the version of target",
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "DM_VERSION",
            Self::ListDevices => "DM_LIST_DEVICES",
            Self::Create => "DM_DEV_CREATE",
            Self::Remove => "DM_DEV_REMOVE",
            Self::Suspend => "DM_DEV_SUSPEND (suspend)",
            Self::Resume => "DM_DEV_SUSPEND (resume)",
            Self::Info => "DM_DEV_STATUS",
            Self::TableLoad => "DM_TABLE_LOAD",
            Self::TableClear => "DM_TABLE_CLEAR",
            Self::TableDeps => "DM_TABLE_DEPS",
            Self::TableStatus => "DM_TABLE_STATUS",
            Self::ListVersions => "DM_LIST_VERSIONS",
            Self::Message => "DM_TARGET_MSG",
            Self::ArmPoll => "DM_DEV_ARM_POLL",
            Self::TargetVersion => "DM_GET_TARGET_VERSION",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_the_position() {
        for (position, command) in Command::ALL.iter().enumerate() {
            assert_eq!(command.index(), position, "{command}");
        }
    }
}
