//! A crash at every write, with every state that the write may leave, and again during recovery.
#![forbid(unsafe_code)]

use super::*;
use crate::journal::testing::Change;

/// A journal whose state is simply all records so far, with what was acknowledged when.
struct Run {
    medium: MemoryMedium,
    journal: Journal,
    history: Vec<Vec<u8>>,
    /// For each acknowledgement: the changes made by then, and the records acknowledged.
    acks: Vec<(usize, usize)>,
}

impl Run {
    fn start(medium: MemoryMedium) -> Self {
        let (journal, history) = resume(&medium);
        let acks = vec![(0, history.len())];
        Self { medium, journal, history, acks }
    }

    fn append(&mut self) -> Ticket {
        let record = payload(self.history.len());
        self.history.push(record.clone());
        self.journal.append(record).unwrap()
    }

    fn commit_together(&mut self, count: usize) {
        let tickets: Vec<Ticket> = (0..count).map(|_| self.append()).collect();
        for ticket in tickets.into_iter().rev() {
            self.journal.wait(ticket).unwrap();
        }
        self.ack();
    }

    fn ack(&mut self) {
        self.acks.push((self.medium.change_count(), self.history.len()));
    }

    /// A checkpoint during which one record is acknowledged and one more is only appended.
    fn checkpoint_beside_appends(&mut self) {
        let snapshot = self.history.clone();
        let checkpoint = self.journal.begin_checkpoint().unwrap();
        let [first, second] = [payload(self.history.len()), payload(self.history.len() + 1)];
        self.history.extend([first.clone(), second.clone()]);
        self.journal.commit(first).unwrap();
        self.acks.push((self.medium.change_count(), self.history.len() - 1));
        let ticket = self.journal.append(second).unwrap();
        checkpoint.write(snapshot).unwrap();
        self.journal.wait(ticket).unwrap();
        self.ack();
    }

    fn checkpoint(&mut self) {
        self.journal.checkpoint(self.history.clone()).unwrap();
        self.ack();
    }

    /// Calls `check` with every image that a crash can leave, and how many records it must hold.
    fn crashes(
        &self,
        start: &[u8],
        states: fn(&Change) -> Vec<Vec<bool>>,
        check: &mut dyn FnMut(Vec<u8>, usize),
    ) {
        let mut image = start.to_vec();
        for (index, change) in self.medium.changes().iter().enumerate() {
            let acked = self.acks.iter().filter(|(changes, _)| *changes <= index);
            let required = acked.map(|(_, records)| *records).max().unwrap_or(0);
            for kept in states(change) {
                check(torn(&image, change, &kept), required);
            }
            image[change.offset..][..change.bytes.len()].copy_from_slice(&change.bytes);
        }
        check(image, self.history.len());
    }
}

/// The image after only the chosen pieces of a change reached it; pieces have equal length.
fn torn(image: &[u8], change: &Change, kept: &[bool]) -> Vec<u8> {
    let mut image = image.to_vec();
    let piece = change.bytes.len() / kept.len();
    for (index, bytes) in change.bytes.chunks(piece).enumerate() {
        if kept[index] {
            image[change.offset + index * piece..][..piece].copy_from_slice(bytes);
        }
    }
    image
}

/// Any subset of a few units, or of a unit's sectors; of many units the first, the last and holes.
fn every_state(change: &Change) -> Vec<Vec<bool>> {
    let units = change.bytes.len() / 4096;
    let mut states = Vec::new();
    if units <= 4 {
        for mask in 0_u32..1 << units {
            states.push((0..units).map(|unit| mask >> unit & 1 == 1).collect());
        }
    }
    if units == 1 {
        for count in 1..8 {
            states.push((0..8).map(|sector| sector < count).collect());
            states.push((0..8).map(|sector| sector >= count).collect());
        }
    }
    if units > 4 {
        for count in 0..=units {
            states.push((0..units).map(|unit| unit < count).collect());
            states.push((0..units).map(|unit| unit >= count).collect());
            states.push((0..units).map(|unit| unit != count).collect());
        }
    }
    states
}

/// Prefixes of units, and half a unit.
fn some_states(change: &Change) -> Vec<Vec<bool>> {
    let pieces = if change.bytes.len() == 4096 { 8 } else { change.bytes.len() / 4096 };
    let step = pieces.div_ceil(4);
    (0..=pieces)
        .step_by(step)
        .map(|count| (0..pieces).map(|piece| piece < count).collect())
        .collect()
}

fn check_loads(image: &[u8], required: usize, history: &[Vec<u8>]) -> usize {
    let loaded = load(&reopen(image.to_vec()), POOL).unwrap();
    let count = loaded.payloads.len();
    assert!(count >= required, "{count} of {required} acknowledged records are there");
    assert!(count <= history.len());
    assert!(loaded.payloads == history[..count], "records are not a prefix of what was appended");
    count
}

