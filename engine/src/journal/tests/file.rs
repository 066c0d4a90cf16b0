//! The same journal on a real file, unbuffered.
#![forbid(unsafe_code)]

use std::fs::File;
use std::path::Path;

use super::*;
use crate::block_device::{Access, BlockDevice};

fn open(path: &Path) -> BlockDevice {
    BlockDevice::open_any(path, Access::ReadWrite).unwrap()
}

/// Needs a filesystem with `O_DIRECT`: the build's own, because the system's may be tmpfs.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap()
}

#[test]
fn a_file_holds_a_journal_over_reopens_and_checkpoints() {
    let directory = directory();
    let path = directory.path().join("journal");
    File::create(&path).unwrap().set_len(1 << 20).unwrap();
    Journal::format(&open(&path), POOL, [payload(0)]).unwrap();
    let mut history = vec![payload(0)];
    for _ in 0..4 {
        let media: Arc<dyn Media> = Arc::new(open(&path));
        let loaded = load(media.as_ref(), POOL).unwrap();
        assert_eq!(loaded.payloads, history);
        assert_eq!(loaded.position.tail, Tail::Clean);
        let journal = Journal::resume(media, &loaded.position, Options::default()).unwrap();
        for _ in 0..10 {
            history.push(payload(history.len()));
            journal.commit(history[history.len() - 1].clone()).unwrap();
        }
        journal.checkpoint(history.clone()).unwrap();
        history.push(payload(history.len()));
        journal.commit(history[history.len() - 1].clone()).unwrap();
    }
    let reader = BlockDevice::open_any(&path, Access::ReadOnly).unwrap();
    assert_eq!(load_stable(&reader, POOL, 3).unwrap().payloads, history);
}

#[test]
fn a_read_only_device_is_an_error_with_its_path() {
    let directory = directory();
    let path = directory.path().join("journal");
    File::create(&path).unwrap().set_len(1 << 20).unwrap();
    let reader = BlockDevice::open_any(&path, Access::ReadOnly).unwrap();
    let error = Journal::format(&reader, POOL, []).unwrap_err();
    assert!(error.to_string().contains("writing"), "{error}");
    assert!(error.to_string().contains("journal"), "{error}");
}
