//! A suspended origin, as a value: the only ways out resume it.
#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::dm::{Dm, DmError, DmName, SuspendOptions};

/// A device that we suspended. Dropping it resumes it: no early return, error or panic between the
/// two halves can leave its users hanging.
#[derive(Debug)]
pub(super) struct Suspended {
    dm: Arc<dyn Dm>,
    device: DmName,
    running: bool,
}

impl Suspended {
    /// Freezes the filesystem on the device and drains its I/O.
    pub(super) fn suspend(dm: &Arc<dyn Dm>, device: DmName) -> Result<Self, DmError> {
        Self::enter(dm, device, true)
    }

    /// Drains the device's I/O and leaves its filesystem alone.
    pub(super) fn pause(dm: &Arc<dyn Dm>, device: DmName) -> Result<Self, DmError> {
        Self::enter(dm, device, false)
    }

    fn enter(dm: &Arc<dyn Dm>, device: DmName, lock_fs: bool) -> Result<Self, DmError> {
        // Built first: also a suspend that fails half-way is followed by a resume, which does
        // nothing to a device that runs.
        let guard = Self { dm: Arc::clone(dm), device, running: false };
        guard.dm.suspend(&guard.device, SuspendOptions { lock_fs, flush: true })?;
        Ok(guard)
    }

    /// Lets the I/O go on.
    pub(super) fn resume(mut self) -> Result<(), DmError> {
        self.running = true;
        match self.dm.resume(&self.device) {
            Ok(_) => Ok(()),
            Err(error) => {
                // Once more from drop: a device that stays frozen is worse than a second try.
                self.running = false;
                Err(error)
            }
        }
    }
}

impl Drop for Suspended {
    fn drop(&mut self) {
        if !self.running {
            // Nothing better can be done here, and the next open of the pool resumes it.
            let _ = self.dm.resume(&self.device);
        }
    }
}
