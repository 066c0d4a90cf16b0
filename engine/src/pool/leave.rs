//! A device that carries nothing any more leaves its pool.
//!
//! Crash argument: its label says `joining` first, which means that the catalogue alone knows whether it
//! is a member; then the record; then the label goes. A crash in front of the record leaves a member,
//! whose label the next open mends; behind it, a device that is nobody's.
#![forbid(unsafe_code)]

use uuid::Uuid;

use super::close::unpartition;
use super::error::PoolError;
use super::handle::Pool;
use super::locks::lock;
use crate::block_device::{Access, BlockDevice};
use crate::catalogue::Record;
use crate::layout::{Label, LabelState, wipe_labels, write_labels};

impl Pool {
    /// Lets an empty device go. Whether its labels could be taken off: a dying disk may refuse, and is
    /// no member all the same.
    pub(super) fn let_go(&self, device: Uuid) -> Result<bool, PoolError> {
        let _only_one = lock(&self.growing);
        let located = self.locate()?;
        self.give_back_unnamed(&located, Some(device))?;
        let record = Record::DeviceRemoved { uuid: device };
        lock(&self.state).catalogue.check(&record)?;
        let found = located.disk(device);
        if let Some(found) = found {
            let label = Label { state: LabelState::Joining, ..found.label.next() };
            let _ = BlockDevice::open(&found.path, Access::ReadWrite)
                .map(|disk| write_labels(&disk, &label));
        }
        self.commit(record)?;
        let wiped = found.is_some_and(|found| {
            let wiped = BlockDevice::open(&found.path, Access::Exclusive)
                .is_ok_and(|disk| wipe_labels(&disk).is_ok());
            wiped && unpartition(&found.path).is_ok()
        });
        Ok(wiped)
    }
}
