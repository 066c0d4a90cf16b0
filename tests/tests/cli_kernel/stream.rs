//! `thinly send` and `thinly receive`: snapshots that move from pool to pool, and streams that do not arrive whole.

use std::fs;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use thinly::exit::Exit;
use thinly_engine::catalogue::VolumeName;
use thinly_engine::dm::block::discard;
use thinly_engine::pool::{Engine, Pool, VolumeAccess};
use thinly_engine::units::Bytes;
use thinly_tests::{Disks, gib, mib, sh};

use crate::program::{TestPool, json, pool_name, refused, refused_in_json, thinly};

const KIB: u64 = 1 << 10;

fn name(text: &str) -> VolumeName {
    VolumeName::new(text).unwrap()
}

fn pool_of_blocks(block: &str, size_bytes: u64) -> TestPool {
    let disks = Disks::new(&[size_bytes]).unwrap();
    let name = pool_name("s");
    json(&["pool", "create", &name, disks[0].to_str().unwrap(), "--block-size", block]);
    TestPool { name, disks }
}

/// Works on a pool in this process: what a test only makes ready costs no program.
fn within<T>(pool: &TestPool, work: impl FnOnce(&Pool) -> T) -> T {
    let handle = Engine::new().unwrap().attach(&pool.name).unwrap();
    let done = work(&handle);
    handle.release().unwrap();
    done
}

/// What nobody would guess, the same each time.
fn noise(seed: u64, bytes: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..bytes / 8).flat_map(|_| word()).collect()
}

fn device(pool: &Pool, volume: &str, access: VolumeAccess) -> File {
    let view = pool.activate(&name(volume), access).unwrap();
    let writes = access == VolumeAccess::ReadWrite;
    OpenOptions::new().read(true).write(writes).open(view.device.unwrap()).unwrap()
}

fn change(pool: &Pool, volume: &str, work: impl FnOnce(&File)) {
    let file = device(pool, volume, VolumeAccess::ReadWrite);
    work(&file);
    file.sync_all().unwrap();
    drop(file);
    pool.deactivate(&name(volume)).unwrap();
}

/// Every byte of a volume or snapshot.
fn content(pool: &TestPool, volume: &str) -> Vec<u8> {
    within(pool, |pool| {
        let size = pool.volume(&name(volume)).unwrap().virtual_bytes.get();
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        let file = device(pool, volume, VolumeAccess::ReadOnly);
        file.read_exact_at(&mut bytes, 0).unwrap();
        drop(file);
        pool.deactivate(&name(volume)).unwrap();
        bytes
    })
}

/// Two pools whose blocks differ, a volume of 16 MiB in the first, and files for streams.
struct Pair {
    from: TestPool,
    to: TestPool,
    directory: tempfile::TempDir,
}

impl Pair {
    /// Takes these snapshots, each after some noise of so many KiB at so many.
    fn new(snapshots: &[(&str, u64, u64)]) -> Self {
        let pair = Self {
            from: pool_of_blocks("64K", gib(1)),
            to: pool_of_blocks("256K", gib(1)),
            directory: tempfile::tempdir_in("/scratch").unwrap(),
        };
        within(&pair.from, |pool| {
            pool.create_volume(&name("web"), Bytes::new(mib(16))).unwrap();
            for (seed, (snapshot, kib, at_kib)) in (1..).zip(snapshots) {
                change(pool, "web", |file| {
                    file.write_all_at(&noise(seed, kib * KIB), at_kib * KIB).unwrap();
                });
                pool.snapshot(&name("web"), &name(snapshot)).unwrap();
            }
        });
        pair
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
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
        let there = content(&self.to, &format!("web@{snapshot}"));
        assert!(content(&self.from, snapshot) == there, "{snapshot} is not the same");
    }

    fn names(&self) -> Vec<String> {
        let volumes = Engine::new().unwrap().volumes(&self.to.name).unwrap();
        volumes.iter().map(|volume| volume.name.to_string()).collect()
    }
}

/// A file's bytes, changed.
fn edited(file: &Path, name: &str, edit: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let mut bytes = fs::read(file).unwrap();
    edit(&mut bytes);
    let other = file.with_file_name(name);
    fs::write(&other, bytes).unwrap();
    other
}

