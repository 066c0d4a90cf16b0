//! `<linux/dm-ioctl.h>` in Rust: constants and layouts, nothing that acts.
//!
//! The structures are never overlaid on memory; they exist so that sizes and offsets are computed
//! by the compiler, asserted here, and compared with the C header by a test.
#![forbid(unsafe_code)]
// Fields are read by `offset_of!` and `size_of` alone.
#![allow(dead_code, reason = "a layout is described whole, also where no field is used")]

use std::mem::{offset_of, size_of};

pub(super) const DM_IOCTL: u8 = 0xfd;
pub(super) const DM_MAX_TYPE_NAME: usize = 16;
pub(super) const DM_NAME_LEN: usize = 128;
pub(super) const DM_UUID_LEN: usize = 129;

pub(super) const DM_VERSION_CMD: u8 = 0;
pub(super) const DM_LIST_DEVICES_CMD: u8 = 2;
pub(super) const DM_DEV_CREATE_CMD: u8 = 3;
pub(super) const DM_DEV_REMOVE_CMD: u8 = 4;
pub(super) const DM_DEV_SUSPEND_CMD: u8 = 6;
pub(super) const DM_DEV_STATUS_CMD: u8 = 7;
pub(super) const DM_TABLE_LOAD_CMD: u8 = 9;
pub(super) const DM_TABLE_CLEAR_CMD: u8 = 10;
pub(super) const DM_TABLE_DEPS_CMD: u8 = 11;
pub(super) const DM_TABLE_STATUS_CMD: u8 = 12;
pub(super) const DM_LIST_VERSIONS_CMD: u8 = 13;
pub(super) const DM_TARGET_MSG_CMD: u8 = 14;
pub(super) const DM_DEV_ARM_POLL_CMD: u8 = 16;
pub(super) const DM_GET_TARGET_VERSION_CMD: u8 = 17;

/// The interface that this code is written for. The kernel refuses a caller that claims a higher
/// minor number than its own, so no more than the first is claimed; newer commands answer
/// `ENOTTY` where they do not exist, and newer flags are ignored.
pub(super) const DM_VERSION_CLAIMED: [u32; 3] = [4, 0, 0];

pub(super) const DM_READONLY_FLAG: u32 = 1 << 0;
pub(super) const DM_SUSPEND_FLAG: u32 = 1 << 1;
pub(super) const DM_STATUS_TABLE_FLAG: u32 = 1 << 4;
pub(super) const DM_ACTIVE_PRESENT_FLAG: u32 = 1 << 5;
pub(super) const DM_INACTIVE_PRESENT_FLAG: u32 = 1 << 6;
pub(super) const DM_BUFFER_FULL_FLAG: u32 = 1 << 8;
pub(super) const DM_SKIP_LOCKFS_FLAG: u32 = 1 << 10;
pub(super) const DM_NOFLUSH_FLAG: u32 = 1 << 11;
pub(super) const DM_QUERY_INACTIVE_TABLE_FLAG: u32 = 1 << 12;
pub(super) const DM_UUID_FLAG: u32 = 1 << 14;
pub(super) const DM_DATA_OUT_FLAG: u32 = 1 << 16;
pub(super) const DM_DEFERRED_REMOVE: u32 = 1 << 17;
pub(super) const DM_INTERNAL_SUSPEND_FLAG: u32 = 1 << 18;

pub(super) const DM_NAME_LIST_FLAG_HAS_UUID: u32 = 1;
pub(super) const DM_NAME_LIST_FLAG_DOESNT_HAVE_UUID: u32 = 2;

/// Flags to udev's rules (libdevmapper.h; the kernel only passes them on).
pub(super) const DM_UDEV_FLAGS_SHIFT: u32 = 16;
pub(super) const DM_UDEV_DISABLE_DM_RULES_FLAG: u16 = 0x0001;
pub(super) const DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG: u16 = 0x0002;
pub(super) const DM_UDEV_DISABLE_DISK_RULES_FLAG: u16 = 0x0004;
pub(super) const DM_UDEV_DISABLE_OTHER_RULES_FLAG: u16 = 0x0008;
pub(super) const DM_UDEV_PRIMARY_SOURCE_FLAG: u16 = 0x0040;

