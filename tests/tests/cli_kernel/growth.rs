//! Growth as a person does it, at the last moment.

use std::thread;
use std::time::Duration;

use thinly::exit::Exit;
use thinly_tests::{Disks, gib, mib, sh};

use crate::program::{json, pool_name, refused};

/// The kernel holds writes for a minute: half of it is over when the pool grows.
const LATE: Duration = Duration::from_secs(30);

// Alone: half of the kernel's minute is spent on purpose, and a busy machine could take the rest.
#[test]
fn alone_a_write_into_a_full_pool_ends_well_when_it_grows_half_a_minute_later() {
    let disks = Disks::new(&[gib(1), mib(256)]).unwrap();
    let name = pool_name("full");
    let (first, second) = (disks[0].to_str().unwrap(), disks[1].to_str().unwrap());
    json(&["pool", "create", &name, first, "--raw", "--data-size", "64M"]);
    let volume = format!("{name}/web");
    json(&["volume", "create", &volume, "--size", "512M"]);
    let device = json(&["volume", "activate", &volume])["device"].as_str().unwrap().to_owned();
    let writer = thread::spawn(move || {
        sh(&format!(
            "fio --name=w --filename={device} --rw=write --bs=256k --size=128M --direct=1 --verify=crc32c \
             --do_verify=1 --output=/dev/null"
        ))
    });
    let is_full = || json(&["pool", "show", &name])["health"] == "out_of_data_space";
    while !is_full() {
        assert!(!writer.is_finished(), "{:?}", writer.join());
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(json(&["pool", "show", &name])["conditions"][0]["reason"], "ThinPoolOutOfDataSpace");
    thread::sleep(LATE);
    assert!(is_full() && !writer.is_finished(), "the write did not wait");
    let grown = json(&["pool", "grow", &name, second, "--raw"]);
    assert_eq!(grown["devices"].as_array().unwrap().len(), 2);
    writer.join().unwrap().unwrap();
    let view = json(&["pool", "show", &name]);
    assert_eq!((view["health"].as_str(), view["clean"].as_bool()), (Some("rw"), Some(true)));
    json(&["pool", "destroy", &name, "--yes"]);
}

#[test]
fn what_a_policy_says_is_shown_and_kept() {
    let disks = Disks::new(&[gib(1)]).unwrap();
    let name = pool_name("policy");
    json(&["pool", "create", &name, disks[0].to_str().unwrap(), "--raw", "--data-size", "64M"]);
    let before = json(&["pool", "show", &name]);
    assert!(before["unused_bytes"].as_u64().unwrap() > 800 << 20, "{before}");
    assert!(before["policy"]["auto_extend_at_percent"].is_null());
    let set = ["--auto-extend-at", "80", "--auto-extend-by", "32M", "--reserve", "100M"];
    json(&[&["pool", "set", &name][..], &set].concat());
    json(&["pool", "set", &name, "--on-full", "error"]);
    json(&["pool", "close", &name]);
    json(&["pool", "open", &name]);
    let policy = json(&["pool", "show", &name])["policy"].clone();
    assert_eq!(policy["auto_extend_at_percent"], 80);
    assert_eq!(policy["auto_extend_by_bytes"], 32 << 20);
    assert_eq!(policy["reserve_bytes"], 100 << 20);
    assert_eq!(policy["on_full"], "error");
    let table =
        sh(&format!("dmsetup table | grep {}.*thin-pool", &before["uuid"].as_str().unwrap()[..8]));
    assert!(table.unwrap().contains("error_if_no_space"));
    refused(&["pool", "set", &name], Exit::Usage, &["--auto-extend-at"]);
    refused(&["pool", "set", &name, "--admit-data", "100"], Exit::Usage, &["1 to 99"]);
    refused(&["pool", "grow", &name], Exit::Refused, &["nothing to grow by"]);
    refused(&["pool", "grow", &name, "--by", "10T"], Exit::NoSpace, &["have no role yet"]);
    json(&["pool", "destroy", &name, "--yes"]);
}
