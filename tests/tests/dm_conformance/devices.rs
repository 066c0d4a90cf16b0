//! The life of a device, whatever its target.

use std::fs::File;
use std::time::Duration;

use nix::errno::Errno;
use thinly_engine::block_device::DeviceNumber;
use thinly_engine::dm::{
    Command, DeviceKey, Dm, DmError, DmName, DmUuid, SuspendOptions, TableLine, TableSlot, Target,
};
use thinly_engine::units::{Bytes, Sectors};

use crate::stack::{Stack, linear_line, node, whole};

const SIZE: Bytes = Bytes::new(4 << 20);

#[test]
fn a_device_goes_through_its_states() {
    let mut stack = Stack::new();
    let (_, disk) = stack.disk(SIZE);
    let created = stack.create("linear");
    let name = created.name.clone();
    assert_eq!(created.uuid, Some(stack.uuid("linear")));
    assert!(!created.live_table && !created.inactive_table && created.target_count == 0);

    let line = linear_line(disk, SIZE);
    let loaded = stack.control.load(&name, std::slice::from_ref(&line), false).unwrap();
    assert!(loaded.inactive_table && !loaded.live_table);
    let tables = |stack: &Stack| {
        [TableSlot::Live, TableSlot::Inactive].map(|slot| stack.control.table(&name, slot).unwrap())
    };
    assert_eq!(tables(&stack), [vec![], vec![line.clone()]]);

    let cleared = stack.control.clear(&name).unwrap();
    assert!(!cleared.inactive_table);
    assert_eq!(tables(&stack), [vec![], vec![]]);

    stack.control.load(&name, std::slice::from_ref(&line), false).unwrap();
    let resumed = stack.control.resume(&name).unwrap();
    assert!(resumed.live_table && !resumed.inactive_table);
    assert!(!resumed.suspended && !resumed.read_only);
    assert_eq!(resumed.target_count, 1);
    assert_eq!(tables(&stack), [vec![line.clone()], vec![]]);
    assert_eq!(stack.control.deps(&name).unwrap(), [disk]);

    // Twice the same: the second suspend finds nothing to do.
    for _ in 0..2 {
        let suspended = stack.control.suspend(&name, SuspendOptions::default()).unwrap();
        assert!(suspended.suspended && suspended.live_table);
    }
    let zeros = whole(SIZE, Target::Zero);
    let both = stack.control.load(&name, std::slice::from_ref(&zeros), false).unwrap();
    assert!(both.live_table && both.inactive_table);
    assert!(!stack.control.resume(&name).unwrap().suspended);
    assert_eq!(tables(&stack), [vec![zeros], vec![]]);

    let by_uuid = stack.control.info_by_uuid(&stack.uuid("linear")).unwrap();
    let by_number = stack.control.device_info(&DeviceKey::from(created.number)).unwrap();
    assert_eq!([&by_uuid, &by_number], [&stack.control.info(&name).unwrap(); 2]);

    stack.control.remove(&name).unwrap();
    assert!(stack.control.info(&name).unwrap_err().is_not_found());
    assert!(stack.control.info_by_uuid(&stack.uuid("linear")).unwrap_err().is_not_found());
}

#[test]
fn every_way_to_suspend_suspends() {
    let mut stack = Stack::new();
    let name = stack.linear("linear", SIZE).name;
    for lock_fs in [false, true] {
        for flush in [false, true] {
            let info = stack.control.suspend(&name, SuspendOptions { lock_fs, flush }).unwrap();
            assert!(info.suspended, "lock_fs {lock_fs}, flush {flush}");
            assert!(!stack.control.resume(&name).unwrap().suspended);
        }
    }
}

#[test]
fn a_table_loaded_read_only_stays_so() {
    let mut stack = Stack::new();
    let (_, disk) = stack.disk(SIZE);
    let name = stack.create("linear").name;
    stack.control.load(&name, &[linear_line(disk, SIZE)], true).unwrap();
    assert!(stack.control.resume(&name).unwrap().read_only);
}

#[test]
fn what_exists_is_not_made_again() {
    let mut stack = Stack::new();
    let info = stack.create("one");
    let (name, uuid) = (info.name, info.uuid.unwrap());
    let other_name = stack.name("two");
    for (name, uuid) in [(&name, &stack.uuid("two")), (&other_name, &uuid)] {
        let error = stack.control.create(name, uuid).unwrap_err();
        assert!(error.is_exists() && !error.is_busy(), "{error}");
    }
}

