//! A disk that rots, shrinks or fails: alone, and under a mirror.
#![forbid(unsafe_code)]

use super::damage::{last_write, two_region_journal, two_region_journal_of};
use super::failure::work;
use super::mirrored::{mirror, mirrored_journal, resume_mirror};
use super::*;
use crate::journal::testing::FailedWrite;

const FAILED_WRITES: [FailedWrite; 3] =
    [FailedWrite::Nothing, FailedWrite::FirstUnit, FailedWrite::All];

#[test]
fn rot_before_the_last_write_is_refused_with_its_place_and_the_mirror_has_it_all() {
    let (bytes, history) = two_region_journal();
    let end = last_write(&bytes).start;
    check_rot(&bytes, &history, end);
}

#[test]
fn rot_in_a_checkpoint_that_nothing_follows_is_refused_as_well() {
    let (bytes, history) = two_region_journal_of(SMALL_BYTES, 4);
    let position = load(&reopen(bytes.clone()), POOL).unwrap().position;
    let end = bytes.len() / 2 + usize::try_from(position.end_offset).unwrap();
    check_rot(&bytes, &history, end);
}

/// Damages everything from the checkpoint of region B to `end`.
fn check_rot(bytes: &[u8], history: &[Vec<u8>], end: usize) {
    let frames = bytes.len() / 2 + 2 * 4096..end;
    let good = reopen(bytes.to_vec());
    let mut tried = 0;
    for at in frames.step_by(37) {
        for rot in [0x00, 0x01, 0x80, 0xff] {
            let mut rotten = bytes.to_vec();
            // Zero stands for a sector that lost its content, the others for flips.
            if rot == 0 {
                rotten[at & !511..][..512].fill(0);
            } else {
                rotten[at] ^= rot;
            }
            if rotten == bytes {
                continue;
            }
            let rotten = reopen(rotten);
            let error = load(&rotten, POOL).unwrap_err();
            let JournalError::Damaged { region: Region::B, offset, .. } = error else {
                panic!("rot {rot:#x} at {at}: {error}");
            };
            let offset = usize::try_from(offset).unwrap();
            // The longest write of this history has three units.
            assert!(offset < (at | 511) + 1 && at - at.min(offset) < 3 * 4096, "{offset} for {at}");
            for copies in [[&rotten, &good], [&good, &rotten]] {
                let loaded = load(&mirror(copies), POOL).unwrap();
                assert_eq!(loaded.payloads, history);
                assert_eq!(loaded.position.tail, Tail::Clean);
            }
            tried += 1;
        }
    }
    assert!(tried > 500, "{tried} places were tried");
}

#[test]
fn a_medium_that_became_shorter_is_never_taken_for_a_journal() {
    let larger = 4 * SMALL_BYTES;
    for bytes in [formatted(larger).bytes(), two_region_journal_of(larger, 7).0] {
        for length in (0..bytes.len()).step_by(4096) {
            let error = load(&reopen(bytes[..length].to_vec()), POOL).unwrap_err();
            let named = match error {
                JournalError::TooSmall { .. } => length < SMALL_BYTES,
                JournalError::Geometry { .. } => length >= SMALL_BYTES,
                _ => false,
            };
            assert!(named, "{length} bytes: {error}");
        }
    }
}

#[test]
fn every_failure_of_either_copy_poisons_and_each_copy_holds_what_was_acknowledged() {
    let (start, before) = mirrored_journal();
    for (failing, failed_write) in [0, 1].into_iter().flat_map(|n| FAILED_WRITES.map(|f| (n, f))) {
        let mut failures = 0;
        for operation in 0.. {
            let copies = [reopen(start.clone()), reopen(start.clone())];
            let (journal, loaded) = resume_mirror([&copies[0], &copies[1]]);
            let mut history = loaded.payloads;
            assert_eq!(history, before);
            let _ = copies[failing]
                .clone()
                .failing(copies[failing].operations() + operation, failed_write);
            let (acked, result) = work(&journal, &mut history);
            let Err(error) = result else { break };
            failures += 1;
            assert!(matches!(error, JournalError::Poisoned { .. }), "{error}");
            let refused = journal.append(payload(0)).unwrap_err();
            assert!(matches!(refused, JournalError::Poisoned { .. }), "{refused}");

            let healed = copies.each_ref().map(|copy| reopen(copy.bytes()));
            for copy in &healed {
                check_prefix(&load(copy, POOL).unwrap().payloads, acked, &history);
            }
            let (journal, loaded) = resume_mirror([&healed[0], &healed[1]]);
            check_prefix(&loaded.payloads, acked, &history);
            go_on(&journal, loaded.payloads, &healed);
        }
        assert!(failures > 20, "{failures} failures were tried");
    }
}

fn check_prefix(payloads: &[Vec<u8>], acked: usize, history: &[Vec<u8>]) {
    assert!((acked..=history.len()).contains(&payloads.len()), "{} of {acked}", payloads.len());
    assert_eq!(payloads, &history[..payloads.len()]);
}

/// Adds a record and finds it, with all others, on every medium.
fn go_on(journal: &Journal, mut payloads: Vec<Vec<u8>>, media: &[MemoryMedium]) {
    if journal.needs_checkpoint() {
        journal.checkpoint(payloads.clone()).unwrap();
    }
    journal.commit(payload(99)).unwrap();
    payloads.push(payload(99));
    for medium in media {
        let loaded = load(medium, POOL).unwrap();
        assert_eq!((&loaded.payloads, loaded.position.tail), (&payloads, Tail::Clean));
    }
}

/// Opens, moves off the damaged tail and adds a record.
fn recover(media: &Arc<dyn Media>) -> Result<(), JournalError> {
    let loaded = load(media.as_ref(), POOL)?;
    let journal = Journal::resume(Arc::clone(media), &loaded.position, Options::default())?;
    if journal.needs_checkpoint() {
        journal.checkpoint(loaded.payloads)?;
    }
    journal.commit(payload(50))
}

#[test]
fn a_failure_at_any_operation_of_a_recovery_leaves_a_recovery_to_be_done() {
    let (bytes, mut history) = two_region_journal();
    let tail = last_write(&bytes);
    let mut torn = bytes.clone();
    torn[tail.start + 40] ^= 1;
    let whole = history.clone();
    history.pop();
    // Alone, and with a mirror's second copy that is whole and must win.
    for second in [None, Some(&bytes)] {
        let wanted = if second.is_some() { &whole } else { &history };
        for failed_write in FAILED_WRITES {
            let mut failures = 0;
            for operation in 0.. {
                let first = reopen(torn.clone()).failing(operation, failed_write);
                let second = second.map(|bytes| reopen(bytes.clone()));
                let media: Arc<dyn Media> = match &second {
                    Some(second) => Arc::new(mirror([&first, second])),
                    None => Arc::new(first.clone()),
                };
                if recover(&media).is_ok() {
                    break;
                }
                failures += 1;
                let healed = reopen(first.bytes());
                let mut all = vec![healed.clone()];
                let (journal, payloads) = match second {
                    Some(second) => {
                        let second = reopen(second.bytes());
                        all.push(second.clone());
                        let (journal, loaded) = resume_mirror([&healed, &second]);
                        (journal, loaded.payloads)
                    }
                    None => resume(&healed),
                };
                assert_eq!(payloads[..wanted.len()], wanted[..], "operation {operation}");
                assert!(payloads.len() <= wanted.len() + 1);
                go_on(&journal, payloads, &all);
            }
            assert!(failures > 5, "{failures} failures were tried");
        }
    }
}
