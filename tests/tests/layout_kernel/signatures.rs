//! Signatures of tools that work on block devices only.

use std::path::Path;

use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::layout::find_signatures;

use crate::bench::{Bench, run, word};

fn names(path: &Path) -> Vec<&'static str> {
    let device = BlockDevice::open(path, Access::ReadOnly).unwrap();
    let found = find_signatures(&device).unwrap();
    found.into_iter().map(|signature| signature.name).collect()
}

#[test]
fn md_superblocks_of_every_version() {
    let Some(mut bench) = Bench::new() else { return };
    for version in ["0.90", "1.0", "1.1", "1.2"] {
        let disk = bench.disk();
        let metadata = format!("--metadata={version}");
        let device = "/dev/md/layout-test";
        let options = ["--create", device, "--run", "--force", "--level=1", "--raid-devices=1"];
        run("mdadm", &[&options[..], &[&metadata, word(&disk)]].concat());
        run("mdadm", &["--stop", device]);
        assert_eq!(names(&disk), [format!("md {version}")]);
    }
}

#[test]
fn physical_volumes() {
    let Some(mut bench) = Bench::new() else { return };
    let disk = bench.disk();
    // Of this disk alone: it would open what neighbours are about to remove.
    run("pvcreate", &["-q", "-y", "--devices", word(&disk), word(&disk)]);
    assert_eq!(names(&disk), ["LVM2 physical volume"]);
}

#[test]
fn snapshot_stores() {
    let Some(mut bench) = Bench::new() else { return };
    let [origin, store] = [bench.disk(), bench.disk()];
    let sectors = crate::bench::DISK / 512;
    let table = format!("0 {sectors} snapshot {} {} P 8", word(&origin), word(&store));
    let name = "layout-test-snapshot";
    let create = ["dmsetup", "create", "--noudevsync", name, "--table", &table];
    bench.run_with_undo(&create, &["dmsetup", "remove", "--retry", "--noudevsync", name]);
    bench.undo_last();
    assert_eq!(names(&store), ["dm-snapshot store"]);
}
