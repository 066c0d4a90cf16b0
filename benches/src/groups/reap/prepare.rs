//! A pool with one volume of many mappings, made without writing one of them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use thinly_engine::catalogue::VolumeName;
use thinly_engine::metadata::generate::{InPool, Shape, generate};
use thinly_engine::pool::{Engine, Pool, VolumeAccess};
use thinly_engine::units::{BlockSize, Bytes, ThinId};
use uuid::Uuid;

use crate::bed::create_pool;

/// How long a data block is.
pub(super) const BLOCK_BYTES: Bytes = Bytes::new(64 << 10);

/// How much room a pool needs, in tenths of what its volume maps: the generator leaves some of it
/// free, and there are a neighbour, metadata, and the journal.
pub(super) const DATA_SLACK: u64 = 12;

/// The large volume.
pub(super) const LARGE: &str = "large";

/// An open pool, with its writer and the id of its large volume.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) name: String,
    pub(super) pool: Pool,
    pub(super) large: ThinId,
}

/// Makes a pool whose one volume maps so many blocks, in random order.
pub(super) fn prepare(
    engine: &Engine,
    purpose: &str,
    disk: &Path,
    mappings: u64,
) -> Result<Prepared> {
    let block_size = BlockSize::new(BLOCK_BYTES.to_sectors_exact()?)?;
    let name = create_pool(engine, purpose, disk, block_size)?;
    let pool = engine.attach(&name)?;
    let volume = VolumeName::new(LARGE)?;
    pool.create_volume(&volume, Bytes::new(mappings * BLOCK_BYTES.get()))?;
    // The first activation makes the thin device, and the volume gets its id.
    pool.activate(&volume, VolumeAccess::ReadWrite)?;
    pool.deactivate(&volume)?;
    let large = pool.volume(&volume)?.thin_id.context("an activated volume has no thin id")?;
    let transaction_id = engine.view(&name)?.transaction_id.context("an open pool tells its id")?;
    pool.release()?;
    engine.close_pool(&name)?;
    let pool = Some(InPool { first_id: large, transaction_id, block_size });
    let shape = Shape { pool, run_blocks_max: 1, ..Shape::one_volume(mappings) };
    replace_metadata(engine, &name, &shape)?;
    let pool = engine.open_pool(&name, &[disk.to_owned()])?;
    Ok(Prepared { name, pool, large })
}

fn replace_metadata(engine: &Engine, pool: &str, shape: &Shape) -> Result<()> {
    let image = generated(shape)?;
    let restored = engine.restore_metadata(pool, &image.0, false, &mut |_, _| {})?;
    ensure!(restored.device_count == 1, "one volume was generated: {restored:?}");
    Ok(())
}

/// Metadata of that shape, as a file.
pub(super) fn generated(shape: &Shape) -> Result<Temporary> {
    let image = Temporary(std::env::temp_dir().join(format!("thinly-reap-{}", Uuid::new_v4())));
    generate(shape, &File::create_new(&image.0)?)?;
    Ok(image)
}

/// A file that goes when the run fails too.
pub(super) struct Temporary(PathBuf);

impl Temporary {
    pub(super) fn open(&self) -> Result<File> {
        Ok(File::open(&self.0)?)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What the run ended with is the one thing to tell.
        let _ = fs::remove_file(&self.0);
    }
}
