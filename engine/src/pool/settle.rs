//! Devices that a crash left half-made or frozen, put in order.
#![forbid(unsafe_code)]

use super::error::PoolError;
use super::located::Located;
use super::stack::remove;
use crate::dm::{Dm, DmName, ListedDevice};

/// Puts linears that a crash left half-made in order.
pub(super) fn settle_linears(dm: &dyn Dm, located: &Located) -> Result<(), PoolError> {
    let names = &located.names;
    for name in [&names.journal, &names.metadata, &names.data, &names.pool_device] {
        settle(dm, name)?;
    }
    Ok(())
}

/// Puts every device of an unclean pool in order: the lower ones first.
pub(super) fn settle_all(dm: &dyn Dm, located: &Located) -> Result<(), PoolError> {
    settle_linears(dm, located)?;
    for device in thins(dm, located)? {
        settle(dm, &device.name)?;
        remove_empty(dm, &device.name)?;
    }
    Ok(())
}

/// A thin device without a table has no user. It must go: a volume whose first activation was cut
/// off gets another thin id, and the kernel would refuse a second device of the volume's uuid.
fn remove_empty(dm: &dyn Dm, name: &DmName) -> Result<(), PoolError> {
    match dm.info(name) {
        Ok(info) if info.live_table || info.open_count > 0 => Ok(()),
        Ok(_) => remove(dm, name),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn settle(dm: &dyn Dm, name: &DmName) -> Result<(), PoolError> {
    let info = match dm.info(name) {
        Ok(info) => info,
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if info.inactive_table {
        dm.clear(name)?;
    }
    if info.suspended && info.live_table {
        dm.resume(name)?;
    }
    Ok(())
}

/// The read-only views of a pool's thin devices that are in the kernel.
pub(super) fn views(dm: &dyn Dm, located: &Located) -> Result<Vec<ListedDevice>, PoolError> {
    let names = &located.names;
    let mut listed = dm.list(&names.name_prefix(), &names.uuid_prefix())?;
    listed.retain(|device| names.view_id_of(&device.name).is_some());
    Ok(listed)
}

/// The thin devices of a pool that are in the kernel.
pub(super) fn thins(dm: &dyn Dm, located: &Located) -> Result<Vec<ListedDevice>, PoolError> {
    let names = &located.names;
    let mut listed = dm.list(&names.name_prefix(), &names.uuid_prefix())?;
    listed.retain(|device| names.thin_id_of(&device.name).is_some());
    Ok(listed)
}
