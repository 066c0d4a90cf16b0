//! The corpus in the tree, through every target.
//!
//! Files named `seed-*` are real artefacts and must be accepted; `THINLY_BLESS=1 cargo test seeds`
//! writes them. All others are inputs that once broke a promise.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use super::{TARGETS, Target};
use crate::{catalogue, dm, journal, layout, metadata, pool, stream};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
}

fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(corpus(target)).unwrap_or_else(|error| panic!("{target}: {error}"));
    let paths = files.map(|file| file.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    paths.map(|path| (name(&path), fs::read(&path).unwrap())).collect()
}

#[test]
fn the_corpus_keeps_every_promise() {
    for (name, target) in TARGETS {
        let inputs = inputs(name);
        assert!(inputs.iter().any(|(file, _)| file.starts_with("seed-")), "{name} has no seed");
        for (file, input) in inputs {
            let is_accepted = target(&input);
            assert!(is_accepted || !file.starts_with("seed-"), "{name}/{file} is refused");
        }
    }
}

/// A real artefact, cut off anywhere and with any byte changed.
#[test]
fn every_seed_survives_small_damage() {
    for (name, target) in TARGETS {
        for (_, seed) in inputs(name).into_iter().filter(|(file, _)| file.starts_with("seed-")) {
            damage(target, &seed);
        }
    }
}

fn damage(target: Target, seed: &[u8]) {
    let step = seed.len().div_ceil(64).max(1);
    for at in (0..seed.len()).step_by(step) {
        target(&seed[..at]);
        for value in [0, 1, 0x7f, 0xff] {
            let mut changed = seed.to_vec();
            changed[at] = value;
            target(&changed);
        }
    }
}

#[test]
fn seeds_are_written_by_request() {
    if std::env::var_os("THINLY_BLESS").is_none() {
        return;
    }
    let seeds = [
        ("backup", pool::fuzz::seeds()),
        ("checkpoint", catalogue::fuzz::checkpoint_seeds()),
        ("dm_status", dm::fuzz::status_seeds()),
        ("dm_table", dm::fuzz::table_seeds()),
        ("journal", journal::fuzz::seeds()),
        ("label", layout::fuzz::seeds()),
        ("metadata_block", metadata::fuzz::seeds()),
        ("record", catalogue::fuzz::record_seeds()),
        ("stream", stream::fuzz::seeds()),
    ];
    for (target, seeds) in seeds {
        fs::create_dir_all(corpus(target)).unwrap();
        for (name, bytes) in seeds {
            fs::write(corpus(target).join(format!("seed-{name}")), bytes).unwrap();
        }
    }
}
