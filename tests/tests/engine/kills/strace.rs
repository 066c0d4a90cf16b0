//! The program under strace: the calls that it makes, and its death before one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};

/// The calls that change a device, the kernel's device-mapper or a name in the file system.
const EFFECTS: &str = "ioctl,pwrite64,pwritev,write,fallocate,fsync,fdatasync,unlink,unlinkat,symlink,symlinkat,\
                       rename,renameat,renameat2,mkdir,mkdirat,rmdir";

/// How one attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Killed,
    Answered,
}

/// One of the program's calls. strace counts each kind by itself: counted together, the kind that is made most often
/// would hide all others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Call {
    pub(crate) kind: String,
    /// Counted from 1.
    pub(crate) number: usize,
}

pub(crate) fn is_full() -> bool {
    std::env::var("THINLY_CRASH").is_ok_and(|size| size == "full")
}

/// Every how many calls one is killed: each in the long run, some in the short one.
pub(crate) fn stride(short: usize) -> usize {
    if is_full() { 1 } else { short }
}

/// Lets the program do its work, and tells what it called, in that order.
pub(crate) fn calls_of(arguments: &[String]) -> Result<Vec<Call>> {
    let trace = tempfile::NamedTempFile::new()?;
    let file = trace.path().to_str().context("a path of text")?;
    let output =
        strace(&["--seccomp-bpf", "-o", file, "-e", &format!("trace={EFFECTS}")], arguments)?;
    ensure_answered(&output, arguments)?;
    let (mut counts, mut seen) = (BTreeMap::new(), BTreeSet::new());
    let mut calls = Vec::new();
    // strace counts for each thread by itself: a kill comes with the first that is so far.
    for line in std::fs::read_to_string(trace.path())?.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((kind, _)) = rest.trim_start().split_once('(') else { continue };
        if !EFFECTS.split(',').any(|effect| effect == kind) {
            continue;
        }
        let number = counts.entry((thread.to_owned(), kind.to_owned())).or_insert(0);
        *number += 1;
        let call = Call { kind: kind.to_owned(), number: *number };
        if seen.insert(call.clone()) {
            calls.push(call);
        }
    }
    ensure!(!calls.is_empty(), "{arguments:?} called nothing");
    Ok(calls)
}

/// Those that are killed: all in the long run, one in so many in the short one.
pub(crate) fn picked(calls: &[Call], short: usize) -> impl Iterator<Item = &Call> {
    calls.iter().step_by(stride(short))
}

/// Runs the program until it ends or is about to make that call. Without strace's filter: with that it kills nothing.
pub(crate) fn attempt(arguments: &[String], Call { kind, number }: &Call) -> Result<End> {
    let inject = format!("inject={kind}:signal=KILL:when={number}");
    let options = ["-o", "/dev/null", "-e", &format!("trace={kind}"), "-e", &inject];
    let output = strace(&options, arguments)?;
    if output.status.signal() == Some(9) || output.status.code() == Some(137) {
        return Ok(End::Killed);
    }
    ensure_answered(&output, arguments).with_context(|| format!("{kind} {number}"))?;
    Ok(End::Answered)
}

/// Runs the program to its end.
#[expect(clippy::disallowed_methods, reason = "the test runs the program that it tests")]
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let output = Command::new("thinly").args(arguments).stdin(Stdio::null()).output()?;
    ensure_answered(&output, arguments)
}

#[expect(clippy::disallowed_methods, reason = "the test kills the program that it tests")]
fn strace(options: &[&str], arguments: &[String]) -> Result<Output> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qqq"]).args(options).arg("thinly").args(arguments);
    Ok(strace.stdin(Stdio::null()).output()?)
}

fn ensure_answered(output: &Output, arguments: &[String]) -> Result<()> {
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {}: {told}", output.status);
    Ok(())
}
