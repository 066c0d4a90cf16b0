//! Who is woken by the end of a write: nobody too many is not shown here, nobody too few is.
#![forbid(unsafe_code)]

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::*;
use crate::aligned::AlignedBuffer;
use crate::journal::testing::FailedWrite;

/// A medium whose writes say that they began and wait to be let through.
#[derive(Debug)]
struct Gated {
    medium: MemoryMedium,
    began: Sender<()>,
    go: Mutex<Receiver<()>>,
}

impl Media for Gated {
    fn name(&self) -> String {
        self.medium.name()
    }

    fn size_bytes(&self) -> u64 {
        self.medium.size_bytes()
    }

    fn unit_bytes(&self) -> u32 {
        self.medium.unit_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut AlignedBuffer) -> Result<(), MediaError> {
        self.medium.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, buffer: &AlignedBuffer) -> Result<(), MediaError> {
        self.began.send(()).unwrap();
        self.go.lock().unwrap_or_else(PoisonError::into_inner).recv().unwrap();
        self.medium.write_at(offset, buffer)
    }

    fn zero_range(&self, offset: u64, length: u64) -> Result<(), MediaError> {
        self.medium.zero_range(offset, length)
    }

    fn flush(&self) -> Result<(), MediaError> {
        self.medium.flush()
    }
}

struct Gate {
    began: Receiver<()>,
    go: Sender<()>,
}

impl Gate {
    fn pass(&self) {
        self.go.send(()).unwrap();
    }
}

fn gated(medium: &MemoryMedium) -> (Journal, Gate) {
    let loaded = load(medium, POOL).unwrap();
    let (began_sender, began) = channel();
    let (go, go_receiver) = channel();
    let go_receiver = Mutex::new(go_receiver);
    let media = Gated { medium: medium.clone(), began: began_sender, go: go_receiver };
    let journal = Journal::resume(Arc::new(media), &loaded.position, Options::default()).unwrap();
    (journal, Gate { began, go })
}

/// Returns once so many callers wait in both rooms.
fn until_waiting(journal: &Journal, count: usize) {
    while journal.lock().turn.waiting() != count {
        thread::yield_now();
    }
}

#[test]
fn of_those_who_came_during_a_write_one_writes_for_all() {
    let medium = formatted(1 << 20);
    let (journal, gate) = gated(&medium);
    thread::scope(|scope| {
        scope.spawn(|| journal.commit(payload(0)).unwrap());
        gate.began.recv().unwrap();
        // Two writes in a row, so that each room has been the next one and the running one.
        for round in 0..2 {
            for number in 0..5 {
                let journal = &journal;
                scope.spawn(move || journal.commit(payload(10 * round + number)).unwrap());
            }
            until_waiting(&journal, 5 + 4 * round);
            gate.pass();
            gate.began.recv().unwrap();
            until_waiting(&journal, 4);
        }
        gate.pass();
    });
    let counters = journal.counters();
    assert_eq!((counters.writes, counters.frames), (3, 11));
    assert_eq!(journal.lock().turn.waiting(), 0);
}

#[test]
fn a_failed_write_reaches_those_it_did_not_carry() {
    let medium = formatted(1 << 20);
    let (journal, gate) = gated(&medium);
    thread::scope(|scope| {
        let refused = |number| {
            let error = journal.commit(payload(number)).unwrap_err();
            assert!(matches!(error, JournalError::Poisoned { .. }), "{error}");
        };
        scope.spawn(move || refused(0));
        gate.began.recv().unwrap();
        for number in 1..4 {
            scope.spawn(move || refused(number));
        }
        until_waiting(&journal, 3);
        let _failing = medium.clone().failing(medium.operations(), FailedWrite::Nothing);
        gate.pass();
    });
}

#[test]
fn a_checkpoint_and_writers_wait_for_each_other() {
    let medium = formatted(1 << 20);
    let (journal, gate) = gated(&medium);
    thread::scope(|scope| {
        scope.spawn(|| journal.commit(payload(0)).unwrap());
        gate.began.recv().unwrap();
        let checkpoint = journal.begin_checkpoint().unwrap();
        scope.spawn(move || checkpoint.write([payload(0)]).unwrap());
        // The checkpoint's snapshot, or the writer's record: whatever comes is let through.
        scope.spawn(|| journal.commit(payload(1)).unwrap());
        until_waiting(&journal, 1);
        let go = gate.go.clone();
        scope.spawn(move || (0..16).for_each(|_| go.send(()).unwrap()));
    });
    let mut loaded = load(&medium, POOL).unwrap().payloads;
    loaded.sort();
    assert_eq!(loaded, [payload(0), payload(1)]);
}
