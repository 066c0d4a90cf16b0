//! The one metadata snapshot of a pool: shared by readers, left by the last, and by a killed one to the next.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use thinly_engine::metadata::CopyReport;
use thinly_engine::pool::{ExitClass, PoolError};
use thinly_tests::sh;

use crate::support::{Bed, active, assert_refused, fill, mib, name};

/// A pool with a filled volume and a snapshot of it.
fn filled() -> Result<Bed> {
    let bed = Bed::new(&[1 << 30])?;
    let pool = bed.attach()?;
    fill(&active(&pool, "web", mib(64))?, mib(0), mib(4), 0x5a)?;
    pool.snapshot(&name("web"), &name("web@1"))?;
    pool.release()?;
    Ok(bed)
}

fn copy(bed: &Bed, to: &Path, during: &mut dyn FnMut()) -> Result<CopyReport, PoolError> {
    let mut is_first = true;
    bed.engine.copy_metadata(&bed.pool, to, &mut |_, _| {
        if std::mem::take(&mut is_first) {
            during();
        }
    })
}

#[test]
fn readers_share_it_and_the_last_one_gives_it_back() -> Result<()> {
    let bed = filled()?;
    let directory = tempfile::tempdir_in("/scratch")?;
    let mut seen = Vec::new();
    copy(&bed, &directory.path().join("first"), &mut || {
        seen.push(bed.usage().unwrap().held_root);
        copy(&bed, &directory.path().join("second"), &mut || {
            seen.push(bed.usage().unwrap().held_root);
        })
        .unwrap();
        seen.push(bed.usage().unwrap().held_root);
    })?;
    assert_eq!(seen.len(), 3);
    assert!(seen[0].is_some() && seen.iter().all(|held| *held == seen[0]), "{seen:?}");
    assert_eq!(bed.usage()?.held_root, None);
    // The second reader saw the same moment as the first, whatever was written in between.
    sh(&format!("cd {}; thin_check first; cmp first second", directory.path().display()))?;
    Ok(())
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test runs the program that it tests")]
fn a_pool_is_read_while_another_process_holds_it() -> Result<()> {
    let bed = filled()?;
    let held = bed.attach()?;
    let file = format!("/scratch/{}.held", bed.pool);
    let done = Command::new("thinly").args(["pool", "copy-metadata", &bed.pool, &file]).output()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    sh(&format!("thin_check {file}; rm {file}"))?;
    assert_eq!(bed.usage()?.held_root, None);
    held.snapshot(&name("web"), &name("web@2"))?;
    held.release().map_err(Into::into)
}

#[test]
fn what_another_tool_holds_is_reported_and_left() -> Result<()> {
    let bed = filled()?;
    let directory = tempfile::tempdir()?;
    bed.message("reserve_metadata_snap")?;
    let held = bed.usage()?.held_root.context("nothing is held")?;
    let refused = copy(&bed, &directory.path().join("copy"), &mut || {});
    assert_eq!(refused.as_ref().unwrap_err().exit_class(), ExitClass::InUse);
    let (block, device) = (format!("block {held}"), bed.names.pool_device.to_string());
    assert_refused(refused, &[&block, "release_metadata_snap", &device]);
    assert_eq!(bed.usage()?.held_root, Some(held));
    Ok(())
}

/// Runs a command of the program that is killed before its `call`-th call of those; whether it was.
#[expect(clippy::disallowed_methods, reason = "the test kills the program that it tests")]
fn is_killed(arguments: &[&str], call: usize) -> Result<bool> {
    const CALLS: &str = "ioctl,flock,write,ftruncate";
    let inject = format!("inject={CALLS}:signal=KILL:when={call}");
    let done = Command::new("strace")
        .args(["-f", "-qqq", "-o", "/dev/null", "-e", &format!("trace={CALLS}"), "-e", &inject])
        .arg("thinly")
        .args(arguments)
        .output()?;
    let told = String::from_utf8_lossy(&done.stderr);
    let is_killed = done.status.code().is_none_or(|code| code == 137);
    ensure!(is_killed || done.status.success(), "call {call}: {}: {told}", done.status);
    Ok(is_killed)
}

#[test]
fn what_a_killed_reader_leaves_the_next_one_takes_back() -> Result<()> {
    let bed = filled()?;
    let directory = tempfile::tempdir_in("/scratch")?;
    let (mut kills, mut left) = (0, 0);
    for call in 1.. {
        let file = directory.path().join(format!("{call}"));
        let is_killed =
            is_killed(&["pool", "copy-metadata", &bed.pool, file.to_str().unwrap()], call)?;
        left += usize::from(bed.usage()?.held_root.is_some());
        copy(&bed, &directory.path().join(format!("{call}-next")), &mut || {})
            .with_context(|| format!("after a kill at call {call}"))?;
        ensure!(bed.usage()?.held_root.is_none(), "call {call}: the next reader left one");
        if !is_killed {
            break;
        }
        kills += 1;
        ensure!(kills < 500, "the command never ends");
    }
    println!("killed at {kills} calls; {left} times a metadata snapshot was left");
    assert!(left >= 3, "{left} of {kills} kills left a metadata snapshot");
    Ok(())
}
