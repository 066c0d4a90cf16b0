//! The short form of `make powercut`: every kind of operation once, some of the moments, a few opens.
#![forbid(unsafe_code)]

use anyhow::{Result, ensure};
use thinly_tests::power_cut::{
    DISK_BYTES, Effort, Plan, evacuate_and_cut, judge_all, open_some, record,
};
use thinly_tests::{Disks, gib};

#[test]
#[allow(clippy::print_stdout, reason = "the line that a proof ends with")]
fn what_was_acknowledged_survives_power_cuts() -> Result<()> {
    let disks = Disks::new(&[DISK_BYTES, gib(1)])?;
    let [disk, log] = disks.paths() else { anyhow::bail!("two disks") };
    record(&Plan { disk: disk.clone(), log: log.clone(), steps: 0, seed: 1 })?;
    let effort = Effort { moments: 100, parts: 1, checks: 3 };
    let report = judge_all(log, disks.dir(), effort)?.with(open_some(log, 5)?);
    println!("{report}");
    ensure!(report.is_good() && report.opened == 5 && report.replayed > 200, "{report}");
    Ok(())
}

#[test]
#[allow(clippy::print_stdout, reason = "the line that a proof ends with")]
fn an_evacuation_survives_power_cuts() -> Result<()> {
    let disks = Disks::new(&[DISK_BYTES, gib(1)])?;
    let [disk, log] = disks.paths() else { anyhow::bail!("two disks") };
    let opens = if std::env::var("THINLY_CRASH").is_ok_and(|size| size == "full") { 60 } else { 6 };
    let report = evacuate_and_cut(disk, log, opens)?;
    println!("{report}");
    ensure!(report.is_good() && report.opened == opens && report.acknowledged > 400, "{report}");
    Ok(())
}
