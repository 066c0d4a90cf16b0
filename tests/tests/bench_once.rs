//! Every benchmark runs, on a real kernel, with a few rounds: it keeps working between two
//! measurements. Times are not looked at.

use std::path::Path;

use anyhow::{Context, Result};
use thinly_benches::groups::ALL;
use thinly_benches::results::Group;
use thinly_benches::stage::{Extent, Stage};
use thinly_tests::csi_rate::CSI;
use thinly_tests::{Disks, gib};

/// Runs one group, and looks whether it found figures and left its disks alone.
fn once(name: &str) -> Result<Group> {
    let entry =
        ALL.iter().chain([&CSI]).find(|entry| entry.name == name).context("no such group")?;
    let disks = Disks::new(&vec![gib(2); entry.disk_count])?;
    let stage = Stage { disks: disks.paths().to_vec(), extent: Extent::Once };
    let group = (entry.run)(&stage)?;
    assert_eq!(group.failures, [""; 0], "\n{group}");
    assert!(!group.goals.is_empty(), "\n{group}");
    assert!(group.goals.iter().all(|goal| goal.figure.is_finite()), "\n{group}");
    for table in &group.tables {
        assert!(table.rows.iter().all(|row| row.len() == table.columns.len()), "\n{group}");
    }
    for disk in disks.paths() {
        let name_of_disk = disk.file_name().unwrap_or_default();
        let sysfs = Path::new("/sys/class/block").join(name_of_disk);
        let holders = std::fs::read_dir(sysfs.join("holders"))?;
        assert_eq!(holders.count(), 0, "{name} takes everything off its disks");
        let discards = std::fs::read_to_string(sysfs.join("queue/discard_max_bytes"))?;
        assert_ne!(discards.trim(), "0", "{name} leaves {} without discards", disk.display());
    }
    Ok(group)
}

#[test]
fn costs_are_measured_and_none_grows() -> Result<()> {
    let group = once("costs")?;
    // What architecture and documentation promise of the two cheapest operations: one journal
    // write and no read of metadata, with few volumes and with many.
    let growth = &group.tables[1];
    for name in ["create", "delete"] {
        let row = growth.rows.iter().find(|row| row[0] == name).context("no such operation")?;
        assert_eq!([&row[2], &row[4], &row[7], &row[9]], ["1", "0", "1", "0"], "\n{group}");
    }
    Ok(())
}

#[test]
fn opening_is_measured() -> Result<()> {
    once("open").map(drop)
}

#[test]
fn a_large_catalogue_is_measured() -> Result<()> {
    once("catalogue").map(drop)
}

#[test]
fn the_driver_is_measured() -> Result<()> {
    once("csi").map(drop)
}

#[test]
fn snapshot_windows_are_measured() -> Result<()> {
    let group = once("snapshot")?;
    // Three kinds of origin and the group, of which all but the inactive one have a window.
    assert_eq!(group.tables[0].rows.len(), 7, "\n{group}");
    Ok(())
}

#[test]
fn provision_is_measured() -> Result<()> {
    let group = once("provision")?;
    let names: Vec<&str> = group.plots.iter().map(|plot| plot.file.as_str()).collect();
    assert_eq!(names, ["provision-create", "provision-activate"], "\n{group}");
    for plot in &group.plots {
        let points: Vec<usize> = plot.series.iter().map(|series| series.points.len()).collect();
        assert_eq!(points, [2, 2, 1, 1], "programs with one size, ioctls with both\n{group}");
    }
    Ok(())
}

#[test]
fn stall_of_writers_is_measured() -> Result<()> {
    let group = once("stall")?;
    // Three who take snapshots and nobody, each beside two kinds of writer.
    assert_eq!(group.tables[0].rows.len(), 8, "\n{group}");
    assert_eq!(group.plots[0].series.len(), 8, "\n{group}");
    Ok(())
}

#[test]
fn reap_of_a_large_volume_is_measured() -> Result<()> {
    let group = once("reap")?;
    assert_eq!(group.tables.len(), 3, "\n{group}");
    Ok(())
}
