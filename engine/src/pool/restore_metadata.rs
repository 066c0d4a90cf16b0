//! An image of dm-thin metadata put in the place of a closed pool's: onto the spare region first, like a repair.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::error::PoolError;
use super::located::Located;
use super::open::is_open;
use super::repair::rebuild_and_swap;
use crate::aligned::AlignedBuffer;
use crate::block_device::{Access, BlockDevice};
use crate::catalogue::VolumeName;
use crate::dm::Dm;

/// How much is written at once.
const CHUNK_BYTES: usize = 1 << 20;

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredMetadata {
    /// Thin devices in the image.
    pub device_count: usize,
    /// Volumes whose thin ids are not among them.
    pub lost: Vec<VolumeName>,
}

/// Writes an image onto the spare region, looks at it there, and swaps it in.
pub(super) fn restore_metadata(
    dm: &Arc<dyn Dm>,
    located: &Located,
    image: &Path,
    accept_loss: bool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<RestoredMetadata, PoolError> {
    located.require_live()?;
    if is_open(&**dm, located)? {
        return Err(PoolError::RepairOpen { pool: located.found.name.clone() });
    }
    let failed = |source| PoolError::File { path: image.to_owned(), source };
    let file = File::open(image).map_err(failed)?;
    let (catalogue, _) = located.read_catalogue()?;
    located.require_complete(&catalogue)?;
    let bad = |problem: String| {
        let pool = located.found.name.clone();
        PoolError::BadImage { pool, path: image.to_owned(), problem }
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(bad("it is no regular file".to_owned()));
    }
    let progress = std::cell::RefCell::new(progress);
    let rebuilt = rebuild_and_swap(dm, located, &catalogue, accept_loss, &|_, spare| {
        let spare = BlockDevice::open(spare, Access::ReadWrite)?;
        let (length, size) = (file.metadata().map_err(failed)?.len(), spare.size().get());
        if length > size {
            return Err(bad(format!("it has {length} bytes and the pool's spare region {size}")));
        }
        copy(&file, &spare, &mut **progress.borrow_mut(), &failed)
    });
    // What is found on the spare region came from the image.
    let rebuilt = rebuilt.map_err(|error| match error {
        PoolError::BlankMetadata { .. } => bad("it begins with zeros".to_owned()),
        PoolError::BlockSizeMismatch { .. } | PoolError::Foreign(_) | PoolError::Metadata(_) => {
            bad(error.to_string())
        }
        error => error,
    })?;
    Ok(RestoredMetadata { device_count: rebuilt.device_count, lost: rebuilt.lost })
}

fn copy(
    image: &File,
    spare: &BlockDevice,
    progress: &mut dyn FnMut(u64, u64),
    failed: &dyn Fn(io::Error) -> PoolError,
) -> Result<(), PoolError> {
    let length = image.metadata().map_err(failed)?.len();
    let size = spare.size().get();
    let mut done = 0;
    while done < length {
        let step = CHUNK_BYTES.min(usize::try_from(length - done).unwrap_or(CHUNK_BYTES));
        let mut bytes = vec![0; step];
        image.read_exact_at(&mut bytes, done).map_err(failed)?;
        spare.write_at(done, &AlignedBuffer::padded(&bytes, 4096))?;
        done += step as u64;
        progress(done, length);
    }
    // What an earlier use of the region left behind the image is not to be met as if it were of it.
    Ok(spare.zero_range(length.next_multiple_of(4096), size - length.next_multiple_of(4096))?)
}
