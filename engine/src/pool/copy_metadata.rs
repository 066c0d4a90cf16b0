//! A pool's dm-thin metadata as an image file.
#![forbid(unsafe_code)]

use std::fs::File;
use std::sync::Arc;

use super::error::PoolError;
use super::handle::Pool;
use super::held_root::HeldRoot;
use super::located::{Located, linear_segments};
use super::open::{attach, is_open};
use super::segmented::Segmented;
use crate::dm::Dm;
use crate::layout::Role;
use crate::metadata::{
    CopyReport, SuperblockState, copy_closed, copy_held, read_held_superblock, read_superblock,
};
use crate::plan::Operation;
use crate::units::DataBlocks;

/// Copies a closed pool's metadata block by block, or rebuilds an open pool's from a metadata
/// snapshot: the blocks outside it may move while they are read.
pub(super) fn copy_metadata(
    dm: &Arc<dyn Dm>,
    located: &Located,
    out: &File,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<CopyReport, PoolError> {
    if is_open(&**dm, located)? {
        let pool = attach(dm, located)?;
        let copied = pool.copy_under_snapshot(out, progress);
        pool.release()?;
        return copied;
    }
    let (catalogue, _) = located.read_catalogue()?;
    let metadata = Segmented::open(located, &linear_segments(&catalogue, Role::Metadata)?)?;
    Ok(copy_closed(&metadata, out, progress)?)
}

impl Pool {
    fn copy_under_snapshot(
        &self,
        out: &File,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<CopyReport, PoolError> {
        let (health, usage) = self.health()?;
        let Some(usage) = usage.filter(|_| health.serves_messages()) else {
            let operation = "copying its metadata";
            return Err(PoolError::WentDegraded { health, operation, advice: health.advice() });
        };
        self.announce(Operation::Allocate)?;
        let held = HeldRoot::reserve(self)?;
        let copied = self.copy_held(usage.total_data_blocks, out, progress);
        // Held for as short as the copy takes: what is freed meanwhile stays allocated until here.
        let released = held.release();
        let report = copied?;
        released?;
        Ok(report)
    }

    fn copy_held(
        &self,
        total_data_blocks: DataBlocks,
        out: &File,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<CopyReport, PoolError> {
        let SuperblockState::Valid(live) = read_superblock(&self.metadata)? else {
            return Err(PoolError::BlankMetadata { pool: self.identity.name.to_string() });
        };
        let Some(held) = read_held_superblock(&self.metadata, &live)? else {
            return Err(PoolError::NoHeldRoot { pool: self.identity.name.clone() });
        };
        Ok(copy_held(&self.metadata, &held, total_data_blocks, out, progress)?)
    }
}
