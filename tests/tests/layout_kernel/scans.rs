//! Whose labels a scan believes.

use thinly_engine::layout::{FoundPool, LayoutError, Scan, scan_labels};
use uuid::Uuid;

use crate::bench::{Bench, label, run, word};

fn scan(bench: &Bench) -> Scan {
    scan_labels(&bench.system).unwrap()
}

fn pool(scan: &Scan, uuid: Uuid) -> Option<&FoundPool> {
    scan.pools.iter().find(|pool| pool.uuid == uuid)
}

#[test]
fn a_labelled_disk_is_found_open_and_closed() {
    let Some(mut bench) = Bench::new() else { return };
    let disk = bench.disk();
    let uuid = Uuid::new_v4();
    let labelled = label(&disk, uuid);
    let found = scan(&bench);
    let devices = &pool(&found, uuid).unwrap().devices;
    assert_eq!(devices.len(), 1);
    assert_eq!((&devices[0].path, &devices[0].label), (&disk, &labelled));
    assert_eq!(found.find(&labelled.pool_name).unwrap().map(|pool| pool.uuid), Some(uuid));
    // The pool's own devices on top of it change nothing, in either spelling of the uuid.
    bench.linear(&format!("THINLY-{uuid}-data"), &disk);
    bench.linear(&format!("THINLY-{}-meta", uuid.simple()), &disk);
    assert!(pool(&scan(&bench), uuid).is_some());
}

#[test]
fn a_label_inside_a_volume_is_never_believed() {
    let Some(mut bench) = Bench::new() else { return };
    let disk = bench.disk_with(256 << 20, 512);
    let [uuid, forged] = [Uuid::new_v4(), Uuid::new_v4()];
    label(&disk, uuid);
    let volume = bench.linear(&format!("THINLY-{uuid}-{}", Uuid::new_v4()), &disk);
    label(&volume, forged);
    let found = scan(&bench);
    assert!(pool(&found, uuid).is_some() && pool(&found, forged).is_none());
    // Nor through a layer above it, such as a tenant's volume group that the host activated.
    let above = bench.linear("LVM-tenant", &volume);
    label(&above, forged);
    let found = scan(&bench);
    assert!(pool(&found, uuid).is_some() && pool(&found, forged).is_none());
}

#[test]
fn a_label_under_somebody_elses_device_is_reported_and_not_believed() {
    let Some(mut bench) = Bench::new() else { return };
    let disk = bench.disk();
    let uuid = Uuid::new_v4();
    label(&disk, uuid);
    bench.linear("mpath-layout-test", &disk);
    let found = scan(&bench);
    assert!(pool(&found, uuid).is_none());
    assert!(found.distrusted.iter().any(|(path, _)| *path == disk), "{found:?}");
}

#[test]
fn a_label_under_another_pools_device_is_not_believed() {
    let Some(mut bench) = Bench::new() else { return };
    let disk = bench.disk();
    let uuid = Uuid::new_v4();
    label(&disk, uuid);
    bench.linear(&format!("THINLY-{}-data", Uuid::new_v4()), &disk);
    assert!(pool(&scan(&bench), uuid).is_none());
}

#[test]
fn a_copied_disk_is_refused_naming_both() {
    let Some(mut bench) = Bench::new() else { return };
    let disk = bench.disk();
    let uuid = Uuid::new_v4();
    label(&disk, uuid);
    let copy = bench.file("copy");
    run("dd", &[&format!("if={}", word(&disk)), &format!("of={}", word(&copy)), "bs=1M"]);
    let twin = bench.attach(&copy, 512);
    let found = scan(&bench);
    let refused = pool(&found, uuid).unwrap().require_sound().unwrap_err();
    let LayoutError::DuplicateLabel { first, second, .. } = refused else { panic!("{refused}") };
    let mut paths = [first, second];
    paths.sort();
    let mut expected = [disk, twin];
    expected.sort();
    assert_eq!(paths, expected);
}

#[test]
fn two_torn_copies_are_a_failure_that_names_the_device() {
    let Some(mut bench) = Bench::new() else { return };
    let disk = bench.disk();
    label(&disk, Uuid::new_v4());
    for block in ["1", "16383"] {
        let of = format!("of={}", word(&disk));
        let seek = format!("oseek={}", block.parse::<u64>().unwrap() * 4096 + 64);
        let options = ["if=/dev/zero", &of, "bs=8", "count=1", "oflag=seek_bytes", &seek];
        run("dd", &options);
    }
    let found = scan(&bench);
    let failure = found.failures.iter().find(|(path, _)| *path == disk);
    assert!(matches!(failure, Some((_, LayoutError::BothLabelsTorn { .. }))), "{found:?}");
}
