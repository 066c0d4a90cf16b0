//! Every benchmark runs, on a real kernel, with a few rounds: it keeps working between two
//! measurements. Times are not looked at.

use anyhow::Result;
use thinly_benches::{Plan, measure};
use thinly_tests::{Disks, csi_rate, gib};

#[test]
fn the_floor_benchmark_runs_and_no_operation_grows() -> Result<()> {
    let disks = Disks::new(&[gib(2), gib(2)])?;
    let report = measure(&Plan {
        disk: disks[0].to_owned(),
        floor_disk: disks[1].to_owned(),
        rounds: 2,
        volumes_few: 10,
        volumes_many: 30,
    })?;
    assert_eq!(report.grown(), [""; 0], "\n{report}");
    assert!(report.ratios.iter().all(|row| row.ratio.is_finite()), "\n{report}");
    // What architecture and documentation promise of the two cheapest operations.
    let cost = |name| {
        let operation = report.growth.operations.iter().find(|operation| operation.name == name);
        operation.map(|operation| (operation.many.journal_writes, operation.many.metadata_reads))
    };
    assert_eq!(cost("create"), Some((1, 0)), "\n{report}");
    assert_eq!(cost("delete"), Some((1, 0)), "\n{report}");
    for disk in disks.paths() {
        let holders = std::fs::read_dir(format!(
            "/sys/class/block/{}/holders",
            disk.file_name().unwrap_or_default().display()
        ))?;
        assert_eq!(holders.count(), 0, "both pools are taken off their disks");
    }
    Ok(())
}

#[test]
fn the_csi_benchmark_runs() -> Result<()> {
    let disks = Disks::new(&[gib(2), gib(2), gib(2)])?;
    let report = csi_rate::measure(&csi_rate::Plan {
        driver_disk: disks[0].to_owned(),
        engine_disk: disks[1].to_owned(),
        lvm_disk: Some(disks[2].to_owned()),
        rounds: 2,
        volumes: vec![2, 4],
    })?;
    assert!(report.single.iter().all(|single| single.ratio().is_finite()), "\n{report}");
    assert!(report.rates.share().is_finite(), "\n{report}");
    Ok(())
}
