//! A volume of very many mappings in random order, deleted by the program as it is shipped: what it asks of the
//! kernel is counted by strace, so no counter of its own is believed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::Range;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use thinly_engine::metadata::generate::{InPool, Shape, generate};
use thinly_engine::units::{BlockSize, Bytes, ThinId};
use thinly_tests::{Disks, gib, sh};

use crate::support::{Bed, activate, name, without_discards};

const BLOCK_BYTES: u64 = 64 << 10;
/// What one discard may take away while the pool's lock is held: 16 MiB.
const STEP_BLOCKS_MAX: u64 = 256;

/// A million in the long run. The size is in the number of steps only.
fn mappings() -> u64 {
    if std::env::var("THINLY_CRASH").is_ok_and(|size| size == "full") { 1_000_000 } else { 40_000 }
}

/// What the program asked the kernel to take away, in the order asked.
#[derive(Debug, Default)]
struct Asked {
    /// In bytes of the volume.
    discards: Vec<Range<u64>>,
    /// The ids of `delete` messages, with how many discards came before each.
    deletes: Vec<(u32, usize)>,
}

impl Asked {
    /// Runs the program under strace.
    #[expect(clippy::disallowed_methods, reason = "the test runs the program that it tests")]
    fn by(arguments: &[&str]) -> Result<Self> {
        let trace = tempfile::NamedTempFile::new()?;
        let output = Command::new("strace")
            .args(["--seccomp-bpf", "-f", "-qqq", "-v", "-s", "64", "-e", "trace=ioctl", "-o"])
            .arg(trace.path())
            .arg("thinly")
            .args(arguments)
            .stdin(Stdio::null())
            .output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{arguments:?}: {told}");
        let mut asked = Self::default();
        for line in fs::read_to_string(trace.path())?.lines() {
            asked.read(line).with_context(|| line.to_owned())?;
        }
        Ok(asked)
    }

    fn read(&mut self, line: &str) -> Result<()> {
        if let Some((_, range)) = line.split_once("BLKDISCARD, [") {
            let numbers = range.split_once(']').context("no end")?.0;
            let (offset, length) = numbers.split_once(", ").context("no length")?;
            let (offset, length): (u64, u64) = (offset.parse()?, length.parse()?);
            self.discards.push(offset..offset + length);
        }
        if let Some((_, message)) = line.split_once("message=\"delete ") {
            let id = message.split_once('"').context("no end")?.0;
            self.deletes.push((id.parse()?, self.discards.len()));
        }
        Ok(())
    }

    /// How many blocks of `0..blocks` no discard took away before the id's `delete`.
    fn left_at_delete(&self, id: ThinId, blocks: u64) -> Result<u64> {
        let [(deleted, before)] = self.deletes[..] else {
            anyhow::bail!("deletes: {:?}", self.deletes);
        };
        ensure!(deleted == id.get(), "{deleted} was deleted, not {id}");
        let mut gone = BTreeMap::new();
        for discard in &self.discards[..before] {
            let range = discard.start / BLOCK_BYTES..discard.end / BLOCK_BYTES;
            ensure!(range.end <= blocks && gone.insert(range.start, range.end).is_none());
        }
        let mut reached = 0;
        let mut left = 0;
        for (start, end) in gone {
            ensure!(start >= reached, "block {start} was discarded twice");
            left += start - reached;
            reached = end;
        }
        Ok(left + blocks - reached)
    }
}

/// A pool whose one volume maps so many blocks, each to a data block at random: the metadata is generated, as a kernel
/// would leave it. Its disk takes no discards: of blocks in random order each would be one of its own.
fn bed_of(mappings: u64) -> Result<(Bed, ThinId)> {
    let disks = Disks::new(&[mappings * BLOCK_BYTES / 10 * 12 + gib(1)])?;
    let node = without_discards(&disks[0])?;
    let block_size = BlockSize::new(Bytes::new(BLOCK_BYTES).to_sectors_exact()?)?;
    let bed = Bed::with(disks, |asked| {
        asked.devices = vec![node];
        asked.block_size = block_size;
    })?;
    let pool = bed.attach()?;
    pool.create_volume(&name("large"), Bytes::new(mappings * BLOCK_BYTES))?;
    activate(&pool, "large")?;
    pool.deactivate(&name("large"))?;
    let first_id = pool.volume(&name("large"))?.thin_id.context("no thin id")?;
    let transaction_id = pool.view()?.transaction_id.context("no transaction id")?;
    pool.release()?;
    bed.engine.close_pool(&bed.pool)?;
    let pool = Some(InPool { first_id, transaction_id, block_size });
    let shape = Shape { pool, run_blocks_max: 1, ..Shape::one_volume(mappings) };
    let image = bed.disks.dir().join("metadata");
    generate(&shape, &File::create_new(&image)?)?;
    bed.engine.restore_metadata(&bed.pool, &image, false, &mut |_, _| {})?;
    bed.open()?.release()?;
    Ok((bed, first_id))
}

#[test]
fn a_volume_of_very_many_mappings_goes_in_small_steps_and_its_snapshot_without_any() -> Result<()> {
    let mappings = mappings();
    let (bed, large) = bed_of(mappings)?;
    ensure!(bed.usage()?.used_data_blocks.get() == mappings, "{:?}", bed.usage()?);
    let pool = bed.attach()?;
    let snapshot =
        pool.snapshot(&name("large"), &name("large@1"))?.thin_id.context("no thin id")?;
    pool.release()?;

    let path = |volume: &str| format!("{}/{volume}", bed.pool);
    let asked = Asked::by(&["snapshot", "delete", &path("large@1")])?;
    ensure!(asked.discards.is_empty(), "{} discards", asked.discards.len());
    ensure!(asked.deletes == [(snapshot.get(), 0)], "deletes: {:?}", asked.deletes);
    ensure!(bed.usage()?.used_data_blocks.get() == mappings, "a shared block is gone");

    let asked = Asked::by(&["volume", "delete", &path("large")])?;
    let longest = asked.discards.iter().map(|range| range.end - range.start).max();
    let longest = longest.context("no discard")?;
    ensure!(longest <= STEP_BLOCKS_MAX * BLOCK_BYTES, "a discard of {longest} bytes");
    let left = asked.left_at_delete(large, mappings)?;
    ensure!(left <= STEP_BLOCKS_MAX, "{left} mappings were left to one message");
    ensure!(bed.usage()?.used_data_blocks.get() == 0, "{:?}", bed.usage()?);
    bed.assert_ids_are_named()?;
    bed.engine.close_pool(&bed.pool)?;
    let file = bed.disks.dir().join("after");
    bed.engine.copy_metadata(&bed.pool, &file, &mut |_, _| {})?;
    sh(&format!("thin_check {}", file.display()))?;
    println!(
        "proof reaping: mappings={mappings} discards={} lost=0 leaked=0 suspended=0",
        asked.discards.len()
    );
    Ok(())
}
