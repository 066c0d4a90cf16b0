//! A pool's devices in the kernel: brought up from the catalogue, taken down in reverse.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::error::PoolError;
use super::kernel::node_of;
use super::located::Located;
use super::stretch::stretch_linear;
use crate::block_device::DeviceNumber;
use crate::dm::{Dm, DmName, DmUuid, TableLine, TableSlot, Target};
use crate::layout::LinearSegment;
use crate::plan::linear_table;

/// Something that scans block devices may hold a node for a moment.
const BUSY_TRIES: u32 = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// Devices made by one call, removed again when it fails.
#[derive(Debug)]
pub(super) struct Stack {
    dm: Arc<dyn Dm>,
    made: Vec<DmName>,
}

impl Stack {
    pub(super) const fn new(dm: Arc<dyn Dm>) -> Self {
        Self { dm, made: Vec::new() }
    }

    /// Keeps what was made.
    pub(super) fn keep(mut self) {
        self.made.clear();
    }

    /// Makes a linear over extents, or makes an existing one what the catalogue says. Its length
    /// only grows: a table that is longer than the catalogue's is a stranger's.
    pub(super) fn linear(
        &mut self,
        located: &Located,
        name: &DmName,
        uuid: &DmUuid,
        segments: &[LinearSegment],
    ) -> Result<DeviceNumber, PoolError> {
        if self.dm.info(name).is_ok_and(|info| info.live_table) {
            // A growth that died before it came to the kernel.
            stretch_linear(&self.dm, located, name, segments)?;
        }
        let number_of = |device| located.number_of(device);
        let Some(table) = linear_table(segments, number_of) else {
            return Err(PoolError::BadLabels {
                pool: located.found.name.clone(),
                problem: format!("a disk under {name} is missing; attach it and try again"),
            });
        };
        self.device(name, uuid, &table)
    }

    /// Makes a device, or completes one that a crash left without a table.
    pub(super) fn device(
        &mut self,
        name: &DmName,
        uuid: &DmUuid,
        table: &[TableLine],
    ) -> Result<DeviceNumber, PoolError> {
        let (number, live) = match self.dm.info(name) {
            Ok(info) => (info.number, info.live_table),
            Err(error) if error.is_not_found() => {
                let number = self.dm.create(name, uuid)?.number;
                self.made.push(name.clone());
                (number, false)
            }
            Err(error) => return Err(error.into()),
        };
        if live {
            self.check_live(name, table)?;
        } else {
            self.dm.load(name, table, false)?;
            self.dm.resume(name)?;
        }
        Ok(number)
    }

    /// A device that is live already must be the one that the catalogue describes.
    fn check_live(&self, name: &DmName, table: &[TableLine]) -> Result<(), PoolError> {
        let live = self.dm.table(name, TableSlot::Live)?;
        let wrong = live.len() != table.len()
            || live.iter().zip(table).any(|(live, table)| {
                live.start != table.start
                    || live.length != table.length
                    || live.target.kind() != table.target.kind()
                    || (matches!(table.target, Target::Linear(_)) && live.target != table.target)
            });
        if wrong {
            return Err(PoolError::BadLabels {
                pool: name.to_string(),
                problem: format!(
                    "{} has another table in the kernel than the catalogue describes; compare \
                     `thinly dm table {name}` with `thinly pool show`",
                    node_of(self.dm.info(name)?.number).display()
                ),
            });
        }
        Ok(())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        for name in self.made.iter().rev() {
            // What cannot be removed is found and completed by the next open.
            let _ = remove(&*self.dm, name);
        }
    }
}

/// Removes a device, giving those that only look at it a moment to let go.
pub(super) fn remove(dm: &dyn Dm, name: &DmName) -> Result<(), PoolError> {
    for _ in 0..BUSY_TRIES {
        match dm.remove(name) {
            Ok(()) => return Ok(()),
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) if error.is_busy() => thread::sleep(BUSY_PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
    Err(PoolError::DeviceInUse { device: name.to_string() })
}
