//! The label's two copies on a device: read, write, wipe.
//!
//! A write goes to the second copy first, and to the first copy once that is durable. At every
//! moment at least one copy is whole, whatever tears: the one that is not being written. The order
//! matters when the device has grown, because the first copy is found by its fixed place and leads
//! to the second one by the device length in it: the place that it points to is written before it
//! points there. On a device that gets its first label, the far end, which a device that lies about
//! its length refuses, is tried while nothing says yet that the device is taken.
//!
//! A wipe goes the same way round for the same reason: the copy that leads to the other one goes
//! last, so that an interrupted wipe can be done again.
#![forbid(unsafe_code)]

use super::error::LayoutError;
use super::label::{Label, tail_offset};
use super::label_format::{
    LABEL_BYTES, LABEL_HEAD_OFFSET, LabelCopy, MAGIC, claimed_device_bytes, decode, encode,
};
use super::label_read::{LabelDamage, LabelRead};
use crate::aligned::AlignedBuffer;
use crate::block_device::{BlockDevice, DeviceError};

/// Reads both copies.
pub fn read_labels(device: &BlockDevice) -> Result<LabelRead, DeviceError> {
    let Some(end_tail) = tail_offset(device.size()) else { return Ok(LabelRead::Absent) };
    let block = read_block(device, LABEL_HEAD_OFFSET)?;
    let head = decode(&block, LabelCopy::Head, LABEL_HEAD_OFFSET);
    // A device that grew has its second copy where its end was. A torn first copy may still say
    // where; the second copy proves itself by its own checksum and its own place.
    let claimed = claimed_device_bytes(&block).filter(|length| *length <= device.size());
    let claimed_tail = claimed.and_then(tail_offset);
    let mut tail = Err(LabelDamage::Absent);
    for offset in [claimed_tail, Some(end_tail).filter(|end| claimed_tail != Some(*end))] {
        let Some(offset) = offset.filter(|_| tail.is_err()) else { continue };
        let found = decode(&read_block(device, offset)?, LabelCopy::Tail, offset);
        if tail == Err(LabelDamage::Absent) || found.is_ok() {
            tail = found;
        }
    }
    Ok(LabelRead::decide(head, tail))
}

/// Writes both copies, each durable before this returns; refuses a label of another length.
pub fn write_labels(device: &BlockDevice, label: &Label) -> Result<(), LayoutError> {
    // The second copy goes first: where it is the only one that counts, the first is made whole before it.
    if let LabelRead::OneTorn { label: old, copy: LabelCopy::Head, .. } = read_labels(device)?
        && old.device_uuid == label.device_uuid
    {
        write_label_copy(device, &old, LabelCopy::Head)?;
    }
    write_label_copy(device, label, LabelCopy::Tail)?;
    write_label_copy(device, label, LabelCopy::Head)
}

/// Writes one copy, durably.
pub fn write_label_copy(
    device: &BlockDevice,
    label: &Label,
    copy: LabelCopy,
) -> Result<(), LayoutError> {
    let tail = label.tail_offset().filter(|_| label.device_bytes <= device.size());
    let Some(tail) = tail else {
        return Err(LayoutError::DeviceShrunk {
            path: device.path().to_owned(),
            labelled: label.device_bytes,
            has: device.size(),
        });
    };
    let offset = match copy {
        LabelCopy::Head => LABEL_HEAD_OFFSET,
        LabelCopy::Tail => tail,
    };
    let block = encode(label, copy)?;
    Ok(device.write_at(offset, &AlignedBuffer::padded(&block, LABEL_BYTES))?)
}

/// Zeroes every copy that the device carries, whole or torn; other bytes stay.
pub fn wipe_labels(device: &BlockDevice) -> Result<(), DeviceError> {
    let Some(end_tail) = tail_offset(device.size()) else { return Ok(()) };
    let head = read_block(device, LABEL_HEAD_OFFSET)?;
    let claimed = claimed_device_bytes(&head).filter(|length| *length <= device.size());
    let claimed_tail = claimed.and_then(tail_offset);
    let places = [claimed_tail, Some(end_tail), Some(LABEL_HEAD_OFFSET)];
    let zeros = AlignedBuffer::zeroed(LABEL_BYTES);
    for offset in places.into_iter().flatten() {
        if read_block(device, offset)?.starts_with(&MAGIC) {
            device.write_at(offset, &zeros)?;
        }
    }
    Ok(())
}

fn read_block(device: &BlockDevice, offset: u64) -> Result<AlignedBuffer, DeviceError> {
    let mut block = AlignedBuffer::zeroed(LABEL_BYTES);
    device.read_at(offset, &mut block)?;
    Ok(block)
}

#[cfg(test)]
#[path = "label_device_tests.rs"]
mod tests;
