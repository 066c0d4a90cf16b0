//! Runs kernel tests in one guest: each in a process of its own, with its own time and its own kernel log.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::client::{Guest, Lifetime, Outcome, Output};
use crate::protocol::Exec;
use crate::spec::Spec;
use crate::test_list::{self, Needs, Test};

/// Printed by a test that found its feature missing, in front of the reason.
pub const SKIP_MARK: &str = "thinly-skip: ";

/// Which tests, and how.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// The package whose tests run in the guest; may be repeated.
    #[arg(long = "package", required = true)]
    pub packages: Vec<String>,
    /// Only tests whose program and name contain this; may be repeated, and one is enough.
    #[arg(long = "filter", value_name = "PART")]
    pub filters: Vec<String>,
    /// Seconds that one test may take.
    #[arg(long, env = "THINLY_TEST_TIMEOUT", default_value_t = 600)]
    pub timeout: u64,
    /// Tests that run beside each other.
    #[arg(long, env = "THINLY_TEST_JOBS", default_value_t = 4)]
    pub jobs: usize,
    /// How much the crash tests do: `full` for all of it.
    #[arg(long, env = "THINLY_CRASH")]
    pub crash: Option<String>,
    /// How long the random tests go on: `full` for hours' worth.
    #[arg(long, env = "THINLY_SOAK")]
    pub soak: Option<String>,
    /// Show what tests say that pass.
    #[arg(long)]
    pub show_output: bool,
}

/// How one test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Passed,
    Skipped(String),
    Failed(String),
}

/// One test that has run.
struct Report {
    verdict: Verdict,
    took: Duration,
    output: Vec<u8>,
    kernel_log: String,
}

/// The run as the workers share it.
struct Session<'a> {
    guest: &'a Guest,
    args: &'a TestArgs,
    /// Held for reading while a test runs, for writing while the guest is reset.
    gate: RwLock<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Test>,
    needs_reset: bool,
    passed: usize,
    skipped: Vec<String>,
    failed: Vec<String>,
}

fn is_wanted(title: &str, filters: &[String]) -> bool {
    filters.is_empty() || filters.iter().any(|part| title.contains(part))
}

/// Runs them all; false when one failed.
pub fn run(mut spec: Spec, args: &TestArgs) -> Result<bool> {
    let mut suites = Vec::new();
    for package in &args.packages {
        suites.extend(test_list::build(package)?);
    }
    let mut tests = Vec::new();
    for suite in &suites {
        tests.extend(test_list::tests(suite)?);
    }
    let all = tests.len();
    tests.retain(|test| is_wanted(&test.title(), &args.filters));
    let filtered_out = all - tests.len();
    let ignored = tests.extract_if(.., |test| test.is_ignored).count();
    if tests.is_empty() {
        bail!("no kernel test has one of {:?} in its name, of {all} there are", args.filters);
    }
    spec.suites = suites;
    println!("booting kernel {} for {} tests", spec.kernel, tests.len());
    let start = Instant::now();
    let guest = Guest::start(&spec, None, Lifetime::Lease)?;
    println!("the guest is up after {:.1} s", start.elapsed().as_secs_f64());

    let session = Session { guest: &guest, args, gate: RwLock::new(()), state: Mutex::default() };
    let start = Instant::now();
    for (needs, jobs) in [(Needs::Nothing, args.jobs), (Needs::Quiet, 1), (Needs::OwnBoot, 1)] {
        session.lock().queue = tests.extract_if(.., |test| test.needs() == needs).collect();
        thread::scope(|scope| {
            for _ in 0..jobs.max(1) {
                scope.spawn(|| session.work());
            }
        });
    }
    let state = session.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    print!("{}", summary(&state, ignored, filtered_out, start.elapsed()));
    guest.down()?;
    Ok(state.failed.is_empty())
}

impl Session<'_> {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One worker: takes tests until none is left.
    fn work(&self) {
        loop {
            let Some(test) = self.lock().queue.pop_front() else { return };
            let report = match self.reset_if_needed(test.needs()) {
                Ok(()) => self.run_one(&test),
                Err(e) => Report::lost(format!("the guest could not be reset: {e:#}")),
            };
            self.note(&test, &report);
        }
    }

    /// A wedged guest is reset when the tests beside the one that wedged it have ended.
    fn reset_if_needed(&self, needs: Needs) -> Result<()> {
        if needs != Needs::OwnBoot && !self.lock().needs_reset {
            return Ok(());
        }
        let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        if needs == Needs::OwnBoot || self.lock().needs_reset {
            self.guest.reset()?;
            self.lock().needs_reset = false;
        }
        Ok(())
    }

    fn env(&self) -> BTreeMap<String, String> {
        let backtrace = ("RUST_BACKTRACE".to_owned(), "1".to_owned());
        let crash = self.args.crash.iter().map(|size| ("THINLY_CRASH".to_owned(), size.clone()));
        let soak = self.args.soak.iter().map(|size| ("THINLY_SOAK".to_owned(), size.clone()));
        [backtrace].into_iter().chain(crash).chain(soak).collect()
    }

    fn run_one(&self, test: &Test) -> Report {
        let _gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        let start = Instant::now();
        let timeout = Duration::from_secs(self.args.timeout);
        let exec = Exec {
            argv: [&test.suite, "--exact", &test.name, "--nocapture", "--test-threads=1"]
                .map(str::to_owned)
                .into(),
            env: self.env(),
            log_on_failure: true,
            ..Exec::default()
        };
        let (mut output, mut kernel_log) = (Vec::new(), String::new());
        let outcome = self.guest.exec(exec, timeout, |said| match said {
            Output::Stdout(bytes) | Output::Stderr(bytes) => output.extend_from_slice(bytes),
            Output::KernelLog(lines) => kernel_log.push_str(lines),
        });
        if matches!(outcome, Ok(Outcome::TimedOut { guest_is_stuck: true })) {
            self.lock().needs_reset = true;
        }
        let verdict = verdict(outcome, &String::from_utf8_lossy(&output), timeout);
        Report { verdict, took: start.elapsed(), output, kernel_log }
    }

    /// Prints and counts; under one lock, so that the lines of two tests do not mix.
    fn note(&self, test: &Test, report: &Report) {
        let mut state = self.lock();
        let title = test.title();
        let took = report.took.as_secs_f64();
        match &report.verdict {
            Verdict::Passed => {
                println!("        PASS [{took:8.3}s] {title}");
                if self.args.show_output {
                    print!("{}", String::from_utf8_lossy(&report.output));
                }
                state.passed += 1;
            }
            Verdict::Skipped(why) => {
                println!("        SKIP [{took:8.3}s] {title}: {why}");
                state.skipped.push(format!("{title}: {why}"));
            }
            Verdict::Failed(why) => {
                println!("        FAIL [{took:8.3}s] {title}: {why}");
                println!("--- output of {title}\n{}", String::from_utf8_lossy(&report.output));
                println!("--- kernel log since its start\n{}--- end", report.kernel_log);
                state.failed.push(format!("{title}: {why}"));
            }
        }
    }
}

