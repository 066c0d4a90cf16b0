//! What differs between snapshots of a pool that is written to, and what they cost: the same that `thin_delta` and
//! `thin_ls` say of the same moment.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use thinly_engine::dm::Dm;
use thinly_engine::metadata::DiffKind;
use thinly_engine::pool::{Engine, Pool};
use thinly_engine::units::ThinId;
use thinly_tests::{is_soak, sh};

use crate::support::{Bed, active, fill, judged_costs, mib, name, our_costs};

const BLOCK: u64 = 128 << 10;

/// How often the two are compared.
fn rounds() -> u32 {
    if is_soak() { 100 } else { 10 }
}

/// A range: its kind in the words of `thin_delta`, its first block and its length.
type Row = (String, u64, u64);

fn ours(engine: &Engine, pool: &str, [from, to]: [&str; 2]) -> Result<Vec<Row>> {
    let found = engine.diff(pool, Some(&name(from)), &name(to))?;
    ensure!(found.block_bytes.get() == BLOCK);
    let row = |range: thinly_engine::pool::ByteRange| {
        let kind = match range.kind {
            DiffKind::Added => "right_only",
            DiffKind::Changed => "different",
            DiffKind::Removed => "left_only",
        };
        (kind.to_owned(), range.offset.get() / BLOCK, range.length.get() / BLOCK)
    };
    found.ranges.map(|range| Ok(row(range?))).collect()
}

/// What `thin_delta` says of the metadata snapshot, its runs of one kind joined.
fn theirs(device: &str, [from, to]: [u32; 2]) -> Result<Vec<Row>> {
    let text = sh(&format!("thin_delta -m --thin1 {from} --thin2 {to} {device}"))?;
    let mut rows: Vec<Row> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(['<', ' ', '"', '/']).filter(|w| !w.is_empty()).collect();
        let [kind, "begin=", begin, "length=", length, ..] = words[..] else { continue };
        let (begin, length): (u64, u64) = (begin.parse()?, length.parse()?);
        match rows.last_mut() {
            _ if kind == "same" => {}
            Some((last, first, so_far)) if *last == kind && *first + *so_far == begin => {
                *so_far += length;
            }
            _ => rows.push((kind.to_owned(), begin, length)),
        }
    }
    Ok(rows)
}

/// Snapshots come and go until the end.
fn churn(pool: &Pool, is_over: &AtomicBool) -> Result<()> {
    for turn in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let snapshot = name(&format!("passing-{turn}"));
        pool.snapshot(&name("web"), &snapshot)?;
        pool.delete(&snapshot)?;
        pool.reap(&mut |_| {})?;
    }
    Ok(())
}

/// Compares what both programs say of the moment that is held.
fn compare_held(bed: &Bed, metadata: &str) -> Result<usize> {
    let volumes = bed.engine.volumes(&bed.pool)?;
    let id_of = |volume: &str| {
        let view = volumes.iter().find(|view| view.name == name(volume));
        view.and_then(|view| view.thin_id).map(ThinId::get).context("no thin id")
    };
    let mut rows = 0;
    for pair in [["old", "new"], ["new", "old"], ["old", "web"]] {
        let ids = [id_of(pair[0])?, id_of(pair[1])?];
        let (ours, theirs) = (ours(&bed.engine, &bed.pool, pair)?, theirs(metadata, ids)?);
        ensure!(ours == theirs, "{pair:?}: {ours:?} is not {theirs:?}");
        rows += ours.len();
    }
    let (ours, theirs) = (our_costs(bed, BLOCK)?, judged_costs(&format!("-m {metadata}"))?);
    ensure!(ours == theirs, "ours: {ours:?}\nthin_ls: {theirs:?}");
    Ok(rows)
}

fn compare(bed: &Bed, pool: &Pool, metadata: &str) -> Result<usize> {
    let file = format!("/scratch/{}.compare", bed.pool);
    let mut compared = None;
    // While a copy runs, its metadata snapshot stays: both programs look at the same moment.
    let copied = bed.engine.copy_metadata(&bed.pool, file.as_ref(), &mut |_, _| {
        compared.get_or_insert_with(|| compare_held(bed, metadata));
    });
    sh(&format!("rm -f {file}"))?;
    copied?;
    let rows = compared.context("no progress was told")??;
    pool.delete(&name("old"))?;
    pool.rename(&name("new"), &name("old"))?;
    pool.snapshot(&name("web"), &name("new"))?;
    Ok(rows)
}

#[test]
fn a_busy_pool_is_seen_as_thin_delta_and_thin_ls_see_it() -> Result<()> {
    let bed = Bed::new(&[4 << 30])?;
    let pool = bed.attach()?;
    let web = active(&pool, "web", mib(512))?;
    fill(&web, mib(0), mib(64), 1)?;
    pool.snapshot(&name("web"), &name("old"))?;
    fill(&web, mib(32), mib(64), 2)?;
    pool.snapshot(&name("web"), &name("new"))?;
    let metadata = bed.control.info(&bed.names.metadata)?.number.minor;
    let metadata = format!("/dev/dm-{metadata}");
    let is_over = AtomicBool::new(false);
    let rows = std::thread::scope(|scope| -> Result<usize> {
        let writer = scope.spawn(|| -> Result<()> {
            while !is_over.load(Ordering::Relaxed) {
                sh(&format!(
                    "fio --name=w --filename={} --rw=randtrimwrite --bs=64k --direct=1 --ioengine=psync \
                     --io_size=16m --randrepeat=0 --size=256m",
                    web.display()
                ))?;
            }
            Ok(())
        });
        let passing = scope.spawn(|| churn(&pool, &is_over));
        let rows = (0..rounds()).map(|_| compare(&bed, &pool, &metadata)).sum();
        is_over.store(true, Ordering::Relaxed);
        writer.join().unwrap()?;
        passing.join().unwrap()?;
        rows
    })?;
    ensure!(rows > 20, "{rows} ranges differed in all");
    ensure!(bed.usage()?.held_root.is_none(), "a metadata snapshot is left");
    pool.release().map_err(Into::into)
}

#[test]
fn a_reader_waits_for_older_ones_when_it_needs_what_is_newer() -> Result<()> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    let web = active(&pool, "web", mib(64))?;
    fill(&web, mib(0), mib(2), 1)?;
    pool.snapshot(&name("web"), &name("old"))?;
    let file = format!("/scratch/{}.older", bed.pool);
    std::thread::scope(|scope| -> Result<()> {
        let mut later = None;
        let (bed, pool, web) = (&bed, &pool, &web);
        bed.engine.copy_metadata(&bed.pool, file.as_ref(), &mut |_, _| {
            if later.is_some() {
                return;
            }
            fill(web, mib(1), mib(1), 2).unwrap();
            pool.snapshot(&name("web"), &name("new")).unwrap();
            let found = ours(&bed.engine, &bed.pool, ["old", "web"]).unwrap();
            assert_eq!(found, [], "what both readers share was reserved before the write");
            // This one cannot share: the snapshot is not in there. It must not see the older moment.
            later = Some(scope.spawn(|| ours(&bed.engine, &bed.pool, ["old", "new"])));
        })?;
        let found = later.context("no progress was told")?.join().unwrap()?;
        ensure!(found == [("different".to_owned(), 8, 8)], "{found:?}");
        Ok(())
    })?;
    sh(&format!("rm {file}"))?;
    pool.release().map_err(Into::into)
}