/// Writes here and in part of a block; of what the turn before wrote, some blocks become zeros and
/// some go away, in ranges that begin and end inside of the receiver's blocks.
fn turn_over(file: &File, turn: u64) {
    let block = |turn: u64| (turn * 37 + 3) % 220;
    let at = |block: u64| block * 64 * KIB;
    file.write_all_at(&noise(turn + 1, 700 * KIB), at(block(turn))).unwrap();
    file.write_all_at(&noise(turn + 99, 4 * KIB), at(block(turn) + 15) + 12 * KIB).unwrap();
    if let Some(before) = turn.checked_sub(1).map(block) {
        file.write_all_at(&vec![0; 128 << 10], at(before + 1)).unwrap();
        file.sync_all().unwrap();
        discard(file, Bytes::new(at(before + 4)), Bytes::new(6 * 64 * KIB)).unwrap();
    }
}

#[test]
fn a_chain_of_ten_snapshots_arrives_as_a_chain() {
    let pair = Pair::new(&[]);
    within(&pair.from, |pool| {
        for turn in 0..10 {
            if turn == 5 {
                pool.resize(&name("web"), Bytes::new(mib(20) + 512)).unwrap();
            }
            change(pool, "web", |file| {
                turn_over(file, turn);
                if turn == 6 {
                    file.write_all_at(&noise(77, 512), mib(20)).unwrap();
                }
            });
            pool.snapshot(&name("web"), &name(&format!("s{turn}"))).unwrap();
        }
    });
    let mut older = None;
    for turn in 0..10 {
        let snapshot = format!("s{turn}");
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
        // What was changed and what lies beside it in its blocks, not all of it.
        assert!(sent["data_bytes"].as_u64().unwrap() < mib(2), "{sent}");
    }
    // All of them at the end: no later stream changed an earlier snapshot.
    (0..10).for_each(|turn| pair.assert_same(&format!("s{turn}")));
    let last = json(&["volume", "show", &pair.from.path("s9")]);
    let volume = json(&["volume", "show", &pair.to.path("web")]);
    assert_eq!((&volume["state"], &volume["received_uuid"]), (&"inactive".into(), &last["uuid"]));
    assert_eq!(last["state"], "inactive");
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
    let pair = Pair::new(&[("mon", 14 << 10, 1024)]);
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
    let pair = Pair::new(&[("mon", 512, 0), ("tue", 3000, 256), ("wed", 64, 0)]);
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
    assert!(token["durable_bytes"].as_u64().unwrap() > mib(1), "{token}");
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
    assert!(content(&pair.to, "wednesday") == content(&pair.from, "wed"));
}

#[test]
fn a_damaged_stream_leaves_no_snapshot() {
    let pair = Pair::new(&[("mon", 2048, 0), ("tue", 1024, 8192)]);
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
    assert!(content(&pair.to, "web") == content(&pair.from, "mon"));
    pair.receive(&tuesday, &[]);
    pair.assert_same("tue");
}

