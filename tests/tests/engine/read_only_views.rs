//! A volume shown to somebody who may not write, whatever they do to the node.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::libc;
use thinly_engine::catalogue::Content;
use thinly_engine::dm::Dm;
use thinly_engine::plan::view_table;
use thinly_engine::pool::VolumeAccess;
use thinly_engine::units::Sectors;
use thinly_tests::sh;

use crate::support::{Bed, activate, active, assert_refused, fill, holds, mib, name};

/// Tries every way to write that a process with the node has.
fn write_in_every_way(view: &Path) -> Result<()> {
    let plain = || File::options().read(true).write(true).open(view)?.write_at(&[9; 4096], 0);
    ensure!(plain().is_err(), "a write was taken");
    let direct = format!("dd if=/dev/zero of={} bs=4096 count=1 oflag=direct", view.display());
    ensure!(sh(&direct).is_err(), "a direct write was taken");
    ensure!(sh(&format!("blkdiscard -f {}", view.display())).is_err(), "a discard was taken");
    ensure!(sh(&format!("blkdiscard -f -z {}", view.display())).is_err(), "zeroing was taken");
    // Whatever it answers: what counts is what the volume holds afterwards.
    let mapped = "-c 'mmap -rw 0 4096' -c 'mwrite -S 9 0 4096' -c 'msync -s 0 4096'";
    drop(sh(&format!("xfs_io {mapped} {}; sync", view.display())));
    Ok(())
}

fn length(device: &Path) -> Result<u64> {
    Ok(sh(&format!("blockdev --getsize64 {}", device.display()))?.parse()?)
}

#[test]
fn a_view_takes_no_write_whatever_is_done_to_its_node() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    let device = active(&pool, "web", mib(64))?;
    fill(&device, mib(0), mib(2), 5)?;
    let view = pool.read_only_view(&name("web"))?;
    assert_eq!(pool.read_only_view(&name("web"))?, view);
    assert_eq!(sh(&format!("blockdev --getro {}", view.display()))?, "1");
    write_in_every_way(&view)?;
    // Root in a container may try this; a node of its own may be marked writable, the disk is not.
    drop(sh(&format!("blockdev --setrw {}", view.display())));
    write_in_every_way(&view)?;
    ensure!(holds(&view, mib(0), mib(2), 5)?, "the view was written");
    ensure!(holds(&device, mib(0), mib(2), 5)?, "the volume was written");
    fill(&device, mib(0), mib(2), 6)?;
    ensure!(holds(&view, mib(0), mib(2), 6)?, "the view shows something else");
    Ok(())
}

#[test]
fn a_view_follows_a_resize_and_hinders_no_snapshot() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    let device = active(&pool, "web", mib(64))?;
    active(&pool, "other", mib(16))?;
    let view = pool.read_only_view(&name("web"))?;
    let reader = File::open(&view)?;
    pool.resize(&name("web"), mib(128))?;
    assert_eq!(length(&view)?, mib(64).get());
    assert_eq!(pool.read_only_view(&name("web"))?, view);
    assert_eq!((length(&view)?, length(&device)?), (mib(128).get(), mib(128).get()));
    write_in_every_way(&view)?;
    reader.read_exact_at(&mut [0; 512], mib(127).get())?;
    fill(&device, mib(100), mib(1), 3)?;
    pool.snapshot(&name("web"), &name("web@1"))?;
    let members = [(name("web"), name("web@2")), (name("other"), name("other@2"))];
    pool.snapshot_group(&name("g"), &members)?;
    fill(&device, mib(100), mib(1), 4)?;
    for snapshot in ["web@1", "web@2"] {
        let of = pool.activate(&name(snapshot), VolumeAccess::ReadOnly)?;
        ensure!(holds(&of.device.context("no device")?, mib(100), mib(1), 3)?, "{snapshot}");
    }
    ensure!(holds(&view, mib(100), mib(1), 4)?);
    bed.assert_nothing_suspended()
}

#[test]
fn a_view_that_is_read_holds_its_volume_and_one_that_is_not_goes_with_it() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    active(&pool, "web", mib(64))?;
    let view = pool.read_only_view(&name("web"))?;
    let node = view.display().to_string();
    let reader = File::open(&view)?;
    let before = bed.devices()?;
    assert_refused(pool.drop_read_only_view(&name("web")), &["web", "in use", &node]);
    assert_refused(pool.deactivate(&name("web")), &["web", "in use", &node]);
    assert_refused(pool.delete_many(&[name("web")]), &["web", "in use", &node]);
    pool.release()?;
    assert_refused(bed.engine.close_pool(&bed.pool), &["web", "in use", &node]);
    assert_eq!(bed.devices()?, before, "a refused close changed something");
    drop(reader);
    let pool = bed.attach()?;
    pool.drop_read_only_view(&name("web"))?;
    pool.drop_read_only_view(&name("web"))?;
    assert_eq!(bed.devices()?.len(), before.len() - 1);
    pool.read_only_view(&name("web"))?;
    pool.deactivate(&name("web"))?;
    assert_eq!(bed.devices()?.len(), before.len() - 2);
    assert_refused(pool.read_only_view(&name("web")), &["web", "not active"]);
    activate(&pool, "web")?;
    pool.read_only_view(&name("web"))?;
    pool.release()?;
    bed.engine.close_pool(&bed.pool)?;
    ensure!(bed.devices()?.is_empty(), "left: {:?}", bed.devices()?);
    bed.open()?.release()?;
    Ok(())
}

/// What a kill leaves between the ioctls that make a view: asking again makes it, closing removes it.
#[test]
fn a_view_that_was_begun_is_made_or_removed() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    let device = active(&pool, "web", mib(64))?;
    let web = pool.volume(&name("web"))?;
    let view = bed.names.view(web.thin_id.context("no thin id")?)?;
    let uuid = bed.names.view_uuid(web.uuid)?;
    let number = bed.control.info(&bed.names.thin(web.thin_id.context("no thin id")?)?)?.number;
    let table = view_table(number, Sectors::new(mib(64).get() / 512));
    for is_loaded in [false, true] {
        bed.control.create(&view, &uuid)?;
        if is_loaded {
            bed.control.load(&view, &table, true)?;
        }
        let made = pool.read_only_view(&name("web"))?;
        assert_eq!(length(&made)?, mib(64).get());
        pool.drop_read_only_view(&name("web"))?;
    }
    // Somebody who claims the volume's device keeps a view from being made, and nothing is left.
    let exclusive = File::options().read(true).custom_flags(libc::O_EXCL).open(&device)?;
    assert_refused(pool.read_only_view(&name("web")), &["web", "in use"]);
    ensure!(!bed.devices()?.contains(&view));
    drop(exclusive);
    pool.set_content(&name("web"), Content::Touched)?;
    for is_loaded in [false, true] {
        bed.control.create(&view, &uuid)?;
        if is_loaded {
            bed.control.load(&view, &table, true)?;
            pool.deactivate(&name("web"))?;
            ensure!(!bed.devices()?.contains(&view));
        } else {
            bed.control.remove(&view)?;
        }
    }
    activate(&pool, "web")?;
    pool.release()?;
    bed.control.create(&view, &uuid)?;
    bed.engine.close_pool(&bed.pool)?;
    ensure!(bed.devices()?.is_empty(), "left: {:?}", bed.devices()?);
    Ok(())
}
