//! The drawing of a real pool holds what its accounting says.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use roxmltree::Document;
use serde_json::Value;
use thinly::exit::Exit;
use thinly_tests::sh;

use crate::program::{TestPool, json, refused, text};

/// The tooltips of the strip and the bars: exact amounts by name.
fn told(drawing: &str) -> Vec<String> {
    let document = Document::parse(drawing).unwrap();
    let groups = document.descendants().filter(|node| node.tag_name().name() == "g");
    let title = |node: roxmltree::Node<'_, '_>| {
        let title = node.children().find(|child| child.tag_name().name() == "title").unwrap();
        title.text().unwrap().to_owned()
    };
    groups.map(title).collect()
}

fn amounts(of: &Value) -> String {
    let amount = |field: &str| of[field].as_u64().unwrap();
    let (exclusive, shared) = (amount("exclusive_bytes"), amount("shared_bytes"));
    format!("{exclusive} bytes exclusive, {shared} bytes shared")
}

#[test]
fn map_of_a_pool_agrees_with_its_usage() {
    let pool = TestPool::new();
    pool.create_volume("web", "64M");
    let active = json(&["volume", "activate", &pool.path("web")]);
    let device = active["device"].as_str().unwrap();
    let write = |at: u32, count: u32| {
        let to = format!("of={device} bs=1M seek={at} count={count} oflag=direct");
        sh(&format!("dd if=/dev/zero {to} status=none; sync")).unwrap();
    };
    write(0, 16);
    json(&["snapshot", "create", &pool.path("web"), "web <&> 1"]);
    write(2, 4);
    write(20, 3);
    let directory = tempfile::tempdir().unwrap();
    let usage = |name: &str| {
        let file = directory.path().join(name);
        let file = file.to_str().unwrap();
        let answer = json(&["map", &pool.name, "--out", file]);
        let usage = json(&["usage", &pool.name]);
        for field in ["mapped_bytes", "shared_bytes", "total_data_bytes"] {
            assert_eq!(answer[field], usage["totals"][field], "{field}");
        }
        let drawing = fs::read_to_string(file).unwrap();
        assert_eq!((&answer["pool"], &answer["file"]), (&pool.name.as_str().into(), &file.into()));
        assert_eq!(answer["file_bytes"], drawing.len());
        assert_eq!((&answer["cell_count"], &answer["bar_count"]), (&1000.into(), &2.into()));
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        let told = told(&drawing);
        for volume in usage["volumes"].as_array().unwrap() {
            let line = format!("{}: {}", volume["name"].as_str().unwrap(), amounts(volume));
            assert!(told.contains(&line), "{line} is not in {told:?}");
        }
        assert_eq!(told.len(), 3);
        usage
    };
    let open = usage("open.svg");
    let mib = |count: u64| count << 20;
    assert_eq!(open["totals"]["mapped_bytes"], mib(23));
    assert_eq!(open["totals"]["shared_bytes"], mib(12));

    let taken = directory.path().join("open.svg");
    let before = fs::read(&taken).unwrap();
    let path = taken.to_str().unwrap();
    refused(&["map", &pool.name, "--out", path], Exit::Exists, &[path]);
    assert_eq!(fs::read(&taken).unwrap(), before);
    let nowhere = directory.path().join("nowhere.svg");
    refused(&["map", "nowhere", "--out", nowhere.to_str().unwrap()], Exit::NotFound, &["nowhere"]);
    assert!(!nowhere.exists());

    json(&["volume", "deactivate", &pool.path("web")]);
    json(&["pool", "close", &pool.name]);
    assert_eq!(usage("closed.svg")["volumes"], open["volumes"]);
    let again = directory.path().join("again.svg");
    let answer = text(&["map", &pool.name, "--out", again.to_str().unwrap()]);
    assert!(answer.contains("again.svg"), "{answer}");
}
