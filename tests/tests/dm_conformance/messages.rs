//! Messages to a pool, and how each of them fails.

use nix::errno::Errno;
use thinly_engine::dm::{Command, Dm, DmError, PoolFeature, PoolMessage, SuspendOptions};
use thinly_engine::units::{ThinId, TransactionId};

use crate::stack::{Stack, TestPool, pool_line, thin_id, whole};

fn send(stack: &Stack, pool: &TestPool, message: &PoolMessage) -> Result<(), DmError> {
    stack.control.pool_message(&pool.name, message)
}

#[test]
fn thins_are_made_once_and_deleted_when_idle() {
    let mut stack = Stack::new();
    let pool = stack.pool(&[]);
    let thin = stack.thin(&pool, 1);
    let error = send(&stack, &pool, &PoolMessage::CreateThin(thin_id(1))).unwrap_err();
    assert!(error.is_exists(), "{error}");
    assert!(error.to_string().contains("(create_thin 1)"), "{error}");

    let delete = PoolMessage::Delete(thin_id(1));
    let error = send(&stack, &pool, &delete).unwrap_err();
    assert!(error.is_busy(), "{error}");
    stack.control.remove(&thin.name).unwrap();
    send(&stack, &pool, &delete).unwrap();
    assert!(send(&stack, &pool, &delete).unwrap_err().is_no_data());
}

#[test]
fn the_largest_thin_id_is_the_kernels() {
    let mut stack = Stack::new();
    let pool = stack.pool(&[]);
    send(&stack, &pool, &PoolMessage::CreateThin(ThinId::MAX)).unwrap();
    let above = format!("create_thin {}", ThinId::MAX.get() + 1);
    let error = stack.control.message(&pool.name, &above).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::EINVAL));
}

#[test]
fn a_snapshot_needs_an_origin_that_is_there() {
    let mut stack = Stack::new();
    let pool = stack.pool(&[]);
    let origin = stack.thin(&pool, 1);
    let unknown = PoolMessage::CreateSnap { id: thin_id(2), origin: thin_id(9) };
    assert!(send(&stack, &pool, &unknown).unwrap_err().is_no_data());

    stack.control.suspend(&origin.name, SuspendOptions::default()).unwrap();
    let snapshot = PoolMessage::CreateSnap { id: thin_id(2), origin: thin_id(1) };
    let sent = send(&stack, &pool, &snapshot);
    stack.control.resume(&origin.name).unwrap();
    sent.unwrap();
    assert!(send(&stack, &pool, &snapshot).unwrap_err().is_exists());
    stack.activate("snap", pool.thin_line(2));
}

#[test]
fn the_transaction_id_is_compared_and_swapped() {
    let mut stack = Stack::new();
    let pool = stack.pool(&[]);
    let set = |from: u64, to: u64| {
        let message = PoolMessage::SetTransactionId {
            from: TransactionId::new(from),
            to: TransactionId::new(to),
        };
        send(&stack, &pool, &message)
    };
    set(0, 7).unwrap();
    assert_eq!(set(0, 8).unwrap_err().errno(), Some(Errno::EINVAL));
    let status = stack.control.pool_status(&pool.name, false).unwrap();
    assert_eq!(status.usage().unwrap().transaction_id, TransactionId::new(7));
}

#[test]
fn one_metadata_snapshot_is_held_at_a_time() {
    let mut stack = Stack::new();
    let pool = stack.pool(&[]);
    let held = |stack: &Stack| {
        stack.control.pool_status(&pool.name, false).unwrap().usage().unwrap().held_root
    };
    assert_eq!(held(&stack), None);
    let release = PoolMessage::ReleaseMetadataSnap;
    assert_eq!(send(&stack, &pool, &release).unwrap_err().errno(), Some(Errno::EINVAL));
    send(&stack, &pool, &PoolMessage::ReserveMetadataSnap).unwrap();
    assert!(held(&stack).is_some_and(|block| block > 0));
    assert!(send(&stack, &pool, &PoolMessage::ReserveMetadataSnap).unwrap_err().is_busy());
    send(&stack, &pool, &release).unwrap();
    assert_eq!(held(&stack), None);
}

#[test]
fn a_read_only_pool_takes_no_messages() {
    let mut stack = Stack::new();
    let pool = stack.pool(&[]);
    let mut table = pool.table.clone();
    table.features.insert(PoolFeature::ReadOnly);
    stack.control.load(&pool.name, &[pool_line(table)], false).unwrap();
    stack.control.resume(&pool.name).unwrap();
    let error = send(&stack, &pool, &PoolMessage::CreateThin(thin_id(1))).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::EOPNOTSUPP));
}

#[test]
fn messages_reach_a_suspended_pool() {
    let mut stack = Stack::new();
    let pool = stack.pool(&[]);
    stack.control.suspend(&pool.name, SuspendOptions::default()).unwrap();
    let sent = send(&stack, &pool, &PoolMessage::CreateThin(thin_id(1)));
    stack.control.resume(&pool.name).unwrap();
    sent.unwrap();
}

#[test]
fn a_device_without_a_pool_answers_with_an_error() {
    let mut stack = Stack::new();
    let empty = stack.create("empty").name;
    let error = stack.control.message(&empty, "create_thin 0").unwrap_err();
    assert!(!error.is_not_found(), "{error}");
    assert_eq!(error.errno(), Some(Errno::EINVAL));
    let zero = whole(crate::stack::DATA, thinly_engine::dm::Target::Zero);
    let zero = stack.activate("zero", zero).name;
    let error = stack.control.message(&zero, "create_thin 0").unwrap_err();
    assert_eq!(error.errno(), Some(Errno::EINVAL));
}

#[test]
fn an_answer_is_handed_back() {
    let mut stack = Stack::new();
    let zero = whole(crate::stack::DATA, thinly_engine::dm::Target::Zero);
    let name = stack.activate("zero", zero).name;
    // Statistics are the one thing that every device answers to.
    assert_eq!(stack.control.message(&name, "@stats_create - /1").unwrap().unwrap(), "0");
    let list = stack.control.message(&name, "@stats_list").unwrap().unwrap();
    assert!(list.starts_with("0: 0+131072"), "{list}");
    assert_eq!(stack.control.message(&name, "@stats_delete 0").unwrap(), None);
}

#[test]
fn an_answer_too_long_is_not_asked_for_twice() {
    let mut stack = Stack::new();
    let zero = whole(crate::stack::DATA, thinly_engine::dm::Target::Zero);
    let name = stack.activate("zero", zero).name;
    for _ in 0..60 {
        stack.control.message(&name, "@stats_create - /1").unwrap();
    }
    let before = stack.control.counters();
    let error = stack.control.message(&name, "@stats_list").unwrap_err();
    assert!(matches!(error, DmError::ReplyTooLong { .. }), "{error}");
    assert_eq!(stack.control.counters().since(&before).get(Command::Message), 1);
}
