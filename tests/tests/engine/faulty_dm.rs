//! The kernel's device-mapper, but for one command that fails when a test says so.

use std::io;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Result;
use nix::errno::Errno;
use thinly_engine::block_device::{Access, BlockDevice, DeviceNumber};
use thinly_engine::dm::{
    Command, Control, DeviceInfo, DeviceKey, Dm, DmCounters, DmError, DmName, DmUuid, DmVersion,
    ListedDevice, StatusLine, SuspendOptions, TableLine, TableSlot, TargetVersion,
};
use thinly_engine::metadata::unshared;
use thinly_engine::plan::DeviceNames;
use thinly_engine::units::ThinId;

/// One failure: the first command of a kind after `skipped` others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) command: Command,
    pub(crate) skipped: usize,
    pub(crate) errno: Errno,
    /// Whether the kernel has done it all the same.
    pub(crate) is_done: bool,
}

/// The real thing with at most one fault to come.
#[derive(Debug)]
pub(crate) struct FaultyDm {
    control: Control,
    fault: Mutex<Option<Fault>>,
    panic: Mutex<Option<Command>>,
    deletes: Mutex<Option<Deletes>>,
}

/// What each device that was deleted still held alone, in blocks.
#[derive(Debug)]
struct Deletes {
    names: DeviceNames,
    seen: Vec<(ThinId, u64)>,
}

impl FaultyDm {
    pub(crate) fn new() -> Result<Self> {
        let (fault, panic, deletes) = (Mutex::new(None), Mutex::new(None), Mutex::new(None));
        Ok(Self { control: Control::open()?, fault, panic, deletes })
    }

    /// From now on looks in a pool's metadata what a device holds alone before it is deleted.
    pub(crate) fn watch_deletes(&self, names: DeviceNames) {
        *self.deletes.lock().unwrap() = Some(Deletes { names, seen: Vec::new() });
    }

    /// What was seen of the deletes so far.
    pub(crate) fn deletes(&self) -> Vec<(ThinId, u64)> {
        self.deletes.lock().unwrap().as_ref().unwrap().seen.clone()
    }

    fn look_at_delete(&self, message: &str) {
        let Some(id) = message.strip_prefix("delete ") else { return };
        let mut watched = self.deletes.lock().unwrap();
        let Some(Deletes { names, seen }) = &mut *watched else { return };
        let id = ThinId::new(id.parse().unwrap()).unwrap();
        // A status with a flush commits, so that the disk shows what the kernel has.
        self.control.status(&names.pool_device, true).unwrap();
        let minor = self.control.info(&names.metadata).unwrap().number.minor;
        let node = format!("/dev/dm-{minor}");
        let metadata = BlockDevice::open(Path::new(&node), Access::ReadOnly).unwrap();
        seen.push((id, unshared(&metadata, id).unwrap().mapped_blocks));
    }

    pub(crate) fn arm(&self, fault: Fault) {
        *self.fault.lock().unwrap() = Some(fault);
    }

    /// The next command of this kind ends its thread, as a bug of ours would.
    pub(crate) fn panic_at(&self, command: Command) {
        *self.panic.lock().unwrap() = Some(command);
    }

    /// Ends the waiting for a fault; says whether it has come.
    pub(crate) fn disarm(&self) -> bool {
        self.fault.lock().unwrap().take().is_none()
    }

    fn perform<T>(
        &self,
        command: Command,
        device: &DmName,
        act: impl FnOnce() -> Result<T, DmError>,
    ) -> Result<T, DmError> {
        let panics = self.panic.lock().unwrap().take_if(|at| *at == command).is_some();
        assert!(!panics, "a panic of the test");
        let due = {
            let mut waiting = self.fault.lock().unwrap();
            match &mut *waiting {
                Some(fault) if fault.command == command && fault.skipped == 0 => waiting.take(),
                Some(fault) if fault.command == command => {
                    fault.skipped -= 1;
                    None
                }
                _ => None,
            }
        };
        let Some(fault) = due else { return act() };
        if fault.is_done {
            act()?;
        }
        Err(DmError::Refused {
            command,
            device: DeviceKey::Name(device.clone()),
            detail: Some("a fault of the test".to_owned()),
            source: io::Error::from(fault.errno),
        })
    }
}

impl Dm for FaultyDm {
    fn version(&self) -> Result<DmVersion, DmError> {
        self.control.version()
    }

    fn target_versions(&self) -> Result<Vec<TargetVersion>, DmError> {
        self.control.target_versions()
    }

    fn list(&self, name_prefix: &str, uuid_prefix: &str) -> Result<Vec<ListedDevice>, DmError> {
        self.control.list(name_prefix, uuid_prefix)
    }

    fn create(&self, name: &DmName, uuid: &DmUuid) -> Result<DeviceInfo, DmError> {
        self.perform(Command::Create, name, || self.control.create(name, uuid))
    }

    fn load(
        &self,
        device: &DmName,
        table: &[TableLine],
        read_only: bool,
    ) -> Result<DeviceInfo, DmError> {
        let load = || self.control.load(device, table, read_only);
        self.perform(Command::TableLoad, device, load)
    }

    fn clear(&self, device: &DmName) -> Result<DeviceInfo, DmError> {
        self.perform(Command::TableClear, device, || self.control.clear(device))
    }

    fn resume(&self, device: &DmName) -> Result<DeviceInfo, DmError> {
        self.perform(Command::Resume, device, || self.control.resume(device))
    }

    fn suspend(&self, device: &DmName, options: SuspendOptions) -> Result<DeviceInfo, DmError> {
        self.perform(Command::Suspend, device, || self.control.suspend(device, options))
    }

    fn remove(&self, device: &DmName) -> Result<(), DmError> {
        self.perform(Command::Remove, device, || self.control.remove(device))
    }

    fn remove_deferred(&self, device: &DmName) -> Result<(), DmError> {
        self.control.remove_deferred(device)
    }

    fn info(&self, device: &DmName) -> Result<DeviceInfo, DmError> {
        self.perform(Command::Info, device, || self.control.info(device))
    }

    fn info_by_uuid(&self, uuid: &DmUuid) -> Result<DeviceInfo, DmError> {
        self.control.info_by_uuid(uuid)
    }

    fn deps(&self, device: &DmName) -> Result<Vec<DeviceNumber>, DmError> {
        self.control.deps(device)
    }

    fn table(&self, device: &DmName, slot: TableSlot) -> Result<Vec<TableLine>, DmError> {
        self.control.table(device, slot)
    }

    fn status(&self, device: &DmName, flush: bool) -> Result<Vec<StatusLine>, DmError> {
        self.perform(Command::TableStatus, device, || self.control.status(device, flush))
    }

    fn message(&self, device: &DmName, message: &str) -> Result<Option<String>, DmError> {
        self.look_at_delete(message);
        self.perform(Command::Message, device, || self.control.message(device, message))
    }

    fn counters(&self) -> DmCounters {
        self.control.counters()
    }
}
