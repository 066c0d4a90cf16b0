//! `thinly top` on a terminal, beside a holder, and without a terminal.

use nix::sys::signal::Signal;
use serde_json::Value;
use thinly::exit::Exit;
use thinly_tests::sh;

use crate::program::{TestPool, json, refused, text};
use crate::resident::Resident;
use crate::watcher::Watcher;

const MIB: u64 = 1 << 20;
const WIDE: (u16, u16) = (140, 30);

/// Writes so many MiB to a volume, which stays active.
fn write(pool: &TestPool, volume: &str, mib: u64) {
    let active = json(&["volume", "activate", &pool.path(volume)]);
    let device = active["device"].as_str().unwrap();
    sh(&format!("dd if=/dev/urandom of={device} bs=1M count={mib} oflag=direct status=none"))
        .unwrap();
}

/// `web` maps 8 MiB, all of it shared with its snapshot `monday`; `db` has 3 MiB of its own.
fn pool_with_volumes() -> TestPool {
    let pool = TestPool::new();
    pool.create_volume("web", "64M");
    write(&pool, "web", 8);
    json(&["snapshot", "create", &pool.path("web"), "monday"]);
    pool.create_volume("db", "32M");
    write(&pool, "db", 3);
    pool
}

#[test]
fn a_screen_shows_a_pool_and_obeys_keys() {
    let pool = pool_with_volumes();
    let before = json(&["pool", "show", &pool.name]);
    let mut top = Watcher::start(&["top", &pool.name, "--interval", "200ms"], WIDE);
    top.wait_for(&[&pool.name, "exclusive as of", "no resident", "none so far"]);
    // What frees most is first; of the others none frees anything.
    let text = top.wait_for_rows(&["db", "monday", "web"]);
    let db = text.lines().find(|line| line.starts_with("db ")).unwrap();
    assert_eq!(db.matches("3.00 MiB").count(), 2, "mapped and exclusive: {db}");
    let row = text.lines().find(|line| line.starts_with(&pool.name)).unwrap();
    assert!(row.contains("rw") && row.contains(" %"), "{row}");

    top.press("m");
    top.wait_for(&["by mapped"]);
    top.wait_for_rows(&["monday", "web", "db"]);
    top.press("nr");
    top.wait_for(&["by name, reversed"]);
    top.wait_for_rows(&["web", "monday", "db"]);
    top.press("?");
    top.wait_for(&["HELP", "filter volumes by name"]);
    top.press("\x1b");
    top.wait("the tables", |screen| !screen.contents().contains("HELP"));
    top.press("/WE\r");
    top.wait("the filter", |screen| {
        let text = screen.contents();
        text.contains("/WE ") && text.contains("web") && !text.contains("monday")
    });
    top.press("\r");
    top.wait_for(&["VOLUME (Esc closes)", "Held by it alone: 0 B", "/dev/thinly/"]);
    top.press("q");
    top.wait_for(&["VOLUMES of"]);

    for (columns, rows) in [(40, 10), (80, 24)] {
        top.resize(columns, rows);
        top.wait("a screen of another size", |screen| {
            let text = screen.contents();
            let last = text.lines().nth(usize::from(rows) - 1).unwrap_or_default().to_owned();
            last.starts_with("q quit") && text.lines().any(|line| line.starts_with("web "))
        });
    }
    top.press("q");
    top.assert_left();
    let after = json(&["pool", "show", &pool.name]);
    for field in ["transaction_id", "snapshot_time", "tombstones", "held_root_block", "clean"] {
        assert_eq!(after[field], before[field], "{field}");
    }
}

#[test]
fn what_happens_to_a_pool_is_told_to_its_end() {
    let pool = TestPool::on(&[256 * MIB]);
    pool.create_volume("web", "1G");
    let mut top = Watcher::start(&["top", &pool.name, "--interval", "200ms"], WIDE);
    top.wait_for_rows(&[&pool.name, "web"]);
    top.wait_for(&["none so far"]);
    let usage = &json(&["pool", "show", &pool.name])["usage"];
    write(&pool, "web", usage["total_data_bytes"].as_u64().unwrap() / MIB * 9 / 10);
    top.wait_for(&["condition", "DataNearlyFull: "]);
    top.press("p");
    top.wait_for(&["PAUSED"]);
    top.press("p");
    json(&["volume", "delete", &pool.path("web")]);
    top.wait_for(&["recovered", "deleted "]);
    json(&["pool", "destroy", &pool.name, "--yes"]);
    top.wait_for(&["gone", "no pools"]);
    top.signal(Signal::SIGTERM);
    top.assert_left();
}

#[test]
fn a_holder_tells_what_it_did() {
    let pool = pool_with_volumes();
    refused(
        &["operations", &pool.name, "--admin-socket", "/nowhere.sock"],
        Exit::NotFound,
        &[&pool.name, "/nowhere.sock", "thinly serve"],
    );
    let mut resident = Resident::start(&pool.name, None);
    resident.wait_for("attached");
    let socket = resident.socket();
    let with = |arguments: &[&str]| json(&[arguments, &["--admin-socket", &socket]].concat());
    with(&["volume", "create", &pool.path("new"), "--size", "16M"]);
    let top = Watcher::start(&["top", &pool.name, "--admin-socket", &socket], WIDE);
    top.wait_for(&["OPERATIONS of process", "volume create", " ok"]);
    with(&["volume", "delete", &pool.path("db")]);
    resident.wait_for("reaped");
    top.wait_for(&["volume delete", "1 freed, 0 waiting"]);
    top.signal(Signal::SIGHUP);
    top.assert_left();

    let told = with(&["operations", &pool.name]);
    let words = |value: &Value| -> Vec<String> {
        let of = |one: &Value| one["operation"].as_str().unwrap().to_owned();
        value["operations"].as_array().unwrap().iter().map(of).collect()
    };
    assert_eq!(words(&told), ["reap", "volume delete", "volume create"]);
    assert_eq!(told["operations"][2]["subject"], "new");
    assert!(told["operations"][2]["duration_seconds"].as_f64().unwrap() > 0.0);
    let frame = with(&["top", &pool.name, "--once"]);
    let shown = &frame["pools"][0]["resident"];
    assert_eq!(shown["operations"], told["operations"], "{frame}");
    assert_eq!(shown["holder_pid"], told["holder_pid"], "{frame}");
    resident.stop(Signal::SIGTERM);
}

#[test]
fn without_a_terminal_it_prints_frames() {
    let pool = pool_with_volumes();
    let frame = text(&["top", &pool.name]);
    assert!(frame.contains("EXCLUSIVE") && frame.contains("no resident"), "{frame}");
    assert!(!frame.contains('\x1b'), "{frame}");
    let usage = json(&["usage", &pool.name]);
    let lines = text(&["top", &pool.name, "--json", "--count", "2", "--interval", "100ms"]);
    let documents: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(documents.len(), 2);
    for document in &documents {
        let volumes = document["pools"][0]["volumes"].as_array().unwrap();
        for (one, other) in volumes.iter().zip(usage["volumes"].as_array().unwrap()) {
            assert_eq!(one["name"], other["name"]);
            assert_eq!(one["exclusive_bytes"], other["exclusive_bytes"], "{one}");
        }
        assert_eq!((volumes.len(), &document["events"]), (3, &Value::Array(Vec::new())));
    }
    refused(&["top", "nowhere"], Exit::NotFound, &["nowhere"]);
    refused(&["top", "--interval", "2"], Exit::Usage, &["500ms"]);
    refused(&["top", "--count", "0"], Exit::Usage, &["0"]);
}
