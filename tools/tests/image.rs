//! `thinly image` on files: images that `thin_restore` made, and what is none.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const XML: &str = "\
<superblock uuid=\"\" time=\"3\" transaction=\"9\" flags=\"0\" version=\"2\" data_block_size=\"256\" nr_data_blocks=\"1000\">
  <device dev_id=\"1\" mapped_blocks=\"5\" transaction=\"4\" creation_time=\"0\" snap_time=\"2\">
    <range_mapping origin_begin=\"0\" data_begin=\"10\" length=\"4\" time=\"1\"/>
    <single_mapping origin_block=\"9\" data_block=\"14\" time=\"2\"/>
  </device>
  <device dev_id=\"70\" mapped_blocks=\"1\" transaction=\"5\" creation_time=\"2\" snap_time=\"2\">
    <single_mapping origin_block=\"3\" data_block=\"13\" time=\"1\"/>
  </device>
</superblock>
";

#[allow(
    clippy::disallowed_methods,
    reason = "the test runs the program that it tests, and its judge"
)]
fn run(program: impl AsRef<std::ffi::OsStr>, arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Output {
    Command::new(program).args(arguments.iter().map(|a| (*a).as_ref())).output().unwrap()
}

fn thinly(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Output {
    run(env!("CARGO_BIN_EXE_thinly"), arguments)
}

fn tool(name: &str) -> PathBuf {
    let sbin = Path::new("/usr/sbin").join(name);
    if sbin.exists() { sbin } else { PathBuf::from(name) }
}

/// An image of the pool above.
fn image(directory: &TempDir) -> PathBuf {
    let (xml, image) = (directory.path().join("made.xml"), directory.path().join("image"));
    fs::write(&xml, XML).unwrap();
    restore(&xml, &image);
    image
}

fn restore(xml: &Path, image: &Path) {
    File::create(image).unwrap().set_len(4 << 20).unwrap();
    let output = run(tool("thin_restore"), &[&"-i", &xml, &"-o", &image]);
    assert!(output.status.success(), "{output:?}");
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A verb that fails: its exit code and message.
fn failure(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> (i32, String) {
    let output = thinly(arguments);
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn info_tells_what_the_superblock_holds() {
    let directory = tempfile::tempdir().unwrap();
    let image = image(&directory);
    let value = json(&thinly(&[&"image", &"info", &image, &"--json"]));
    let number = |name: &str| value.pointer(name).and_then(Value::as_u64).unwrap();
    for (name, expected) in [
        ("/version", 2),
        ("/transaction_id", 9),
        ("/snapshot_time", 3),
        ("/block_size_bytes", 128 << 10),
        ("/device_count", 2),
        ("/data_space_map/total_block_count", 1000),
        ("/data_space_map/used_block_count", 5),
        ("/data_space_map/free_block_count", 995),
        ("/metadata_space_map/total_block_count", 1024),
    ] {
        assert_eq!(number(name), expected, "{name}");
    }
    assert!(value["held_root_block"].is_null() && value["uuid"].is_null());
    assert_eq!(value["needs_check"], false);
    let page = String::from_utf8(thinly(&[&"image", &"info", &image]).stdout).unwrap();
    assert!(page.contains("5 of 1000 in use"), "{page}");
}

#[test]
fn ls_agrees_with_thin_ls() {
    let directory = tempfile::tempdir().unwrap();
    let image = image(&directory);
    let columns = "DEV,MAPPED_BLOCKS,TRANSACTION,CREATE_TIME,SNAP_TIME";
    let judge = run(tool("thin_ls"), &[&"--no-headers", &"-o", &columns, &image]);
    let judged: Vec<Vec<u64>> = String::from_utf8(judge.stdout)
        .unwrap()
        .lines()
        .map(|line| line.split_whitespace().map(|field| field.parse().unwrap()).collect())
        .collect();
    let value = json(&thinly(&[&"image", &"ls", &image, &"--json"]));
    let names =
        ["thin_id", "mapped_block_count", "transaction_id", "creation_time", "snapshotted_time"];
    let row = |row: &Value| names.map(|name| row[name].as_u64().unwrap()).to_vec();
    let ours: Vec<Vec<u64>> = value.as_array().unwrap().iter().map(row).collect();
    assert_eq!(ours, judged);
    assert_eq!(value[0]["mapped_bytes"], 5 * (128 << 10));
    let table = String::from_utf8(thinly(&[&"image", &"ls", &image]).stdout).unwrap();
    assert_eq!(table.lines().count(), 3, "{table}");
}

#[test]
fn a_dump_goes_round() {
    let directory = tempfile::tempdir().unwrap();
    let image = image(&directory);
    assert_eq!(String::from_utf8(thinly(&[&"image", &"dump", &image]).stdout).unwrap(), XML);
    let out = directory.path().join("dump.xml");
    let value = json(&thinly(&[&"image", &"dump", &image, &"--out", &out, &"--json"]));
    assert_eq!(fs::read_to_string(&out).unwrap(), XML);
    assert_eq!((&value["device_count"], &value["mapped_block_count"]), (&2.into(), &6.into()));
    assert_eq!(value["file_bytes"], XML.len());
    let again = directory.path().join("again");
    restore(&out, &again);
    assert_eq!(run(tool("thin_dump"), &[&again]).stdout, XML.as_bytes());

    let some = thinly(&[&"image", &"dump", &image, &"--dev-id", &"70"]).stdout;
    let some = String::from_utf8(some).unwrap();
    assert!(some.contains("dev_id=\"70\"") && !some.contains("dev_id=\"1\""), "{some}");
}

/// The checksum on a superblock: CRC-32C without its final complement, and a salt.
fn seal(block: &mut [u8]) {
    const SALT: u32 = 160_774;
    let mut crc = u32::MAX;
    for byte in &block[4..] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    block[..4].copy_from_slice(&(crc ^ SALT).to_le_bytes());
}

#[test]
fn the_held_root_is_dumped_on_request() {
    const HELD: u64 = 1000;
    let directory = tempfile::tempdir().unwrap();
    let image = image(&directory);
    let mut bytes = fs::read(&image).unwrap();
    // As the kernel reserves it: a copy without space maps; then the pool goes on.
    let mut held = bytes[..4096].to_vec();
    held[64..320].fill(0);
    held[8..16].copy_from_slice(&HELD.to_le_bytes());
    seal(&mut held);
    let place = usize::try_from(HELD).unwrap() * 4096;
    bytes[place..place + 4096].copy_from_slice(&held);
    bytes[56..64].copy_from_slice(&HELD.to_le_bytes());
    bytes[48..56].copy_from_slice(&10_u64.to_le_bytes());
    seal(&mut bytes[..4096]);
    fs::write(&image, bytes).unwrap();
    let dumped = |output: Output| String::from_utf8(output.stdout).unwrap();
    assert_eq!(dumped(thinly(&[&"image", &"dump", &"--held", &image])), XML);
    let live = XML.replace("transaction=\"9\"", "transaction=\"10\"");
    assert_eq!(dumped(thinly(&[&"image", &"dump", &image])), live);
    let value = json(&thinly(&[&"image", &"info", &image, &"--json"]));
    assert_eq!(value["held_root_block"], HELD);
}

#[test]
fn what_cannot_be_dumped_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let image = image(&directory);
    let out = directory.path().join("dump.xml");
    let (code, message) = failure(&[&"image", &"dump", &image, &"--dev-id", &"5", &"--out", &out]);
    assert_eq!(code, 3);
    assert!(message.contains("no thin device 5"), "{message}");
    let (code, message) = failure(&[&"image", &"dump", &image, &"--held", &"--out", &out]);
    assert_eq!(code, 3);
    assert!(message.contains("no metadata snapshot"), "{message}");
    assert!(!out.exists());
    fs::write(&out, "mine").unwrap();
    assert_eq!(failure(&[&"image", &"dump", &image, &"--out", &out]).0, 4);
    assert_eq!(fs::read(&out).unwrap(), b"mine");
    let (code, message) = failure(&[&"image", &"dump", &image, &"--json"]);
    assert_eq!(code, 2);
    assert!(message.contains("--out"), "{message}");
}

#[test]
fn a_reader_that_went_away_and_a_full_disk_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let image = image(&directory);
    let into = |stdout: std::process::Stdio| {
        #[allow(clippy::disallowed_methods, reason = "the test runs the program that it tests")]
        let mut command = Command::new(env!("CARGO_BIN_EXE_thinly"));
        command.args(["image", "dump"]).arg(&image).stdout(stdout).output().unwrap()
    };
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = into(writer.into());
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let output = into(File::options().write(true).open("/dev/full").unwrap().into());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard output"), "{output:?}");
}

#[test]
fn what_is_no_image_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let damaged = image(&directory);
    let mut superblock = File::options().write(true).open(&damaged).unwrap();
    superblock.seek(SeekFrom::Start(44)).unwrap();
    superblock.write_all(&[0xff]).unwrap();
    for (path, code, expected) in [
        (directory.path().join("missing"), 3, "missing"),
        (file("blank", &[0; 8192]), 8, "holds no pool"),
        (file("other", &[7; 8192]), 8, "not dm-thin metadata"),
        (file("short", &[7; 100]), 8, "0 metadata blocks"),
        (damaged, 8, "checksum"),
        (directory.path().to_owned(), 6, "neither a file nor a block device"),
    ] {
        for verb in ["info", "ls", "dump"] {
            let (found, message) = failure(&[&"image", &verb, &path]);
            assert_eq!(found, code, "{verb} {}: {message}", path.display());
            assert!(message.contains(expected), "{verb} {}: {message}", path.display());
        }
    }
}

#[test]
fn info_of_damaged_devices_still_tells_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let image = image(&directory);
    let value = json(&thinly(&[&"image", &"info", &image, &"--json"]));
    let root = value["device_details_root_block"].as_u64().unwrap();
    let mut file = File::options().write(true).open(&image).unwrap();
    file.seek(SeekFrom::Start(root * 4096 + 100)).unwrap();
    file.write_all(&[0xff]).unwrap();
    let output = thinly(&[&"image", &"info", &image, &"--json"]);
    let value = json(&output);
    assert!(value["device_count"].is_null());
    assert_eq!(value["transaction_id"], 9);
    assert!(String::from_utf8_lossy(&output.stderr).contains("damaged"), "{output:?}");
    assert_eq!(failure(&[&"image", &"ls", &image]).0, 8);
    assert_eq!(failure(&[&"image", &"dump", &image]).0, 8);
}

#[test]
fn ls_tells_what_each_holds_alone() {
    let directory = tempfile::tempdir().unwrap();
    let image = image(&directory);
    let value = json(&thinly(&[&"image", &"ls", &image, &"--exclusive", &"--json"]));
    let blocks = |row: usize, name: &str| value[row][name].as_u64().unwrap() / (128 << 10);
    // Both map data block 13.
    assert_eq!((blocks(0, "exclusive_bytes"), blocks(0, "shared_bytes")), (4, 1));
    assert_eq!((blocks(1, "exclusive_bytes"), blocks(1, "shared_bytes")), (0, 1));
    assert_eq!(value[0]["exclusive_metadata_bytes"], 4096);
}

#[test]
fn diff_tells_what_two_map_differently() {
    let directory = tempfile::tempdir().unwrap();
    let image = image(&directory);
    let diff = |options: &[&dyn AsRef<std::ffi::OsStr>]| {
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"image", &"diff", &image];
        arguments.extend(options);
        arguments.push(&"--json");
        let value = json(&thinly(&arguments));
        let ranges = value["ranges"].as_array().unwrap().clone();
        let range = |range: &Value| {
            let blocks = |name: &str| range[name].as_u64().unwrap() / (128 << 10);
            (blocks("offset"), blocks("length"), range["kind"].as_str().unwrap().to_owned())
        };
        ranges.iter().map(range).collect::<Vec<_>>()
    };
    let expected = |rows: &[(u64, u64, &str)]| {
        rows.iter().map(|row| (row.0, row.1, row.2.to_owned())).collect::<Vec<_>>()
    };
    let between = diff(&[&"--thin1", &"1", &"--thin2", &"70"]);
    assert_eq!(between, expected(&[(0, 3, "removed"), (9, 1, "removed")]));
    let all = diff(&[&"--thin2", &"1"]);
    assert_eq!(all, expected(&[(0, 4, "allocated"), (9, 1, "allocated")]));
    let (code, message) = failure(&[&"image", &"diff", &image, &"--thin2", &"5"]);
    assert!(code == 3 && message.contains("no thin device 5"), "{code}: {message}");
}

