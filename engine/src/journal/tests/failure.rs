//! The n-th operation fails, for every n.
#![forbid(unsafe_code)]

use super::*;
use crate::journal::testing::FailedWrite;

/// Works until something fails; returns how many records were acknowledged.
pub(super) fn work(
    journal: &Journal,
    history: &mut Vec<Vec<u8>>,
) -> (usize, Result<(), JournalError>) {
    let mut acked = history.len();
    for round in 0..4 {
        for _ in 0..3 {
            history.push(payload(history.len()));
            if let Err(error) = journal.commit(history[history.len() - 1].clone()) {
                return (acked, Err(error));
            }
            acked = history.len();
        }
        if round % 2 == 0
            && let Err(error) = journal.checkpoint(history.clone())
        {
            return (acked, Err(error));
        }
    }
    (acked, Ok(()))
}

#[test]
fn every_failure_poisons_and_a_reopen_finds_what_was_acknowledged() {
    let start = formatted(SMALL_BYTES).bytes();
    for failed_write in [FailedWrite::Nothing, FailedWrite::FirstUnit, FailedWrite::All] {
        let mut failures = 0;
        for operation in 0.. {
            let medium = reopen(start.clone());
            let (journal, mut history) = resume(&medium);
            let before = medium.operations();
            let medium = medium.failing(before + operation, failed_write);
            let (acked, result) = work(&journal, &mut history);
            let Err(error) = result else { break };
            failures += 1;
            assert!(matches!(error, JournalError::Poisoned { .. }), "{error}");
            for refused in [
                journal.append(payload(0)).map(drop),
                journal.commit(payload(0)),
                journal.checkpoint([]),
                journal.begin_checkpoint().map(drop),
            ] {
                let refused = refused.unwrap_err();
                assert!(matches!(refused, JournalError::Poisoned { .. }), "{refused}");
            }
            let healed = reopen(medium.bytes());
            let (journal, payloads) = resume(&healed);
            assert!((acked..=history.len()).contains(&payloads.len()), "{acked} {operation}");
            assert_eq!(payloads, history[..payloads.len()]);
            if journal.needs_checkpoint() {
                journal.checkpoint(payloads).unwrap();
            }
            journal.commit(payload(99)).unwrap();
        }
        assert!(failures > 20, "{failures} failures were tried");
    }
}

#[test]
fn a_failed_read_is_an_error_and_no_shorter_journal() {
    let medium = formatted(SMALL_BYTES);
    let (journal, _) = resume(&medium);
    for number in 0..6 {
        journal.commit(payload(number)).unwrap();
    }
    let reads = {
        let counted = reopen(medium.bytes());
        load(&counted, POOL).unwrap();
        counted.operations()
    };
    assert!(reads > 3);
    for operation in 0..reads {
        let failing = reopen(medium.bytes()).failing(operation, FailedWrite::Nothing);
        let error = load(&failing, POOL).unwrap_err();
        assert!(matches!(error, JournalError::Media(_)), "{error}");
    }
}

#[test]
fn a_full_region_is_a_typed_error_and_changes_nothing() {
    let medium = formatted(SMALL_BYTES);
    let (journal, _) = resume(&medium);
    let mut count = 0;
    let full = loop {
        match journal.commit(payload(1)) {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(full, JournalError::Full { needed_bytes: 4096, free_bytes: 0 }),
        "after {count}: {full}"
    );
    assert_eq!(count, 14);
    assert!(journal.needs_checkpoint());
    let too_much = (0..14).map(|_| vec![1; 5000]);
    let full = journal.checkpoint(too_much).unwrap_err();
    assert!(matches!(full, JournalError::Full { .. }), "{full}");
    let loaded = load(&medium, POOL).unwrap();
    assert_eq!((loaded.payloads.len(), loaded.position.region), (14, Region::A));

    journal.checkpoint([payload(1)]).unwrap();
    assert!(!journal.needs_checkpoint());
    journal.commit(payload(2)).unwrap();
    assert_eq!(load(&medium, POOL).unwrap().payloads, [payload(1), payload(2)]);
}

#[test]
fn a_catch_up_that_does_not_fit_leaves_the_old_region() {
    let medium = formatted(SMALL_BYTES);
    let (journal, _) = resume(&medium);
    let checkpoint = journal.begin_checkpoint().unwrap();
    for _ in 0..3 {
        journal.commit(vec![2; 10_000]).unwrap();
    }
    let full = checkpoint.write((0..11).map(|_| vec![1; 4000])).unwrap_err();
    assert!(matches!(full, JournalError::Full { .. }), "{full}");
    journal.commit(payload(1)).unwrap();
    journal.checkpoint([payload(3)]).unwrap();
    assert_eq!(load(&medium, POOL).unwrap().payloads, [payload(3)]);
}

#[test]
fn a_record_has_a_largest_size() {
    let medium = formatted(16 << 20);
    let (journal, _) = resume(&medium);
    journal.commit(vec![7; PAYLOAD_BYTES_MAX]).unwrap();
    let error = journal.append(vec![7; PAYLOAD_BYTES_MAX + 1]).unwrap_err();
    assert!(matches!(error, JournalError::PayloadTooLarge { bytes: 1_048_577, .. }), "{error}");
    assert_eq!(load(&medium, POOL).unwrap().payloads, [vec![7; PAYLOAD_BYTES_MAX]]);
}

#[test]
fn only_one_checkpoint_runs_and_a_dropped_one_is_forgotten() {
    let medium = formatted(SMALL_BYTES);
    let (journal, _) = resume(&medium);
    let first = journal.begin_checkpoint().unwrap();
    let second = journal.begin_checkpoint().unwrap_err();
    assert!(matches!(second, JournalError::CheckpointRunning), "{second}");
    drop(first);
    journal.checkpoint([payload(1)]).unwrap();
}

#[test]
fn a_medium_with_larger_units_moves_the_journal_before_it_writes() {
    let medium = formatted(512 << 10);
    let (journal, _) = resume(&medium);
    journal.commit(payload(1)).unwrap();
    let moved = reopen(medium.bytes()).with_unit(16384);
    let (journal, payloads) = resume(&moved);
    let error = journal.append(payload(2)).unwrap_err();
    assert!(matches!(error, JournalError::CheckpointRequired), "{error}");
    journal.checkpoint(payloads).unwrap();
    journal.commit(payload(2)).unwrap();
    assert_eq!(load(&moved, POOL).unwrap().payloads, [payload(1), payload(2)]);
    let half = 256 << 10;
    for change in moved.changes().iter().filter(|change| change.offset > half) {
        assert!(change.offset.is_multiple_of(16384), "written at {}", change.offset);
        assert!(change.bytes.len().is_multiple_of(16384), "{} written", change.bytes.len());
    }
}
