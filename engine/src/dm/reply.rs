//! Reading the kernel's replies out of an ioctl buffer.
#![forbid(unsafe_code)]

use std::mem::{offset_of, size_of};

use super::api::StatusLine;
use super::buffer::{BufferError, IoctlBuffer, align};
use super::device_number::from_kernel_device;
use super::flags::DmFlags;
use super::info::{DeviceInfo, ListedDevice};
use super::name::{DmName, DmUuid};
use super::probe::{DmVersion, TargetVersion};
use super::sys::{
    DM_MAX_TYPE_NAME, DM_NAME_LEN, DM_NAME_LIST_FLAG_DOESNT_HAVE_UUID, DM_NAME_LIST_FLAG_HAS_UUID,
    DM_UUID_LEN, DmIoctl, DmNameList, DmTargetDeps, DmTargetSpec, DmTargetVersions,
};
use crate::block_device::DeviceNumber;
use crate::units::Sectors;

/// Event number and flags, between a listed device's name and its uuid.
const LIST_TAIL_BYTES: usize = 8;

pub(super) fn flags(buffer: &IoctlBuffer) -> Result<DmFlags, BufferError> {
    buffer.u32(offset_of!(DmIoctl, flags)).map(DmFlags::from_bits)
}

pub(super) fn version(buffer: &IoctlBuffer) -> Result<DmVersion, BufferError> {
    version_at(buffer, offset_of!(DmIoctl, version))
}

fn version_at(buffer: &IoctlBuffer, offset: usize) -> Result<DmVersion, BufferError> {
    Ok(DmVersion {
        major: buffer.u32(offset)?,
        minor: buffer.u32(offset + size_of::<u32>())?,
        patch: buffer.u32(offset + 2 * size_of::<u32>())?,
    })
}

fn uuid_from(text: String) -> Result<Option<DmUuid>, BufferError> {
    if text.is_empty() { Ok(None) } else { Ok(Some(DmUuid::new(text)?)) }
}

/// The offset of the first record after the header.
fn data_start(buffer: &IoctlBuffer) -> Result<usize, BufferError> {
    position(buffer.u32(offset_of!(DmIoctl, data_start))?)
}

fn position(value: u32) -> Result<usize, BufferError> {
    usize::try_from(value).map_err(|_| BufferError::TooLarge(usize::MAX))
}

/// The device that the header describes.
pub(super) fn info(buffer: &IoctlBuffer) -> Result<DeviceInfo, BufferError> {
    let flags = flags(buffer)?;
    Ok(DeviceInfo {
        name: DmName::new(buffer.text(offset_of!(DmIoctl, name), DM_NAME_LEN)?)?,
        uuid: uuid_from(buffer.text(offset_of!(DmIoctl, uuid), DM_UUID_LEN)?)?,
        number: from_kernel_device(buffer.u64(offset_of!(DmIoctl, dev))?),
        open_count: buffer.u32(offset_of!(DmIoctl, open_count))?,
        event_nr: buffer.u32(offset_of!(DmIoctl, event_nr))?,
        target_count: buffer.u32(offset_of!(DmIoctl, target_count))?,
        suspended: flags.contains(DmFlags::SUSPEND),
        internally_suspended: flags.contains(DmFlags::INTERNAL_SUSPEND),
        live_table: flags.contains(DmFlags::ACTIVE_PRESENT),
        inactive_table: flags.contains(DmFlags::INACTIVE_PRESENT),
        read_only: flags.contains(DmFlags::READ_ONLY),
        deferred_remove: flags.contains(DmFlags::DEFERRED_REMOVE),
    })
}

