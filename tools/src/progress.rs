//! A progress bar for work that takes longer than a second, on a terminal only.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use thinly_engine::pool::ReapProgress;

const QUIET: Duration = Duration::from_secs(1);

/// Shows how far something is, once it has taken a second.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    begun: Instant,
    shown: bool,
    enabled: bool,
}

impl Progress {
    /// Nothing is drawn before the first second is over, nor when standard error is no terminal.
    pub(crate) fn new(what: &'static str, enabled: bool) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        bar.set_style(
            ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {elapsed}")
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("=> "),
        );
        bar.set_message(what);
        Self { bar, begun: Instant::now(), shown: false, enabled }
    }

    /// `done` of `total` is done.
    pub(crate) fn update(&mut self, done: u64, total: u64) {
        if !self.shown && self.enabled && self.begun.elapsed() >= QUIET {
            self.shown = true;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_length(total);
        self.bar.set_position(done);
    }

    /// How far deleted volumes are freed: by what is discarded where anything is, in MiB.
    pub(crate) fn update_reaped(&mut self, step: ReapProgress) {
        const MIB: u64 = 1 << 20;
        match step.total_bytes.get() / MIB {
            0 => self.update(step.done, step.total),
            total => {
                self.bar.set_message("freeing deleted volumes, MiB");
                self.update(step.done_bytes.get() / MIB, total);
            }
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(self) {
        self.bar.finish_and_clear();
    }
}
