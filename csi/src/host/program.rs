//! Running the programs that come with filesystems: by argument vector, without a shell, from the
//! system's directories only, with nothing of our own environment.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use super::error::{HostError, Result};

const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// How much of either end of a program's output goes into an error: some complain first and explain
/// their usage after it, others end with the complaint.
const END_CHARACTERS: usize = 500;

/// A program, and the package that it is in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) package: &'static str,
}

/// How a program ended, and what it said.
#[derive(Debug)]
pub(super) struct Outcome {
    program: &'static str,
    device: PathBuf,
    status: ExitStatus,
    output: String,
}

impl Program {
    pub(super) const fn new(name: &'static str, package: &'static str) -> Self {
        Self { name, package }
    }

    /// Runs it until it ends. `device` is what it is about, for errors; it must be among the
    /// arguments as well.
    pub(super) fn run<A: AsRef<OsStr>>(&self, device: &Path, arguments: &[A]) -> Result<Outcome> {
        let path = self.find()?;
        #[expect(clippy::disallowed_methods, reason = "the one place that runs these programs")]
        let mut command = Command::new(&path);
        command.args(arguments).stdin(Stdio::null()).current_dir("/");
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C");
        let ended = command.output();
        let ended = ended.map_err(|source| HostError::ProgramStart { program: path, source })?;
        let mut output = String::from_utf8_lossy(&ended.stdout).into_owned();
        output.push_str(&String::from_utf8_lossy(&ended.stderr));
        let device = device.to_owned();
        Ok(Outcome { program: self.name, device, status: ended.status, output })
    }

    fn find(&self) -> Result<PathBuf> {
        let is_program = |path: &PathBuf| {
            let metadata = fs::metadata(path);
            metadata.is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        };
        let mut paths = DIRECTORIES.iter().map(|directory| Path::new(directory).join(self.name));
        let missing = HostError::ProgramMissing { program: self.name, package: self.package };
        paths.find(is_program).ok_or(missing)
    }
}

impl Outcome {
    /// The exit code; `None` when a signal ended it.
    pub(super) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// All that it said.
    pub(super) fn output(&self) -> &str {
        &self.output
    }

    /// An error unless it exited with 0.
    pub(super) fn success(self) -> Result<()> {
        if self.status.success() { Ok(()) } else { Err(self.failure()) }
    }

    /// The error that it stands for.
    pub(super) fn failure(self) -> HostError {
        let status = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or_default()),
        };
        let output = ends(&self.output);
        HostError::ProgramFailed { program: self.program, device: self.device, status, output }
    }
}

fn ends(output: &str) -> String {
    let output = output.trim();
    let mut starts = output.char_indices().map(|(at, _)| at);
    let head = starts.nth(END_CHARACTERS);
    let tail = starts.rev().nth(END_CHARACTERS - 1);
    match (head, tail) {
        (Some(head), Some(tail)) => format!("{} [...] {}", &output[..head], &output[tail..]),
        _ => output.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostErrorKind;

    #[test]
    fn a_missing_program_names_its_package() {
        let error = Program::new("mkfs.no-such", "no-such-progs").run(Path::new("/"), &["x"]);
        let error = error.unwrap_err();
        assert_eq!(error.kind(), HostErrorKind::Unsupported);
        assert!(error.to_string().contains("no-such-progs"), "{error}");
    }

    #[test]
    fn arguments_arrive_as_they_are_and_the_environment_does_not() {
        let echo = Program::new("printf", "coreutils");
        let outcome = echo.run(Path::new("/"), &["%s|%s", "a b;$(id)", "*"]).unwrap();
        assert_eq!(outcome.output(), "a b;$(id)|*");
        let outcome = Program::new("env", "coreutils").run(Path::new("/"), &[""; 0]).unwrap();
        let mut variables: Vec<&str> = outcome.output().lines().collect();
        variables.sort_unstable();
        assert_eq!(variables, ["LC_ALL=C", &format!("PATH={PATH}")]);
    }

    #[test]
    fn long_output_keeps_both_ends() {
        let short = "e\u{308}".repeat(END_CHARACTERS / 2);
        assert_eq!(ends(&short), short);
        let text = ends(&format!("first{}last", "\u{e9}".repeat(5 * END_CHARACTERS)));
        assert!(text.starts_with("first") && text.ends_with("last"), "{text}");
        assert_eq!(text.chars().count(), 2 * END_CHARACTERS + " [...] ".len());
    }

    #[test]
    fn a_failure_carries_what_was_said() {
        let outcome = Program::new("ls", "coreutils").run(Path::new("/dev/x"), &["/no-such"]);
        let error = outcome.unwrap().success().unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("ls failed on /dev/x with exit code 2: "), "{text}");
        assert!(text.contains("No such file or directory"), "{text}");
    }
}
