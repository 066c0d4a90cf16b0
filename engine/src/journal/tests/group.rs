//! Many threads: grouped writes, one order, checkpoints and readers beside them.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;

use super::*;

const THREADS: usize = 8;

fn numbered(thread: usize, number: usize) -> Vec<u8> {
    let mut bytes = format!("{thread} {number} ").into_bytes();
    bytes.resize(100, b'.');
    bytes
}

#[test]
fn records_that_wait_together_go_out_in_one_write() {
    let medium = formatted(4 << 20);
    let (journal, _) = resume(&medium);
    let tickets: Vec<Ticket> =
        (0..200).map(|number| journal.append(numbered(0, number)).unwrap()).collect();
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        for chunk in tickets.chunks(tickets.len() / THREADS) {
            let (journal, barrier) = (&journal, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for ticket in chunk {
                    journal.wait(*ticket).unwrap();
                }
            });
        }
    });
    let counters = journal.counters();
    assert_eq!((counters.writes, counters.frames), (1, 200));
    assert_eq!(journal.flush_durations().count(), 1);
    let expected: Vec<Vec<u8>> = (0..200).map(|number| numbered(0, number)).collect();
    assert_eq!(load(&medium, POOL).unwrap().payloads, expected);
}

#[test]
fn one_can_wait_for_what_others_appended() {
    let medium = formatted(1 << 20);
    let (journal, _) = resume(&medium);
    journal.wait_for_all().unwrap();
    assert_eq!(journal.counters().writes, 0, "nothing was appended");
    for number in 0..3 {
        let _ = journal.append(numbered(0, number)).unwrap();
    }
    journal.wait_for_all().unwrap();
    assert_eq!(load(&medium, POOL).unwrap().payloads.len(), 3);
}

#[test]
fn a_lone_caller_pays_one_write_of_one_unit_whatever_the_history() {
    let medium = formatted(1 << 20);
    let (journal, _) = resume(&medium);
    for number in 0..100 {
        let before = journal.counters();
        journal.commit(numbered(0, number)).unwrap();
        let after = journal.counters();
        assert_eq!(after.writes - before.writes, 1);
        assert_eq!(after.bytes_written - before.bytes_written, 4096);
    }
}

/// Eight threads change one list under one lock, checkpoints run and readers load meanwhile.
#[test]
fn order_is_kept_beside_checkpoints_and_readers() {
    const EACH: usize = 300;
    let medium = formatted(1 << 20);
    let (journal, _) = resume(&medium);
    let state: Mutex<Vec<Vec<u8>>> = Mutex::default();
    let done = AtomicBool::new(false);
    let acked = AtomicUsize::new(0);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (journal, state, acked, done) = (&journal, &state, &acked, &done);
                scope.spawn(move || {
                    for number in 0..EACH {
                        let record = numbered(thread, number);
                        let count = append_ordered(journal, state, record, done);
                        acked.fetch_max(count, Ordering::AcqRel);
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                if journal.needs_checkpoint()
                    && let Err(error) = run_checkpoint(&journal, &state)
                {
                    // The workers wait for room that will never come: they must hear of it.
                    done.store(true, Ordering::Release);
                    panic!("{error}");
                }
                thread::yield_now();
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                check_reader(&medium, &state, acked.load(Ordering::Acquire));
            }
        });
        let results: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Release);
        assert!(results.iter().all(Result::is_ok));
    });
    let state = state.into_inner().unwrap();
    assert_eq!(state.len(), THREADS * EACH);
    let loaded = load(&medium, POOL).unwrap();
    assert!(loaded.payloads == state, "the journal's order is not the state's");
    assert!(loaded.position.epoch > 1, "no checkpoint ran");
    assert!(journal.counters().frames >= (THREADS * EACH) as u64);
}

