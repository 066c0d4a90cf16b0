//! Pools that each release wrote: this one opens them, reads every byte of them, and works on.
//!
//! `tools/release/inside.sh` says what is in them. What the first release wrote is tested for ever; a later one may add
//! to the script, then what is expected here depends on the release.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use thinly_engine::catalogue::VolumeKind;
use thinly_engine::metadata::Severity;
use thinly_engine::plan::Health;
use thinly_engine::pool::{Engine, Pool, VolumeAccess};
use thinly_engine::units::DataBlocks;
use thinly_tests::{Disks, gib as bytes_of_gib, mib as bytes_of_mib};

use crate::support::{active, fill, holds, mib, name};

/// Name of the release, and its disks in order.
const RELEASES: [(&str, [&[u8]; 2]); 1] = [(
    "0.1.0",
    [include_bytes!("../../pools/0.1.0/disk0.gz"), include_bytes!("../../pools/0.1.0/disk1.gz")],
)];
const DISK_BYTES: u64 = 128 << 20;

/// Each with its size and the runs of MiB that hold one byte: first, count, byte.
type Expected = (&'static str, u64, &'static [(u64, u64, u8)]);

const VOLUMES: [Expected; 5] = [
    ("web", bytes_of_mib(64), &[(0, 2, b'W'), (2, 2, b'w'), (4, 60, 0)]),
    ("db", bytes_of_mib(64), &[(0, 8, 0), (8, 4, b'd'), (12, 52, 0)]),
    ("copied", bytes_of_mib(128), &[(0, 4, b'w'), (4, 60, 0), (64, 1, b'c'), (65, 63, 0)]),
    ("blank", bytes_of_gib(1), &[(0, 16, 0)]),
    ("came", bytes_of_mib(64), &[(0, 4, b'w'), (4, 60, 0)]),
];
const SNAPSHOTS: [Expected; 4] = [
    ("web-monday", bytes_of_mib(64), &[(0, 4, b'w'), (4, 60, 0)]),
    ("web-both", bytes_of_mib(64), &[(0, 2, b'W'), (2, 2, b'w'), (4, 60, 0)]),
    ("db-both", bytes_of_mib(64), &[(0, 8, 0), (8, 4, b'd'), (12, 52, 0)]),
    ("came@web-monday", bytes_of_mib(64), &[(0, 4, b'w'), (4, 60, 0)]),
];

#[expect(clippy::disallowed_methods, reason = "the tests carry no decompressor")]
fn unpack(packed: &[u8], disk: &Path) -> Result<()> {
    let mut gzip = Command::new("gzip")
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(fs::File::options().write(true).open(disk)?)
        .spawn()?;
    gzip.stdin.take().context("no pipe")?.write_all(packed)?;
    ensure!(gzip.wait()?.success(), "gzip failed");
    Ok(())
}

fn judge(pool: &Pool, release: &str) -> Result<()> {
    let mut listed: BTreeMap<String, _> =
        pool.volumes()?.into_iter().map(|view| (view.name.to_string(), view)).collect();
    for (is_snapshot, expected) in [(false, &VOLUMES[..]), (true, &SNAPSHOTS[..])] {
        for &(volume, size, runs) in expected {
            let view = listed.remove(volume).with_context(|| format!("{release}: no {volume}"))?;
            ensure!(view.virtual_bytes.get() == size, "{volume}: {view:?}");
            ensure!(matches!(view.kind, VolumeKind::Snapshot { .. }) == is_snapshot, "{view:?}");
            let device = pool.activate(&name(volume), VolumeAccess::ReadOnly)?.device;
            let device = device.context("no device")?;
            for &(first, count, byte) in runs {
                ensure!(holds(&device, mib(first), mib(count), byte)?, "{volume} at {first} MiB");
            }
            pool.deactivate(&name(volume))?;
        }
    }
    ensure!(listed.is_empty(), "{release}: nobody made {:?}", listed.keys());
    Ok(())
}

fn work_on(pool: &Pool) -> Result<()> {
    let policy = pool.view()?.policy.context("no policy")?;
    ensure!(policy.auto_extend.is_some() && policy.reserve > mib(0), "{policy:?}");
    pool.snapshot(&name("web"), &name("web-now"))?;
    fill(&active(pool, "new", mib(16))?, mib(0), mib(4), b'n')?;
    pool.rollback(&name("web"), &name("web-monday"))?;
    pool.delete(&name("web-both"))?;
    pool.delete(&name("db"))?;
    ensure!(pool.reap(&mut |_| {})?.waiting == 0);
    Ok(())
}

#[test]
fn alone_pools_of_every_release_are_opened_read_and_worked_with() -> Result<()> {
    for (release, packed) in RELEASES {
        let disks = Disks::new(&[DISK_BYTES; 2])?;
        for (packed, disk) in packed.iter().zip(disks.paths()) {
            unpack(packed, disk)?;
        }
        let engine = Engine::new()?;
        let pool = engine.open_pool("old", &[])?;
        ensure!(pool.findings().is_empty(), "{release}: {:?}", pool.findings());
        ensure!(pool.view()?.health == Some(Health::Writable), "{:?}", pool.view()?);
        judge(&pool, release)?;
        work_on(&pool)?;
        pool.release()?;
        engine.close_pool("old")?;
        let check = engine.check("old", &mut |_, _| {})?;
        ensure!(check.metadata.worst() <= Some(Severity::Note), "{check:?}");
        ensure!(check.metadata.leaked_data_blocks() == DataBlocks::ZERO, "{check:?}");
        ensure!(check.catalogue.is_empty(), "{check:?}");
        engine.destroy_pool("old")?;
    }
    Ok(())
}