/// Every record after the header starts on a multiple of this.
pub(super) const RECORD_ALIGNMENT_BYTES: usize = 8;

/// `struct dm_ioctl`: the header of every command and every reply.
#[repr(C)]
pub(super) struct DmIoctl {
    pub(super) version: [u32; 3],
    pub(super) data_size: u32,
    pub(super) data_start: u32,
    pub(super) target_count: u32,
    pub(super) open_count: i32,
    pub(super) flags: u32,
    pub(super) event_nr: u32,
    pub(super) padding: u32,
    pub(super) dev: u64,
    pub(super) name: [u8; DM_NAME_LEN],
    pub(super) uuid: [u8; DM_UUID_LEN],
    pub(super) data: [u8; 7],
}

/// `struct dm_target_spec`: one line of a table; its text follows.
#[repr(C)]
pub(super) struct DmTargetSpec {
    pub(super) sector_start: u64,
    pub(super) length: u64,
    pub(super) status: i32,
    pub(super) next: u32,
    pub(super) target_type: [u8; DM_MAX_TYPE_NAME],
}

/// `struct dm_target_deps` before its array of device numbers.
#[repr(C)]
pub(super) struct DmTargetDeps {
    pub(super) count: u32,
    pub(super) padding: u32,
}

/// `struct dm_name_list` before its name.
#[repr(C)]
pub(super) struct DmNameList {
    pub(super) dev: u64,
    pub(super) next: u32,
    /// The name starts here, right after `next`; four bytes of it lie inside C's `sizeof`.
    pub(super) name: [u8; 4],
}

/// `struct dm_target_versions` before its name.
#[repr(C)]
pub(super) struct DmTargetVersions {
    pub(super) next: u32,
    pub(super) version: [u32; 3],
}

/// `struct dm_target_msg` before its text.
#[repr(C)]
pub(super) struct DmTargetMsg {
    pub(super) sector: u64,
}

pub(super) const HEADER_BYTES: usize = size_of::<DmIoctl>();

const _: () = {
    assert!(size_of::<DmIoctl>() == 312);
    assert!(offset_of!(DmIoctl, data_size) == 12);
    assert!(offset_of!(DmIoctl, data_start) == 16);
    assert!(offset_of!(DmIoctl, target_count) == 20);
    assert!(offset_of!(DmIoctl, open_count) == 24);
    assert!(offset_of!(DmIoctl, flags) == 28);
    assert!(offset_of!(DmIoctl, event_nr) == 32);
    assert!(offset_of!(DmIoctl, dev) == 40);
    assert!(offset_of!(DmIoctl, name) == 48);
    assert!(offset_of!(DmIoctl, uuid) == 176);
    assert!(offset_of!(DmIoctl, data) == 305);
    assert!(size_of::<DmTargetSpec>() == 40);
    assert!(offset_of!(DmTargetSpec, length) == 8);
    assert!(offset_of!(DmTargetSpec, status) == 16);
    assert!(offset_of!(DmTargetSpec, next) == 20);
    assert!(offset_of!(DmTargetSpec, target_type) == 24);
    assert!(size_of::<DmTargetDeps>() == 8);
    assert!(size_of::<DmNameList>() == 16);
    assert!(offset_of!(DmNameList, next) == 8);
    assert!(offset_of!(DmNameList, name) == 12);
    assert!(size_of::<DmTargetVersions>() == 16);
    assert!(offset_of!(DmTargetVersions, version) == 4);
    assert!(size_of::<DmTargetMsg>() == 8);
    assert!(HEADER_BYTES.is_multiple_of(RECORD_ALIGNMENT_BYTES));
};
