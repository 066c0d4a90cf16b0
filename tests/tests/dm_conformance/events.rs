//! Events on the control node. They are of any device, so each of these tests runs alone.

use std::time::Duration;

use thinly_engine::aligned::AlignedBuffer;
use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::dm::{Control, Dm, SuspendOptions};
use thinly_engine::units::BlockSize;

use crate::stack::{DATA, Stack, node};

/// Long enough for any guest; a wait ends with its event, not with its time.
const PATIENCE: Option<Duration> = Some(Duration::from_mins(2));

#[test]
fn alone_an_event_ends_the_wait() {
    let mut stack = Stack::new();
    let watch = Control::open().unwrap();
    watch.arm_poll().unwrap();
    assert!(!watch.wait(Some(Duration::ZERO)).unwrap());
    stack.create("new");
    assert!(watch.wait(PATIENCE).unwrap());
    // It stays so until the node is armed again.
    assert!(watch.wait(Some(Duration::ZERO)).unwrap());
    watch.arm_poll().unwrap();
    assert!(!watch.wait(Some(Duration::ZERO)).unwrap());
}

#[test]
fn alone_a_waiting_thread_is_woken() {
    let mut stack = Stack::new();
    let watch = Control::open().unwrap();
    watch.arm_poll().unwrap();
    let waiter = std::thread::spawn(move || watch.wait(PATIENCE));
    stack.create("new");
    assert!(waiter.join().unwrap().unwrap());
}

#[test]
fn alone_each_open_node_is_armed_by_itself() {
    let mut stack = Stack::new();
    let [first, second] = [(), ()].map(|()| Control::open().unwrap());
    first.arm_poll().unwrap();
    second.arm_poll().unwrap();
    stack.create("new");
    assert!(first.wait(PATIENCE).unwrap());
    first.arm_poll().unwrap();
    assert!(second.wait(PATIENCE).unwrap());
}

#[test]
fn alone_a_pool_that_runs_low_raises_an_event() {
    let mut stack = Stack::new();
    let pool = stack.pool(&[]);
    let thin = stack.thin(&pool, 1);
    let number = |stack: &Stack| {
        let listed = stack.control.list(pool.name.as_str(), "").unwrap();
        let info = stack.control.info(&pool.name).unwrap();
        assert_eq!(listed[0].event_nr, info.event_nr);
        info.event_nr
    };
    // Nothing of this is an event of the pool's: not its load, nor another resume.
    stack.control.suspend(&pool.name, SuspendOptions::default()).unwrap();
    stack.control.resume(&pool.name).unwrap();
    assert_eq!(number(&stack), 0);

    let watch = Control::open().unwrap();
    watch.arm_poll().unwrap();
    let device = BlockDevice::open(&node(&thin), Access::ReadWrite).unwrap();
    let mark = BlockSize::MIN.length_of(pool.table.low_water_mark).get();
    let step = AlignedBuffer::padded(&vec![1; 1 << 20], 4096);
    for offset in (0..DATA.get() - mark).step_by(1 << 20) {
        device.write_at(offset, &step).unwrap();
    }
    // The mark is looked at before a block is taken: it takes one more.
    device.write_at(DATA.get() - mark, &AlignedBuffer::padded(&[1], 4096)).unwrap();
    assert!(watch.wait(PATIENCE).unwrap());
    assert_eq!(number(&stack), 1);
}
