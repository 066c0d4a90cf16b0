//! What volumes cost, what differs between them, and whether a pool is sound, by the command.

use serde_json::{Value, json as value};
use thinly::exit::Exit;
use thinly_tests::sh;

use crate::program::{TestPool, json, refused, text, thinly};

const MIB: u64 = 1 << 20;

/// A volume of 8 MiB of data, a snapshot of it, and 2 MiB written over since, another 1 MiB beyond.
fn written() -> TestPool {
    let pool = TestPool::new();
    pool.create_volume("web", "64M");
    let active = json(&["volume", "activate", &pool.path("web")]);
    let write = |seek: u64, count: u64| {
        let device = active["device"].as_str().unwrap();
        sh(&format!(
            "dd if=/dev/urandom of={device} bs=1M seek={seek} count={count} oflag=direct status=none"
        ))
        .unwrap();
    };
    write(0, 8);
    json(&["snapshot", "create", &pool.path("web"), "monday"]);
    write(2, 2);
    write(20, 1);
    json(&["volume", "deactivate", &pool.path("web")]);
    pool
}

/// In MiB: mapped, exclusive, shared.
fn costs(usage: &Value) -> Vec<(String, u64, u64, u64)> {
    let volumes = usage["volumes"].as_array().unwrap().iter();
    volumes
        .map(|volume| {
            let of = |name: &str| volume[name].as_u64().unwrap() / MIB;
            let name = volume["name"].as_str().unwrap().to_owned();
            (name, of("mapped_bytes"), of("exclusive_bytes"), of("shared_bytes"))
        })
        .collect()
}

fn ranges(diff: &Value) -> Vec<(u64, u64, String)> {
    let ranges = diff["ranges"].as_array().unwrap().iter();
    ranges
        .map(|range| {
            let of = |name: &str| range[name].as_u64().unwrap() / MIB;
            (of("offset"), of("length"), range["kind"].as_str().unwrap().to_owned())
        })
        .collect()
}

#[test]
fn usage_and_diff_tell_what_was_written() {
    let pool = written();
    let name = pool.name.as_str();
    let expected = [("monday".to_owned(), 8, 2, 6), ("web".to_owned(), 9, 3, 6)];
    let open = json(&["usage", name, "--set", "web,monday"]);
    assert_eq!(costs(&open), expected);
    assert_eq!(open["set"]["exclusive_bytes"], 11 * MIB);
    assert_eq!(open["totals"]["mapped_bytes"], 11 * MIB);
    assert!(
        text(&["usage", name, "--sort", "exclusive"]).lines().nth(1).unwrap().starts_with("web")
    );
    refused(&["usage", name, "--set", "nothing"], Exit::NotFound, &["nothing", name]);
    refused(&["usage", "nowhere"], Exit::NotFound, &["nowhere"]);

    let (web, monday) = (pool.path("web"), pool.path("monday"));
    let kind = |offset, length, kind: &str| (offset, length, kind.to_owned());
    let forth = json(&["diff", &monday, &web]);
    assert_eq!(ranges(&forth), [kind(2, 2, "changed"), kind(20, 1, "added")]);
    let back = json(&["diff", &web, &monday]);
    assert_eq!(ranges(&back), [kind(2, 2, "changed"), kind(20, 1, "removed")]);
    assert_eq!(ranges(&json(&["diff", &monday])), [kind(0, 8, "allocated")]);
    refused(&["diff", &monday, &pool.path("nothing")], Exit::NotFound, &["nothing"]);

    json(&["pool", "close", name]);
    let closed = json(&["usage", name, "--set", "web,monday"]);
    assert_eq!(closed, open, "a closed pool is the same pool");
    assert_eq!(ranges(&json(&["diff", &monday, &web])), ranges(&forth));
}

#[test]
fn a_pool_is_checked_open_and_closed_and_damage_is_named() {
    let pool = written();
    let name = pool.name.as_str();
    let open = json(&["pool", "check", name]);
    assert_eq!((&open["worst"], &open["device_count"]), (&value!("note"), &value!(2)));
    assert_eq!(open["findings"][0]["kind"], "NotChecked");
    let view = json(&["pool", "show", name]);
    let short = &view["uuid"].as_str().unwrap()[..8];
    let table = sh(&format!("dmsetup table thinly-{short}-meta")).unwrap();
    let start: u64 =
        table.lines().next().unwrap().split_whitespace().last().unwrap().parse().unwrap();
    json(&["pool", "close", name]);
    let closed = json(&["pool", "check", name]);
    assert_eq!((&closed["worst"], &closed["findings"]), (&Value::Null, &value!([])));

    // The root of the details: its number is in the superblock, at byte 328. One sector and no more:
    // od leaves as soon as it has its eight bytes, and a dd still writing would die of the pipe.
    let disk = pool.disks[0].display();
    let read = format!("dd if={disk} bs=512 skip={start} count=1 iflag=direct status=none");
    let root = sh(&format!("{read} | od -An -t u8 -j 328 -N 8")).unwrap();
    let sector = start + root.trim().parse::<u64>().unwrap() * 8;
    sh(&format!("dd if=/dev/urandom of={disk} bs=512 seek={sector} count=1 oflag=direct conv=notrunc status=none")).unwrap();
    let output = thinly(&["pool", "check", name, "--json"]);
    assert_eq!(output.status.code(), Some(Exit::Damaged.code().into()));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["findings"][0]["kind"], "Damage", "{found}");
    refused(&["usage", name], Exit::Damaged, &["damaged"]);
}
