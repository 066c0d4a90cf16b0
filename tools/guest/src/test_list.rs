//! Which kernel tests there are: cargo builds the test programs, and each lists its own tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell;

/// A test program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suite {
    /// Its name, which is also its name in the guest.
    pub name: String,
    /// Where cargo put it.
    pub path: PathBuf,
}

/// One test of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// The program.
    pub suite: String,
    /// The test's full name.
    pub name: String,
    /// Marked `#[ignore]`.
    pub is_ignored: bool,
}

/// What a test's name asks of the runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: it runs beside others.
    Nothing,
    /// `alone_...`: no other test beside it.
    Quiet,
    /// `own_boot_...`: a guest just booted, which it may leave wedged.
    OwnBoot,
}

impl Test {
    /// What its name asks for.
    pub fn needs(&self) -> Needs {
        let function = self.name.rsplit("::").next().unwrap_or_default();
        if function.starts_with("alone_") {
            Needs::Quiet
        } else if function.starts_with("own_boot_") {
            Needs::OwnBoot
        } else {
            Needs::Nothing
        }
    }

    /// How it is shown and picked.
    pub fn title(&self) -> String {
        format!("{} {}", self.suite, self.name)
    }
}

/// Builds a package's test programs.
pub fn build(package: &str) -> Result<Vec<Suite>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "test",
            "--no-run",
            "--message-format=json-render-diagnostics",
            "--package",
            package,
        ])
        .args(["--lib", "--tests"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("the tests of {package} do not build");
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(suite).collect())
}

/// Reads one of cargo's messages.
fn suite(message: &str) -> Option<Suite> {
    let message: Value = serde_json::from_str(message).ok()?;
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    // The unit tests of a program would take the program's own name in the guest.
    if message["target"]["kind"].as_array()?.iter().any(|kind| kind == "bin") {
        return None;
    }
    Some(Suite {
        name: message["target"]["name"].as_str()?.to_owned(),
        path: message["executable"].as_str()?.into(),
    })
}

/// Asks a test program for its tests. Being static, it answers on the host, too.
pub fn tests(suite: &Suite) -> Result<Vec<Test>> {
    let ignored = names(&suite.path, &["--ignored"])?;
    let all = names(&suite.path, &[])?;
    Ok(all
        .into_iter()
        .map(|name| Test { suite: suite.name.clone(), is_ignored: ignored.contains(&name), name })
        .collect())
}

fn names(program: &Path, options: &[&str]) -> Result<Vec<String>> {
    let text =
        shell::output(Command::new(program).args(["--list", "--format", "terse"]).args(options))?;
    Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_tells_which_programs_are_tests() {
        let line = r#"{"reason":"compiler-artifact","target":{"kind":["test"],"name":"testbed"},
            "profile":{"test":true},"executable":"/t/testbed-1f"}"#;
        let found = suite(&line.replace('\n', "")).unwrap();
        assert_eq!(found, Suite { name: "testbed".into(), path: "/t/testbed-1f".into() });
        assert!(suite(&line.replace("\"test\":true", "\"test\":false")).is_none());
        assert!(suite(&line.replace("[\"test\"]", "[\"bin\"]")).is_none());
        assert!(suite("not json").is_none());
    }

    #[test]
    fn this_very_test_is_listed() {
        let own = Suite { name: "own".into(), path: std::env::current_exe().unwrap() };
        let found = tests(&own).unwrap();
        let this = found.iter().find(|test| test.name.ends_with("this_very_test_is_listed"));
        assert!(!this.unwrap().is_ignored);
    }

    #[test]
    fn names_ask_for_what_they_need() {
        let needs = |name: &str| {
            Test { suite: String::new(), name: name.to_owned(), is_ignored: false }.needs()
        };
        assert_eq!(needs("alone_it_is"), Needs::Quiet);
        assert_eq!(needs("module::own_boot_wedges_a_pool"), Needs::OwnBoot);
        assert_eq!(needs("alone_::reads"), Needs::Nothing);
    }
}
