//! Devices that leave a pool that is used: whatever was written is there, whatever cuts it off.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use thinly_engine::layout::Role;
use thinly_engine::pool::{EvacuateDevice, Evacuated, ExitClass, GrowPool, Pool, PoolError};
use thinly_engine::units::Bytes;
use thinly_tests::{Disks, mib as mib_bytes, sh};

use crate::growth::assert_agreement;
use crate::support::{Bed, activate, active, assert_refused, fill, gib, holds, mib};

/// Three disks, filled one after the other: the first two have a copy of the journal each.
fn three(data: Bytes) -> Result<Bed> {
    let sizes = [mib_bytes(160), mib_bytes(160), mib_bytes(160)];
    Bed::with(Disks::new(&sizes)?, |asked| asked.data_size = Some(data))
}

fn evacuate(pool: &Pool, device: &Path) -> Result<Evacuated, PoolError> {
    let request = EvacuateDevice { device: device.to_owned(), ..EvacuateDevice::default() };
    pool.evacuate(&request, &mut |_, _| {})
}

fn assert_blank(disk: &Path) -> Result<()> {
    let left = sh(&format!(
        "wipefs --noheadings {0}; ls /sys/block/$(basename {0})/holders",
        disk.display()
    ))?;
    ensure!(left.is_empty(), "{} keeps {left}", disk.display());
    Ok(())
}

/// Where the volume's writer was when it was told to stop: all before it is written.
fn write_while<T>(device: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<u64> {
            let mut rounds = 0;
            while !stop.load(Ordering::Relaxed) {
                for at in 0..8 {
                    fill(device, mib(32 + at * 4), mib(4), 0x22)?;
                }
                rounds += 1;
            }
            Ok(rounds)
        });
        let done = work();
        stop.store(true, Ordering::Relaxed);
        let rounds = writer.join().unwrap()?;
        ensure!(rounds > 0, "nothing was written meanwhile");
        done
    })
}

#[test]
fn one_of_three_disks_leaves_under_a_writer_whichever_it_is() -> Result<()> {
    for leaving in 0..3 {
        let bed = three(mib(240))?;
        let pool = bed.attach()?;
        let web = active(&pool, "web", gib(1))?;
        fill(&web, mib(0), mib(32), 0x11)?;
        fill(&web, mib(100), mib(100), 0x33)?;
        let disk = bed.disks[leaving].to_path_buf();
        let data = pool.catalogue().length_of(Role::Data);
        let left = write_while(&web, || Ok(evacuate(&pool, &disk)?))?;
        // Data fills one disk after the other, so there is none on the third.
        ensure!(left.wiped && (left.moved > mib(8)) == (leaving < 2), "{left:?}");
        ensure!(pool.catalogue().devices().len() == 2);
        ensure!(pool.catalogue().length_of(Role::Data) == data);
        assert_agreement(&bed, &pool)?;
        bed.assert_nothing_suspended()?;
        assert_blank(&disk)?;
        let copies = pool.catalogue().extent_map()?.segments(Role::Journal).len();
        ensure!(copies == 2, "{copies} copies of the journal");
        // The journal goes on where it is now.
        active(&pool, "later", mib(64))?;
        pool.release()?;
        bed.engine.close_pool(&bed.pool)?;
        let pool = bed.open()?;
        ensure!(pool.findings().is_empty(), "{:?}", pool.findings());
        ensure!(pool.view()?.problems.is_empty(), "{:?}", pool.view()?.problems);
        activate(&pool, "later")?;
        let web = activate(&pool, "web")?;
        for (offset, length, byte) in [(0, 32, 0x11), (32, 32, 0x22), (100, 100, 0x33)] {
            ensure!(holds(&web, mib(offset), mib(length), byte)?, "{byte:x} at {offset} MiB");
        }
        pool.release()?;
        bed.engine.destroy_pool(&bed.pool)?;
    }
    Ok(())
}

