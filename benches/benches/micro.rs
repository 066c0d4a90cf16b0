//! The pieces of the hot path that need no kernel, timed: `cargo bench -p thinly-benches`.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a benchmark that fails ends")]

use criterion::Criterion;
use thinly_benches::micro::CASES;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let directory = tempfile::tempdir().unwrap();
    for case in CASES {
        let mut piece = (case.prepare)(directory.path()).unwrap();
        criterion.bench_function(case.name, |bencher| bencher.iter(|| piece().unwrap()));
    }
    criterion.final_summary();
}
