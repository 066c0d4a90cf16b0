//! Running another program on the host, with an error that says what it said.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a program to its end; its output is shown only when it fails.
pub fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Runs a program to its end and returns its standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command.stdin(Stdio::null()).output().with_context(|| {
        format!("cannot start {name}; `make deps` installs what the test bed needs")
    })?;
    if !done.status.success() {
        bail!(
            "{name}: {}\n{}{}",
            done.status,
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Makes an ext4 image of `size_bytes`, filled from a directory when one is given.
pub fn make_ext4(
    image: &std::path::Path,
    size_bytes: u64,
    content: Option<&std::path::Path>,
    options: &[&str],
) -> Result<()> {
    std::fs::File::create(image)?.set_len(size_bytes)?;
    // The administrator's programs are not on every user's path.
    let mut command = Command::new("mke2fs");
    command.env("PATH", host_path()).args(["-q", "-F", "-t", "ext4", "-m", "0"]).args(options);
    if let Some(content) = content {
        command.arg("-d").arg(content);
    }
    run(command.arg(image))
}

/// The search path with the places where Debian keeps the administrator's programs.
pub fn host_path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}