impl Report {
    fn lost(why: String) -> Self {
        Self {
            verdict: Verdict::Failed(why),
            took: Duration::ZERO,
            output: Vec::new(),
            kernel_log: String::new(),
        }
    }
}

fn verdict(outcome: Result<Outcome>, output: &str, timeout: Duration) -> Verdict {
    match outcome {
        // A name that no test has makes a program that is content with having run none.
        Ok(Outcome::Exit(0)) if !output.contains("test result: ok. 1 passed") => {
            Verdict::Failed("it ended well without having run".to_owned())
        }
        Ok(Outcome::Exit(0)) => output
            .lines()
            .find_map(|line| line.split_once(SKIP_MARK))
            .map_or(Verdict::Passed, |(_, why)| Verdict::Skipped(why.to_owned())),
        Ok(Outcome::Exit(code)) => Verdict::Failed(format!("exit code {code}")),
        Ok(Outcome::TimedOut { guest_is_stuck }) => {
            let how = if guest_is_stuck { "hangs in the kernel" } else { "was killed" };
            Verdict::Failed(format!("took longer than {} s and {how}", timeout.as_secs()))
        }
        Err(e) => Verdict::Failed(format!("{e:#}")),
    }
}

fn summary(state: &State, ignored: usize, filtered_out: usize, took: Duration) -> String {
    let mut text = String::from("\n");
    for (title, list) in [("skipped", &state.skipped), ("failures", &state.failed)] {
        if !list.is_empty() {
            let _ = writeln!(text, "{title}:");
            // The console of a guest that died belongs to the test's own report.
            for line in list {
                let _ = writeln!(text, "    {}", line.lines().next().unwrap_or_default());
            }
            text.push('\n');
        }
    }
    let word = if state.failed.is_empty() { "ok" } else { "FAILED" };
    let _ = writeln!(
        text,
        "test result: {word}. {} passed; {} failed; {ignored} ignored; {} skipped; {filtered_out} filtered out; \
         finished in {:.2}s",
        state.passed,
        state.failed.len(),
        state.skipped.len(),
        took.as_secs_f64()
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);
    const OK: &str = "test result: ok. 1 passed; 0 failed";

    #[test]
    fn only_a_test_that_ran_and_ended_well_has_passed() {
        assert_eq!(verdict(Ok(Outcome::Exit(0)), OK, MINUTE), Verdict::Passed);
        let not_run = "test result: ok. 0 passed; 0 failed";
        assert!(matches!(verdict(Ok(Outcome::Exit(0)), not_run, MINUTE), Verdict::Failed(_)));
        assert!(matches!(verdict(Ok(Outcome::Exit(101)), OK, MINUTE), Verdict::Failed(_)));
        let stuck = Outcome::TimedOut { guest_is_stuck: true };
        assert!(matches!(verdict(Ok(stuck), OK, MINUTE), Verdict::Failed(_)));
        let gone = Err(anyhow::anyhow!("the guest restarted by itself"));
        assert!(matches!(verdict(gone, OK, MINUTE), Verdict::Failed(_)));
    }

    #[test]
    fn a_test_is_picked_by_any_part_of_its_title() {
        let wanted = |parts: &[&str]| {
            let parts: Vec<_> = parts.iter().map(|part| (*part).to_owned()).collect();
            is_wanted("csi life::a_whole_life", &parts)
        };
        assert!(wanted(&[]) && wanted(&["csi life"]) && wanted(&["restarts", "whole"]));
        assert!(!wanted(&["restarts"]));
    }

    #[test]
    fn a_skip_carries_its_reason() {
        let output = format!("{SKIP_MARK}no such target\n{OK}");
        let skipped = Verdict::Skipped("no such target".to_owned());
        assert_eq!(verdict(Ok(Outcome::Exit(0)), &output, MINUTE), skipped);
    }

    #[test]
    fn the_closing_line_says_failed_exactly_if_one_did() {
        let mut state = State { passed: 2, ..State::default() };
        assert!(summary(&state, 0, 0, MINUTE).contains("test result: ok. 2 passed; 0 failed"));
        state.failed.push("a b: exit code 101".to_owned());
        assert!(summary(&state, 0, 0, MINUTE).contains("test result: FAILED. 2 passed; 1 failed"));
    }
}
