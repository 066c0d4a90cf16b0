//! Tables and statuses of pools and thins, as this kernel writes them.

use nix::errno::Errno;
use thinly_engine::aligned::AlignedBuffer;
use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::dm::{
    DeviceKey, DiscardMode, Dm, DmError, OnNoSpace, PoolFeature, PoolMode, PoolUsage, TableSlot,
    Target, ThinStatus, ThinTable,
};
use thinly_engine::units::{BlockSize, Bytes, DataBlocks, MetadataBlocks, Sectors, TransactionId};

use crate::stack::{DATA, METADATA, Stack, THIN, TestPool, node, pool_line, thin_id, whole};

fn usage(stack: &Stack, pool: &TestPool, flush: bool) -> PoolUsage {
    stack.control.pool_status(&pool.name, flush).unwrap().usage().unwrap().clone()
}

fn write(device: &BlockDevice, offset: u64, length: usize) -> Result<(), impl std::fmt::Debug> {
    device.write_at(offset, &AlignedBuffer::padded(&vec![0xa5; length], 4096))
}

#[test]
fn a_fresh_pool_is_empty() {
    let mut stack = Stack::new();
    let pool = stack.pool(&[]);
    let usage = usage(&stack, &pool, false);
    assert_eq!(usage.transaction_id, TransactionId::ZERO);
    assert_eq!(usage.total_metadata_blocks, MetadataBlocks::new(METADATA.get() / 4096));
    assert!(usage.used_metadata_blocks > MetadataBlocks::ZERO);
    assert_eq!(usage.used_data_blocks, DataBlocks::ZERO);
    assert_eq!(usage.total_data_blocks, BlockSize::MIN.blocks_floor(DATA));
    assert_eq!(usage.held_root, None);
    assert_eq!(usage.mode, PoolMode::ReadWrite);
    assert_eq!(usage.on_no_space, OnNoSpace::Queue);
    assert!(!usage.needs_check && usage.takes_messages());
    assert_eq!(usage.metadata_low_watermark, Some(MetadataBlocks::new(512)));
    assert!(usage.trailing.is_empty(), "{:?}", usage.trailing);
}

#[test]
fn the_features_show_in_the_status() {
    for (feature, discard, on_no_space) in [
        (PoolFeature::IgnoreDiscard, DiscardMode::Ignore, OnNoSpace::Queue),
        (PoolFeature::NoDiscardPassdown, DiscardMode::NoPassdown, OnNoSpace::Queue),
        (PoolFeature::ErrorIfNoSpace, DiscardMode::Passdown, OnNoSpace::Error),
    ] {
        let mut stack = Stack::new();
        let pool = stack.pool(&[feature]);
        let usage = usage(&stack, &pool, false);
        assert_eq!((usage.discard, usage.on_no_space), (discard, on_no_space), "{feature}");
    }
}

#[test]
fn the_kernel_prints_what_we_print() {
    let mut stack = Stack::new();
    let features = [
        PoolFeature::SkipBlockZeroing,
        PoolFeature::IgnoreDiscard,
        PoolFeature::NoDiscardPassdown,
        PoolFeature::ErrorIfNoSpace,
    ];
    let pool = stack.pool(&features);
    let thin = stack.thin(&pool, 5);
    for name in [pool.name.clone(), stack.name("meta"), thin.name] {
        let key = DeviceKey::from(&name);
        let raw = stack.control.device_table(&key, TableSlot::Live).unwrap();
        let read = stack.control.table(&name, TableSlot::Live).unwrap();
        assert_eq!(raw.len(), read.len());
        for (raw, read) in raw.iter().zip(&read) {
            assert_eq!(read.target.parameters(), raw.text);
            assert_eq!(read.target.kind(), raw.kind);
        }
        for line in stack.control.status(&name, false).unwrap() {
            match line.kind.as_str() {
                "thin-pool" => assert_eq!(line.thin_pool().unwrap().to_string(), line.text),
                "thin" => assert_eq!(line.thin().unwrap().to_string(), line.text),
                kind => assert_eq!((kind, line.text.as_str()), ("linear", "")),
            }
        }
    }
    let table = stack.control.table(&pool.name, TableSlot::Live).unwrap();
    assert_eq!(table, [pool_line(pool.table.clone())]);
}

