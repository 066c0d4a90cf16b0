//! Pools are made, and in the end emptied and destroyed: nothing of one stays.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use thinly_engine::catalogue::{OnFull, PoolName, PoolPolicy, VolumeName};
use thinly_engine::dm::{Control, Dm, ThinPoolStatus};
use thinly_engine::plan::DeviceNames;
use thinly_engine::pool::{CreatePool, Engine};
use thinly_engine::units::{BlockSize, Bytes};

use super::stage::Stage;
use crate::sh;

/// What a pool begins with; the rest of its drives is there to grow into.
const DATA_BYTES: u64 = 72 << 20;

/// Makes a pool that fails writes at once when it is full.
pub(super) fn create(engine: &Engine, pool: &str, devices: &[PathBuf]) -> Result<()> {
    engine.create_pool(&CreatePool {
        name: PoolName::new(pool)?,
        devices: devices.to_vec(),
        metadata_device: None,
        block_size: BlockSize::DEFAULT,
        metadata_size: None,
        data_size: Some(Bytes::new(DATA_BYTES)),
        force: false,
        raw: true,
    })?;
    let handle = engine.attach(pool)?;
    handle.set_policy(PoolPolicy { on_full: OnFull::Error, ..PoolPolicy::default() })?;
    Ok(handle.release()?)
}

/// Deletes all that there is: afterwards not a block is used, and the pool leaves no trace.
pub(super) fn empty_and_destroy(stage: &Stage) -> Result<()> {
    let pool = stage.engine.attach(&stage.pool)?;
    let names: Vec<VolumeName> = pool.volumes()?.into_iter().map(|view| view.name).collect();
    pool.delete_many(&names)?;
    stage.tally().done("delete several");
    let report = pool.reap(&mut |_| {})?;
    ensure!(report.waiting == 0, "{} deleted ones are not freed: leaked", report.waiting);
    let uuid = pool.identity().uuid;
    ensure!(pool.view()?.tombstones.is_empty(), "tombstones: {:?}", pool.view()?.tombstones);
    pool.release()?;
    let used = used_blocks(&stage.control, &DeviceNames::new(uuid)?)?;
    ensure!(used == 0, "{used} data blocks are used by nothing: leaked");
    super::judge::judge_closed(stage, false)?;
    stage.engine.close_pool(&stage.pool)?;
    stage.engine.destroy_pool(&stage.pool)?;
    stage.tally().done("destroy");
    judge_absence(stage, &uuid.to_string(), &DeviceNames::new(uuid)?)?;
    stage.tally().emptied += 1;
    Ok(())
}

fn used_blocks(control: &Control, names: &DeviceNames) -> Result<u64> {
    // A status with a flush commits; what a commit frees is counted after the next one.
    control.status(&names.pool_device, true)?;
    match control.pool_status(&names.pool_device, true)? {
        ThinPoolStatus::Working(usage) => Ok(usage.used_data_blocks.get()),
        other => anyhow::bail!("the pool is {other:?}"),
    }
}

/// No device, no signature on a drive, no file that speaks of it.
fn judge_absence(stage: &Stage, uuid: &str, names: &DeviceNames) -> Result<()> {
    let left = stage.control.list(&names.name_prefix(), &names.uuid_prefix())?;
    ensure!(left.is_empty(), "devices are left: {left:?}");
    for node in stage.drives.nodes() {
        let left = sh(&format!(
            "wipefs --noheadings {0}; ls /sys/block/$(basename {0})/holders",
            node.display()
        ))?;
        ensure!(left.is_empty(), "{} keeps {left}", node.display());
    }
    for directory in ["/run/thinly", "/dev/thinly"] {
        let Ok(entries) = fs::read_dir(Path::new(directory)) else { continue };
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            // The lock of those who read metadata stays, with nothing in it: another one may wait for it.
            let is_lock = name == format!("{uuid}.held");
            let path = Path::new(directory).join(&name);
            if is_lock {
                let note = fs::read(&path).context("the readers' lock")?;
                ensure!(note.is_empty(), "{} says {note:?}", path.display());
                fs::remove_file(&path)?;
            } else {
                let is_ours = name.contains(uuid) || name == stage.pool;
                ensure!(!is_ours, "{} is left", path.display());
            }
        }
    }
    Ok(())
}
