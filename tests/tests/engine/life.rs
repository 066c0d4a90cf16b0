//! The whole life of a pool, once through.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Result;
use thinly_engine::pool::{PoolState, VolumeAccess, VolumeState};

use crate::support::{Bed, gib, mib, name};

fn write(device: &Path, byte: u8) -> Result<()> {
    let file = File::options().write(true).open(device)?;
    file.write_all_at(&vec![byte; 1 << 20], 0)?;
    Ok(file.sync_all()?)
}

fn first_byte(device: &Path) -> Result<u8> {
    let mut byte = [0];
    File::open(device)?.read_exact_at(&mut byte, 4096)?;
    Ok(byte[0])
}

#[test]
fn a_pool_from_creation_to_destruction() -> Result<()> {
    let bed = Bed::new(&[2 << 30, 1 << 30])?;
    let pool = bed.attach()?;
    let volume = pool.create_volume(&name("web"), gib(5))?;
    assert_eq!((volume.state, volume.thin_id), (VolumeState::Pending, None));
    let active = pool.activate(&name("web"), VolumeAccess::ReadWrite)?;
    assert_eq!(active.state, VolumeState::Active);
    let device = active.device.clone().unwrap();
    write(&device, 1)?;
    let snapshot = pool.snapshot(&name("web"), &name("web@1"))?;
    assert_eq!(snapshot.state, VolumeState::Inactive);
    assert_eq!(snapshot.mapped_bytes, Some(mib(1)));
    write(&device, 2)?;
    let copy = pool.clone_volume(&name("web@1"), &name("copy"), Some(gib(6)))?;
    assert_eq!(copy.virtual_bytes, gib(6));
    let copy = pool.activate(&name("copy"), VolumeAccess::ReadWrite)?;
    assert_eq!(first_byte(copy.device.as_ref().unwrap())?, 1);
    assert_eq!(first_byte(active.link.as_ref().unwrap())?, 2);
    pool.resize(&name("web"), gib(7))?;
    assert_eq!(pool.volume(&name("web"))?.virtual_bytes, gib(7));
    pool.deactivate(&name("web"))?;
    pool.rollback(&name("web"), &name("web@1"))?;
    let back = pool.activate(&name("web"), VolumeAccess::ReadWrite)?;
    assert_eq!(first_byte(back.device.as_ref().unwrap())?, 1);
    pool.delete(&name("copy"))?;
    let report = pool.reap(&mut |_| {})?;
    assert_eq!((report.reaped, report.waiting), (2, 0), "the clone, and what the rollback left");
    pool.release()?;
    let view = bed.engine.view(&bed.pool)?;
    assert_eq!(view.state, PoolState::Open, "{:?}", view.problems);
    assert!(view.clean && view.problems.is_empty(), "{view:?}");
    assert_eq!((view.volume_count, view.snapshot_count), (1, 1));
    bed.engine.close_pool(&bed.pool)?;
    assert_eq!(bed.engine.view(&bed.pool)?.state, PoolState::Closed);
    let note = format!("/run/thinly/{}.writer", view.uuid);
    assert!(!Path::new(&note).exists(), "a closed pool is said to have a writer");
    assert_eq!(bed.engine.volumes(&bed.pool)?.len(), 2);
    let pool = bed.engine.open_pool(&bed.pool, &[])?;
    assert!(pool.findings().is_empty(), "{:?}", pool.findings());
    let back = pool.activate(&name("web"), VolumeAccess::ReadOnly)?;
    assert_eq!(first_byte(back.device.as_ref().unwrap())?, 1);
    pool.release()?;
    bed.engine.destroy_pool(&bed.pool)?;
    assert!(bed.engine.view(&bed.pool).is_err());
    Ok(())
}
