//! A pool's dm-thin metadata as an image file.
#![forbid(unsafe_code)]

use std::fs::File;

use super::error::PoolError;
use super::located::{Located, linear_segments};
use super::metadata_view::read_open;
use super::open::is_open;
use super::segmented::Segmented;
use crate::dm::Dm;
use crate::layout::Role;
use crate::metadata::{CopyReport, copy_closed, copy_held};

/// Copies a closed pool's metadata block by block, or rebuilds an open pool's from a metadata
/// snapshot: the blocks outside it may move while they are read.
pub(super) fn copy_metadata(
    dm: &dyn Dm,
    located: &Located,
    out: &File,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<CopyReport, PoolError> {
    if is_open(dm, located)? {
        return read_open(dm, located, &[], |view| {
            let total = view.total_data_blocks;
            Ok(copy_held(view.source, view.superblock, total, out, progress)?)
        });
    }
    let (catalogue, _) = located.read_catalogue()?;
    let metadata = Segmented::open(located, &linear_segments(&catalogue, Role::Metadata)?)?;
    Ok(copy_closed(&metadata, out, progress)?)
}