#[test]
fn what_cannot_be_sent_or_taken_is_refused_with_the_way_out() {
    let pair = Pair::new(&[("mon", 64, 0), ("tue", 64, 0), ("wed", 64, 128)]);
    within(&pair.from, |pool| {
        pool.create_volume(&name("db"), Bytes::new(mib(16))).unwrap();
        pool.snapshot(&name("db"), &name("db-mon")).unwrap();
    });
    let from = |name: &str| pair.from.path(name);
    let out = pair.file("out").display().to_string();
    let send = |arguments: &[&str], exit, words: &[&str]| {
        refused_in_json(&[&["send", "--out", &out][..], arguments].concat(), exit, words);
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
        refused_in_json(&["receive", &path, "--in", file.to_str().unwrap()], exit, words);
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
    within(&pair.to, |pool| {
        change(pool, "web", |file| file.write_all_at(&noise(9, 4096), mib(4)).unwrap());
    });
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
    let full = pool_of_blocks("64K", mib(64));
    let total = json(&["pool", "show", &full.name])["usage"]["total_data_bytes"].as_u64().unwrap();
    within(&full, |pool| {
        pool.create_volume(&name("all"), Bytes::new(total)).unwrap();
        change(pool, "all", |file| {
            let block = vec![1; 64 << 10];
            (0..total >> 16).for_each(|at| file.write_all_at(&block, at << 16).unwrap());
        });
        pool.snapshot(&name("all"), &name("copy")).unwrap();
    });
    let stream = Path::new("/scratch").join(&full.name);
    let stream = stream.to_str().unwrap();
    json(&["send", &full.path("copy"), "--out", stream, "--compress", "zstd"]);
    let receive = ["receive", &full.path("web"), "--in", stream];
    refused(&receive, Exit::NoSpace, &["is full", &full.name]);
    assert_eq!(json(&["volume", "list", &full.name]).as_array().unwrap().len(), 1);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the test runs the program that it tests")]
fn streams_go_through_pools_that_somebody_holds() {
    let pair = Pair::new(&[("mon", 3000, 100)]);
    let (from, to) = (pair.from.path("mon"), pair.to.path("web"));
    let socket = pair.file("thinly.sock");
    let mut resident: Child = Command::new("thinly")
        .args(["serve", &pair.from.name, &pair.to.name, "--admin-socket"])
        .arg(&socket)
        .spawn()
        .unwrap();
    let through = format!("--admin-socket {}", socket.display());
    while !socket.exists() {
        assert!(resident.try_wait().unwrap().is_none(), "the resident ended");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    sh(&format!("thinly send {from} {through} | thinly receive {to} {through}")).unwrap();
    // A reader that goes away is a failure of what was to be sent.
    let ended = sh(&format!("thinly send {from} {through} > /dev/full")).unwrap_err().to_string();
    assert!(ended.contains("cannot write the stream"), "{ended}");
    // What it refuses is told as if nobody held the pool.
    let (again, _) = pair.send("mon", &["--admin-socket", socket.to_str().unwrap()]);
    let receive = ["receive", &to, "--in", again.to_str().unwrap()];
    let told = [&receive[..], &["--admin-socket", socket.to_str().unwrap()]].concat();
    refused_in_json(&told, Exit::Exists, &["web"]);
    resident.kill().unwrap();
    resident.wait().unwrap();
    pair.assert_same("mon");
}

#[test]
fn a_pool_that_runs_full_in_the_middle_takes_the_rest_when_it_has_grown() {
    let pair = Pair::new(&[("mon", 13 << 10, 1024)]);
    let (file, whole) = pair.send("mon", &[]);
    // Room for eight of the thirteen MiB that come, and a disk to grow on.
    let disks = Disks::new(&[gib(1)]).unwrap();
    let to = TestPool { name: pool_name("small"), disks };
    let disk = to.disks[0].to_str().unwrap();
    let sizes = ["--block-size", "64K", "--data-size", "17M"];
    json(&[&["pool", "create", &to.name, disk, "--raw"][..], &sizes].concat());
    // Without this the kernel holds the write for a minute before it says no.
    json(&["pool", "set", &to.name, "--on-full", "error"]);
    within(&to, |pool| {
        pool.create_volume(&name("keep"), Bytes::new(mib(16))).unwrap();
        change(pool, "keep", |file| file.write_all_at(&noise(5, mib(9)), 0).unwrap());
    });
    let path = to.path("web");
    let receive = ["receive", &path, "--in", file.to_str().unwrap(), "--json"];
    let output = thinly(&receive);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(Exit::NoSpace.code().into()), "{told}");
    for word in ["no block left", &to.name, "pool grow", "keeps what came", "--token"] {
        assert!(told.contains(word), "no {word:?} in {told}");
    }
    let pair = Pair { to, ..pair };
    let to = &pair.to.name;
    assert_eq!(json(&["volume", "show", &path])["state"], "receiving");
    let token = json(&["receive", &path, "--token"]);
    let durable = token["durable_bytes"].as_u64().unwrap();
    assert!(durable > mib(1) && durable < mib(14), "{token}");
    let (rest, sent) = pair.send("mon", &["--resume", token["token"].as_str().unwrap()]);
    assert_eq!(sent["start_bytes"], durable);
    assert!(sent["data_bytes"].as_u64() < whole["data_bytes"].as_u64());
    // Nothing is there of the snapshot, and nothing goes on without room.
    assert_eq!(pair.names(), ["keep", "web"]);
    let resume = ["receive", &path, "--in", rest.to_str().unwrap(), "--resume"];
    refused_in_json(&resume, Exit::NoSpace, &["is full", to]);
    json(&["pool", "grow", to, "--by", "16M"]);
    pair.receive(&rest, &["--resume"]);
    pair.assert_same("mon");
    assert!(content(&pair.to, "keep")[..9 << 20] == noise(5, mib(9)));
    let view = json(&["pool", "show", to]);
    assert_eq!((view["health"].as_str(), view["clean"].as_bool()), (Some("rw"), Some(true)));
}