#[test]
fn five_features_are_one_too_many() {
    let mut stack = Stack::new();
    let pool = stack.pool(&[]);
    let mut table = pool.table.clone();
    table.features.extend(PoolFeature::ALL);
    let error = stack.control.load(&pool.name, &[pool_line(table)], false).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::EINVAL));
}

#[test]
fn a_thin_counts_what_is_written() {
    let mut stack = Stack::new();
    let pool = stack.pool(&[]);
    let thin = stack.thin(&pool, 1);
    let empty = ThinStatus::Mapped { mapped_sectors: Sectors::ZERO, highest_sector: None };
    assert_eq!(stack.control.thin_status(&thin.name).unwrap(), empty);
    let device = BlockDevice::open(&node(&thin), Access::ReadWrite).unwrap();
    let block = BlockSize::MIN.bytes().get();
    for offset in [0, 9 * block] {
        write(&device, offset, 4096).unwrap();
    }
    let written = ThinStatus::Mapped {
        mapped_sectors: Sectors::new(2 * 128),
        highest_sector: Some(10 * 128 - 1),
    };
    assert_eq!(stack.control.thin_status(&thin.name).unwrap(), written);
    assert_eq!(usage(&stack, &pool, true).used_data_blocks, DataBlocks::new(2));
}

#[test]
fn a_full_pool_says_so() {
    let mut stack = Stack::new();
    let pool = stack.pool(&[PoolFeature::ErrorIfNoSpace]);
    let thin = stack.thin(&pool, 1);
    let device = BlockDevice::open(&node(&thin), Access::ReadWrite).unwrap();
    let refused =
        (0..THIN.get() / (1 << 20)).find(|mib| write(&device, mib << 20, 1 << 20).is_err());
    assert_eq!(refused, Some(DATA.get() / (1 << 20)));
    let full = usage(&stack, &pool, false);
    assert_eq!(full.mode, PoolMode::OutOfDataSpace);
    assert_eq!(full.free_data_blocks(), DataBlocks::ZERO);
    assert!(full.takes_messages());
}

#[test]
fn an_external_origin_shows_through() {
    let mut stack = Stack::new();
    let pool = stack.pool(&[]);
    let origin = stack.linear("origin", Bytes::new(4 << 20));
    write(&BlockDevice::open(&node(&origin), Access::ReadWrite).unwrap(), 0, 4096).unwrap();
    stack.control.message(&pool.name, "create_thin 3").unwrap();
    let table = ThinTable {
        pool: pool.number.into(),
        id: thin_id(3),
        external_origin: Some(origin.number.into()),
    };
    let line = whole(THIN, Target::Thin(table));
    let thin = stack.activate("thin3", line.clone());
    assert_eq!(stack.control.table(&thin.name, TableSlot::Live).unwrap(), [line]);
    let mut deps = stack.control.deps(&thin.name).unwrap();
    deps.sort();
    let mut below = [pool.number, origin.number];
    below.sort();
    assert_eq!(deps, below);
    let mut buffer = AlignedBuffer::zeroed(4096);
    let device = BlockDevice::open(&node(&thin), Access::ReadOnly).unwrap();
    device.read_at(0, &mut buffer).unwrap();
    assert!(buffer.iter().all(|byte| *byte == 0xa5));
}

#[test]
fn the_status_of_another_target_is_not_mistaken() {
    let mut stack = Stack::new();
    let name = stack.linear("linear", Bytes::new(1 << 20)).name;
    assert!(matches!(stack.control.pool_status(&name, false), Err(DmError::Text { .. })));
    let empty = stack.create("empty").name;
    let error = stack.control.pool_status(&empty, false).unwrap_err();
    assert!(matches!(error, DmError::TargetCount { count: 0, .. }), "{error}");
}

#[test]
fn every_call_is_one_command() {
    let mut stack = Stack::new();
    let pool = stack.pool(&[]);
    let thin = stack.thin(&pool, 1);
    let before = stack.control.counters();
    stack.control.pool_status(&pool.name, false).unwrap();
    stack.control.thin_status(&thin.name).unwrap();
    stack.control.message(&pool.name, "create_thin 2").unwrap();
    stack.control.suspend(&thin.name, thinly_engine::dm::SuspendOptions::default()).unwrap();
    stack.control.resume(&thin.name).unwrap();
    stack.control.info(&thin.name).unwrap();
    assert_eq!(stack.control.counters().since(&before).total(), 6);
}