#[test]
fn the_longest_name_and_uuid_are_taken() {
    let stack = Stack::new();
    let pad = |text: &str, length: usize| format!("{text:x<length$}");
    let name = DmName::new(pad(&stack.prefix, DmName::MAX_BYTES)).unwrap();
    let uuid = DmUuid::new(pad(&stack.prefix, DmUuid::MAX_BYTES)).unwrap();
    let info = stack.control.create(&name, &uuid).unwrap();
    let listed = stack.control.list(&stack.prefix, "").unwrap();
    stack.control.remove(&name).unwrap();
    assert_eq!((info.name, info.uuid), (name.clone(), Some(uuid.clone())));
    assert_eq!((&listed[0].name, &listed[0].uuid), (&name, &Some(uuid)));
}

#[test]
fn an_open_device_is_busy_until_its_last_close() {
    let mut stack = Stack::new();
    let info = stack.linear("linear", SIZE);
    let file = File::open(node(&info)).unwrap();
    assert_eq!(stack.control.info(&info.name).unwrap().open_count, 1);
    let error = stack.control.remove(&info.name).unwrap_err();
    assert!(error.is_busy() && !error.is_exists(), "{error}");
    stack.control.remove_deferred(&info.name).unwrap();
    assert!(stack.control.info(&info.name).unwrap().deferred_remove);
    drop(file);
    // The kernel removes it from a work queue.
    let gone = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        stack.control.info(&info.name).is_err_and(|error| error.is_not_found())
    });
    assert!(gone);
}

#[test]
fn a_device_that_is_not_there_is_not_found() {
    let stack = Stack::new();
    let name = stack.name("absent");
    let errors = [
        stack.control.load(&name, &[whole(SIZE, Target::Zero)], false).unwrap_err(),
        stack.control.clear(&name).unwrap_err(),
        stack.control.resume(&name).unwrap_err(),
        stack.control.suspend(&name, SuspendOptions::default()).unwrap_err(),
        stack.control.remove(&name).unwrap_err(),
        stack.control.deps(&name).unwrap_err(),
        stack.control.table(&name, TableSlot::Live).unwrap_err(),
        stack.control.status(&name, true).unwrap_err(),
        stack.control.message(&name, "create_thin 0").unwrap_err(),
    ];
    for error in errors {
        assert!(error.is_not_found() && error.to_string().contains(name.as_str()), "{error}");
    }
}

#[test]
fn a_missing_device_below_is_not_taken_for_this_one() {
    let mut stack = Stack::new();
    let created = stack.create("linear");
    let name = created.name;
    let nowhere = DeviceNumber { major: created.number.major, minor: 0xf_fff0 };
    let error = stack.control.load(&name, &[linear_line(nowhere, SIZE)], false).unwrap_err();
    assert!(matches!(error, DmError::Refused { command: Command::TableLoad, .. }), "{error}");
    assert!(error.to_string().contains(":1048560 0)"), "{error}");
}

#[test]
fn a_bad_table_is_refused_with_its_text() {
    let mut stack = Stack::new();
    let name = stack.create("linear").name;
    let target = Target::Other { kind: "linear".to_owned(), parameters: "nonsense".to_owned() };
    let error = stack.control.load(&name, &[whole(SIZE, target)], false).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::EINVAL));
    assert!(error.to_string().contains("(0 8192 linear nonsense)"), "{error}");
}

#[test]
fn a_long_table_makes_the_buffer_grow() {
    const LINES: u64 = 1000;
    let mut stack = Stack::new();
    let name = stack.create("long").name;
    let lines: Vec<TableLine> = (0..LINES)
        .map(|index| TableLine {
            start: Sectors::new(index * 8),
            length: Sectors::new(8),
            target: if index % 2 == 0 { Target::Zero } else { Target::Error },
        })
        .collect();
    stack.control.load(&name, &lines, false).unwrap();
    stack.control.resume(&name).unwrap();
    let before = stack.control.counters();
    assert_eq!(stack.control.table(&name, TableSlot::Live).unwrap(), lines);
    assert!(stack.control.counters().since(&before).get(Command::TableStatus) > 1);
}
