//! Requests about pools and volumes that make no sense, come too early, or come from nobody.

use std::path::Path;

use thinly::exit::Exit;
use thinly_tests::{Disks, gib, sh};

use crate::program::{Mount, TestPool, ends_of, json, pool_name, refused};

#[test]
fn names_that_are_taken_or_unknown() {
    let pool = TestPool::new();
    let more = Disks::new(&[gib(1)]).unwrap();
    pool.create_filled("web", "monday");
    json(&["snapshot", "create", &pool.path("web"), "s"]);
    let (web, other) = (pool.path("web"), pool.path("absent"));
    let before = ends_of(&[&more[0]]);
    let arguments = ["pool", "create", &pool.name, more[0].to_str().unwrap()];
    refused(&arguments, Exit::Exists, &[&pool.name, "another name"]);
    assert_eq!(ends_of(&[&more[0]]), before);
    for taken in ["web", "s"] {
        let path = pool.path(taken);
        refused(&["volume", "create", &path, "--size", "1G"], Exit::Exists, &[taken]);
        refused(&["volume", "create", &path, "--from", &web], Exit::Exists, &[taken]);
        refused(&["snapshot", "create", &web, taken], Exit::Exists, &[taken]);
    }
    refused(&["volume", "rename", &web, "s"], Exit::Exists, &["s", "another name"]);
    for arguments in [
        &["volume", "show", &other][..],
        &["volume", "activate", &other],
        &["volume", "deactivate", &other],
        &["volume", "delete", &other],
        &["volume", "rename", &other, "x"],
        &["volume", "resize", &other, "--size", "1G"],
        &["volume", "create", &pool.path("x"), "--from", &other],
        &["snapshot", "create", &other, "x"],
        &["snapshot", "delete", &other],
        &["snapshot", "rollback", &web, "--to", "absent"],
    ] {
        refused(arguments, Exit::NotFound, &["absent", "volume list"]);
    }
    let absent = pool_name("absent");
    for arguments in [
        &["pool", "show", &absent][..],
        &["pool", "open", &absent],
        &["pool", "close", &absent],
        &["pool", "destroy", &absent, "--yes"],
        &["pool", "backup", &absent, "/tmp/no-backup"],
        &["pool", "salvage", &absent],
        &["volume", "list", &absent],
        &["snapshot", "list", &absent],
        &["serve", &absent],
    ] {
        refused(arguments, Exit::NotFound, &[&absent, "pool list"]);
    }
    assert!(!Path::new("/tmp/no-backup").exists());
}

#[test]
fn sizes_that_make_no_sense() {
    let pool = TestPool::new();
    pool.create_filled("web", "monday");
    let web = pool.path("web");
    let new = pool.path("new");
    for (size, word) in [("0", "zero"), ("-1G", "-1G"), ("much", "10G"), ("", "size")] {
        let size = format!("--size={size}");
        refused(&["volume", "create", &new, &size], Exit::Usage, &[word]);
        refused(&["volume", "resize", &web, &size], Exit::Usage, &[word]);
    }
    refused(&["volume", "create", &new, "--size", "8E"], Exit::Refused, &["8 EiB"]);
    let smaller = ["volume", "create", &new, "--from", &web, "--size", "1M"];
    refused(&smaller, Exit::Refused, &["web", "cut off data"]);
    refused(&["volume", "resize", &web, "--size", "1M"], Exit::Refused, &["web", "cut off data"]);
    assert_eq!(json(&["volume", "list", &pool.name]).as_array().unwrap().len(), 1);
    assert_eq!(pool.told("web"), "monday");
}

#[test]
fn what_is_in_use_stays() {
    let pool = TestPool::new();
    pool.create_filled("web", "monday");
    json(&["snapshot", "create", &pool.path("web"), "s"]);
    let active = json(&["volume", "activate", &pool.path("web")]);
    let web = pool.path("web");
    refused(&["snapshot", "rollback", &web, "--to", "s"], Exit::InUse, &["web", "deactivate"]);
    let mount = Mount::new(active["device"].as_str().unwrap(), "");
    refused(&["volume", "deactivate", &web], Exit::InUse, &["web", "unmount"]);
    refused(&["volume", "delete", &web], Exit::InUse, &["web", "unmount"]);
    drop(mount);
    assert_eq!(json(&["volume", "deactivate", &web])["state"], "inactive");
    assert_eq!(pool.told("web"), "monday");
}

#[test]
fn a_snapshot_is_not_taken_for_a_volume_nor_a_volume_for_a_snapshot() {
    let pool = TestPool::new();
    pool.create_filled("web", "monday");
    pool.create_volume("db", "1G");
    json(&["snapshot", "create", &pool.path("web"), "s"]);
    let (web, s) = (pool.path("web"), pool.path("s"));
    refused(&["snapshot", "delete", &web], Exit::Refused, &["web", "volume delete"]);
    refused(&["volume", "delete", &s], Exit::Refused, &["s", "snapshot delete"]);
    refused(&["snapshot", "rollback", &web, "--to", "db"], Exit::Refused, &["db", "snapshot"]);
    assert_eq!(json(&["volume", "list", &pool.name, "--all"]).as_array().unwrap().len(), 3);
}

#[test]
fn a_group_with_one_bad_member_makes_nothing() {
    let pool = TestPool::new();
    pool.create_filled("a", "one");
    pool.create_filled("b", "two");
    let group = |members: &[&str], exit: Exit, word: &str| {
        let arguments: Vec<&str> = ["snapshot", "group", &pool.name, "--name", "g"]
            .iter()
            .chain(members)
            .copied()
            .collect();
        refused(&arguments, exit, &[word]);
        assert_eq!(json(&["snapshot", "list", &pool.name]), serde_json::json!([]));
    };
    group(&["a=a1", "absent=x"], Exit::NotFound, "absent");
    group(&["a=a1", "b=a"], Exit::Exists, "a");
    group(&["a=a1", "b=a1"], Exit::Exists, "a1");
    group(&["a=a1", "b"], Exit::Usage, "ORIGIN=SNAPSHOT");
}

#[test]
fn nobody_may_do_nothing() {
    let pool = TestPool::new();
    let disks = Disks::new(&[gib(1)]).unwrap();
    let before = ends_of(&[&disks[0]]);
    let program = sh("command -v thinly").unwrap();
    for arguments in [
        "pool list".to_owned(),
        format!("pool create {} {}", pool_name("bad"), disks[0].display()),
        format!("pool destroy {} --yes", pool.name),
        format!("volume create {}/v --size 1G", pool.name),
        "dm list".to_owned(),
    ] {
        let line =
            format!("setpriv --reuid 65534 --clear-groups {program} {arguments} --json 2>&1");
        let told = sh(&format!("{line} || echo exit=$?")).unwrap();
        assert!(told.contains("exit=77"), "{arguments}: {told}");
        assert!(told.contains("\"kind\":\"permission\"") && told.contains("root"), "{told}");
    }
    assert_eq!(ends_of(&[&disks[0]]), before);
    assert_eq!(json(&["pool", "show", &pool.name])["state"], "open");
}
