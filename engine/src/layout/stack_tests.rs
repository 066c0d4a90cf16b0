//! Who is trusted: uuids by example, stacks in a tree with the shape of sysfs.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

const POOL: Uuid = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);

fn holder(dm_uuid: Option<&str>) -> Holder {
    let number = DeviceNumber { major: 253, minor: 0 };
    Holder { name: "dm-0".to_owned(), number, dm_uuid: dm_uuid.map(str::to_owned) }
}

#[test]
fn the_pool_is_read_from_our_uuids_only() {
    for uuid in [POOL.to_string(), POOL.simple().to_string()] {
        assert_eq!(pool_of(&format!("THINLY-{uuid}-data")), Some(POOL));
        assert_eq!(pool_of(&format!("THINLY-{uuid}")), Some(POOL));
        assert_eq!(pool_of(&format!("THINLY-{uuid}x")), None);
        assert_eq!(pool_of(&format!("LVM-{uuid}")), None);
        assert_eq!(pool_of(&format!("part1-THINLY-{uuid}")), None);
    }
    for bad in ["", "THINLY-", "THINLY-\u{e4}", "THINLY-12345678"] {
        assert_eq!(pool_of(bad), None, "{bad}");
    }
}

#[test]
fn a_label_is_believed_under_its_own_pool_only() {
    let ours = format!("THINLY-{POOL}-data");
    let others = format!("THINLY-{}-data", Uuid::from_u128(5));
    assert!(held_only_by(&[], POOL));
    assert!(held_only_by(&[holder(Some(&ours)), holder(Some(&ours))], POOL));
    for stranger in [Some(others.as_str()), Some("LVM-x"), None] {
        assert!(!held_only_by(&[holder(Some(&ours)), holder(stranger)], POOL), "{stranger:?}");
    }
}

/// A tree like `/sys`, with devices 8:0, 8:1 and so on.
struct Tree {
    dir: tempfile::TempDir,
    system: System,
}

impl Tree {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let system = System { sys: dir.path().to_owned(), ..System::default() };
        for part in ["dev/block", "class/block", "devices"] {
            fs::create_dir_all(dir.path().join(part)).unwrap();
        }
        Self { dir, system }
    }

    fn add(&self, name: &str, minor: u32, dm_uuid: Option<&str>, slaves: &[&str]) {
        let device = self.dir.path().join("devices").join(name);
        fs::create_dir_all(device.join("slaves")).unwrap();
        fs::create_dir_all(device.join("holders")).unwrap();
        fs::write(device.join("dev"), format!("8:{minor}\n")).unwrap();
        if let Some(uuid) = dm_uuid {
            fs::create_dir(device.join("dm")).unwrap();
            fs::write(device.join("dm/uuid"), format!("{uuid}\n")).unwrap();
        }
        for slave in slaves {
            symlink(self.dir.path().join("devices").join(slave), device.join("slaves").join(slave))
                .unwrap();
        }
        let leaf = device.file_name().unwrap();
        symlink(&device, self.dir.path().join("class/block").join(leaf)).unwrap();
        let number = format!("dev/block/8:{minor}");
        symlink(&device, self.dir.path().join(number)).unwrap();
    }

    fn is_on_ours(&self, name: &str) -> bool {
        is_on_our_volume(&self.system, &self.system.named_dir(name)).unwrap()
    }
}

#[test]
fn anything_on_our_volumes_is_not_trusted_through_any_layers() {
    let tree = Tree::new();
    let volume = format!("THINLY-{POOL}-volume");
    tree.add("sda", 0, None, &[]);
    tree.add("dm-0", 1, Some(&volume), &["sda"]);
    tree.add("dm-1", 2, Some("LVM-tenant"), &["dm-0"]);
    tree.add("md0", 3, None, &["dm-1"]);
    tree.add("dm-2", 4, Some("LVM-ours"), &["sda"]);
    tree.add("dm-3", 5, Some("mpath-360a"), &["sda"]);
    tree.add("dm-4", 6, Some(&format!("part1-{volume}")), &["dm-0"]);
    let distrusted: Vec<&str> = ["sda", "dm-0", "dm-1", "md0", "dm-2", "dm-3", "dm-4"]
        .into_iter()
        .filter(|name| tree.is_on_ours(name))
        .collect();
    assert_eq!(distrusted, ["dm-0", "dm-1", "md0", "dm-4"]);
}

#[test]
fn a_partition_is_as_trusted_as_its_disk() {
    let tree = Tree::new();
    tree.add("dm-0", 1, Some(&format!("THINLY-{POOL}-volume")), &[]);
    tree.add("md0", 2, None, &["dm-0"]);
    tree.add("md0/md0p1", 3, None, &[]);
    tree.add("sda", 4, None, &[]);
    tree.add("sda/sda1", 5, None, &[]);
    for (partition, trusted) in [("md0p1", false), ("sda1", true)] {
        fs::write(tree.system.named_dir(partition).join("partition"), "1\n").unwrap();
        assert_eq!(tree.is_on_ours(partition), !trusted, "{partition}");
    }
}

#[test]
fn a_loop_device_is_as_trusted_as_the_filesystem_of_its_file() {
    let tree = Tree::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    let under = DeviceNumber::from_rdev(file.as_file().metadata().unwrap().dev());
    tree.add("loop0", 7, None, &[]);
    let device = tree.system.named_dir("loop0");
    fs::create_dir(device.join("loop")).unwrap();
    fs::write(device.join("loop/backing_file"), file.path().to_str().unwrap()).unwrap();
    assert!(!tree.is_on_ours("loop0"), "a filesystem without a device of its own");
    tree.add("dm-0", 1, Some(&format!("THINLY-{POOL}-volume")), &[]);
    let number = tree.dir.path().join(format!("dev/block/{under}"));
    symlink(tree.system.named_dir("dm-0"), number).unwrap();
    assert!(tree.is_on_ours("loop0"));
}

#[test]
fn a_stack_without_an_end_is_not_trusted() {
    let tree = Tree::new();
    tree.add("dm-0", 1, Some("LVM-a"), &["dm-1"]);
    tree.add("dm-1", 2, Some("LVM-b"), &["dm-0"]);
    assert!(tree.is_on_ours("dm-0"));
}
