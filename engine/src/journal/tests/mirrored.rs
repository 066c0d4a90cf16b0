//! Two copies: one may be damaged anywhere, a crash may fall between their writes.
#![forbid(unsafe_code)]

use super::*;

pub(super) fn mirror(copies: [&MemoryMedium; 2]) -> Mirrored {
    Mirrored::new(copies.map(|copy| Box::new(copy.clone()) as Box<dyn Media>).into()).unwrap()
}

/// Two equal copies with some history, region B current.
pub(super) fn mirrored_journal() -> (Vec<u8>, Vec<Vec<u8>>) {
    let copies = [MemoryMedium::zeroed(SMALL_BYTES), MemoryMedium::zeroed(SMALL_BYTES)];
    let media: Arc<dyn Media> = Arc::new(mirror([&copies[0], &copies[1]]));
    Journal::format(media.as_ref(), POOL, []).unwrap();
    let position = load(media.as_ref(), POOL).unwrap().position;
    let journal = Journal::resume(media, &position, Options::default()).unwrap();
    let history: Vec<Vec<u8>> = (0..7).map(payload).collect();
    for record in &history[..4] {
        journal.commit(record.clone()).unwrap();
    }
    journal.checkpoint(history[..4].to_vec()).unwrap();
    for record in &history[4..] {
        journal.commit(record.clone()).unwrap();
    }
    assert_eq!(copies[0].bytes(), copies[1].bytes());
    (copies[0].bytes(), history)
}

pub(super) fn resume_mirror(copies: [&MemoryMedium; 2]) -> (Journal, Loaded) {
    let media: Arc<dyn Media> = Arc::new(mirror(copies));
    let loaded = load(media.as_ref(), POOL).unwrap();
    let journal = Journal::resume(media, &loaded.position, Options::default()).unwrap();
    (journal, loaded)
}

#[test]
fn one_copy_damaged_anywhere_loses_nothing_and_is_named_and_mended() {
    let (bytes, history) = mirrored_journal();
    let half = bytes.len() / 2;
    for at in (half..bytes.len()).step_by(509).chain((0..half).step_by(4099)) {
        for damaged in 0..2 {
            let copies = [reopen(bytes.clone()), reopen(bytes.clone())];
            let mut spoiled = bytes.clone();
            spoiled[at..(at + 600).min(bytes.len())].fill(0xa5);
            let spoiled = reopen(spoiled);
            let pair = if damaged == 0 { [&spoiled, &copies[1]] } else { [&copies[0], &spoiled] };
            let (journal, loaded) = resume_mirror(pair);
            assert_eq!(loaded.payloads, history, "damage at {at} of copy {damaged}");
            assert_eq!(loaded.position.tail, Tail::Clean);
            let states: Vec<bool> = loaded
                .position
                .copies
                .iter()
                .map(|copy| matches!(copy.state, CopyState::Good))
                .collect();
            assert!(states[1 - damaged]);
            if at >= half && !(half + 4096 - 600..half + 8192).contains(&at) {
                assert!(!states[damaged], "damage at {at} of copy {damaged} went unnoticed");
            }
            assert_in_step(pair);
            journal.commit(payload(50)).unwrap();
            assert_in_step(pair);
        }
    }
}

/// Each copy alone gives the same records, and the next write finds the same place in both. What an
/// older region holds is no matter: it is erased before it is used.
fn assert_in_step(pair: [&MemoryMedium; 2]) {
    let [first, second] = [0, 1].map(|copy: usize| load(pair[copy], POOL).unwrap());
    assert_eq!(first.payloads, second.payloads);
    assert_eq!(first.position.region, second.position.region);
    assert_eq!(first.position.epoch, second.position.epoch);
    assert_eq!(first.position.end_offset, second.position.end_offset);
    assert_eq!((first.position.tail, second.position.tail), (Tail::Clean, Tail::Clean));
}

#[test]
fn a_copy_that_cannot_be_read_is_reported() {
    let (bytes, history) = mirrored_journal();
    let dead = reopen(bytes.clone()).failing(0, crate::journal::testing::FailedWrite::Nothing);
    let good = reopen(bytes);
    let loaded = load(&mirror([&dead, &good]), POOL).unwrap();
    assert_eq!(loaded.payloads, history);
    let state = &loaded.position.copies[0].state;
    assert!(matches!(state, CopyState::Damaged(JournalError::Media(_))), "{state:?}");
}

