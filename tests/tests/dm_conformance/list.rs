//! Lists of devices and of targets.

use thinly_engine::dm::{Command, Dm, DmVersion, Feature, Support};

use crate::stack::Stack;

#[test]
fn prefixes_of_names_and_uuids_select() {
    let mut stack = Stack::new();
    let made: Vec<_> = ["a1", "a2", "b1"].map(|suffix| stack.create(suffix)).into();
    let names = |name: &str, uuid: &str| -> Vec<String> {
        let mut names: Vec<String> = stack
            .control
            .list(name, uuid)
            .unwrap()
            .into_iter()
            .map(|device| device.name.as_str().replace(&stack.prefix, ""))
            .collect();
        names.sort();
        names
    };
    let prefix = stack.prefix.clone();
    let uuids = format!("THINLY-TEST-{prefix}");
    assert_eq!(names(&prefix, ""), ["a1", "a2", "b1"]);
    assert_eq!(names(&format!("{prefix}a"), ""), ["a1", "a2"]);
    assert_eq!(names("", &format!("{uuids}b")), ["b1"]);
    assert_eq!(names(&format!("{prefix}a"), &format!("{uuids}a2")), ["a2"]);
    assert!(names(&format!("{prefix}c"), "").is_empty());
    assert!(names(&"x".repeat(500), "").is_empty());
    assert!(names("", "").len() >= 3);

    let listed = stack.control.list(&prefix, "").unwrap();
    for info in made {
        let device = listed.iter().find(|device| device.name == info.name).unwrap();
        assert_eq!((&device.uuid, device.number), (&info.uuid, info.number));
        assert_eq!(device.event_nr, info.event_nr);
    }
}

#[test]
fn a_long_list_makes_the_buffer_grow() {
    const DEVICES: usize = 150;
    let mut stack = Stack::new();
    for index in 0..DEVICES {
        stack.create(&format!("{index:0>80}"));
    }
    let before = stack.control.counters();
    assert_eq!(stack.control.list(&stack.prefix, "").unwrap().len(), DEVICES);
    assert!(stack.control.counters().since(&before).get(Command::ListDevices) > 1);
}

#[test]
fn the_kernel_tells_its_versions() {
    let stack = Stack::new();
    let control = &stack.control;
    assert!(control.version().unwrap() >= DmVersion::new(4, 45, 0));
    for feature in Feature::ALL {
        control.require(feature).unwrap();
        assert_eq!(control.support(feature).unwrap(), Support::Yes, "{feature}");
    }
    let listed = control.target_versions().unwrap();
    let pool = listed.iter().find(|target| target.name == "thin-pool").unwrap();
    assert_eq!(control.target_version("thin-pool").unwrap(), Some(pool.version));
    assert_eq!(control.target_version("no-such-target").unwrap(), None);
}

#[test]
fn what_is_known_is_not_asked_again() {
    let stack = Stack::new();
    stack.control.version().unwrap();
    stack.control.require(Feature::ThinPool).unwrap();
    let before = stack.control.counters();
    stack.control.version().unwrap();
    stack.control.require(Feature::ThinPool).unwrap();
    assert_eq!(stack.control.counters().since(&before).total(), 0);
}
