//! Any sequence of operations does what a plain list does.
#![forbid(unsafe_code)]

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<u8>),
    CommitTogether(Vec<Vec<u8>>),
    Checkpoint,
    CheckpointBeside(Vec<Vec<u8>>),
    GiveUpCheckpoint,
    Reopen,
}

fn record() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..200),
        1 => prop::collection::vec(any::<u8>(), 3900..4300),
        1 => prop::collection::vec(any::<u8>(), 8100..12_400),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let records = || prop::collection::vec(record(), 1..6);
    prop_oneof![
        4 => record().prop_map(Step::Commit),
        3 => records().prop_map(Step::CommitTogether),
        1 => Just(Step::Checkpoint),
        1 => records().prop_map(Step::CheckpointBeside),
        1 => Just(Step::GiveUpCheckpoint),
        2 => Just(Step::Reopen),
    ]
}

fn append_all(journal: &Journal, model: &mut Vec<Vec<u8>>, records: Vec<Vec<u8>>) {
    let tickets: Vec<Ticket> = records
        .into_iter()
        .map(|record| {
            model.push(record.clone());
            journal.append(record).unwrap()
        })
        .collect();
    for ticket in tickets {
        journal.wait(ticket).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_journal_is_a_list(steps in prop::collection::vec(step(), 1..40)) {
        let medium = formatted(4 << 20);
        let (mut journal, mut model) = resume(&medium);
        for step in steps {
            match step {
                Step::Commit(record) => append_all(&journal, &mut model, vec![record]),
                Step::CommitTogether(records) => append_all(&journal, &mut model, records),
                Step::Checkpoint => journal.checkpoint(model.clone()).unwrap(),
                Step::CheckpointBeside(records) => {
                    let snapshot = model.clone();
                    let checkpoint = journal.begin_checkpoint().unwrap();
                    append_all(&journal, &mut model, records);
                    checkpoint.write(snapshot).unwrap();
                }
                Step::GiveUpCheckpoint => drop(journal.begin_checkpoint().unwrap()),
                Step::Reopen => {
                    let (reopened, payloads) = resume(&medium);
                    prop_assert_eq!(&payloads, &model);
                    journal = reopened;
                }
            }
        }
        let loaded = load(&medium, POOL).unwrap();
        prop_assert_eq!(loaded.payloads, model);
        prop_assert_eq!(loaded.position.tail, Tail::Clean);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        seed in prop::collection::vec(any::<u8>(), 64..256),
        places in prop::collection::vec(0..SMALL_BYTES / 8, 1..50),
    ) {
        let medium = formatted(SMALL_BYTES);
        let (journal, _) = resume(&medium);
        for number in 0..6 {
            journal.commit(payload(number)).unwrap();
        }
        let mut bytes = medium.bytes();
        for (index, place) in places.into_iter().enumerate() {
            let piece = &seed[index % 32..index % 32 + 8];
            bytes[place * 8..place * 8 + 8].copy_from_slice(piece);
        }
        if let Ok(loaded) = load(&reopen(bytes), POOL) {
            let history: Vec<Vec<u8>> = (0..6).map(payload).collect();
            prop_assert_eq!(&loaded.payloads[..], &history[..loaded.payloads.len()]);
            prop_assert!(loaded.payloads.len() == 6 || loaded.position.tail != Tail::Clean);
        }
    }
}

#[test]
fn a_hundred_thousand_records_go_through_a_checkpoint() {
    let medium = formatted(64 << 20);
    let (journal, _) = resume(&medium);
    let records = || (0..100_000_u32).map(|number| number.to_le_bytes().repeat(25));
    journal.checkpoint(records()).unwrap();
    assert!(journal.counters().writes < 20, "{:?}", journal.counters());
    journal.commit(b"after".to_vec()).unwrap();
    let mut expected = records();
    let mut count = 0;
    load_each(&medium, POOL, &mut |payload| {
        let wanted = expected.next().unwrap_or_else(|| b"after".to_vec());
        assert_eq!(payload, wanted);
        count += 1;
    })
    .unwrap();
    assert_eq!(count, 100_001);
}