/// Writes at random blocks and reads all of them back, over and over: what fio finds must be what it wrote there last.
#[expect(clippy::disallowed_methods, reason = "fio is the witness")]
fn fio(device: &Path) -> Result<Child> {
    let line = "--name=w --rw=randwrite --bs=4k --size=8m --loops=2 --direct=1 --ioengine=libaio --iodepth=16 \
                --verify_backlog=64 --verify=crc32c --do_verify=1 --verify_fatal=1 --verify_dump=0";
    let mut fio = Command::new("fio");
    fio.args(line.split_whitespace()).arg(format!("--filename={}", device.display()));
    Ok(fio.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

#[test]
fn fio_finds_what_it_wrote_while_one_disk_after_the_other_leaves() -> Result<()> {
    let bed = three(mib(20))?;
    let pool = bed.attach()?;
    let web = active(&pool, "web", mib(8))?;
    // All of it has its place before it moves.
    fill(&web, mib(0), mib(8), 0x44)?;
    let mut fio = fio(&web)?;
    let mut moved = 0;
    for disk in bed.disks.paths().iter().cycle() {
        moved += evacuate(&pool, disk)?.moved.get();
        if fio.try_wait()?.is_some() {
            break;
        }
        let devices = vec![disk.clone()];
        let join = GrowPool {
            devices,
            by: Some(Bytes::ZERO),
            raw: true,
            force: true,
            ..GrowPool::default()
        };
        pool.grow(&join)?;
    }
    let done = fio.wait_with_output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(
        done.status.success(),
        "fio: {}\n{said}{}",
        done.status,
        String::from_utf8_lossy(&done.stdout)
    );
    ensure!(moved >= mib_bytes(20), "only {moved} bytes moved meanwhile");
    bed.assert_nothing_suspended()?;
    println!("{moved} bytes moved");
    pool.release()?;
    bed.engine.check(&bed.pool, &mut |_, _| {})?;
    bed.engine.destroy_pool(&bed.pool)?;
    Ok(())
}

#[test]
fn the_only_disk_gives_way_to_another_one() -> Result<()> {
    let bed = Bed::new(&[mib_bytes(128)])?;
    let mut others = Disks::new(&[])?;
    let new = others.add(mib_bytes(200), 512)?.to_owned();
    let pool = bed.attach()?;
    let web = active(&pool, "web", gib(1))?;
    fill(&web, mib(0), mib(48), 0x44)?;
    let device = bed.disks[0].to_path_buf();
    let request =
        EvacuateDevice { device: device.clone(), onto: vec![new], raw: true, force: false };
    let mut seen = Vec::new();
    let left = write_while(&web, || {
        Ok(pool.evacuate(&request, &mut |done, total| seen.push((done, total)))?)
    })?;
    ensure!(left.wiped, "{left:?}");
    ensure!(seen.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 == pair[1].1));
    let (done, total) = seen.last().context("no progress")?;
    ensure!(done == total && *done == left.moved.get(), "{done} of {total}");
    assert_agreement(&bed, &pool)?;
    assert_blank(&device)?;
    pool.release()?;
    bed.engine.close_pool(&bed.pool)?;
    let pool = bed.open()?;
    let web = activate(&pool, "web")?;
    ensure!(holds(&web, mib(0), mib(32), 0x44)? && holds(&web, mib(32), mib(32), 0x22)?);
    pool.release()?;
    bed.engine.destroy_pool(&bed.pool)?;
    Ok(())
}

#[test]
fn what_cannot_leave_is_refused_and_nothing_moves() -> Result<()> {
    let bed = three(mib(360))?;
    let stranger = Disks::new(&[mib_bytes(64)])?;
    let pool = bed.attach()?;
    let before = pool.catalogue().segments().to_vec();
    let full = evacuate(&pool, &bed.disks[1]);
    assert_eq!(full.as_ref().unwrap_err().exit_class(), ExitClass::NoSpace);
    assert_refused(full, &["have to leave", "are free", "--onto", "nothing was moved"]);
    assert_refused(evacuate(&pool, &stranger[0]), &["is no device of pool", "thinly pool show"]);
    assert_refused(evacuate(&pool, Path::new("/dev/none")), &["is no device of pool"]);
    assert_eq!(pool.catalogue().segments(), before);
    // A device that is emptied gets nothing new, also while it is there still; afterwards growth goes
    // on with the others.
    let mut more = Disks::new(&[])?;
    let fourth = more.add(mib_bytes(160), 512)?.to_owned();
    let request = EvacuateDevice {
        device: bed.disks[1].to_path_buf(),
        onto: vec![fourth],
        raw: true,
        force: false,
    };
    pool.evacuate(&request, &mut |_, _| {})?;
    let devices = vec![bed.disks[1].to_path_buf()];
    pool.grow(&GrowPool { devices, raw: true, ..GrowPool::default() })?;
    ensure!(pool.catalogue().devices().len() == 4);
    assert_agreement(&bed, &pool)?;
    pool.release()?;
    bed.engine.destroy_pool(&bed.pool)?;
    Ok(())
}

/// A disk below the pool of which a part cannot be read.
struct Holed {
    name: String,
}

impl Holed {
    fn over(disk: &Path, hole: Option<(u64, u64)>) -> Result<(Self, PathBuf)> {
        let name = format!("holed-{}", std::process::id());
        let own = Self { name };
        own.tables(disk, hole, "create")?;
        let node = sh(&format!("readlink -f /dev/mapper/{}", own.name))?;
        Ok((own, PathBuf::from(node.trim())))
    }

    fn tables(&self, disk: &Path, hole: Option<(u64, u64)>, verb: &str) -> Result<()> {
        let sectors: u64 = sh(&format!("blockdev --getsz {}", disk.display()))?.trim().parse()?;
        let disk = disk.display();
        let table = match hole {
            None => format!("0 {sectors} linear {disk} 0"),
            Some((start, length)) => {
                let end = start + length;
                format!(
                    "0 {start} linear {disk} 0\n{start} {length} error\n{end} {} linear {disk} {end}",
                    sectors - end
                )
            }
        };
        sh(&format!("printf '{table}\\n' | dmsetup {verb} {}", self.name))?;
        if verb == "load" {
            sh(&format!(
                "dmsetup suspend --noflush --nolockfs {0}; dmsetup resume {0}",
                self.name
            ))?;
        }
        Ok(())
    }
}

impl Drop for Holed {
    fn drop(&mut self) {
        let _ = sh(&format!("dmsetup remove --retry {}", self.name));
    }
}

#[test]
fn what_cannot_be_read_stays_and_the_rest_leaves() -> Result<()> {
    let under = Disks::new(&[mib_bytes(160)])?;
    let (holed, node) = Holed::over(&under[0], None)?;
    let mut disks = Disks::new(&[mib_bytes(160)])?;
    let bed = {
        let paths = vec![disks[0].to_path_buf(), node.clone()];
        Bed::with(Disks::new(&[])?, |asked| {
            asked.devices = paths;
            asked.data_size = Some(mib(200));
        })?
    };
    let third = disks.add(mib_bytes(200), 512)?.to_owned();
    let pool = bed.attach()?;
    let web = active(&pool, "web", mib(180))?;
    fill(&web, mib(0), mib(180), 0x55)?;
    // Two extents in the middle of the data that is on it.
    let map = pool.catalogue().extent_map()?;
    let on_it = pool.catalogue().devices()[1].uuid;
    let data =
        map.segments_on(on_it).into_iter().find(|on| on.role == Role::Data).context("data")?;
    let first = data.device_offset(map.extent_bytes()).context("offset")?.get() / 512 + 20 * 2048;
    holed.tables(&under[0], Some((first + 100, 8)), "load")?;
    let request =
        EvacuateDevice { device: node.clone(), onto: vec![third], raw: true, force: false };
    let refused = pool.evacuate(&request, &mut |_, _| {});
    assert_refused(refused, &["1048576 bytes stay on", "cannot be read", "all else was moved"]);
    let left = pool.catalogue().extent_map()?.segments_on(on_it);
    ensure!(left.len() == 1 && left[0].count.get() == 1, "{left:?}");
    bed.assert_nothing_suspended()?;
    assert_agreement(&bed, &pool)?;
    // The disk reads again: the rest follows.
    holed.tables(&under[0], None, "load")?;
    ensure!(evacuate(&pool, &node)?.moved == mib(1));
    ensure!(holds(&web, mib(0), mib(180), 0x55)?);
    pool.release()?;
    bed.engine.destroy_pool(&bed.pool)?;
    drop(holed);
    Ok(())
}
