//! The verbs of volumes and snapshots, doing what they say.

use std::fs;
use std::path::Path;

use thinly_tests::{gib, sh};

use crate::program::{Mount, TestPool, json, text};

#[test]
fn a_volume_from_its_creation_to_its_end() {
    let pool = TestPool::new();
    let web = pool.path("web");
    let created = pool.create_volume("web", "1.5G");
    assert_eq!(created["name"], "web");
    assert_eq!(created["state"], "pending");
    assert_eq!(created["virtual_bytes"], 3_u64 << 29);
    assert!(created["thin_id"].is_null() && created["device"].is_null());

    let active = json(&["volume", "activate", &web]);
    assert_eq!(active["state"], "active");
    assert_eq!(active["read_only"], false);
    assert_eq!(active["link"], format!("/dev/thinly/{web}"));
    assert_eq!(active["uuid"], created["uuid"]);
    let link = Path::new(active["link"].as_str().unwrap());
    let node = fs::canonicalize(link).unwrap();
    assert_eq!(active["device"], node.to_str().unwrap());
    let size = sh(&format!("blockdev --getsize64 {}", node.display())).unwrap();
    assert_eq!(size, (3_u64 << 29).to_string());

    let grown = json(&["volume", "resize", &web, "--size", "2G"]);
    assert_eq!(grown["virtual_bytes"], gib(2));
    let size = sh(&format!("blockdev --getsize64 {}", node.display())).unwrap();
    assert_eq!(size, gib(2).to_string());

    let renamed = json(&["volume", "rename", &web, "shop"]);
    assert_eq!((&renamed["name"], &renamed["uuid"]), (&"shop".into(), &created["uuid"]));
    assert!(!link.exists() && Path::new(&format!("/dev/thinly/{}", pool.path("shop"))).exists());

    let inactive = json(&["volume", "deactivate", &pool.path("shop")]);
    assert_eq!(inactive["state"], "inactive");
    assert!(inactive["device"].is_null() && !node.exists());
    assert_eq!(json(&["volume", "show", &pool.path("shop")])["state"], "inactive");

    let deleted = json(&["volume", "delete", &pool.path("shop")]);
    assert_eq!((&deleted["name"], &deleted["state"]), (&"shop".into(), &"deleted".into()));
    assert_eq!(json(&["volume", "list", &pool.name]), serde_json::json!([]));
    let view = json(&["pool", "show", &pool.name]);
    assert_eq!(view["tombstones"], serde_json::json!([]));
    assert_eq!(view["clean"], true);
}

#[test]
fn sizes_are_rounded_up_to_a_page() {
    let pool = TestPool::new();
    assert_eq!(pool.create_volume("odd", "1000001")["virtual_bytes"], 1_003_520);
    assert_eq!(pool.create_volume("decimal", "1GB")["virtual_bytes"], 1_000_001_536);
}

#[test]
fn a_snapshot_keeps_what_was_and_a_rollback_brings_it_back() {
    let pool = TestPool::new();
    pool.create_filled("web", "monday");
    let snapshot = json(&["snapshot", "create", &pool.path("web"), "web-monday"]);
    assert_eq!((&snapshot["kind"], &snapshot["origin"]), (&"snapshot".into(), &"web".into()));
    assert_eq!(snapshot["read_only"], true);

    let active = json(&["volume", "activate", &pool.path("web")]);
    let mount = Mount::new(active["device"].as_str().unwrap(), "");
    fs::write(mount.file("told"), "tuesday").unwrap();
    // A snapshot of a mounted volume: the filesystem is frozen for it, so it needs no repair.
    json(&["snapshot", "create", &pool.path("web"), "web-tuesday"]);
    drop(mount);
    json(&["volume", "deactivate", &pool.path("web")]);
    assert_eq!(pool.told("web-tuesday"), "tuesday");
    assert_eq!(pool.told("web-monday"), "monday");

    json(&["snapshot", "rollback", &pool.path("web"), "--to", "web-monday"]);
    assert_eq!(pool.told("web"), "monday");
    let copy = json(&["volume", "create", &pool.path("copy"), "--from", &pool.path("web-tuesday")]);
    assert_eq!((&copy["kind"], &copy["origin"]), (&"clone".into(), &"web-tuesday".into()));
    assert_eq!(pool.told("copy"), "tuesday");

    let listed = json(&["snapshot", "list", &pool.name]);
    let names: Vec<&str> =
        listed.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["web-monday", "web-tuesday"]);
    for name in names {
        assert_eq!(json(&["snapshot", "delete", &pool.path(name)])["state"], "deleted");
    }
    // What was made from a snapshot outlives it, and says that it is gone.
    assert_eq!(pool.told("copy"), "tuesday");
    let copy = json(&["volume", "show", &pool.path("copy")]);
    assert!(copy["origin"].is_null() && copy["origin_uuid"].is_string());
}

