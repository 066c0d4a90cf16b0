//! The partition table as other programs see it.
#![forbid(unsafe_code)]

use std::fs::File;
use std::process::Command;

use super::*;
use crate::block_device::Access;
use crate::layout::{SignatureKind, find_signatures};

const MIB: u64 = 1 << 20;

fn image(size: u64) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    File::create(&path).unwrap().set_len(size).unwrap();
    (dir, path)
}

fn partitioned(size: u64, name: &str, block: u64) -> (tempfile::TempDir, PathBuf, GptImage) {
    let (dir, path) = image(size);
    let device = BlockDevice::open_any(&path, Access::ReadWrite).unwrap();
    let image = write_gpt(&device, name, block).unwrap();
    (dir, path, image)
}

#[expect(clippy::disallowed_methods, reason = "other programs are the witnesses here")]
fn output(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool)
        .args(arguments)
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .output()
        .unwrap_or_else(|e| panic!("{tool}: {e}; install the package fdisk"));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{tool}: {text}");
    text
}

#[test]
fn sfdisk_finds_one_partition_of_our_type_and_no_fault() {
    for size in [64 * MIB, 64 * MIB + 512, 65 * MIB - 512, 3 << 40] {
        let (_dir, path, image) = partitioned(size, "fast", 512);
        let path = path.to_str().unwrap();
        let verdict = output("sfdisk", &["--verify", path]);
        assert!(verdict.contains("No errors detected"), "{size}: {verdict}");
        let dump = output("sfdisk", &["--dump", path]);
        let lines: Vec<&str> = dump.lines().filter(|line| line.contains("start=")).collect();
        let [line] = lines.as_slice() else { panic!("{dump}") };
        let type_guid = PARTITION_TYPE.to_string().to_uppercase();
        let length = image.partition_bytes.get() / 512;
        for part in [&type_guid, "name=\"thinly:fast\"", "start=        2048"] {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert!(line.replace(' ', "").contains(&format!("size={length},")), "{line}");
        let end = image.partition_offset.get() + image.partition_bytes.get();
        assert_eq!(end % MIB, 0);
        assert!(end <= size && size - end < 2 * MIB, "{size}: {end}");
    }
}

#[test]
fn blocks_of_4096_bytes_are_served() {
    let (_dir, path, _) = partitioned(64 * MIB, "fast", 4096);
    let text = output("fdisk", &["-b", "4096", "-l", path.to_str().unwrap()]);
    assert!(text.contains("Disklabel type: gpt"), "{text}");
    assert!(text.lines().any(|line| line.contains("disk1") && line.contains("256")), "{text}");
    assert!(!text.contains("corrupt"), "{text}");
}

#[test]
fn a_partitioned_disk_no_longer_looks_empty() {
    let (_dir, path, image) = partitioned(64 * MIB, "fast", 512);
    let device = BlockDevice::open_any(&path, Access::ReadOnly).unwrap();
    let found = find_signatures(&device).unwrap();
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.iter().all(|signature| signature.kind == SignatureKind::PartitionTable));
    assert_eq!(image.tail_offset, 64 * MIB - END_BYTES);
}

#[test]
fn leftovers_at_both_ends_are_overwritten() {
    let (_dir, path) = image(64 * MIB);
    std::fs::write(&path, vec![0xff; 64 << 20]).unwrap();
    let device = BlockDevice::open_any(&path, Access::ReadWrite).unwrap();
    write_gpt(&device, "fast", 512).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let end = usize::try_from(END_BYTES).unwrap();
    assert!(bytes[40 << 10..end].iter().all(|byte| *byte == 0));
    let tail = bytes.len() - end;
    assert!(bytes[tail..tail + (16 << 10)].iter().all(|byte| *byte == 0));
    assert!(bytes[end..tail].iter().all(|byte| *byte == 0xff), "only the ends are written");
}

#[test]
fn a_table_of_ours_alone_is_taken_off_again() {
    let (_dir, path, _) = partitioned(64 * MIB, "fast", 512);
    let device = BlockDevice::open_any(&path, Access::ReadWrite).unwrap();
    assert!(wipe_own_gpt(&device, 512).unwrap());
    assert_eq!(find_signatures(&device).unwrap(), []);
    assert!(std::fs::read(&path).unwrap().iter().all(|byte| *byte == 0));
    assert!(!wipe_own_gpt(&device, 512).unwrap(), "there is none any more");

    let (_dir, path, _) = partitioned(64 * MIB, "fast", 512);
    let at = path.to_str().unwrap();
    let device = BlockDevice::open_any(&path, Access::ReadWrite).unwrap();
    // From now on it is somebody else's.
    output("sfdisk", &["--part-type", at, "1", "L"]);
    let before = std::fs::read(&path).unwrap();
    assert!(!wipe_own_gpt(&device, 512).unwrap());
    assert_eq!(std::fs::read(&path).unwrap(), before, "a foreign table was written");
}

#[test]
fn long_names_are_cut_between_characters() {
    assert_eq!(partition_name("fast"), "thinly:fast");
    let long = partition_name(&"x".repeat(100));
    assert_eq!(long.encode_utf16().count(), 36);
    // 29 units are left, and each of these takes two.
    let wide = partition_name(&"\u{1f4be}".repeat(100));
    assert_eq!(wide.encode_utf16().count(), 35);
}

#[test]
fn a_disk_without_room_or_with_odd_blocks_is_refused_by_name() {
    let (_dir, path) = image(MIB);
    let device = BlockDevice::open_any(&path, Access::ReadWrite).unwrap();
    for block in [512, 1024] {
        let refused = write_gpt(&device, "fast", block).unwrap_err().to_string();
        let [start, end] = ["making a partition table for ", "use --raw to do without one"];
        assert!(refused.starts_with(start) && refused.ends_with(end), "{refused}");
    }
    assert!(std::fs::read(&path).unwrap().iter().all(|byte| *byte == 0), "nothing was written");
}
