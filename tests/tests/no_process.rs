//! The hot paths start no process: `strace` counts what they execute.

use std::path::Path;

use anyhow::{Result, ensure};
use thinly_tests::{Disks, gib, sh};

/// Runs the command under strace; the only program executed is the command itself.
fn executes_nothing_else(arguments: &str, trace: &Path) -> Result<()> {
    let trace_path = trace.display();
    sh(&format!("strace -f -qq -e trace=execve,execveat -o {trace_path} thinly {arguments}"))?;
    let executed = std::fs::read_to_string(trace)?;
    let lines: Vec<&str> = executed.lines().filter(|line| line.contains("execve")).collect();
    ensure!(lines.len() == 1, "thinly {arguments} executed:\n{executed}");
    ensure!(lines[0].contains("thinly"), "strace saw something else: {executed}");
    Ok(())
}

#[test]
fn no_execve_in_create_activate_snapshot_clone_rollback_and_delete() -> Result<()> {
    let disks = Disks::new(&[gib(1)])?;
    let directory = tempfile::tempdir()?;
    let trace = directory.path().join("trace");
    let pool = format!("x{}", std::process::id());
    sh(&format!("thinly pool create {pool} {}", disks[0].display()))?;
    for arguments in [
        format!("volume create {pool}/v --size 1G"),
        format!("volume activate {pool}/v"),
        format!("snapshot create {pool}/v s"),
        format!("snapshot group {pool} --name g v=g1"),
        format!("volume create {pool}/c --from {pool}/s"),
        format!("volume resize {pool}/v --size 2G"),
        format!("volume deactivate {pool}/v"),
        format!("snapshot rollback {pool}/v --to s"),
        format!("snapshot delete {pool}/g1"),
        format!("volume delete {pool}/c"),
        format!("volume list {pool}"),
    ] {
        executes_nothing_else(&arguments, &trace)?;
    }
    sh(&format!("thinly pool destroy {pool} --yes"))?;
    Ok(())
}