#[test]
fn check_answers_and_its_exit_code_sums_it_up() {
    let directory = tempfile::tempdir().unwrap();
    let image = image(&directory);
    let check = || {
        let output = thinly(&[&"image", &"check", &image, &"--json"]);
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), value)
    };
    let (code, value) = check();
    assert_eq!(code, 0, "{value}");
    assert_eq!((&value["device_count"], &value["mapped_data_block_count"]), (&2.into(), &5.into()));
    let by_pool = thinly(&[&"pool", &"check", &"--image", &image, &"--json"]);
    assert_eq!(json(&by_pool), value);
    // The tree of details: its block is in the superblock.
    let bytes = fs::read(&image).unwrap();
    let root = u64::from_le_bytes(bytes[328..336].try_into().unwrap());
    let mut file = File::options().write(true).open(&image).unwrap();
    file.seek(SeekFrom::Start(root * 4096 + 100)).unwrap();
    file.write_all(&[0xff]).unwrap();
    let (code, value) = check();
    assert_eq!((code, value["worst"].as_str()), (8, Some("error")), "{value}");
    assert_eq!(value["findings"][0]["kind"], "Damage");
    let page = String::from_utf8(thinly(&[&"image", &"check", &image]).stdout).unwrap();
    assert!(page.starts_with("error: metadata block"), "{page}");
}
