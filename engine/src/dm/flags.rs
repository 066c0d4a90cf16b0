//! Flags of the ioctl header, and those that udev's rules read.
#![forbid(unsafe_code)]

use std::fmt;

use super::sys;

/// The `flags` field of a command or a reply.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct DmFlags(u32);

impl DmFlags {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// `DM_READONLY_FLAG`.
    pub const READ_ONLY: Self = Self(sys::DM_READONLY_FLAG);
    /// `DM_SUSPEND_FLAG`.
    pub const SUSPEND: Self = Self(sys::DM_SUSPEND_FLAG);
    /// `DM_STATUS_TABLE_FLAG`: the table rather than the status.
    pub const STATUS_TABLE: Self = Self(sys::DM_STATUS_TABLE_FLAG);
    /// `DM_ACTIVE_PRESENT_FLAG`: a live table is there.
    pub const ACTIVE_PRESENT: Self = Self(sys::DM_ACTIVE_PRESENT_FLAG);
    /// `DM_INACTIVE_PRESENT_FLAG`: an inactive table is there.
    pub const INACTIVE_PRESENT: Self = Self(sys::DM_INACTIVE_PRESENT_FLAG);
    /// `DM_BUFFER_FULL_FLAG`: the reply did not fit.
    pub const BUFFER_FULL: Self = Self(sys::DM_BUFFER_FULL_FLAG);
    /// `DM_SKIP_LOCKFS_FLAG`: suspend without freezing the filesystem.
    pub const SKIP_LOCKFS: Self = Self(sys::DM_SKIP_LOCKFS_FLAG);
    /// `DM_NOFLUSH_FLAG`: suspend without draining, status without a commit.
    pub const NOFLUSH: Self = Self(sys::DM_NOFLUSH_FLAG);
    /// `DM_QUERY_INACTIVE_TABLE_FLAG`.
    pub const QUERY_INACTIVE_TABLE: Self = Self(sys::DM_QUERY_INACTIVE_TABLE_FLAG);
    /// `DM_UUID_FLAG`: list uuids as well.
    pub const UUID: Self = Self(sys::DM_UUID_FLAG);
    /// `DM_DATA_OUT_FLAG`: a message left an answer.
    pub const DATA_OUT: Self = Self(sys::DM_DATA_OUT_FLAG);
    /// `DM_DEFERRED_REMOVE`.
    pub const DEFERRED_REMOVE: Self = Self(sys::DM_DEFERRED_REMOVE);
    /// `DM_INTERNAL_SUSPEND_FLAG`: suspended by another target, as a pool does with its thins.
    pub const INTERNAL_SUSPEND: Self = Self(sys::DM_INTERNAL_SUSPEND_FLAG);

    /// Wraps the kernel's field.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The kernel's field.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Adds `other` where `condition` holds.
    #[must_use]
    pub const fn with_if(self, condition: bool, other: Self) -> Self {
        if condition { self.with(other) } else { self }
    }

    /// Whether all of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Debug for DmFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DmFlags({:#x})", self.0)
    }
}

/// What udev's rules are asked to leave undone for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdevFlags(u16);

impl UdevFlags {
    /// No scan of the contents, no links by label, no other subsystem's rules. The event is marked
    /// as coming from its first source, without which the rules take it for a spurious one.
    pub const PRIVATE: Self = Self(
        sys::DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG
            | sys::DM_UDEV_DISABLE_DISK_RULES_FLAG
            | sys::DM_UDEV_DISABLE_OTHER_RULES_FLAG
            | sys::DM_UDEV_PRIMARY_SOURCE_FLAG,
    );

    /// The flags' bits.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The cookie field: flags above a cookie of zero, which nobody waits for.
    pub(super) const fn cookie(self) -> u32 {
        (self.0 as u32) << sys::DM_UDEV_FLAGS_SHIFT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_carries_flags_and_no_semaphore() {
        assert_eq!(UdevFlags::PRIVATE.cookie(), 0x004e_0000);
        assert_eq!(UdevFlags::PRIVATE.cookie() & 0xffff, 0);
    }
}
