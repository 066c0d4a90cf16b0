//! Running the tools a test compares with.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a line of shell and returns its standard output, without the last newline.
///
/// The line stops at its first failing command; the error carries everything that was said.
pub fn sh(line: &str) -> Result<String> {
    let done = Command::new("bash")
        .args(["-euo", "pipefail", "-c", line])
        .stdin(Stdio::null())
        .output()
        .context("cannot start bash")?;
    let stdout = String::from_utf8_lossy(&done.stdout);
    if !done.status.success() {
        bail!("`{line}`: {}\n{stdout}{}", done.status, String::from_utf8_lossy(&done.stderr));
    }
    Ok(stdout.trim_end_matches('\n').to_owned())
}
