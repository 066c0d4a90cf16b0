//! kubectl, as a person uses it.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Emulated, an API server takes its time.
const PATIENCE: Duration = Duration::from_mins(4);

/// Runs kubectl and returns what it printed.
pub(super) fn kubectl(arguments: &[&str]) -> Result<String> {
    run(arguments, "")
}

fn run(arguments: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new("kubectl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start kubectl")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let done = child.wait_with_output()?;
    let stdout = String::from_utf8_lossy(&done.stdout);
    if !done.status.success() {
        let stderr = String::from_utf8_lossy(&done.stderr);
        bail!("kubectl {}: {}\n{stdout}{stderr}", arguments.join(" "), done.status);
    }
    Ok(stdout.trim_end().to_owned())
}

/// Makes or changes an object.
pub(super) fn apply(object: &Value) -> Result<()> {
    run(&["apply", "--validate=false", "--filename", "-"], &object.to_string()).map(drop)
}

/// An object, if it is there.
pub(super) fn get(kind: &str, name: &str) -> Result<Option<Value>> {
    let found = kubectl(&["get", kind, name, "--ignore-not-found", "--output", "json"])?;
    if found.is_empty() { Ok(None) } else { Ok(Some(serde_json::from_str(&found)?)) }
}

/// Removes an object, and returns when it is gone.
pub(super) fn delete(kind: &str, name: &str) -> Result<()> {
    let timeout = format!("--timeout={}s", PATIENCE.as_secs());
    kubectl(&["delete", kind, name, "--wait", &timeout]).map(drop)
}

/// Asks again until it is so.
pub(super) fn until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !is_so()? {
        ensure!(began.elapsed() < PATIENCE, "{what}: not after {} s", PATIENCE.as_secs());
        thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}
