//! Every crash at every step of every operation, and of every two at once, by enumeration.
//!
//! The real plans, the real undoing, the real recovery, the real catalogue and the real allocator
//! of thin ids run against a model of the kernel ([`kernel`]) and of the journal ([`ledger`]). What
//! the pool's shell does around them (locks, look-ups, the announcement of an epoch, the reaper's
//! loop, the order of recovery) is modelled in `run`, `shell`, `announce` and `recovery`.
//!
//! From each state the walk goes on with every step that may come next, in every way in which the
//! kernel, a disk or the journal is known to answer, with the end of the process and with the end
//! of the machine. Answers that are not the nominal one, and ends, are *misfortunes*: each run may
//! have a given number of them, in any order, in recovery and under the reaper too. A state is
//! journal, kernel, handle, operations and promises together; each is visited once, so steps that
//! commute are walked once.
//!
//! Every way ends with recovery and a reaper that got through. There every promise is checked:
//! see [`promises`].
#![forbid(unsafe_code)]

mod announce;
mod effect;
mod explore;
mod kernel;
mod ledger;
mod operation;
mod promises;
mod recovery;
mod run;
mod shell;
mod start;
mod world;

use explore::Explorer;
use operation::Kind;
use promises::Rule;
use start::{Setting, world};

/// How much is visited: the number of misfortunes in one run.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// Of one operation, in every setting.
    alone: u8,
    /// Of two operations at once.
    paired: u8,
    /// Of three operations at once; none are visited where this is `None`.
    tripled: Option<u8>,
}

const DEFAULT: Size = Size { alone: 3, paired: 2, tripled: None };
const FULL: Size = Size { alone: 4, paired: 3, tripled: Some(1) };

/// A pair or more with a reaper meets the one id that it frees as well.
fn explore(explorer: &mut Explorer, kinds: &[Kind], misfortunes: u8) {
    explorer.explore(world(Setting::Plain, kinds, misfortunes));
    if kinds.contains(&Kind::Reap) {
        explorer.explore(world(Setting::Scarce, kinds, misfortunes));
    }
}

fn enumerate(size: Size) {
    let mut explorer = Explorer::default();
    let mut pairs = 0;
    for (index, &first) in Kind::ALL.iter().enumerate() {
        for setting in [Setting::Plain, Setting::Foreign, Setting::Scarce] {
            explorer.explore(world(setting, &[first], size.alone));
        }
        for (skipped, &second) in Kind::ALL.iter().enumerate().skip(index) {
            pairs += 1;
            explore(&mut explorer, &[first, second], size.paired);
            let Some(misfortunes) = size.tripled else { continue };
            for &third in &Kind::ALL[skipped..] {
                explore(&mut explorer, &[first, second, third], misfortunes);
            }
        }
    }
    let [lost, leaked, suspended, broken] =
        [Rule::Lost, Rule::Leaked, Rule::Suspended, Rule::Broken].map(|rule| explorer.count(rule));
    println!(
        "enumeration: {explorer} operations={} pairs={pairs} lost={lost} leaked={leaked} \
         suspended={suspended} broken={broken}",
        Kind::ALL.len()
    );
    assert_eq!(lost + leaked + suspended + broken, 0, "{}", explorer.stories());
    assert!(explorer.ends() > 0, "no way came to its end");
}

#[test]
fn no_crash_loses_leaks_or_freezes_anything() {
    let full = std::env::var_os("THINLY_ENUMERATION").is_some_and(|value| value == "full");
    enumerate(if full { FULL } else { DEFAULT });
}
