//! Rules of the house that no lint knows.
#![allow(clippy::unwrap_used, reason = "what a test relies on may end it")]

use std::fs;
use std::path::{Path, PathBuf};

use thinly_engine::plan::Operation;

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn source_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn every_file_outside_dm_forbids_unsafe_code() {
    let root = source_root();
    let files = sources(&root);
    assert!(files.len() > 50, "only {} files were found", files.len());
    for file in files {
        if file.starts_with(root.join("dm")) || file == root.join("lib.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains("#![forbid(unsafe_code)]"), "{}", file.display());
    }
}

#[test]
fn decisions_hold_no_descriptor_no_clock_and_no_log() {
    const BANNED: [&str; 8] = [
        "std::fs",
        "std::io",
        "std::net",
        "std::time",
        "std::process",
        "SystemTime",
        "println!",
        "tracing",
    ];
    for module in ["plan", "catalogue"] {
        for file in sources(&source_root().join(module)) {
            // Tests: one reads its golden file, the other prints what it visited.
            if file.ends_with("golden.rs") || file.ends_with("enumeration/mod.rs") {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            for banned in BANNED {
                assert!(!text.contains(banned), "{} uses {banned}", file.display());
            }
        }
    }
}

#[test]
fn every_operation_has_its_row_in_the_crash_argument() {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/crash-safety.md"));
    for operation in Operation::ALL {
        let row = format!("| {} |", operation.name());
        assert!(page.contains(&row), "docs/crash-safety.md lacks the row: {row}");
    }
}
