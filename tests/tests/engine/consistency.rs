//! A snapshot of a filesystem that is being written: what was synced is there, what comes later is
//! not, and the filesystem is whole.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use thinly_engine::dm::Command;
use thinly_engine::pool::Engine;
use thinly_tests::sh;

use crate::faulty_dm::{Fault, FaultyDm};
use crate::support::{Bed, activate, activate_read_only, active, mib, name};

const BLOCK: usize = 4096;
const SLOTS: u64 = 256;
const ROUNDS: u32 = 2;

/// What a filesystem needs to be made, mounted and judged.
struct Kind {
    make: &'static str,
    mount: &'static str,
    mount_read_only: &'static str,
    check: &'static str,
}

const EXT4: Kind = Kind {
    make: "mkfs.ext4 -q -E nodiscard",
    mount: "mount",
    mount_read_only: "mount -o ro",
    check: "e2fsck -fn",
};

const XFS: Kind = Kind {
    // Below the size that its makers support, so that the check takes no minutes under emulation.
    make: "mkfs.xfs --unsupported -q -K",
    mount: "mount -o nouuid",
    // A frozen XFS has an empty log with a mark in it, which a device that refuses writes cannot lose.
    mount_read_only: "mount -o ro,norecovery,nouuid",
    check: "xfs_repair -n",
};

/// Numbers that go into a file, each durable before the next one.
#[derive(Default)]
struct Sequence {
    begun: AtomicU64,
    synced: AtomicU64,
    stop: AtomicBool,
}

impl Sequence {
    fn write(&self, path: &Path) -> Result<()> {
        let file = File::options().write(true).open(path)?;
        for number in 1_u64.. {
            self.begun.store(number, Ordering::SeqCst);
            file.write_all_at(&block_of(number), number % SLOTS * BLOCK as u64)?;
            file.sync_data()?;
            self.synced.store(number, Ordering::SeqCst);
            if self.stop.load(Ordering::SeqCst) {
                break;
            }
        }
        Ok(())
    }

