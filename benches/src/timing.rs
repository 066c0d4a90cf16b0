//! The frozen window, seen from below the engine: its path is the one that its users take.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use thinly_engine::block_device::DeviceNumber;
use thinly_engine::dm::{
    Control, DeviceInfo, Dm, DmCounters, DmError, DmName, DmUuid, DmVersion, ListedDevice,
    StatusLine, SuspendOptions, TableLine, TableSlot, TargetVersion,
};

/// The device-mapper, with a clock at suspend and resume.
#[derive(Debug)]
pub struct TimingDm {
    control: Control,
    clock: Mutex<Clock>,
}

#[derive(Debug, Default)]
struct Clock {
    frozen_at: Option<Instant>,
    /// How many devices are frozen.
    frozen_count: u32,
    window: Option<Duration>,
}

impl TimingDm {
    /// Puts the clock before an open device-mapper.
    pub fn new(control: Control) -> Self {
        Self { control, clock: Mutex::default() }
    }

    /// From before the first suspend to after the resume that left nothing frozen, once.
    pub fn take_window(&self) -> Option<Duration> {
        self.clock().window.take()
    }

    fn clock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dm for TimingDm {
    fn suspend(&self, device: &DmName, options: SuspendOptions) -> Result<DeviceInfo, DmError> {
        {
            let mut clock = self.clock();
            clock.frozen_at.get_or_insert_with(Instant::now);
            clock.frozen_count += 1;
        }
        self.control.suspend(device, options)
    }

    fn resume(&self, device: &DmName) -> Result<DeviceInfo, DmError> {
        let answer = self.control.resume(device);
        let mut clock = self.clock();
        // An activation resumes what nobody froze.
        clock.frozen_count = clock.frozen_count.saturating_sub(1);
        if clock.frozen_count == 0
            && let Some(frozen_at) = clock.frozen_at.take()
        {
            clock.window = Some(frozen_at.elapsed());
        }
        answer
    }

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
        self.control.create(name, uuid)
    }

    fn load(
        &self,
        device: &DmName,
        table: &[TableLine],
        read_only: bool,
    ) -> Result<DeviceInfo, DmError> {
        self.control.load(device, table, read_only)
    }

    fn clear(&self, device: &DmName) -> Result<DeviceInfo, DmError> {
        self.control.clear(device)
    }

    fn remove(&self, device: &DmName) -> Result<(), DmError> {
        self.control.remove(device)
    }

    fn remove_deferred(&self, device: &DmName) -> Result<(), DmError> {
        self.control.remove_deferred(device)
    }

    fn info(&self, device: &DmName) -> Result<DeviceInfo, DmError> {
        self.control.info(device)
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
        self.control.status(device, flush)
    }

    fn message(&self, device: &DmName, message: &str) -> Result<Option<String>, DmError> {
        self.control.message(device, message)
    }

    fn counters(&self) -> DmCounters {
        self.control.counters()
    }
}
