//! `thinly serve`: one writer, told to stop by a signal, that makes changes for others.

use std::io::{BufRead, BufReader, Lines};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, ChildStderr, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use thinly::exit::Exit;
use thinly_engine::catalogue::VolumeName;
use thinly_engine::pool::Engine;

use crate::program::{TestPool, json, refused, text};

pub(crate) struct Resident {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    directory: TempDir,
}

impl Resident {
    #[allow(clippy::disallowed_methods, reason = "the test runs the program that it tests")]
    pub(crate) fn start(pool: &str, socket: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("thinly");
        command.args(["serve", pool, "--json"]).stderr(Stdio::piped());
        command.arg("--admin-socket").arg(directory.path().join("thinly.sock"));
        if let Some(socket) = socket {
            command.env("NOTIFY_SOCKET", socket);
        }
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, log, directory }
    }

    pub(crate) fn socket(&self) -> String {
        self.directory.path().join("thinly.sock").display().to_string()
    }

    /// Reads the log up to this event.
    pub(crate) fn wait_for(&mut self, event: &str) -> Value {
        for line in self.log.by_ref() {
            let value: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if value["event"] == event {
                return value;
            }
        }
        panic!("the log ended without {event}");
    }

    pub(crate) fn stop(mut self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
        self.wait_for("stopping");
        self.wait_for("released");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn it_holds_the_pool_and_lets_it_go() {
    let pool = TestPool::new();
    pool.create_volume("web", "1G");
    json(&["volume", "activate", &pool.path("web")]);
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut resident = Resident::start(&pool.name, None);
        resident.wait_for("attached");
        let process = resident.child.id();
        let arguments = ["volume", "create", &pool.path("db"), "--size", "1G"];
        let elsewhere = [&arguments[..], &["--admin-socket", "/nowhere.sock"]].concat();
        let words = [&pool.name, &process.to_string(), "/nowhere.sock"];
        refused(&elsewhere, Exit::InUse, &words);
        refused(&["serve", &pool.name], Exit::InUse, &[&pool.name]);
        assert_eq!(json(&["pool", "show", &pool.name])["writer_pid"], process);
        assert_eq!(json(&["volume", "list", &pool.name]).as_array().unwrap().len(), 1);
        resident.stop(signal);
        let view = json(&["pool", "show", &pool.name]);
        assert_eq!(view["clean"], true);
        assert!(view["writer_pid"].is_null());
        assert_eq!(json(&["volume", "show", &pool.path("web")])["state"], "active");
    }
}

#[test]
fn it_makes_changes_for_others() {
    let pool = TestPool::new();
    let mut resident = Resident::start(&pool.name, None);
    resident.wait_for("attached");
    let socket = resident.socket();
    let told = |arguments: &[&str]| json(&[arguments, &["--admin-socket", &socket]].concat());
    told(&["volume", "create", &pool.path("web"), "--size", "64MiB"]);
    let uuid = json(&["pool", "show", &pool.name])["uuid"].as_str().unwrap().to_owned();
    // By the pool's uuid as well, and an answer for people.
    let by_uuid = format!("{uuid}/web");
    let page = text(&["snapshot", "create", &by_uuid, "cut", "--admin-socket", &socket]);
    assert!(page.contains("cut"), "{page}");
    let missing = ["volume", "delete", &pool.path("db"), "--admin-socket", &socket];
    refused(&missing, Exit::NotFound, &["db"]);
    told(&["volume", "delete", &pool.path("web")]);
    // Freeing is the resident's own work.
    assert_eq!(resident.wait_for("reaped")["pool"], pool.name);
    resident.stop(Signal::SIGTERM);
    assert_eq!(json(&["pool", "show", &pool.name])["clean"], true);
    let names = json(&["volume", "list", &pool.name, "--all"]);
    assert_eq!(names.as_array().unwrap().len(), 1);
}

#[test]
fn it_opens_a_closed_pool_and_frees_what_waits() {
    let pool = TestPool::new();
    pool.create_filled("web", "monday");
    let engine = Engine::new().unwrap();
    let handle = engine.attach(&pool.name).unwrap();
    handle.delete(&VolumeName::new("web").unwrap()).unwrap();
    handle.release().unwrap();
    assert_eq!(json(&["pool", "show", &pool.name])["tombstones"].as_array().unwrap().len(), 1);
    json(&["pool", "close", &pool.name]);

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let mut resident = Resident::start(&pool.name, path.to_str());
    resident.wait_for("opened");
    let mut buffer = [0; 64];
    let length = manager.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"READY=1");
    let reaped = resident.wait_for("reaped");
    assert_eq!(reaped["pool"], pool.name);
    resident.stop(Signal::SIGTERM);
    let length = manager.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"STOPPING=1");
    let view = json(&["pool", "show", &pool.name]);
    assert_eq!(view["tombstones"], serde_json::json!([]));
    assert_eq!(view["usage"]["used_data_bytes"], 0);
}

#[test]
fn a_killed_one_leaves_a_pool_that_the_next_command_takes() {
    let pool = TestPool::new();
    pool.create_filled("web", "monday");
    let mut resident = Resident::start(&pool.name, None);
    resident.wait_for("attached");
    resident.child.kill().unwrap();
    resident.child.wait().unwrap();
    json(&["snapshot", "create", &pool.path("web"), "s"]);
    assert_eq!(pool.told("s"), "monday");
}

#[test]
fn it_grows_its_pool_for_others_and_by_itself() {
    let pool = TestPool::new();
    let disks = thinly_tests::Disks::new(&[128 << 20]).unwrap();
    pool.create_volume("web", "1G");
    let active = json(&["volume", "activate", &pool.path("web")]);
    let device = active["device"].as_str().unwrap();
    let mut resident = Resident::start(&pool.name, None);
    resident.wait_for("attached");
    let socket = resident.socket();
    let through = |arguments: &[&str]| json(&[arguments, &["--admin-socket", &socket]].concat());
    let before = json(&["pool", "show", &pool.name]);
    let disk = disks[0].to_str().unwrap();
    let joined = through(&["pool", "grow", &pool.name, disk, "--by", "0", "--raw"]);
    assert_eq!(joined["usage"]["total_data_bytes"], before["usage"]["total_data_bytes"]);
    assert!(joined["unused_bytes"].as_u64() > before["unused_bytes"].as_u64());
    through(&["pool", "set", &pool.name, "--auto-extend-at", "1", "--auto-extend-by", "64M"]);
    thinly_tests::sh(&format!("dd if=/dev/zero of={device} bs=1M count=64 oflag=direct")).unwrap();
    let told = resident.wait_for("extended");
    assert_eq!(told["pool"], pool.name.as_str());
    let after = json(&["pool", "show", &pool.name]);
    assert!(
        after["usage"]["total_data_bytes"].as_u64() > before["usage"]["total_data_bytes"].as_u64()
    );
    resident.stop(Signal::SIGTERM);
}
