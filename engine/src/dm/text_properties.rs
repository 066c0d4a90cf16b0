//! Every value prints text that reads back as itself, and no text makes a reader panic.
#![forbid(unsafe_code)]

use proptest::prelude::*;

use super::{
    DeviceReference, DiscardMode, LinearTable, OnNoSpace, PoolFeature, PoolMessage, PoolMode,
    PoolUsage, Target, ThinPoolStatus, ThinPoolTable, ThinStatus, ThinTable,
};
use crate::block_device::DeviceNumber;
use crate::units::{BlockSize, DataBlocks, MetadataBlocks, Sectors, ThinId, TransactionId};

fn reference() -> impl Strategy<Value = DeviceReference> {
    prop_oneof![
        any::<(u32, u32)>()
            .prop_map(|(major, minor)| DeviceReference::Number(DeviceNumber { major, minor })),
        "/dev/[a-zA-Z0-9/:._-]{1,30}".prop_map(DeviceReference::Path),
    ]
}

fn thin_id() -> impl Strategy<Value = ThinId> {
    (0..=ThinId::MAX.get()).prop_map(|id| ThinId::new(id).unwrap())
}

fn pool_table() -> impl Strategy<Value = ThinPoolTable> {
    let features =
        proptest::sample::subsequence(PoolFeature::ALL.to_vec(), 0..=ThinPoolTable::MAX_FEATURES);
    (reference(), reference(), 1_u64..=16384, any::<u64>(), features).prop_map(
        |(metadata, data, units, mark, features)| ThinPoolTable {
            metadata,
            data,
            block_size: BlockSize::new(Sectors::new(units * 128)).unwrap(),
            low_water_mark: DataBlocks::new(mark),
            features: features.into_iter().collect(),
        },
    )
}

fn usage() -> impl Strategy<Value = PoolUsage> {
    let counts = any::<(u64, u64, u64, u64, u64)>();
    let modes = (
        proptest::sample::select(PoolMode::ALL),
        proptest::sample::select(DiscardMode::ALL),
        proptest::sample::select(OnNoSpace::ALL),
        any::<bool>(),
    );
    // Trailing fields can only follow a watermark.
    let tail = prop_oneof![
        Just((None, Vec::new())),
        (any::<u64>(), proptest::collection::vec("[a-z0-9_/-]{1,12}", 0..4))
            .prop_map(|(mark, trailing)| (Some(mark), trailing)),
    ];
    (counts, proptest::option::of(any::<u64>()), modes, tail).prop_map(
        |(counts, held_root, (mode, discard, on_no_space, needs_check), (mark, trailing))| {
            PoolUsage {
                transaction_id: TransactionId::new(counts.0),
                used_metadata_blocks: MetadataBlocks::new(counts.1),
                total_metadata_blocks: MetadataBlocks::new(counts.2),
                used_data_blocks: DataBlocks::new(counts.3),
                total_data_blocks: DataBlocks::new(counts.4),
                held_root,
                mode,
                discard,
                on_no_space,
                needs_check,
                metadata_low_watermark: mark.map(MetadataBlocks::new),
                trailing,
            }
        },
    )
}

fn message() -> impl Strategy<Value = PoolMessage> {
    prop_oneof![
        thin_id().prop_map(PoolMessage::CreateThin),
        (thin_id(), thin_id()).prop_map(|(id, origin)| PoolMessage::CreateSnap { id, origin }),
        thin_id().prop_map(PoolMessage::Delete),
        any::<(u64, u64)>().prop_map(|(from, to)| PoolMessage::SetTransactionId {
            from: TransactionId::new(from),
            to: TransactionId::new(to),
        }),
        Just(PoolMessage::ReserveMetadataSnap),
        Just(PoolMessage::ReleaseMetadataSnap),
    ]
}

proptest! {
    #[test]
    fn linear_tables(device in reference(), offset: u64) {
        let table = LinearTable { device, offset: Sectors::new(offset) };
        prop_assert_eq!(table.to_string().parse::<LinearTable>(), Ok(table.clone()));
        prop_assert_eq!(Target::parse("linear", &table.to_string()), Ok(Target::Linear(table)));
    }

    #[test]
    fn thin_pool_tables(table in pool_table()) {
        prop_assert_eq!(table.to_string().parse::<ThinPoolTable>(), Ok(table.clone()));
        prop_assert!(table.to_string().ends_with(' '));
    }

    #[test]
    fn thin_tables(
        pool in reference(),
        id in thin_id(),
        external_origin in proptest::option::of(reference()),
    ) {
        let table = ThinTable { pool, id, external_origin };
        prop_assert_eq!(table.to_string().parse::<ThinTable>(), Ok(table));
    }

    #[test]
    fn thin_pool_statuses(usage in usage()) {
        let status = ThinPoolStatus::Working(usage);
        prop_assert_eq!(status.to_string().parse::<ThinPoolStatus>(), Ok(status));
    }

    #[test]
    fn thin_statuses(mapped: u64, highest_sector: Option<u64>) {
        let status = ThinStatus::Mapped { mapped_sectors: Sectors::new(mapped), highest_sector };
        prop_assert_eq!(status.to_string().parse::<ThinStatus>(), Ok(status));
    }

    #[test]
    fn messages(message in message()) {
        prop_assert_eq!(message.to_string().parse::<PoolMessage>(), Ok(message));
    }

    #[test]
    fn what_was_read_prints_the_same(line in "[0-9/:a-z_ -]{0,60}") {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        // Numbers may have lost leading zeros; without any, the words are the same.
        prop_assume!(!line.contains('0'));
        if let Ok(status) = line.parse::<ThinPoolStatus>() {
            prop_assert_eq!(words(&status.to_string()), words(&line));
        }
        if let Ok(status) = line.parse::<ThinStatus>() {
            prop_assert_eq!(words(&status.to_string()), words(&line));
        }
        if let Ok(table) = line.parse::<ThinTable>() {
            prop_assert_eq!(words(&table.to_string()), words(&line));
        }
    }
}
