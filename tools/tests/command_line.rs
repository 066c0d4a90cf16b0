//! The real binary, as far as it goes without a kernel: arguments, output, exit codes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Read;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

#[allow(clippy::disallowed_methods, reason = "the test runs the program that it tests")]
fn thinly(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thinly"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    thinly(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Command lines that make no sense, and what the message must say.
const USAGE: &[(&[&str], &str)] = &[
    (&[], "Usage"),
    (&["pool"], "Usage"),
    (&["pool", "melt"], "melt"),
    (&["pool", "create", "p0"], "DEVICE"),
    (&["pool", "create", "", "/dev/sdx"], "empty"),
    (&["pool", "create", "a/b", "/dev/sdx"], "'/'"),
    (&["pool", "create", "-p", "/dev/sdx"], "-p"),
    (&["pool", "create", "p0", "/dev/sdx", "--block-size", "100K"], "64 KiB"),
    (&["pool", "create", "p0", "/dev/sdx", "--metadata-size", "lots"], "lots"),
    (&["pool", "restore", "p0", "f", "--accept-transaction-id", "x"], "x"),
    (&["volume", "create", "web", "--size", "1G"], "POOL/NAME"),
    (&["volume", "create", "p0/", "--size", "1G"], "empty"),
    (&["volume", "create", "p0/a/b", "--size", "1G"], "'/'"),
    (&["volume", "create", "p0/web"], "--size"),
    (&["volume", "create", "p0/web", "--size", "0"], "zero"),
    (&["volume", "create", "p0/web", "--size", "-5G"], "-5"),
    (&["volume", "create", "p0/web", "--size", "ten"], "10G"),
    (&["volume", "create", "p0/web", "--size", "10Q"], "Q"),
    (&["volume", "create", "p0/web", "--size", "99999999T"], "16 EiB"),
    (&["volume", "create", "p0/web", "--from", "p1/web"], "another pool"),
    (&["volume", "rename", "p0/web", "a/b"], "'/'"),
    (&["volume", "resize", "p0/web"], "--size"),
    (&["snapshot", "create", "p0/web"], "NAME"),
    (&["snapshot", "rollback", "p0/web"], "--to"),
    (&["snapshot", "group", "p0", "--name", "g", "web"], "ORIGIN=SNAPSHOT"),
    (&["snapshot", "group", "p0", "--name", "g"], "ORIGIN=SNAPSHOT"),
    (&["adopt", "web"], "POOL/NAME"),
    (&["adopt", "p0/web", "--pv-name", "Web"], "lower-case"),
    (&["adopt", "p0/web", "--access", "file"], "mount"),
    (&["adopt", "p0/web", "--fs-type", "zfs"], "ext4"),
    (&["adopt", "p0/web", "--access", "block", "--fs-type", "xfs"], "--access mount"),
    (&["adopt", "p0/web", "--claim", "data"], "NAMESPACE/NAME"),
    (&["adopt", "p0/web", "--node", ""], "--node"),
    (&["forget", "p0"], "POOL/NAME"),
    (&["audit", "p0"], "--handles"),
    (&["serve"], "POOL"),
    (&["completions", "dos"], "dos"),
];

#[test]
fn arguments_without_sense_are_told_so() {
    for (arguments, expected) in USAGE {
        let output = run(arguments);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains(expected), "{arguments:?}: {message}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    let long = "x".repeat(200);
    let output = run(&["volume", "create", &format!("p0/{long}"), "--size", "1G"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("128"), "{}", stderr(&output));
}

#[test]
fn the_same_arguments_are_refused_in_json() {
    for (arguments, _) in USAGE {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        let output = run(&arguments);
        let value: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(value["error"]["kind"], "usage", "{arguments:?}: {value}");
        assert_eq!(value["error"]["exit_code"], 2);
        assert!(!value["error"]["message"].as_str().unwrap().is_empty());
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn destroying_takes_a_yes_before_anything_is_looked_at() {
    let output = run(&["--json", "pool", "destroy", "p0"]);
    let value: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(value["error"]["kind"], "refused");
    assert_eq!(output.status.code(), Some(6));
    assert!(value["error"]["message"].as_str().unwrap().contains("--yes"));
}

#[test]
fn files_are_looked_at_before_pools() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("taken");
    File::create(&path).unwrap();
    let path = path.to_str().unwrap();
    for verb in ["backup", "copy-metadata"] {
        let output = run(&["pool", verb, "p0", path]);
        assert_eq!(output.status.code(), Some(4));
        assert!(stderr(&output).contains(path) && stderr(&output).contains("not overwritten"));
    }
    let output = run(&["pool", "restore", "p0", "no-such-file"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("no-such-file"));
}

#[test]
fn a_list_of_handles_is_read_before_the_pool_is_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("handles");
    std::fs::write(&path, "# mine\n\nv1.00112233.vol.nonsense\n").unwrap();
    let path = path.to_str().unwrap();
    let output = run(&["audit", "p0", "--handles", path]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let message = stderr(&output);
    assert!(message.contains(path) && message.contains("line 3"), "{message}");
    let output = run(&["audit", "p0", "--handles", "no-such-file", "--json"]);
    let value: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(value["error"]["kind"], "not_found");
}

#[test]
fn help_and_version_are_answers() {
    for arguments in [&["--help"][..], &["volume", "create", "--help"], &["--version"]] {
        let output = run(arguments);
        assert!(output.status.success() && output.stderr.is_empty() && !output.stdout.is_empty());
    }
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    for arguments in [&["man"][..], &["completions", "bash"], &["--help"], &["man", "--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut child = thinly(arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let status = child.wait().unwrap();
        let mut message = String::new();
        child.stderr.take().unwrap().read_to_string(&mut message).unwrap();
        assert!(status.success() && message.is_empty(), "{arguments:?}: {status} {message}");
    }
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    for arguments in [&["man"][..], &["completions", "bash"], &["--help"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = thinly(arguments).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&output).contains("standard output"), "{}", stderr(&output));
    }
}

#[test]
fn completions_name_the_verbs() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(script.contains("rollback") && script.contains("copy-metadata"), "{shell}");
    }
    let output = run(&["completions", "bash", "--json"]);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["shell"], "bash");
}

#[test]
fn the_manual_has_a_page_for_every_verb() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().to_str().unwrap();
    let output = run(&["man", "--out", out, "--json"]);
    let pages: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    for page in ["thinly.8", "thinly-pool.8", "thinly-pool-create.8", "thinly-snapshot-group.8"] {
        assert!(pages.iter().any(|value| value["page"] == page), "{page}");
        let text = std::fs::read_to_string(directory.path().join(page)).unwrap();
        assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{page}");
    }
    let output = run(&["man", "--out", "no/such/directory"]);
    assert_eq!(output.status.code(), Some(3));
}
