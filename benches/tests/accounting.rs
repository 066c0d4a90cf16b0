//! The benchmark of accounting works, on small images; nothing is measured.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use std::fs;
use std::process::Command;

use serde_json::Value;

#[test]
fn a_small_run_times_every_tool_on_every_image() {
    let scratch = tempfile::tempdir().unwrap();
    let json = scratch.path().join("report.json");
    #[allow(clippy::disallowed_methods, reason = "the test runs the program that it tests")]
    let output = Command::new(env!("CARGO_BIN_EXE_thinly-accounting"))
        .arg(scratch.path())
        .args(["--small", "--json"])
        .arg(&json)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let rows = report["rows"].as_array().unwrap();
    // thin_ls and thin_check on four images, thin_delta on the two that have snapshots.
    assert_eq!((report["images"].as_array().unwrap().len(), rows.len()), (4, 10));
    for row in rows {
        assert!(row["ours"].is_null());
        assert!(row["rival"]["wall_seconds"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["rival"]["peak_rss_bytes"].as_u64().unwrap() > 1 << 19, "{row}");
    }
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.matches("thin_delta").count(), 2, "{text}");
    fs::remove_file(json).unwrap();
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "the images are gone");
}
