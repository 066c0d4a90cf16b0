//! Writing commands into an ioctl buffer.
#![forbid(unsafe_code)]

use std::mem::{offset_of, size_of};

use super::buffer::{BufferError, IoctlBuffer, align, to_u32};
use super::device_number::to_kernel_device;
use super::flags::DmFlags;
use super::key::DeviceKey;
use super::sys::{
    DM_MAX_TYPE_NAME, DM_VERSION_CLAIMED, DmIoctl, DmTargetMsg, DmTargetSpec, HEADER_BYTES,
};
use super::table::TableLine;

/// Room for the answer that some targets give to a message.
const MESSAGE_ANSWER_BYTES: usize = 1024;

/// Fills the header that every command starts with; its size is written by the submission.
pub(super) fn header(buffer: &mut IoctlBuffer, flags: DmFlags) -> Result<(), BufferError> {
    for (position, part) in DM_VERSION_CLAIMED.into_iter().enumerate() {
        buffer.put_u32(offset_of!(DmIoctl, version) + position * size_of::<u32>(), part)?;
    }
    buffer.put_u32(offset_of!(DmIoctl, data_start), to_u32(HEADER_BYTES)?)?;
    buffer.put_u32(offset_of!(DmIoctl, flags), flags.bits())
}

/// Says which device is meant.
pub(super) fn device(buffer: &mut IoctlBuffer, key: &DeviceKey) -> Result<(), BufferError> {
    match key {
        DeviceKey::Name(text) => name(buffer, text.as_str()),
        DeviceKey::Uuid(text) => uuid(buffer, text.as_str()),
        DeviceKey::Number(number) => {
            buffer.put_u64(offset_of!(DmIoctl, dev), to_kernel_device(*number))
        }
    }
}

/// Fills the name field; the types that come here keep to its length.
pub(super) fn name(buffer: &mut IoctlBuffer, text: &str) -> Result<(), BufferError> {
    buffer.put(offset_of!(DmIoctl, name), text.as_bytes())
}

/// Fills the uuid field.
pub(super) fn uuid(buffer: &mut IoctlBuffer, text: &str) -> Result<(), BufferError> {
    buffer.put(offset_of!(DmIoctl, uuid), text.as_bytes())
}

/// Fills the field that carries udev's flags into the events of a command.
pub(super) fn cookie(buffer: &mut IoctlBuffer, cookie: u32) -> Result<(), BufferError> {
    buffer.put_u32(offset_of!(DmIoctl, event_nr), cookie)
}

/// A buffer that holds a table: one record and its text for each line.
pub(super) fn table(lines: &[TableLine], flags: DmFlags) -> Result<IoctlBuffer, BufferError> {
    let texts: Vec<String> = lines.iter().map(|line| line.target.parameters()).collect();
    let record_bytes = |text: &String| align(size_of::<DmTargetSpec>() + text.len() + 1);
    let size = HEADER_BYTES + texts.iter().map(record_bytes).sum::<usize>();
    let mut buffer = IoctlBuffer::new(size);
    header(&mut buffer, flags)?;
    buffer.put_u32(offset_of!(DmIoctl, target_count), to_u32(lines.len())?)?;
    let mut offset = HEADER_BYTES;
    for (line, text) in lines.iter().zip(&texts) {
        let next = record_bytes(text);
        let kind = line.target.kind().as_bytes();
        if kind.len() >= DM_MAX_TYPE_NAME {
            return Err(BufferError::Unterminated { offset });
        }
        let at = |field: usize| offset + field;
        buffer.put_u64(at(offset_of!(DmTargetSpec, sector_start)), line.start.get())?;
        buffer.put_u64(at(offset_of!(DmTargetSpec, length)), line.length.get())?;
        buffer.put_u32(at(offset_of!(DmTargetSpec, next)), to_u32(next)?)?;
        buffer.put(at(offset_of!(DmTargetSpec, target_type)), kind)?;
        buffer.put(at(size_of::<DmTargetSpec>()), text.as_bytes())?;
        offset += next;
    }
    Ok(buffer)
}

/// A buffer that holds a message to the target at sector 0.
pub(super) fn message(text: &str) -> Result<IoctlBuffer, BufferError> {
    let start = HEADER_BYTES + size_of::<DmTargetMsg>();
    let mut buffer = IoctlBuffer::new((start + text.len() + 1).max(MESSAGE_ANSWER_BYTES));
    header(&mut buffer, DmFlags::NONE)?;
    buffer.put(start, text.as_bytes())?;
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dm::reply;
    use crate::dm::table::Target;
    use crate::units::Sectors;
    use proptest::prelude::*;

    fn line(start: u64, kind: &str, parameters: &str) -> TableLine {
        TableLine {
            start: Sectors::new(start),
            length: Sectors::new(8),
            target: Target::parse(kind, parameters).unwrap(),
        }
    }

    #[test]
    fn a_target_name_must_fit_its_field() {
        let long = line(0, "sixteen-letters-", "");
        assert!(table(&[long], DmFlags::NONE).is_err());
        assert!(table(&[line(0, "fifteen-letters", "")], DmFlags::NONE).is_ok());
    }

    /// The kernel links the records of a reply from the first record, those of a request from
    /// each record: turn one into the other to read back what was written.
    fn links_from_the_start(buffer: &mut IoctlBuffer, count: usize) {
        let mut offset = HEADER_BYTES;
        for _ in 0..count {
            let field = offset + offset_of!(DmTargetSpec, next);
            offset += usize::try_from(buffer.u32(field).unwrap()).unwrap();
            buffer.put_u32(field, to_u32(offset - HEADER_BYTES).unwrap()).unwrap();
        }
        assert_eq!(offset, buffer.size());
    }

    proptest! {
        #[test]
        fn a_table_is_read_back(texts in proptest::collection::vec("[a-z0-9: ]{0,60}", 0..20)) {
            let lines: Vec<TableLine> = texts
                .iter()
                .zip((0..).step_by(8))
                .map(|(text, start)| line(start, "flakey", text))
                .collect();
            let mut buffer = table(&lines, DmFlags::READ_ONLY).unwrap();
            links_from_the_start(&mut buffer, lines.len());
            let read: Vec<TableLine> = reply::target_lines(&buffer)
                .unwrap()
                .into_iter()
                .map(|status| TableLine {
                    start: status.start,
                    length: status.length,
                    target: Target::parse(&status.kind, &status.text).unwrap(),
                })
                .collect();
            prop_assert_eq!(read, lines);
        }
    }
}
