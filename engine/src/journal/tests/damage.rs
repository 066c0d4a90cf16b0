//! Bits that flip, units that land elsewhere, laps and pools that are not ours.
#![forbid(unsafe_code)]

use super::*;

/// A journal with several writes in region B, region A sealed behind it.
pub(super) fn two_region_journal() -> (Vec<u8>, Vec<Vec<u8>>) {
    two_region_journal_of(SMALL_BYTES, 7)
}

/// The same on a medium of any length, with `count` records, four of them in the checkpoint.
pub(super) fn two_region_journal_of(length: usize, count: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let medium = formatted(length);
    let (journal, _) = resume(&medium);
    let mut history: Vec<Vec<u8>> = (0..4).map(payload).collect();
    for record in &history {
        journal.commit(record.clone()).unwrap();
    }
    journal.checkpoint(history.clone()).unwrap();
    for number in 4..count {
        journal.commit(payload(number)).unwrap();
        history.push(payload(number));
    }
    (medium.bytes(), history)
}

/// Where the last write starts and where it ends, on the medium.
pub(super) fn last_write(bytes: &[u8]) -> std::ops::Range<usize> {
    let position = load(&reopen(bytes.to_vec()), POOL).unwrap().position;
    let base = if position.region == Region::A { 0 } else { bytes.len() / 2 };
    let end = base + usize::try_from(position.end_offset).unwrap();
    let length = payload(6).len() + 24;
    end - length.next_multiple_of(4096)..end
}

/// What a load may answer after damage at `at`: all, a refusal, or less with a damaged tail.
fn check_damaged(bytes: Vec<u8>, history: &[Vec<u8>], at: usize, tail: &std::ops::Range<usize>) {
    match load(&reopen(bytes), POOL) {
        Ok(loaded) if loaded.payloads == history => {}
        Ok(loaded) => {
            assert!(tail.contains(&at), "records are missing after damage at {at}");
            assert!(matches!(loaded.position.tail, Tail::Damaged { .. }), "silent at {at}");
            assert_eq!(loaded.payloads, history[..history.len() - 1]);
        }
        Err(JournalError::Damaged { .. }) => {}
        Err(other) => panic!("damage at {at}: {other}"),
    }
}

#[test]
fn no_flipped_bit_loses_a_record_silently() {
    let (bytes, history) = two_region_journal();
    let tail = last_write(&bytes);
    for at in 0..bytes.len() {
        // Unused units are all alike; their flips are tried at fewer places.
        let used = bytes[at & !4095..][..4096].iter().any(|byte| *byte != 0);
        if !used && at % 64 != 0 {
            continue;
        }
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        check_damaged(flipped, &history, at, &tail);
    }
}

#[test]
fn a_flip_in_the_unused_tail_is_reported() {
    let (mut bytes, history) = two_region_journal();
    let at = bytes.len() - 100;
    bytes[at] = 1;
    let loaded = load(&reopen(bytes), POOL).unwrap();
    assert_eq!(loaded.payloads, history);
    let Tail::Damaged { offset } = loaded.position.tail else { panic!("clean") };
    let offset = usize::try_from(offset).unwrap();
    assert!(offset <= at && at - offset < 4096, "{offset} for {at}");
}

#[test]
fn any_unit_on_any_other_place_loses_nothing_silently() {
    let (bytes, history) = two_region_journal();
    let tail = last_write(&bytes);
    let older = formatted(SMALL_BYTES).bytes();
    let other_pool = Uuid::from_u128(7);
    let foreign = MemoryMedium::zeroed(SMALL_BYTES);
    Journal::format(&foreign, other_pool, (0..40).map(payload)).unwrap();
    for source in [&bytes, &older, &foreign.bytes()] {
        for from in (0..source.len()).step_by(4096) {
            for to in (0..bytes.len()).step_by(4096) {
                let mut misdirected = bytes.clone();
                misdirected[to..to + 4096].copy_from_slice(&source[from..from + 4096]);
                // Zeros over the only unit of the last write look like a write never made.
                let erased = tail.contains(&to) && source[from..from + 4096] == [0; 4096];
                if !(erased && tail.len() == 4096) {
                    check_damaged(misdirected, &history, to, &tail);
                }
            }
        }
    }
}

#[test]
fn a_region_from_an_earlier_lap_is_not_taken_for_the_present_one() {
    let (journal, medium, mut laps) = {
        let medium = formatted(SMALL_BYTES);
        let (journal, _) = resume(&medium);
        (journal, medium, Vec::new())
    };
    let mut history = Vec::new();
    for number in 0..8 {
        laps.push(medium.bytes());
        history.push(payload(number));
        journal.commit(payload(number)).unwrap();
        journal.checkpoint(history.clone()).unwrap();
    }
    let bytes = medium.bytes();
    let half = bytes.len() / 2;
    let position = load(&reopen(bytes.clone()), POOL).unwrap().position;
    for lap in laps {
        for start in [0, half] {
            let mut mixed = bytes.clone();
            mixed[start..start + half].copy_from_slice(&lap[start..start + half]);
            let is_current = start == usize::try_from(position.region.index()).unwrap() * half;
            match load(&reopen(mixed), POOL) {
                Ok(loaded) => assert_eq!(loaded.payloads, history),
                Err(error) => {
                    assert!(is_current, "the current region is whole: {error}");
                    assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
                }
            }
        }
    }
}