/// Opens the image as the next process would, changes it, and crashes that too.
fn recover(image: &[u8], required: usize, history: &[Vec<u8>]) -> usize {
    let count = check_loads(image, required, history);
    let mut run = Run::start(reopen(image.to_vec()));
    assert_eq!(run.acks, [(0, count)]);
    if run.journal.needs_checkpoint() {
        run.checkpoint();
    }
    run.commit_together(2);
    check_older_region_is_closed(&run.medium);
    run.checkpoint();
    run.commit_together(1);
    let mut crashes = 0;
    run.crashes(image, some_states, &mut |image, required| {
        check_loads(&image, required, &run.history);
        crashes += 1;
    });
    crashes
}

/// With a record acknowledged in the current region, the other one must not stand in for it.
fn check_older_region_is_closed(medium: &MemoryMedium) {
    let mut bytes = medium.bytes();
    let half = bytes.len() / 2;
    let region = load(medium, POOL).unwrap().position.region;
    let start = if region == Region::A { 0 } else { half };
    bytes[start..start + half].fill(0);
    let error = load(&reopen(bytes), POOL).unwrap_err();
    assert!(!matches!(error, JournalError::Media(_)), "{error}");
}

#[test]
fn before_the_seal_either_region_holds_everything() {
    let medium = formatted(SMALL_BYTES);
    let mut run = Run::start(medium);
    run.commit_together(3);
    let seal = SMALL_BYTES / 2 - 15 * 4096;
    run.checkpoint();
    let mut image = run.medium.bytes();
    image[seal..seal + 4096].fill(0);
    let loaded = load(&reopen(image.clone()), POOL).unwrap();
    assert_eq!((loaded.position.region, &loaded.payloads), (Region::B, &run.history));

    let checkpoint = SMALL_BYTES / 2 + 2 * 4096;
    image[checkpoint + 30] ^= 1;
    let medium = reopen(image);
    let loaded = load(&medium, POOL).unwrap();
    assert_eq!((loaded.position.region, &loaded.payloads), (Region::A, &run.history));
    let (journal, _) = resume(&medium);
    journal.checkpoint(loaded.payloads).unwrap();
    assert_eq!(load(&medium, POOL).unwrap().position.epoch, 3);
}

#[test]
fn acknowledged_records_survive_every_crash() {
    let medium = formatted(SMALL_BYTES);
    let start = medium.bytes();
    let mut run = Run::start(reopen(start.clone()));
    run.commit_together(1);
    run.commit_together(3);
    run.checkpoint();
    run.commit_together(2);
    run.checkpoint_beside_appends();
    // Long enough that its second unit holds whole frames.
    run.commit_together(5);
    run.checkpoint();
    let mut crashes = 0;
    run.crashes(&start, every_state, &mut |image, required| {
        crashes += 1 + recover(&image, required, &run.history);
    });
    println!("{crashes} crash states");
    assert!(crashes > 10_000, "only {crashes} crash states were tried");
}

/// Every sector at which a write may break off, from either end, and every sector left out alone.
fn every_sector(change: &Change) -> Vec<Vec<bool>> {
    let sectors = change.bytes.len() / 512;
    let state = |keep: &dyn Fn(usize) -> bool| (0..sectors).map(keep).collect();
    (0..sectors)
        .flat_map(|at| {
            [state(&|sector| sector < at), state(&|sector| sector >= at), state(&|s| s != at)]
        })
        .collect()
}

#[test]
fn a_write_torn_at_any_sector_is_whole_or_not_there() {
    for unit_bytes in [4096, 16384] {
        let medium = MemoryMedium::zeroed(512 << 10).with_unit(unit_bytes);
        Journal::format(&medium, POOL, []).unwrap();
        let start = medium.bytes();
        let mut run = Run::start(reopen(start.clone()).with_unit(unit_bytes));
        run.commit_together(1);
        run.commit_together(5);
        run.checkpoint_beside_appends();
        run.commit_together(3);
        let mut crashes = 0;
        run.crashes(&start, every_sector, &mut |image, required| {
            check_loads(&image, required, &run.history);
            crashes += 1;
        });
        assert!(crashes > 1000, "only {crashes} crash states were tried");
    }
}

#[test]
fn a_crash_while_formatting_leaves_no_journal() {
    let medium = MemoryMedium::zeroed(SMALL_BYTES);
    let records: Vec<Vec<u8>> = (0..5).map(payload).collect();
    Journal::format(&medium, POOL, records.clone()).unwrap();
    let changes = medium.changes();
    let last = changes.len() - 1;
    let mut image = vec![0; SMALL_BYTES];
    for (index, change) in changes.iter().enumerate() {
        for kept in every_state(change) {
            let torn = torn(&image, change, &kept);
            let whole = index == last && kept[0];
            assert_eq!(load(&reopen(torn), POOL).is_ok(), whole, "change {index} {kept:?}");
        }
        image[change.offset..][..change.bytes.len()].copy_from_slice(&change.bytes);
    }
    assert_eq!(load(&reopen(image), POOL).unwrap().payloads, records);
}
