//! A device in use is refused by name of its user, and no option changes that.

use std::path::Path;

use thinly_engine::block_device::DeviceError;
use thinly_engine::layout::{LayoutError, check_usable, check_usable_all};
use uuid::Uuid;

use crate::bench::{Bench, label, run, word};

/// Refused with and without `force`; the last refusal is returned.
fn refused(bench: &Bench, path: &Path) -> LayoutError {
    let _ = check_usable(&bench.system, path, false).unwrap_err();
    check_usable(&bench.system, path, true).unwrap_err()
}

#[test]
fn a_mounted_disk_and_the_disk_of_a_mounted_partition() {
    let Some(mut bench) = Bench::new() else { return };
    let disk = bench.disk();
    let place = bench.file("mnt");
    std::fs::create_dir(&place).unwrap();
    run("mkfs.ext4", &["-q", word(&disk)]);
    bench.run_with_undo(&["mount", word(&disk), word(&place)], &["umount", word(&place)]);
    let error = refused(&bench, &disk);
    let LayoutError::Mounted { mount, .. } = &error else { panic!("{error}") };
    assert_eq!(*mount, place);
    bench.undo_last();
    let error = check_usable(&bench.system, &disk, false).unwrap_err().to_string();
    assert!(error.contains("carries ext4 at byte 1080"), "{error}");
    assert!(check_usable(&bench.system, &disk, true).is_ok(), "force overrides what is on it");
}

// Alone: a new mount namespace holds every mount there is, so the disk of a test beside this one
// would stay in use after it was unmounted.
#[test]
fn alone_a_disk_that_is_mounted_where_this_process_cannot_see_it() {
    let Some(mut bench) = Bench::new() else { return };
    let disk = bench.disk();
    run("mkfs.ext4", &["-q", word(&disk)]);
    let place = bench.file("mnt");
    std::fs::create_dir(&place).unwrap();
    let script = format!(
        "unshare --mount sh -c 'mount {} {} && exec sleep 600' >/dev/null 2>&1 & echo $!",
        word(&disk),
        word(&place)
    );
    let pid = run("sh", &["-c", &script]);
    bench.run_with_undo(&["true"], &["kill", pid.trim()]);
    // Mounting takes its time; a device that nobody has taken yet is still accepted.
    let mut last = Ok(());
    for _ in 0..500 {
        last = check_usable(&bench.system, &disk, true).map(|_| ());
        if last.is_err() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let error = last.unwrap_err();
    assert!(matches!(error, LayoutError::Device(DeviceError::Busy { .. })), "{error}");
    bench.undo_last();
    // The namespace goes with its last process; only then the disk is free for the clean-up.
    for _ in 0..500 {
        if check_usable(&bench.system, &disk, true).is_ok() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("the disk stayed in use");
}

#[test]
fn every_member_of_a_mounted_btrfs() {
    let Some(mut bench) = Bench::new() else { return };
    let [first, second] = [(); 2].map(|()| bench.disk_with(256 << 20, 512));
    run("mkfs.btrfs", &["-q", "-f", word(&first), word(&second)]);
    let place = bench.file("mnt");
    std::fs::create_dir(&place).unwrap();
    let both = format!("device={},device={}", word(&first), word(&second));
    let mount = ["mount", "-t", "btrfs", "-o", &both, word(&first), word(&place)];
    bench.run_with_undo(&mount, &["umount", word(&place)]);
    let errors = [refused(&bench, &first), refused(&bench, &second)];
    assert!(matches!(errors[0], LayoutError::Mounted { .. }), "{}", errors[0]);
    let busy = LayoutError::Device(DeviceError::Busy { path: second.clone() });
    assert_eq!(errors[1].to_string(), busy.to_string());
    bench.undo_last();
    run("btrfs", &["device", "scan", "--forget"]);
}

#[test]
fn swap_in_use() {
    let Some(mut bench) = Bench::new() else { return };
    let disk = bench.disk();
    run("mkswap", &[word(&disk)]);
    bench.run_with_undo(&["swapon", word(&disk)], &["swapoff", word(&disk)]);
    let error = refused(&bench, &disk);
    assert!(matches!(error, LayoutError::Swap { .. }), "{error}");
    bench.undo_last();
}

#[test]
fn a_disk_below_another_device_is_refused_by_the_name_of_that() {
    let Some(mut bench) = Bench::new() else { return };
    let disk = bench.disk();
    bench.linear("LAYOUT-TEST-holder", &disk);
    let error = refused(&bench, &disk);
    let LayoutError::Held { holder, .. } = &error else { panic!("{error}") };
    assert!(holder.starts_with("dm-") && holder.ends_with("(LAYOUT-TEST-holder)"), "{holder}");
}

#[test]
fn a_disk_of_another_pool_is_refused_by_the_name_of_that() {
    let Some(mut bench) = Bench::new() else { return };
    let disk = bench.disk();
    let labelled = label(&disk, Uuid::new_v4());
    let error = check_usable(&bench.system, &disk, false).unwrap_err();
    let LayoutError::OtherPool { pool, name, .. } = error else { panic!("{error}") };
    assert_eq!((pool, name), (labelled.pool_uuid, labelled.pool_name));
    assert!(check_usable(&bench.system, &disk, true).is_ok());
}

#[test]
fn a_read_only_disk_and_a_small_one() {
    let Some(mut bench) = Bench::new() else { return };
    let [disk, small] = [bench.disk(), bench.disk_with(8 << 20, 512)];
    // The flag outlives the loop device's file: the next disk would have it.
    let [on, off] = ["--setro", "--setrw"].map(|flag| ["blockdev", flag, word(&disk)]);
    bench.run_with_undo(&on, &off);
    let error = refused(&bench, &disk);
    assert!(matches!(error, LayoutError::ReadOnly { .. }), "{error}");
    let error = refused(&bench, &small);
    assert!(matches!(error, LayoutError::TooSmall { .. }), "{error}");
}

#[test]
fn a_disk_and_a_link_to_it_are_one_device() {
    let Some(mut bench) = Bench::new() else { return };
    let disk = bench.disk();
    let link = bench.file("by-id");
    std::os::unix::fs::symlink(&disk, &link).unwrap();
    let error = check_usable_all(&bench.system, &[disk, link], true).unwrap_err();
    assert!(matches!(error, LayoutError::SameDevice { .. }), "{error}");
}
