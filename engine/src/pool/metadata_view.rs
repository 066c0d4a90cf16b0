//! A pool's metadata as it stands at one moment, for a reader that needs no claim.
#![forbid(unsafe_code)]

use super::error::PoolError;
use super::held_root::HeldRoot;
use super::kernel::node_of;
use super::located::{Located, linear_segments};
use super::open::is_open;
use super::segmented::Segmented;
use crate::block_device::{Access, BlockDevice};
use crate::catalogue::Catalogue;
use crate::dm::Dm;
use crate::layout::Role;
use crate::metadata::{
    BlockSource, DeviceDetails, Superblock, prove_devices, read_held_superblock, settled_superblock,
};
use crate::units::{DataBlocks, ThinId};

/// What a reader gets: trees that stand still below one superblock.
pub(super) struct MetadataView<'a> {
    /// The metadata device.
    pub(super) source: &'a dyn BlockSource,
    /// The held superblock of an open pool, whose space maps are zeros; the live one of a closed pool.
    pub(super) superblock: &'a Superblock,
    /// The pool's data blocks.
    pub(super) total_data_blocks: DataBlocks,
    /// The catalogue, read after the superblock was fixed.
    pub(super) catalogue: &'a Catalogue,
}

/// Reads a pool's metadata, open or closed, as it was when all of the thin devices in `needs` were there.
///
/// An open pool's metadata snapshot is held until `read` returns, and what is freed meanwhile stays allocated: whatever
/// waits for somebody comes after.
pub(super) fn read_metadata<T>(
    dm: &dyn Dm,
    located: &Located,
    needs: &[ThinId],
    read: impl FnOnce(&MetadataView<'_>) -> Result<T, PoolError>,
) -> Result<T, PoolError> {
    if is_open(dm, located)? {
        return read_open(dm, located, needs, read);
    }
    let (catalogue, _) = located.read_catalogue()?;
    let source = Segmented::open(located, &linear_segments(&catalogue, Role::Metadata)?)?;
    let superblock = settled_superblock(&source)?;
    read(&MetadataView {
        source: &source,
        superblock: &superblock,
        total_data_blocks: DataBlocks::new(superblock.data_space_map.total_blocks),
        catalogue: &catalogue,
    })
}

/// Reads an open pool's metadata under the metadata snapshot.
pub(super) fn read_open<T>(
    dm: &dyn Dm,
    located: &Located,
    needs: &[ThinId],
    read: impl FnOnce(&MetadataView<'_>) -> Result<T, PoolError>,
) -> Result<T, PoolError> {
    read_held(dm, located, &|source| shows(source, needs), read)
}

/// The same as it is from this moment on: whoever writes by what is read must not go by a snapshot
/// that another reader took earlier.
pub(super) fn read_afresh<T>(
    dm: &dyn Dm,
    located: &Located,
    read: impl FnOnce(&MetadataView<'_>) -> Result<T, PoolError>,
) -> Result<T, PoolError> {
    read_held(dm, located, &|_| Ok(false), read)
}

fn read_held<T>(
    dm: &dyn Dm,
    located: &Located,
    is_fresh: &dyn Fn(&BlockDevice) -> Result<bool, PoolError>,
    read: impl FnOnce(&MetadataView<'_>) -> Result<T, PoolError>,
) -> Result<T, PoolError> {
    let number = dm.info(&located.names.metadata)?.number;
    let source = BlockDevice::open(&node_of(number), Access::ReadOnly)?;
    let held = HeldRoot::enter(dm, located, &|| is_fresh(&source))?;
    let result = read_under(&held, located, &source, read);
    let left = held.leave();
    let value = result?;
    left?;
    Ok(value)
}

fn read_under<T>(
    held: &HeldRoot<'_>,
    located: &Located,
    source: &BlockDevice,
    read: impl FnOnce(&MetadataView<'_>) -> Result<T, PoolError>,
) -> Result<T, PoolError> {
    let live = settled_superblock(source)?;
    let Some(superblock) = read_held_superblock(source, &live)? else {
        return Err(PoolError::NoHeldRoot { pool: located.name.clone() });
    };
    let (catalogue, _) = located.read_catalogue()?;
    read(&MetadataView {
        source,
        superblock: &superblock,
        total_data_blocks: held.total_data_blocks()?,
        catalogue: &catalogue,
    })
}

/// Whether the held superblock has these devices as they are now. An id is given out again after its device is freed;
/// the two differ in the transaction id or the time of their creation.
fn shows(source: &BlockDevice, needs: &[ThinId]) -> Result<bool, PoolError> {
    if needs.is_empty() {
        return Ok(true);
    }
    let now = prove_devices(source, needs)?;
    let Some(held) = read_held_superblock(source, &now.superblock)? else { return Ok(false) };
    let made = |details: &DeviceDetails| (details.transaction_id, details.creation_time);
    for (id, details) in &now.details {
        let then = crate::metadata::device_details(source, &held, *id)?;
        if then.as_ref().map(made) != Some(made(details)) {
            return Ok(false);
        }
    }
    Ok(true)
}
