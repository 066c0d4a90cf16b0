//! Events on the control node.

use std::time::Duration;

use thinly_engine::dm::{Control, Dm, SuspendOptions};

use crate::stack::Stack;

/// Long enough for any guest; a wait ends with its event, not with its time.
const PATIENCE: Option<Duration> = Some(Duration::from_mins(2));

#[test]
fn an_event_ends_the_wait() {
    let Some(mut stack) = Stack::new() else { return };
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
fn a_waiting_thread_is_woken() {
    let Some(mut stack) = Stack::new() else { return };
    let watch = Control::open().unwrap();
    watch.arm_poll().unwrap();
    let waiter = std::thread::spawn(move || watch.wait(PATIENCE));
    stack.create("new");
    assert!(waiter.join().unwrap().unwrap());
}

#[test]
fn each_open_node_is_armed_by_itself() {
    let Some(mut stack) = Stack::new() else { return };
    let [first, second] = [(), ()].map(|()| Control::open().unwrap());
    first.arm_poll().unwrap();
    second.arm_poll().unwrap();
    stack.create("new");
    assert!(first.wait(PATIENCE).unwrap());
    first.arm_poll().unwrap();
    assert!(second.wait(PATIENCE).unwrap());
}

#[test]
fn a_pools_resume_counts_as_its_event() {
    let Some(mut stack) = Stack::new() else { return };
    let pool = stack.pool(&[]).name;
    let number = |stack: &Stack| {
        let listed = stack.control.list(pool.as_str(), "").unwrap();
        (listed[0].event_nr, stack.control.info(&pool).unwrap().event_nr)
    };
    let before = number(&stack);
    stack.control.suspend(&pool, SuspendOptions::default()).unwrap();
    stack.control.resume(&pool).unwrap();
    let after = number(&stack);
    assert!(after.0 > before.0, "{before:?} {after:?}");
    assert_eq!(after.0, after.1);
}