#[test]
fn a_crash_between_the_copies_writes_is_mended() {
    let start = formatted(SMALL_BYTES).bytes();
    let copies = [reopen(start.clone()), reopen(start.clone())];
    let (journal, _) = resume_mirror([&copies[0], &copies[1]]);
    let mut acked = vec![(0, 0)];
    let mut history = Vec::new();
    for number in 0..6 {
        history.push(payload(number));
        journal.commit(payload(number)).unwrap();
        acked.push((copies[0].change_count(), history.len()));
        if number == 2 {
            journal.checkpoint(history.clone()).unwrap();
        }
    }
    let changes = copies[0].changes();
    let mut behind = start;
    for (index, change) in changes.iter().enumerate() {
        let mut ahead = behind.clone();
        ahead[change.offset..][..change.bytes.len()].copy_from_slice(&change.bytes);
        let required = acked.iter().filter(|(changes, _)| *changes <= index);
        let required = required.map(|(_, records)| *records).max().unwrap_or(0);
        let pair = [reopen(ahead.clone()), reopen(behind)];
        let (journal, loaded) = resume_mirror([&pair[0], &pair[1]]);
        assert!(loaded.payloads.len() >= required, "change {index}");
        assert_eq!(loaded.payloads, history[..loaded.payloads.len()], "change {index}");
        assert_in_step([&pair[0], &pair[1]]);
        if journal.needs_checkpoint() {
            journal.checkpoint(loaded.payloads).unwrap();
        }
        journal.commit(payload(9)).unwrap();
        behind = ahead;
    }
}

#[test]
fn a_crash_while_mending_never_makes_the_mended_copy_pass_for_a_shorter_journal() {
    let (bytes, history) = mirrored_journal();
    let stale = formatted(SMALL_BYTES).bytes();
    let target = reopen(stale.clone());
    let good = reopen(bytes);
    resume_mirror([&good, &target]);
    let mut image = stale;
    for change in &target.changes() {
        image[change.offset..][..change.bytes.len()].copy_from_slice(&change.bytes);
        if let Ok(loaded) = load(&reopen(image.clone()), POOL) {
            assert_eq!(loaded.payloads, history);
        }
        let loaded = load(&mirror([&reopen(image.clone()), &good]), POOL).unwrap();
        assert_eq!(loaded.payloads, history);
    }
    assert_eq!(image, good.bytes());
}

#[test]
fn a_copy_that_lacks_records_is_no_journal_while_it_is_mended() {
    let (bytes, mut history) = mirrored_journal();
    let good = reopen(bytes.clone());
    let (journal, _) = resume(&good);
    for number in 7..10 {
        history.push(payload(number));
        journal.commit(payload(number)).unwrap();
    }
    let target = reopen(bytes.clone());
    resume_mirror([&good, &target]);
    let mut image = bytes;
    for change in &target.changes() {
        let is_erasing = change.bytes.iter().all(|byte| *byte == 0);
        for unit in change.bytes.chunks(4096).enumerate() {
            let (index, unit) = unit;
            image[change.offset + index * 4096..][..4096].copy_from_slice(unit);
            match load(&reopen(image.clone()), POOL) {
                Ok(loaded) if !is_erasing => assert_eq!(loaded.payloads, history),
                _ => {}
            }
        }
    }
    assert_eq!(image, good.bytes());
}

#[test]
fn a_readable_but_stale_copy_does_not_replace_a_newer_damaged_one() {
    let (bytes, _) = mirrored_journal();
    let newer = reopen(bytes.clone());
    let (journal, _) = resume(&newer);
    for number in 7..10 {
        journal.commit(payload(number)).unwrap();
    }
    let mut damaged = newer.bytes();
    let half = damaged.len() / 2;
    damaged[half + 8192 + 20] ^= 1;
    let pair = [reopen(bytes), reopen(damaged)];
    let error = load(&mirror([&pair[0], &pair[1]]), POOL).unwrap_err();
    assert!(matches!(error, JournalError::NewerCopyDamaged { .. }), "{error}");
}

#[test]
fn copies_that_were_written_apart_are_refused() {
    let (bytes, _) = mirrored_journal();
    let pair = [reopen(bytes.clone()), reopen(bytes)];
    for (number, medium) in pair.iter().enumerate() {
        resume(medium).0.commit(payload(20 + number)).unwrap();
    }
    let error = load(&mirror([&pair[0], &pair[1]]), POOL).unwrap_err();
    assert!(matches!(error, JournalError::Diverged { region: Region::B, .. }), "{error}");
}

#[test]
fn a_mirror_needs_copies_of_one_size() {
    let none = Mirrored::new(Vec::new()).unwrap_err();
    assert!(matches!(none, JournalError::Media(MediaError::NoCopies)), "{none}");
    let sizes = [SMALL_BYTES, 2 * SMALL_BYTES];
    let copies = sizes.map(|bytes| Box::new(MemoryMedium::zeroed(bytes)) as Box<dyn Media>);
    let uneven = Mirrored::new(copies.into()).unwrap_err();
    assert!(matches!(uneven, JournalError::Geometry { .. }), "{uneven}");
}