#[test]
fn a_snapshot_is_activated_read_only() {
    let pool = TestPool::new();
    pool.create_filled("web", "monday");
    json(&["snapshot", "create", &pool.path("web"), "s"]);
    let active = json(&["volume", "activate", &pool.path("s")]);
    assert_eq!(active["read_only"], true);
    let device = active["device"].as_str().unwrap();
    assert!(sh(&format!("dd if=/dev/zero of={device} bs=4k count=1 oflag=direct")).is_err());
    let volume = json(&["volume", "activate", &pool.path("web"), "--read-only"]);
    assert_eq!(volume["read_only"], true);
    let device = volume["device"].as_str().unwrap();
    assert!(sh(&format!("dd if=/dev/zero of={device} bs=4k count=1 oflag=direct")).is_err());
}

#[test]
fn a_group_is_taken_whole() {
    let pool = TestPool::new();
    pool.create_filled("db", "rows");
    pool.create_filled("log", "lines");
    let group = json(&["snapshot", "group", &pool.name, "--name", "g1", "db=db-1", "log=log-1"]);
    let group = group.as_array().unwrap();
    assert_eq!(group.len(), 2);
    assert!(group.iter().all(|one| one["group"] == group[0]["group"]));
    assert_eq!(group[0]["group"]["name"], "g1");
    assert_eq!(group[0]["created_at"], group[1]["created_at"]);
    assert_eq!((pool.told("db-1"), pool.told("log-1")), ("rows".to_owned(), "lines".to_owned()));
}

#[test]
fn lists_are_arrays_with_the_promised_fields_and_tables_for_people() {
    let pool = TestPool::new();
    pool.create_filled("web", "monday");
    json(&["snapshot", "create", &pool.path("web"), "s"]);
    let all = json(&["volume", "list", &pool.name, "--all"]);
    assert_eq!(all.as_array().unwrap().len(), 2);
    for one in all.as_array().unwrap() {
        for field in ["name", "uuid", "state", "created_at"] {
            assert!(one[field].is_string(), "{field} in {one}");
        }
        assert!(one["virtual_bytes"].is_u64() && one["mapped_bytes"].is_u64(), "{one}");
        assert!(one["thin_id"].is_u64(), "{one}");
    }
    assert_eq!(json(&["volume", "list", &pool.name]).as_array().unwrap().len(), 1);
    let table = text(&["volume", "list", &pool.name, "--all"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("NAME") && lines.len() == 3, "{table}");
    let table = text(&["pool", "list"]);
    assert!(table.lines().any(|line| line.starts_with(&pool.name)), "{table}");
    let page = text(&["pool", "show", &pool.name]);
    assert!(page.contains(pool.disks[0].to_str().unwrap()), "{page}");
    // By uuid it is the same pool.
    let view = json(&["pool", "show", &pool.name]);
    assert_eq!(json(&["pool", "show", view["uuid"].as_str().unwrap()])["name"], pool.name);
}