    fn wait_for_more(&self) {
        let from = self.synced.load(Ordering::SeqCst);
        while self.synced.load(Ordering::SeqCst) < from + 4 && !self.stop.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn block_of(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(BLOCK / 8)
}

/// Every slot holds what was synced before the call, or something later that was begun before its
/// return; no slot holds a mixture.
fn judge(file: &Path, synced: u64, begun: u64) -> Result<()> {
    let bytes = std::fs::read(file)?;
    for slot in 0..SLOTS {
        let at = usize::try_from(slot)? * BLOCK;
        let block = &bytes[at..at + BLOCK];
        let found = u64::from_le_bytes(block[..8].try_into()?);
        ensure!(block == block_of(found), "slot {slot} is torn");
        let due = (0..=synced).rev().find(|number| number % SLOTS == slot).unwrap_or(0);
        ensure!(found == 0 || found % SLOTS == slot, "slot {slot} holds {found}");
        ensure!(found >= due, "slot {slot} holds {found}, {due} was synced before the call");
        ensure!(found <= begun, "slot {slot} holds {found}, only {begun} was begun by its return");
    }
    Ok(())
}

/// fio, which rewrites the blocks of a file at random until it is dropped. Each block carries its own checksum and place.
struct Load(Child);

impl Load {
    const BLOCKS: &str =
        "--name=load --bs=4k --size=4m --verify=crc32c --do_verify=0 --verify_state_save=0";

    #[expect(clippy::disallowed_methods, reason = "fio is the load that the test is about")]
    fn start(file: &Path) -> Result<Self> {
        let blocks = Self::BLOCKS;
        sh(&format!("fio {blocks} --filename={} --rw=write --end_fsync=1", file.display()))?;
        let mut fio = std::process::Command::new("fio");
        fio.args(blocks.split(' ')).arg(format!("--filename={}", file.display()));
        // A thread dies with its process; a process of fio's own would hold the file a moment longer.
        fio.args(["--thread", "--rw=randwrite", "--fsync=8", "--time_based", "--runtime=1h"]);
        Ok(Self(fio.stdout(Stdio::null()).spawn()?))
    }

    /// Still at work, or nothing was proven.
    fn assert_running(&mut self) -> Result<()> {
        let status = self.0.try_wait()?;
        ensure!(status.is_none(), "fio ended early: {status:?}");
        Ok(())
    }

    /// Every block is one that fio wrote there, whole.
    fn judge(file: &Path) -> Result<()> {
        sh(&format!(
            "fio --name=judge --readonly --bs=4k --rw=read --verify=crc32c --verify_header_seed=0 \
             --verify_write_sequence=0 --verify_state_load=0 --verify_fatal=1 --filename={}",
            file.display()
        ))?;
        Ok(())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Mounted(PathBuf);

impl Mounted {
    fn new(mount: &str, device: &Path, at: PathBuf) -> Result<Self> {
        sh(&format!("mkdir -p {0} && {mount} {1} {0}", at.display(), device.display()))?;
        Ok(Self(at))
    }

    fn file(&self) -> PathBuf {
        self.0.join("sequence")
    }

    fn load(&self) -> PathBuf {
        self.0.join("load")
    }

    fn unmount(self) -> Result<()> {
        sh(&format!("umount {0} && rmdir {0}", self.0.display()))?;
        Ok(())
    }
}

/// Changes one byte in the middle of a file.
fn spoil(file: &Path) -> Result<()> {
    let file = File::options().read(true).write(true).open(file)?;
    let mut byte = [0];
    let middle = file.metadata()?.len() / 2 + 2000;
    file.read_exact_at(&mut byte, middle)?;
    file.write_all_at(&[!byte[0]], middle)?;
    Ok(file.sync_all()?)
}

fn snapshots_while_writing(kind: &Kind) -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    let origin = active(&pool, "web", mib(64))?;
    sh(&format!("{} {}", kind.make, origin.display()))?;
    let place = |what: &str| PathBuf::from(format!("/run/{}-{what}", bed.pool));
    let mounted = Mounted::new(kind.mount, &origin, place("origin"))?;
    std::fs::write(mounted.file(), vec![0; BLOCK * usize::try_from(SLOTS)?])?;
    File::open(mounted.file())?.sync_all()?;
    let mut load = Load::start(&mounted.load())?;
    let sequence = Sequence::default();
    let mut marks = Vec::new();
    std::thread::scope(|scope| -> Result<()> {
        let path = mounted.file();
        let writer = scope.spawn(|| {
            let path = path;
            sequence.write(&path).inspect_err(|_| sequence.stop.store(true, Ordering::SeqCst))
        });
        for round in 0..ROUNDS {
            sequence.wait_for_more();
            let synced = sequence.synced.load(Ordering::SeqCst);
            let taken = pool.snapshot(&name("web"), &name(&format!("web@{round}")));
            let begun = sequence.begun.load(Ordering::SeqCst);
            if taken.is_err() {
                sequence.stop.store(true, Ordering::SeqCst);
            }
            taken?;
            marks.push((synced, begun));
        }
        sequence.wait_for_more();
        sequence.stop.store(true, Ordering::SeqCst);
        writer.join().unwrap()
    })?;
    load.assert_running()?;
    drop(load);
    mounted.unmount()?;
    for (round, (synced, begun)) in marks.into_iter().enumerate() {
        let (snapshot, copy) = (format!("web@{round}"), format!("copy{round}"));
        pool.clone_volume(&name(&snapshot), &name(&copy), None)?;
        let device = activate(&pool, &copy)?;
        let mounted = Mounted::new(kind.mount, &device, place("copy"))?;
        judge(&mounted.file(), synced, begun).with_context(|| format!("clone {round}"))?;
        Load::judge(&mounted.load())?;
        spoil(&mounted.load())?;
        ensure!(Load::judge(&mounted.load()).is_err(), "a block that fio never wrote passes");
        mounted.unmount()?;
        sh(&format!("{} {}", kind.check, device.display()))?;
        let device = activate_read_only(&pool, &snapshot)?;
        let mounted = Mounted::new(kind.mount_read_only, &device, place("snapshot"))?;
        judge(&mounted.file(), synced, begun).with_context(|| format!("snapshot {round}"))?;
        Load::judge(&mounted.load())?;
        mounted.unmount()?;
    }
    pool.release()?;
    bed.assert_ids_are_named()
}

#[test]
fn a_snapshot_of_a_busy_ext4_has_all_that_was_synced_and_is_whole() -> Result<()> {
    snapshots_while_writing(&EXT4)
}

#[test]
fn a_snapshot_of_a_busy_xfs_has_all_that_was_synced_and_is_whole() -> Result<()> {
    snapshots_while_writing(&XFS)
}

/// What a device has written in its life, in sectors: the seventh field of its statistics.
fn written_sectors(device: &Path) -> Result<u64> {
    let node =
        device.file_name().and_then(|name| name.to_str()).context("a node without a name")?;
    let text = std::fs::read_to_string(format!("/sys/class/block/{node}/stat"))?;
    Ok(text.split_whitespace().nth(6).context("statistics without writes")?.parse()?)
}

/// What is mounted is not listed for each snapshot; what was mounted since the last one must be
/// known all the same, or the freeze would have to write all that its filesystem has in memory.
#[test]
fn a_filesystem_mounted_since_the_last_snapshot_is_flushed_before_the_freeze() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let dm = Arc::new(FaultyDm::new()?);
    let pool = Engine::with_dm(Arc::<FaultyDm>::clone(&dm)).attach(&bed.pool)?;
    let origin = active(&pool, "web", mib(64))?;
    let user = File::open(&origin)?;
    pool.snapshot(&name("web"), &name("web@1"))?;
    drop(user);
    sh(&format!("{} {}", EXT4.make, origin.display()))?;
    let place = PathBuf::from(format!("/run/{}-late", bed.pool));
    let mounted = Mounted::new(EXT4.mount, &origin, place)?;
    std::fs::write(mounted.file(), vec![7; 8 << 20])?;
    let before = written_sectors(&origin)?;
    // There is no freeze: whatever was written, was written before it.
    dm.arm(Fault { command: Command::Suspend, skipped: 0, errno: Errno::EINVAL, is_done: false });
    let refused = pool.snapshot(&name("web"), &name("web@2"));
    ensure!(dm.disarm() && refused.is_err(), "nothing was suspended");
    let flushed = written_sectors(&origin)? - before;
    ensure!(flushed >= (8 << 20) / 512, "only {flushed} sectors were written before the freeze");
    mounted.unmount()
}