/// The lines of a table or a status.
pub(super) fn target_lines(buffer: &IoctlBuffer) -> Result<Vec<StatusLine>, BufferError> {
    let start = data_start(buffer)?;
    let count = buffer.u32(offset_of!(DmIoctl, target_count))?;
    let mut lines = Vec::new();
    let mut offset = start;
    for _ in 0..count {
        lines.push(StatusLine {
            start: Sectors::new(buffer.u64(offset + offset_of!(DmTargetSpec, sector_start))?),
            length: Sectors::new(buffer.u64(offset + offset_of!(DmTargetSpec, length))?),
            kind: buffer.text(offset + offset_of!(DmTargetSpec, target_type), DM_MAX_TYPE_NAME)?,
            text: buffer.text(offset + size_of::<DmTargetSpec>(), buffer.size())?,
        });
        // Unlike everywhere else, the link counts from the first record.
        let next = buffer.u32(offset + offset_of!(DmTargetSpec, next))?;
        let target = start.saturating_add(position(next)?);
        if target <= offset {
            return Err(BufferError::Chain { offset, next });
        }
        offset = target;
    }
    Ok(lines)
}

/// The devices that a table's targets hold.
pub(super) fn dependencies(buffer: &IoctlBuffer) -> Result<Vec<DeviceNumber>, BufferError> {
    let start = data_start(buffer)?;
    let count = position(buffer.u32(start + offset_of!(DmTargetDeps, count))?)?;
    let first = start + size_of::<DmTargetDeps>();
    (0..count)
        .map(|index| buffer.u64(first + index * size_of::<u64>()).map(from_kernel_device))
        .collect()
}

/// A device of a list, and whether the kernel says anything about uuids.
pub(super) struct ListRecord {
    pub(super) device: ListedDevice,
    pub(super) tells_uuid: bool,
}

/// The devices of a list.
pub(super) fn devices(buffer: &IoctlBuffer) -> Result<Vec<ListRecord>, BufferError> {
    let mut offset = data_start(buffer)?;
    let mut records = Vec::new();
    // An empty list is one record of zeros, or no record at all.
    if offset >= buffer.size() || buffer.u64(offset)? == 0 {
        return Ok(records);
    }
    loop {
        records.push(list_record(buffer, offset)?);
        let next = buffer.u32(offset + offset_of!(DmNameList, next))?;
        if next == 0 {
            return Ok(records);
        }
        offset = offset.saturating_add(position(next)?);
    }
}

fn list_record(buffer: &IoctlBuffer, offset: usize) -> Result<ListRecord, BufferError> {
    let name_start = offset + offset_of!(DmNameList, name);
    let name = buffer.text(name_start, DM_NAME_LEN)?;
    let tail = align(name_start + name.len() + 1);
    let list_flags = buffer.u32(tail + size_of::<u32>())?;
    let has_uuid = list_flags & DM_NAME_LIST_FLAG_HAS_UUID != 0;
    let uuid =
        if has_uuid { uuid_from(buffer.text(tail + LIST_TAIL_BYTES, DM_UUID_LEN)?)? } else { None };
    let device = ListedDevice {
        name: DmName::new(name)?,
        uuid,
        number: from_kernel_device(buffer.u64(offset + offset_of!(DmNameList, dev))?),
        event_nr: buffer.u32(tail)?,
    };
    let tells_uuid = has_uuid || list_flags & DM_NAME_LIST_FLAG_DOESNT_HAVE_UUID != 0;
    Ok(ListRecord { device, tells_uuid })
}

/// The versions of targets.
pub(super) fn target_versions(buffer: &IoctlBuffer) -> Result<Vec<TargetVersion>, BufferError> {
    let mut offset = data_start(buffer)?;
    let mut versions = Vec::new();
    if offset >= buffer.size() {
        return Ok(versions);
    }
    loop {
        let name = buffer.text(offset + size_of::<DmTargetVersions>(), buffer.size())?;
        if name.is_empty() {
            return Ok(versions);
        }
        let version = version_at(buffer, offset + offset_of!(DmTargetVersions, version))?;
        versions.push(TargetVersion { name, version });
        let next = buffer.u32(offset + offset_of!(DmTargetVersions, next))?;
        if next == 0 {
            return Ok(versions);
        }
        offset = offset.saturating_add(position(next)?);
    }
}

/// What a target answered to a message.
pub(super) fn message_answer(buffer: &IoctlBuffer) -> Result<Option<String>, BufferError> {
    if flags(buffer)?.contains(DmFlags::DATA_OUT) {
        buffer.text(data_start(buffer)?, buffer.size()).map(Some)
    } else {
        Ok(None)
    }
}
