//! `thinly send` and `thinly receive`: snapshots that move from pool to pool, and streams that do not arrive whole.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use thinly::exit::Exit;
use thinly_tests::{Disks, gib, sh};

use crate::program::{TestPool, json, pool_name, refused, refused_in_json, thinly};

fn pool_of_blocks(block: &str, size_bytes: u64) -> TestPool {
    let disks = Disks::new(&[size_bytes]).unwrap();
    let name = pool_name("s");
    json(&["pool", "create", &name, disks[0].to_str().unwrap(), "--block-size", block]);
    TestPool { name, disks }
}

/// Two pools whose blocks differ, a volume in the first, and files for streams.
struct Pair {
    from: TestPool,
    to: TestPool,
    directory: tempfile::TempDir,
}

impl Pair {
    fn new(size: &str) -> Self {
        let pair = Self {
            from: pool_of_blocks("64K", gib(1)),
            to: pool_of_blocks("256K", gib(1)),
            directory: tempfile::tempdir_in("/scratch").unwrap(),
        };
        pair.from.create_volume("web", size);
        pair
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs shell commands on the volume, whose device is `$d`, and takes a snapshot.
    fn change(&self, commands: &str, snapshot: &str) {
        change(&self.from, "web", commands);
        json(&["snapshot", "create", &self.from.path("web"), snapshot]);
    }

    fn send(&self, snapshot: &str, more: &[&str]) -> (PathBuf, Value) {
        let file = self.file(snapshot);
        let _ = fs::remove_file(&file);
        let path = self.from.path(snapshot);
        let arguments = ["send", &path, "--out", file.to_str().unwrap()];
        let told = json(&[&arguments[..], more].concat());
        (file, told)
    }

    fn receive(&self, file: &Path, more: &[&str]) -> Value {
        let path = self.to.path("web");
        json(&[&["receive", &path, "--in", file.to_str().unwrap()][..], more].concat())
    }

    fn assert_same(&self, snapshot: &str) {
        let there = digest(&self.to, &format!("web@{snapshot}"));
        assert_eq!(digest(&self.from, snapshot), there, "{snapshot}");
    }

    fn names(&self) -> Vec<String> {
        let list = json(&["volume", "list", &self.to.name, "--all"]);
        list.as_array()
            .unwrap()
            .iter()
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn change(pool: &TestPool, volume: &str, commands: &str) {
    let path = pool.path(volume);
    let active = json(&["volume", "activate", &path]);
    let device = active["device"].as_str().unwrap();
    sh(&format!("d={device}; {commands}")).unwrap();
    json(&["volume", "deactivate", &path]);
}

/// What every byte of a snapshot comes to.
fn digest(pool: &TestPool, snapshot: &str) -> String {
    let path = pool.path(snapshot);
    let active = json(&["volume", "activate", &path]);
    let sum = sh(&format!("sha256sum < {}", active["device"].as_str().unwrap())).unwrap();
    json(&["volume", "deactivate", &path]);
    sum
}

fn random(kib: u64, at_kib: u64) -> String {
    format!(
        "dd if=/dev/urandom of=$d bs=4k seek={} count={} oflag=direct status=none;",
        at_kib / 4,
        kib / 4
    )
}

/// A file's bytes, changed.
fn edited(file: &Path, name: &str, edit: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let mut bytes = fs::read(file).unwrap();
    edit(&mut bytes);
    let other = file.with_file_name(name);
    fs::write(&other, bytes).unwrap();
    other
}

#[test]
fn a_chain_of_ten_snapshots_arrives_as_a_chain() {
    let pair = Pair::new("32M");
    let mut older = None;
    for turn in 0..10_u64 {
        // What is written, overwritten with zeros, discarded, and written in part of a block.
        let at = |n: u64| (turn * 7919 + n * 104_729) % 480 * 64;
        let mut commands =
            [random(1024, at(1)), random(4, at(2) + 12), random(192, at(3))].concat();
        let zeros = format!(
            "dd if=/dev/zero of=$d bs=64k seek={} count=5 oflag=direct status=none;
             blkdiscard -o {} -l 327680 $d; sync",
            at(4) / 64,
            at(5) * 1024
        );
        commands.push_str(&zeros);
        if turn == 5 {
            json(&["volume", "resize", &pair.from.path("web"), "--size", "40M"]);
            commands = [commands, "; ".to_owned(), random(512, 36 << 10)].concat();
        }
        let snapshot = format!("s{turn}");
        pair.change(&commands, &snapshot);
        let base = older.replace(pair.from.path(&snapshot));
        let mut more = if turn % 2 == 0 { vec![] } else { vec!["--compress", "zstd"] };
        more.extend(base.iter().flat_map(|base| ["--from", base]));
        let (file, sent) = pair.send(&snapshot, &more);
        let received = pair.receive(&file, &[]);
        assert_eq!(received["snapshot"], format!("web@{snapshot}"));
        for key in ["source_uuid", "base_uuid", "stream_bytes", "data_bytes", "zero_bytes"] {
            assert_eq!(received[key], sent[key], "{key}");
        }
        assert_eq!(sent["stream_bytes"], fs::metadata(&file).unwrap().len());
        if base.is_some() {
            assert!(sent["data_bytes"].as_u64().unwrap() < 4 << 20, "{sent}");
        }
    }
    // All of them at the end: no later stream changed an earlier snapshot.
    (0..10).for_each(|turn| pair.assert_same(&format!("s{turn}")));
    let last = json(&["volume", "show", &pair.from.path("s9")])["uuid"].clone();
    let volume = json(&["volume", "show", &pair.to.path("web")]);
    assert_eq!((&volume["state"], &volume["received_uuid"]), (&"inactive".into(), &last));
    assert_eq!(json(&["volume", "show", &pair.from.path("s9")])["state"], "inactive");
    // What is zeros everywhere takes no room: the whole of the last one, sent anew.
    let (file, _) = pair.send("s9", &[]);
    json(&["receive", &pair.to.path("copy"), "--in", file.to_str().unwrap()]);
    assert_eq!(digest(&pair.to, "copy@s9"), digest(&pair.from, "s9"));
}

/// Feeds a receiver the first part of a stream, until it has noted some of it, and kills it.
#[allow(clippy::disallowed_methods, reason = "the test runs the program that it tests")]
fn killed_in_the_middle(pair: &Pair, file: &Path) -> Value {
    let path = pair.to.path("web");
    let bytes = fs::read(file).unwrap();
    let mut child =
        Command::new("thinly").args(["receive", &path]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&bytes[..bytes.len() / 2]).unwrap();
    // It waits for more: what it has noted by now is what a kill leaves.
    let token = loop {
        let output = thinly(&["receive", &path, "--token", "--json"]);
        if let Ok(value) = serde_json::from_slice::<Value>(&output.stdout)
            && value["durable_bytes"].as_u64().unwrap() > 0
        {
            break value;
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    drop(input);
    token
}

#[test]
fn a_receiver_that_was_killed_goes_on_where_it_was() {
    let pair = Pair::new("48M");
    pair.change(&random(40 << 10, 1024), "mon");
    let (file, whole) = pair.send("mon", &[]);
    let token = killed_in_the_middle(&pair, &file);
    let path = pair.to.path("web");
    // Nothing else may use what is half there.
    assert_eq!(json(&["volume", "show", &path])["state"], "receiving");
    let words = ["--resume", "--token", "thinly volume delete"];
    refused(&["volume", "activate", &path], Exit::InUse, &words);
    refused_in_json(&["snapshot", "create", &path, "half"], Exit::InUse, &words);
    refused_in_json(&["volume", "resize", &path, "--size", "1G"], Exit::InUse, &words);
    let copy = pair.to.path("copy");
    refused_in_json(&["volume", "create", &copy, "--from", &path], Exit::InUse, &words);
    let stream = file.to_str().unwrap();
    refused_in_json(&["receive", &path, "--in", stream], Exit::Exists, &["web"]);

    // It survives the pool's closing, and the rest is enough.
    let _ = thinly(&["volume", "deactivate", &path]);
    json(&["pool", "close", &pair.to.name]);
    json(&["pool", "open", &pair.to.name]);
    let text = token["token"].as_str().unwrap();
    assert_eq!(json(&["receive", &path, "--token"]), token);
    let (rest, sent) = pair.send("mon", &["--resume", text]);
    assert_eq!(sent["start_bytes"], token["durable_bytes"]);
    assert!(sent["data_bytes"].as_u64() < whole["data_bytes"].as_u64());
    refused_in_json(
        &["receive", &path, "--in", rest.to_str().unwrap()],
        Exit::Refused,
        &["begins at byte"],
    );
    pair.receive(&rest, &["--resume"]);
    pair.assert_same("mon");
    refused(&["receive", &path, "--token"], Exit::Refused, &["nothing is being received"]);
    refused_in_json(
        &["receive", &path, "--in", rest.to_str().unwrap(), "--resume"],
        Exit::Refused,
        &["nothing is being received"],
    );
}

#[test]
fn a_difference_that_broke_goes_on_and_a_wrong_token_does_not() {
    let pair = Pair::new("32M");
    pair.change(&random(8 << 10, 0), "mon");
    pair.change(&random(12 << 10, 4096), "tue");
    pair.change(&random(64, 0), "wed");
    let (monday, _) = pair.send("mon", &[]);
    pair.receive(&monday, &[]);
    let base = pair.from.path("mon");
    let (tuesday, _) = pair.send("tue", &["--from", &base]);
    let cut = edited(&tuesday, "cut", |bytes| bytes.truncate(bytes.len() * 2 / 3));
    let path = pair.to.path("web");
    refused_in_json(
        &["receive", &path, "--in", cut.to_str().unwrap()],
        Exit::Damaged,
        &["ends early"],
    );
    let token = json(&["receive", &path, "--token"]);
    assert!(token["durable_bytes"].as_u64().unwrap() > 8 << 20, "{token}");
    let text = token["token"].as_str().unwrap();
    let out = pair.file("out").display().to_string();
    let send = |snapshot: &str, token: &str, exit, words: &[&str]| {
        let path = pair.from.path(snapshot);
        refused(&["send", &path, "--resume", token, "--out", &out], exit, words);
    };
    send("wed", text, Exit::Refused, &["name the snapshot that was sent"]);
    send("tue", &text[..text.len() - 1], Exit::Usage, &["no token"]);
    // Another stream does not fit, whatever is said of it.
    let (other, _) = pair.send("wed", &["--from", &base]);
    refused_in_json(
        &["receive", &path, "--in", other.to_str().unwrap(), "--resume"],
        Exit::Refused,
        &["in the middle of another stream"],
    );
    let (rest, _) = pair.send("tue", &["--resume", text, "--compress", "zstd"]);
    pair.receive(&rest, &["--resume"]);
    pair.assert_same("tue");
    let (wednesday, _) = pair.send("wed", &["--from", &pair.from.path("tue")]);
    pair.receive(&wednesday, &["--snapshot", "wednesday"]);
    assert_eq!(pair.names(), ["web", "web@mon", "web@tue", "wednesday"]);
    assert_eq!(digest(&pair.to, "wednesday"), digest(&pair.from, "wed"));
}

#[test]
fn a_damaged_stream_leaves_no_snapshot() {
    let pair = Pair::new("32M");
    pair.change(&random(2048, 0), "mon");
    pair.change(&random(1024, 8192), "tue");
    let (monday, _) = pair.send("mon", &[]);
    let path = pair.to.path("web");
    let receive = |file: &Path| {
        refused_in_json(
            &["receive", &path, "--in", file.to_str().unwrap()],
            Exit::Damaged,
            &["the stream"],
        );
    };
    // What says nothing good of itself makes nothing at all.
    receive(&edited(&monday, "head", |bytes| bytes[40] ^= 1));
    assert_eq!(pair.names(), [""; 0]);
    receive(&edited(&monday, "body", |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    }));
    assert_eq!(pair.names(), ["web"]);
    assert_eq!(json(&["volume", "show", &path])["state"], "receiving");
    json(&["volume", "delete", &path]);
    pair.receive(&monday, &[]);

    // A difference is given up by going back to what arrived.
    let (tuesday, _) = pair.send("tue", &["--from", &pair.from.path("mon")]);
    receive(&edited(&tuesday, "end", |bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 0x80;
    }));
    assert_eq!(pair.names(), ["web", "web@mon"]);
    refused_in_json(&["volume", "activate", &path], Exit::InUse, &["rollback", "web@mon"]);
    json(&["snapshot", "rollback", &path, "--to", "web@mon"]);
    assert_eq!(digest(&pair.to, "web"), digest(&pair.from, "mon"));
    pair.receive(&tuesday, &[]);
    pair.assert_same("tue");
}

#[test]
fn what_cannot_be_sent_or_taken_is_refused_with_the_way_out() {
    let pair = Pair::new("32M");
    pair.change(&random(64, 0), "mon");
    pair.change(&random(64, 0), "tue");
    pair.change(&random(64, 128), "wed");
    pair.from.create_volume("db", "32M");
    json(&["snapshot", "create", &pair.from.path("db"), "db-mon"]);
    let from = |name: &str| pair.from.path(name);
    let out = pair.file("out").display().to_string();
    let send = |arguments: &[&str], exit, words: &[&str]| {
        refused(&[&["send", "--out", &out][..], arguments].concat(), exit, words);
    };
    send(&[&from("web")], Exit::Refused, &["is a volume", "thinly snapshot create"]);
    send(&[&from("no")], Exit::NotFound, &["no"]);
    send(&[&from("tue"), "--from", &from("db-mon")], Exit::Refused, &["another volume"]);
    send(&[&from("mon"), "--from", &from("tue")], Exit::Refused, &["newer"]);
    send(&[&from("mon"), "--from", &from("mon")], Exit::Refused, &["itself"]);
    send(&[&from("mon"), "--from", &pair.to.path("mon")], Exit::Usage, &["same pool"]);
    assert!(!Path::new(&out).exists());

    let path = pair.to.path("web");
    let receive = |file: &Path, exit, words: &[&str]| {
        refused(&["receive", &path, "--in", file.to_str().unwrap()], exit, words);
    };
    let (monday, _) = pair.send("mon", &[]);
    pair.receive(&monday, &[]);
    receive(&monday, Exit::Exists, &["web"]);
    let copy = ["receive", &pair.to.path("copy"), "--in", monday.to_str().unwrap()];
    let taken = [&copy[..], &["--snapshot", "web@mon"]].concat();
    refused_in_json(&taken, Exit::Exists, &["web@mon"]);
    let (wednesday, told) = pair.send("wed", &["--from", &from("tue")]);
    let held = json(&["volume", "show", &path])["received_uuid"].as_str().unwrap().to_owned();
    receive(&wednesday, Exit::Refused, &[told["base_uuid"].as_str().unwrap(), &held]);
    fs::write(&out, "no stream").unwrap();
    receive(Path::new(&out), Exit::Damaged, &["no stream of `thinly send`"]);

    // A volume that was written to is no longer what the difference is to.
    let (tuesday, _) = pair.send("tue", &["--from", &from("mon")]);
    json(&["volume", "activate", &path]);
    receive(&tuesday, Exit::InUse, &["web"]);
    json(&["volume", "deactivate", &path]);
    change(&pair.to, "web", &random(4, 4096));
    receive(&tuesday, Exit::Refused, &["was written to", "rollback"]);
    json(&["snapshot", "rollback", &path, "--to", "web@mon"]);
    pair.receive(&tuesday, &[]);
    pair.assert_same("tue");
    json(&["snapshot", "delete", &pair.to.path("web@tue")]);
    let (wednesday, _) = pair.send("wed", &["--from", &from("tue")]);
    receive(&wednesday, Exit::Refused, &["was deleted", "new name"]);
}

#[test]
fn a_full_pool_takes_no_stream() {
    let pair = Pair::new("32M");
    pair.change(&random(64, 0), "mon");
    let (monday, _) = pair.send("mon", &[]);
    let full = pool_of_blocks("64K", 256 << 20);
    full.create_volume("all", "1G");
    let total = json(&["pool", "show", &full.name])["usage"]["total_data_bytes"].as_u64().unwrap();
    change(
        &full,
        "all",
        &format!("dd if=/dev/zero of=$d bs=64k count={} oflag=direct status=none", total >> 16),
    );
    let receive = ["receive", &full.path("web"), "--in", monday.to_str().unwrap()];
    refused(&receive, Exit::NoSpace, &["is full", &full.name]);
    assert_eq!(json(&["volume", "list", &full.name]).as_array().unwrap().len(), 1);
}

#[test]
fn a_stream_goes_from_one_program_to_the_other() {
    let pair = Pair::new("32M");
    pair.change(&random(3000, 100), "mon");
    let (from, to) = (pair.from.path("mon"), pair.to.path("web"));
    sh(&format!("set -o pipefail; thinly send {from} --compress zstd | thinly receive {to}"))
        .unwrap();
    pair.assert_same("mon");
    // A reader that goes away is a failure of what was to be sent.
    let ended = sh(&format!("thinly send {from} > /dev/full")).unwrap_err().to_string();
    assert!(ended.contains("cannot write the stream"), "{ended}");
}
