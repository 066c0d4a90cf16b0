//! A linear that is paused with another table waiting, as a value: until it is finished, the only way
//! out is back to the table that was live.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::error::PoolError;
use crate::dm::{Dm, DmName, SuspendOptions, TableLine};

/// How often a waiting table is thrown away. It must be gone before the device runs again.
const CLEAR_TRIES: u32 = 5;

/// A paused linear. Dropped, it throws the waiting table away and runs on as before.
#[derive(Debug)]
pub(super) struct Swap {
    dm: Arc<dyn Dm>,
    device: DmName,
    is_over: bool,
}

impl Swap {
    /// Loads the table that is to come and holds the device's requests back, those under way first.
    pub(super) fn begin(
        dm: &Arc<dyn Dm>,
        device: &DmName,
        table: &[TableLine],
    ) -> Result<Self, PoolError> {
        let swap = Self { dm: Arc::clone(dm), device: device.clone(), is_over: false };
        swap.dm.load(device, table, false)?;
        swap.dm.suspend(device, SuspendOptions { lock_fs: false, flush: true })?;
        Ok(swap)
    }

    /// Lets requests through by the new table. From here on there is no way back.
    pub(super) fn finish(mut self) -> Result<(), PoolError> {
        self.is_over = true;
        // Once more: a device that stays paused is worse than a second try.
        self.dm.resume(&self.device).or_else(|_| self.dm.resume(&self.device))?;
        Ok(())
    }

    /// Lets requests through by a third table.
    pub(super) fn finish_with(mut self, table: &[TableLine]) -> Result<(), PoolError> {
        // Whatever fails from here on, neither of the two others may serve.
        self.is_over = true;
        self.dm.load(&self.device, table, false)?;
        self.dm.resume(&self.device).or_else(|_| self.dm.resume(&self.device))?;
        Ok(())
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // With the waiting table in place a resume would serve what was not copied.
        if (0..CLEAR_TRIES).any(|_| self.dm.clear(&self.device).is_ok()) {
            let _ = self.dm.resume(&self.device).or_else(|_| self.dm.resume(&self.device));
        }
    }
}
