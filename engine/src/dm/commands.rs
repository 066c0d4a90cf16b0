//! The commands on the control node.
#![forbid(unsafe_code)]

use super::api::{Dm, StatusLine, SuspendOptions, TableSlot};
use super::buffer::IoctlBuffer;
use super::command::Command;
use super::control::{Control, LIST_BYTES, device_error, malformed};
use super::counters::DmCounters;
use super::error::DmError;
use super::flags::{DmFlags, UdevFlags};
use super::info::{DeviceInfo, ListedDevice};
use super::key::DeviceKey;
use super::name::{DmName, DmUuid};
use super::probe::{DmVersion, Feature, TargetVersion};
use super::table::{TableLine, Target};
use super::{reply, request};
use crate::block_device::DeviceNumber;

/// Commands on a device that is named in any way.
impl Control {
    /// What the kernel says of a device.
    pub fn device_info(&self, device: &DeviceKey) -> Result<DeviceInfo, DmError> {
        self.header_only(Command::Info, device, DmFlags::NONE, 0)
    }

    /// The devices that a device's table holds.
    pub fn device_deps(
        &self,
        device: &DeviceKey,
        slot: TableSlot,
    ) -> Result<Vec<DeviceNumber>, DmError> {
        let command = Command::TableDeps;
        let buffer = self.read_device(command, device, slot_flags(slot))?;
        malformed(command, reply::dependencies(&buffer))
    }

    /// The lines of a table as the kernel writes them.
    pub fn device_table(
        &self,
        device: &DeviceKey,
        slot: TableSlot,
    ) -> Result<Vec<StatusLine>, DmError> {
        self.lines(device, slot_flags(slot).with(DmFlags::STATUS_TABLE))
    }

    /// What the targets of the live table say. With `flush` a pool commits first.
    pub fn device_status(
        &self,
        device: &DeviceKey,
        flush: bool,
    ) -> Result<Vec<StatusLine>, DmError> {
        self.lines(device, DmFlags::NONE.with_if(!flush, DmFlags::NOFLUSH))
    }

    /// Sends a message to the target at sector 0 of a device.
    pub fn device_message(
        &self,
        device: &DeviceKey,
        message: &str,
    ) -> Result<Option<String>, DmError> {
        let command = Command::Message;
        let prepared = request::message(message).and_then(|mut buffer| {
            request::device(&mut buffer, device)?;
            Ok(buffer)
        });
        let mut buffer = malformed(command, prepared)?;
        self.issue(command, &mut buffer)
            .map_err(|source| device_error(command, device, Some(message.to_owned()), source))?;
        if malformed(command, reply::flags(&buffer))?.contains(DmFlags::BUFFER_FULL) {
            // Sent again, the message would be acted on again.
            return Err(DmError::ReplyTooLong { command, size: buffer.size() });
        }
        malformed(command, reply::message_answer(&buffer))
    }

    fn lines(&self, device: &DeviceKey, flags: DmFlags) -> Result<Vec<StatusLine>, DmError> {
        let command = Command::TableStatus;
        let buffer = self.read_device(command, device, flags)?;
        malformed(command, reply::target_lines(&buffer))
    }

    fn header_only(
        &self,
        command: Command,
        device: &DeviceKey,
        flags: DmFlags,
        cookie: u32,
    ) -> Result<DeviceInfo, DmError> {
        let buffer = self.plain(command, device, flags, cookie)?;
        malformed(command, reply::info(&buffer))
    }

    /// `ENXIO` from these two may mean a device below: ask whether this one exists.
    fn tell_below_from_missing(&self, error: DmError, detail: Option<String>) -> DmError {
        match error {
            DmError::NotFound { command, device, source } if self.device_info(&device).is_ok() => {
                DmError::Refused { command, device, detail, source }
            }
            other => other,
        }
    }

    fn submit_table(
        &self,
        device: &DeviceKey,
        table: &[TableLine],
        read_only: bool,
    ) -> Result<IoctlBuffer, DmError> {
        let command = Command::TableLoad;
        let flags = DmFlags::NONE.with_if(read_only, DmFlags::READ_ONLY);
        let prepared = request::table(table, flags).and_then(|mut buffer| {
            request::device(&mut buffer, device)?;
            Ok(buffer)
        });
        let mut buffer = malformed(command, prepared)?;
        self.issue(command, &mut buffer).map_err(|source| {
            let detail = Some(quote_table(table));
            let error = device_error(command, device, detail.clone(), source);
            self.tell_below_from_missing(error, detail)
        })?;
        Ok(buffer)
    }
}

fn slot_flags(slot: TableSlot) -> DmFlags {
    DmFlags::NONE.with_if(slot == TableSlot::Inactive, DmFlags::QUERY_INACTIVE_TABLE)
}

/// A table for an error message: the first line says what matters.
fn quote_table(table: &[TableLine]) -> String {
    match table {
        [] => "an empty table".to_owned(),
        [line] => line.to_string(),
        [line, rest @ ..] => {
            format!("{}, and {} more lines", line.to_string().trim_end(), rest.len())
        }
    }
}