/// Returns how many records were durable after this one.
fn append_ordered(
    journal: &Journal,
    state: &Mutex<Vec<Vec<u8>>>,
    record: Vec<u8>,
    done: &AtomicBool,
) -> usize {
    loop {
        assert!(!done.load(Ordering::Acquire), "nobody makes room any more");
        let mut state = state.lock().unwrap();
        match journal.append(record.clone()) {
            Ok(ticket) => {
                state.push(record);
                let count = state.len();
                drop(state);
                journal.wait(ticket).unwrap();
                return count;
            }
            Err(JournalError::Full { .. }) => {
                drop(state);
                thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn run_checkpoint(journal: &Journal, state: &Mutex<Vec<Vec<u8>>>) -> Result<(), JournalError> {
    let (checkpoint, snapshot) = {
        let state = state.lock().unwrap();
        (journal.begin_checkpoint()?, state.clone())
    };
    checkpoint.write(snapshot)
}

/// A checkpoint that was slow finds many records behind it; they need the room that they take
/// together, not that of a write each, which a region may not have.
#[test]
fn a_slow_checkpoint_takes_what_came_meanwhile_into_few_writes() {
    let medium = formatted(SMALL_BYTES);
    let (journal, _) = resume(&medium);
    let checkpoint = journal.begin_checkpoint().unwrap();
    let mut made = Vec::new();
    let full = loop {
        let record = numbered(0, made.len());
        match journal.append(record.clone()) {
            Ok(_) => made.push(record),
            Err(error) => break error,
        }
        journal.wait_for_all().unwrap();
    };
    assert!(matches!(full, JournalError::Full { .. }), "{full}");
    let snapshot = (0..made.len()).map(|number| numbered(9, number));
    checkpoint.write(snapshot.clone()).unwrap();
    journal.commit(numbered(1, 0)).unwrap();
    let mut expected: Vec<Vec<u8>> = snapshot.chain(made).collect();
    expected.push(numbered(1, 0));
    assert!(load(&medium, POOL).unwrap().payloads == expected);
}

/// A reader without the claim sees a prefix that holds all that was there before it began.
fn check_reader(medium: &MemoryMedium, state: &Mutex<Vec<Vec<u8>>>, acked: usize) {
    match load_stable(medium, POOL, 20) {
        Ok(loaded) => {
            let state = state.lock().unwrap();
            let count = loaded.payloads.len();
            assert!(loaded.payloads.iter().zip(state.iter()).all(|(read, made)| read == made));
            assert!((acked..=state.len()).contains(&count), "{count}, {acked} acknowledged");
        }
        Err(JournalError::Unsettled { .. }) => {}
        Err(error) => panic!("a reader beside a healthy writer: {error}"),
    }
}

#[test]
fn a_failed_write_reaches_every_waiter() {
    let medium = formatted(1 << 20);
    let (journal, _) = resume(&medium);
    let tickets: Vec<Ticket> =
        (0..THREADS).map(|thread| journal.append(numbered(thread, 0)).unwrap()).collect();
    let operation = medium.operations();
    let _medium = medium.failing(operation, crate::journal::testing::FailedWrite::Nothing);
    thread::scope(|scope| {
        for ticket in tickets {
            let journal = &journal;
            scope.spawn(move || {
                let error = journal.wait(ticket).unwrap_err();
                assert!(matches!(error, JournalError::Poisoned { .. }), "{error}");
            });
        }
    });
}

#[test]
fn a_ticket_of_another_journal_is_refused() {
    let (journal, _) = resume(&formatted(SMALL_BYTES));
    let (other, _) = resume(&formatted(SMALL_BYTES));
    journal.commit(payload(1)).unwrap();
    let ticket = journal.append(payload(2)).unwrap();
    let error = other.wait(ticket).unwrap_err();
    assert!(matches!(error, JournalError::UnknownTicket { sequence: 2 }), "{error}");
}

#[test]
fn readers_tell_a_lasting_damage_from_a_busy_writer() {
    let medium = formatted(SMALL_BYTES);
    let (journal, _) = resume(&medium);
    journal.commit(payload(1)).unwrap();
    let mut bytes = medium.bytes();
    bytes[3 * 4096] = 9;
    let loaded = load_stable(&reopen(bytes.clone()), POOL, 5).unwrap();
    assert_eq!(loaded.payloads, [payload(1)]);
    assert!(matches!(loaded.position.tail, Tail::Damaged { .. }));
    bytes[0] ^= 1;
    let error = load_stable(&reopen(bytes), POOL, 5).unwrap_err();
    assert!(matches!(error, JournalError::Damaged { region: Region::A, offset: 0, .. }), "{error}");
}
