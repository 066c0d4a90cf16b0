//! The ioctls of block devices.

use std::fs::OpenOptions;

use thinly_engine::aligned::AlignedBuffer;
use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::dm::block;
use thinly_engine::units::{BlockSize, Bytes, DataBlocks};

use crate::stack::{Stack, node};

fn is_filled(device: &BlockDevice, offset: u64, with: u8) -> bool {
    let mut buffer = AlignedBuffer::zeroed(4096);
    device.read_at(offset, &mut buffer).unwrap();
    buffer.iter().all(|byte| *byte == with)
}

#[test]
fn zeros_are_written_where_they_are_asked_for() {
    let mut stack = Stack::new();
    let (path, _) = stack.disk(Bytes::new(1 << 20));
    let device = BlockDevice::open(&path, Access::ReadWrite).unwrap();
    device.write_at(0, &AlignedBuffer::padded(&[0x5a; 3 * 4096], 4096)).unwrap();
    block::zero_out(&device, Bytes::new(4096), Bytes::new(4096)).unwrap();
    assert!(is_filled(&device, 0, 0x5a));
    assert!(is_filled(&device, 4096, 0));
    assert!(is_filled(&device, 8192, 0x5a));
    block::flush_buffers(&device).unwrap();
    assert!(block::zero_out(&device, Bytes::new(1), Bytes::new(4096)).is_err());
}

#[test]
fn a_discard_frees_the_blocks_of_a_thin() {
    use thinly_engine::dm::Dm as _;
    let mut stack = Stack::new();
    let pool = stack.pool(&[]);
    let thin = stack.thin(&pool, 1);
    let device = BlockDevice::open(&node(&thin), Access::ReadWrite).unwrap();
    let block_bytes = BlockSize::MIN.bytes();
    device.write_at(0, &AlignedBuffer::padded(&vec![1; 4 << 16], 4096)).unwrap();
    let used = |stack: &Stack| {
        let status = stack.control.pool_status(&pool.name, true).unwrap();
        status.usage().unwrap().used_data_blocks
    };
    assert_eq!(used(&stack), DataBlocks::new(4));
    block::discard(&device, block_bytes, Bytes::new(2 * block_bytes.get())).unwrap();
    assert_eq!(used(&stack), DataBlocks::new(2));
    assert!(is_filled(&device, block_bytes.get(), 0));
}

#[test]
fn a_partition_table_is_read_again() {
    let mut stack = Stack::new();
    let (path, _) = stack.disk(Bytes::new(1 << 20));
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    // A loop device that was set up without partitions refuses; a dm device has none at all.
    let error = block::reread_partitions(&file).unwrap_err();
    assert_eq!(error.source.raw_os_error(), Some(nix::libc::EINVAL), "{error}");
}
