//! `thinly dm` on devices of this kernel.

use clap::Parser;
use serde_json::{Value, json};
use thinly::dm_command::{DmArguments, run};
use thinly_engine::dm::{Dm, DmUuid};

use crate::stack::{Stack, node};

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    dm: DmArguments,
}

/// What the command writes, or its error.
fn thinly_dm(words: &[&str]) -> Result<String, String> {
    let cli = Cli::try_parse_from(std::iter::once(&"dm").chain(words)).unwrap();
    let mut out = Vec::new();
    run(&cli.dm, &mut out).map_err(|error| format!("{error:#}"))?;
    Ok(String::from_utf8(out).unwrap())
}

fn as_json(words: &[&str]) -> Value {
    serde_json::from_str(&thinly_dm(&[words, &["--json"]].concat()).unwrap()).unwrap()
}

#[test]
fn a_device_is_found_by_each_of_its_names() {
    let mut stack = Stack::new();
    let pool = stack.pool(&[]);
    let thin = stack.thin(&pool, 1);
    let expected = as_json(&["info", thin.name.as_str()]);
    assert_eq!(expected["number"], json!(thin.number.to_string()));
    let uuid = format!("uuid={}", thin.uuid.as_ref().unwrap());
    let path = node(&thin);
    for key in [&uuid, &thin.number.to_string(), path.to_str().unwrap()] {
        assert_eq!(as_json(&["info", key]), expected, "{key}");
    }
    let error = thinly_dm(&["info", "absent"]).unwrap_err();
    assert!(error.starts_with("cannot look up dm device absent: "), "{error}");
}

#[test]
fn a_pool_is_shown_whole() {
    let mut stack = Stack::new();
    let pool = stack.pool(&[]);
    stack.control.message(&pool.name, "set_transaction_id 0 41").unwrap();
    let name = pool.name.as_str();
    let status = as_json(&["status", name]);
    assert_eq!(status[0]["fields"]["transaction_id"], json!(41));
    assert_eq!(status[0]["fields"]["mode"], json!("rw"));
    assert!(thinly_dm(&["status", name]).unwrap().contains("transaction_id                 41\n"));
    let table = as_json(&["table", name]);
    assert_eq!(table[0]["fields"]["data_block_size_sectors"], json!(128));
    let raw = thinly_dm(&["table", name, "--raw"]).unwrap();
    assert_eq!(raw, format!("0 131072 thin-pool {}\n", pool.table));
    let below: Vec<String> = as_json(&["deps", name])
        .as_array()
        .unwrap()
        .iter()
        .map(|below| below["name"].as_str().unwrap().replace(&stack.prefix, ""))
        .collect();
    assert_eq!((below.len(), below.contains(&"meta".to_owned())), (2, true), "{below:?}");
    assert!(thinly_dm(&["targets"]).unwrap().contains("\nthin-pool "));
}

#[test]
fn the_list_shows_states() {
    let mut stack = Stack::new();
    stack.create("empty");
    let pool = stack.pool(&[]);
    stack.control.suspend(&pool.name, thinly_engine::dm::SuspendOptions::default()).unwrap();
    let prefix = stack.prefix.clone();
    let text = thinly_dm(&["list", "--name-prefix", &prefix]).unwrap();
    stack.control.resume(&pool.name).unwrap();
    let line = |suffix: &str| {
        let start = format!("{prefix}{suffix} ");
        text.lines().find(|line| line.starts_with(&start)).unwrap().to_owned()
    };
    assert!(line("empty").contains(" no table "), "{text}");
    assert!(line("pool").contains(" suspended "), "{text}");
    assert!(line("data").contains(" live "), "{text}");
    assert_eq!(text.lines().count(), 5, "{text}");
    let raw = thinly_dm(&["list", "--raw", "--name-prefix", pool.name.as_str()]).unwrap();
    assert_eq!(raw, format!("{}\t({})\n", pool.name, pool.number));
}

#[test]
fn a_message_is_sent_only_when_told_so() {
    let mut stack = Stack::new();
    let pool = stack.pool(&[]);
    let name = pool.name.as_str();
    let held = |stack: &Stack| {
        stack.control.pool_status(&pool.name, false).unwrap().usage().unwrap().held_root.is_some()
    };
    let error = thinly_dm(&["message", name, "reserve_metadata_snap"]).unwrap_err();
    assert!(error.contains("add --yes"), "{error}");
    assert!(!held(&stack));
    thinly_dm(&["message", "--yes", name, "reserve_metadata_snap"]).unwrap();
    assert!(held(&stack));
    let answer = thinly_dm(&["message", "--yes", name, "@stats_create", "-", "/1"]).unwrap();
    assert_eq!(answer, "0\n");
}

#[test]
fn our_own_pool_is_not_changed_by_hand() {
    let mut stack = Stack::new();
    let pool = stack.pool(&[]);
    // The uuids of a test start like those of Thinly.
    let error =
        thinly_dm(&["message", "--yes", pool.name.as_str(), "create_thin", "7"]).unwrap_err();
    assert!(error.contains("belongs to Thinly"), "{error}");
    stack.control.message(&pool.name, "create_thin 7").unwrap();
}

#[test]
fn a_foreign_device_takes_any_message() {
    let mut stack = Stack::new();
    let pool = stack.pool(&[]);
    // The same pool as another owner's: a device made anew over the same metadata and data.
    stack.control.remove(&pool.name).unwrap();
    let foreign = stack.name("foreign");
    let uuid = DmUuid::new(format!("OTHER-{}", stack.prefix)).unwrap();
    stack.control.create(&foreign, &uuid).unwrap();
    let line = crate::stack::pool_line(pool.table.clone());
    let loaded = stack.control.load(&foreign, &[line], false);
    let sent = loaded
        .and_then(|_| stack.control.resume(&foreign))
        .map(|_| thinly_dm(&["message", "--yes", foreign.as_str(), "create_thin", "7"]));
    let made = stack.control.message(&foreign, "create_thin 7").unwrap_err();
    stack.control.remove(&foreign).unwrap();
    assert_eq!(sent.unwrap(), Ok(String::new()));
    assert!(made.is_exists(), "{made}");
}