impl Dm for Control {
    fn version(&self) -> Result<DmVersion, DmError> {
        self.kernel_version()
    }

    fn target_versions(&self) -> Result<Vec<TargetVersion>, DmError> {
        let command = Command::ListVersions;
        let fail = |source| DmError::General { command, source };
        let buffer = self.read(command, LIST_BYTES, DmFlags::NONE, |_| Ok(()), fail)?;
        malformed(command, reply::target_versions(&buffer))
    }

    fn list(&self, name_prefix: &str, uuid_prefix: &str) -> Result<Vec<ListedDevice>, DmError> {
        let command = Command::ListDevices;
        if name_prefix.len() > DmName::MAX_BYTES || uuid_prefix.len() > DmUuid::MAX_BYTES {
            return Ok(Vec::new());
        }
        let fill = |buffer: &mut IoctlBuffer| {
            request::name(buffer, name_prefix)?;
            request::uuid(buffer, uuid_prefix)
        };
        let fail = |source| DmError::General { command, source };
        let buffer = self.read(command, LIST_BYTES, DmFlags::UUID, fill, fail)?;
        let records = malformed(command, reply::devices(&buffer))?;
        if records.iter().any(|record| !record.tells_uuid) {
            self.require(Feature::ListUuids)?;
        }
        Ok(records.into_iter().map(|record| record.device).collect())
    }

    fn create(&self, name: &DmName, uuid: &DmUuid) -> Result<DeviceInfo, DmError> {
        let command = Command::Create;
        let device = DeviceKey::from(name);
        let mut buffer = IoctlBuffer::new(0);
        let prepared = request::header(&mut buffer, DmFlags::NONE)
            .and_then(|()| request::name(&mut buffer, name.as_str()))
            .and_then(|()| request::uuid(&mut buffer, uuid.as_str()));
        malformed(command, prepared)?;
        self.issue(command, &mut buffer).map_err(|source| {
            device_error(command, &device, Some(format!("uuid {uuid}")), source)
        })?;
        malformed(command, reply::info(&buffer))
    }

    fn load(
        &self,
        device: &DmName,
        table: &[TableLine],
        read_only: bool,
    ) -> Result<DeviceInfo, DmError> {
        let buffer = self.submit_table(&device.into(), table, read_only)?;
        malformed(Command::TableLoad, reply::info(&buffer))
    }

    fn clear(&self, device: &DmName) -> Result<DeviceInfo, DmError> {
        self.header_only(Command::TableClear, &device.into(), DmFlags::NONE, 0)
    }

    fn resume(&self, device: &DmName) -> Result<DeviceInfo, DmError> {
        let cookie = UdevFlags::PRIVATE.cookie();
        self.header_only(Command::Resume, &device.into(), DmFlags::NONE, cookie)
            .map_err(|error| self.tell_below_from_missing(error, None))
    }

    fn suspend(&self, device: &DmName, options: SuspendOptions) -> Result<DeviceInfo, DmError> {
        let flags = DmFlags::SUSPEND
            .with_if(!options.lock_fs, DmFlags::SKIP_LOCKFS)
            .with_if(!options.flush, DmFlags::NOFLUSH);
        self.header_only(Command::Suspend, &device.into(), flags, 0)
    }

    fn remove(&self, device: &DmName) -> Result<(), DmError> {
        let cookie = UdevFlags::PRIVATE.cookie();
        self.plain(Command::Remove, &device.into(), DmFlags::NONE, cookie).map(|_| ())
    }

    fn remove_deferred(&self, device: &DmName) -> Result<(), DmError> {
        let cookie = UdevFlags::PRIVATE.cookie();
        self.plain(Command::Remove, &device.into(), DmFlags::DEFERRED_REMOVE, cookie).map(|_| ())
    }

    fn info(&self, device: &DmName) -> Result<DeviceInfo, DmError> {
        self.device_info(&device.into())
    }

    fn info_by_uuid(&self, uuid: &DmUuid) -> Result<DeviceInfo, DmError> {
        self.device_info(&uuid.into())
    }

    fn deps(&self, device: &DmName) -> Result<Vec<DeviceNumber>, DmError> {
        self.device_deps(&device.into(), TableSlot::Live)
    }

    fn table(&self, device: &DmName, slot: TableSlot) -> Result<Vec<TableLine>, DmError> {
        let device = DeviceKey::from(device);
        self.device_table(&device, slot)?
            .into_iter()
            .map(|line| {
                let target = Target::parse(&line.kind, &line.text)
                    .map_err(|source| DmError::Text { device: device.clone(), source })?;
                Ok(TableLine { start: line.start, length: line.length, target })
            })
            .collect()
    }

    fn status(&self, device: &DmName, flush: bool) -> Result<Vec<StatusLine>, DmError> {
        self.device_status(&device.into(), flush)
    }

    fn message(&self, device: &DmName, message: &str) -> Result<Option<String>, DmError> {
        self.device_message(&device.into(), message)
    }

    fn counters(&self) -> DmCounters {
        self.counters.read()
    }
}
