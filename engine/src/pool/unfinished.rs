//! What a killed creation left: labels that say so, perhaps dm devices above them, never a volume.
#![forbid(unsafe_code)]

use super::create::CreatePool;
use super::error::PoolError;
use super::stack::remove;
use crate::block_device::DeviceNumber;
use crate::dm::Dm;
use crate::layout::{DeviceFacts, FoundPool, LabelState, LayoutError, System, scan_labels};
use crate::plan::DeviceNames;

/// Refuses the name of another pool. With force, what a killed creation left on these very devices is taken out of the
/// kernel and does not count: its labels are about to be overwritten.
pub(super) fn refuse_taken_name(dm: &dyn Dm, request: &CreatePool) -> Result<(), PoolError> {
    let system = System::default();
    let scan = scan_labels(&system)?;
    let ours = if request.force { numbers_of(&system, request)? } else { Vec::new() };
    for pool in &scan.pools {
        if is_unfinished(pool) && pool.devices.iter().all(|found| ours.contains(&found.number)) {
            take_down(dm, pool)?;
        } else if pool.name == request.name.as_str() {
            return Err(PoolError::PoolExists { pool: request.name.clone(), uuid: pool.uuid });
        }
    }
    Ok(())
}

fn is_unfinished(pool: &FoundPool) -> bool {
    pool.devices.iter().all(|device| device.label.state == LabelState::Creating)
}

/// The devices asked for, and their partitions.
fn numbers_of(system: &System, request: &CreatePool) -> Result<Vec<DeviceNumber>, LayoutError> {
    let mut numbers = Vec::new();
    for path in request.devices.iter().chain(&request.metadata_device) {
        let facts = DeviceFacts::read(system, path)?;
        numbers.push(facts.number);
        numbers.extend(facts.partitions.iter().map(|partition| partition.number));
    }
    Ok(numbers)
}

/// The kernel refuses while somebody has one of them open, such as a creation that still runs.
fn take_down(dm: &dyn Dm, pool: &FoundPool) -> Result<(), PoolError> {
    let names = DeviceNames::new(pool.uuid)?;
    for name in [&names.pool_device, &names.data, &names.metadata, &names.journal] {
        remove(dm, name)?;
    }
    Ok(())
}