#[test]
fn damage_before_the_last_record_names_its_place_and_the_way_out() {
    let (mut bytes, _) = two_region_journal();
    let at = last_write(&bytes).start - 4096 + 30;
    bytes[at] ^= 0x10;
    let error = load(&reopen(bytes), POOL).unwrap_err();
    let JournalError::Damaged { region, offset, .. } = &error else { panic!("{error}") };
    assert_eq!(*region, Region::B);
    assert!((at - 4096..=at).contains(&usize::try_from(*offset).unwrap()));
    let text = error.to_string();
    for part in ["region B", "mirror copy", "thinly pool restore", "thinly pool salvage"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn an_older_region_never_stands_in_for_a_lost_one() {
    let (bytes, _) = two_region_journal();
    let half = bytes.len() / 2;
    for length in [4096, half] {
        let mut lost = bytes.clone();
        lost[half..half + length].fill(0);
        let error = load(&reopen(lost), POOL).unwrap_err();
        assert!(matches!(error, JournalError::Damaged { region: Region::B, .. }), "{error}");
    }
}

#[test]
fn zeros_other_pools_and_other_versions_have_their_own_errors() {
    let blank = load(&MemoryMedium::zeroed(SMALL_BYTES), POOL).unwrap_err();
    assert!(matches!(blank, JournalError::Blank { .. }), "{blank}");

    let other = Uuid::from_u128(7);
    let foreign = load(&formatted(SMALL_BYTES), other).unwrap_err();
    assert!(matches!(foreign, JournalError::ForeignPool { found: POOL, .. }), "{foreign}");

    let mut bytes = formatted(SMALL_BYTES).bytes();
    bytes[8] = 2;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..12]);
    hasher.update(&bytes[16..4096]);
    bytes[12..16].copy_from_slice(&hasher.finalize().to_le_bytes());
    let version = load(&reopen(bytes), POOL).unwrap_err();
    assert!(matches!(version, JournalError::Version { found: 2, known: 1, .. }), "{version}");

    let mut bytes = formatted(SMALL_BYTES).bytes();
    bytes.extend(vec![0; SMALL_BYTES]);
    let geometry = load(&reopen(bytes), POOL).unwrap_err();
    assert!(matches!(geometry, JournalError::Geometry { .. }), "{geometry}");

    let small = Journal::format(&MemoryMedium::zeroed(65536), POOL, []).unwrap_err();
    assert!(matches!(small, JournalError::TooSmall { needed_bytes: 131_072, .. }), "{small}");
}

#[test]
fn a_damaged_tail_is_left_as_evidence_and_not_written_after() {
    let (mut bytes, mut history) = two_region_journal();
    let tail = last_write(&bytes);
    bytes[tail.start + 40] ^= 1;
    history.pop();
    let medium = reopen(bytes.clone());
    let (journal, payloads) = resume(&medium);
    assert_eq!(payloads, history);
    assert!(journal.needs_checkpoint());
    let refused = journal.append(payload(9)).unwrap_err();
    assert!(matches!(refused, JournalError::CheckpointRequired), "{refused}");

    journal.checkpoint(payloads).unwrap();
    journal.commit(payload(9)).unwrap();
    history.push(payload(9));
    let loaded = load(&medium, POOL).unwrap();
    assert_eq!((loaded.payloads, loaded.position.tail), (history, Tail::Clean));
    // Only the seal was added to the damaged region.
    let half = bytes.len() / 2;
    let changed: Vec<usize> =
        (half..bytes.len()).filter(|at| medium.bytes()[*at] != bytes[*at]).collect();
    assert!(!changed.is_empty());
    assert!(changed.iter().all(|at| (half + 4096..half + 8192).contains(at)));
}

#[test]
fn a_counter_that_cannot_be_counted_on_from_is_damage() {
    use crate::journal::control::control_crc;
    use crate::journal::format::header;

    for field in [header::EPOCH, header::FIRST_SEQUENCE] {
        let mut bytes = formatted(SMALL_BYTES).bytes();
        field.put(&mut bytes, &u64::MAX.to_le_bytes());
        let crc = control_crc(&bytes);
        header::CRC.put(&mut bytes, &crc.to_le_bytes());
        let error = load(&reopen(bytes), POOL).unwrap_err();
        let named = matches!(error, JournalError::Damaged { region: Region::A, offset: 0, .. });
        assert!(named, "{}: {error}", field.name);
    }
}
