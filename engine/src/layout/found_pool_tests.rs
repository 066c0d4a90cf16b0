//! Grouping: what belongs together, what is newest, what must not be opened.
#![forbid(unsafe_code)]

use super::*;
use crate::layout::{LabelState, LayoutError};
use crate::units::BlockSize;

fn device(path: &str, pool: u128, index: u32) -> FoundDevice {
    let label = Label {
        pool_uuid: Uuid::from_u128(pool),
        pool_name: format!("pool{pool}"),
        device_uuid: Uuid::from_u128(pool * 100 + u128::from(index)),
        device_index: index,
        state: LabelState::Live,
        generation: 1,
        extent_bytes: Bytes::new(4 << 20),
        device_bytes: Bytes::new(1 << 30),
        created_at: 0,
        block_size: BlockSize::DEFAULT,
        placements: Vec::new(),
        segments: Vec::new(),
    };
    let number = DeviceNumber { major: 8, minor: index };
    FoundDevice { path: path.into(), number, size: Bytes::new(1 << 30), label, torn: None }
}

#[test]
fn devices_are_grouped_by_pool_and_ordered_by_index() {
    let found = vec![device("/dev/a", 2, 1), device("/dev/b", 1, 0), device("/dev/c", 2, 0)];
    let pools = FoundPool::group(found);
    let names: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(names, ["pool1", "pool2"]);
    let paths: Vec<&str> = pools[1].devices.iter().map(|d| d.path.to_str().unwrap()).collect();
    assert_eq!(paths, ["/dev/c", "/dev/a"]);
    assert!(pools.iter().all(|pool| pool.problems.is_empty() && pool.require_sound().is_ok()));
}

#[test]
fn a_copied_device_is_refused_naming_both_nodes() {
    let found = vec![device("/dev/a", 1, 0), device("/dev/copy", 1, 0), device("/dev/b", 1, 1)];
    let pools = FoundPool::group(found);
    let refused = pools[0].require_sound().unwrap_err();
    assert!(matches!(refused, LayoutError::DuplicateLabel { .. }));
    let message = refused.to_string();
    assert!(message.starts_with("/dev/a and /dev/copy both say"), "{message}");
    assert!(message.ends_with("one is a copy: detach it, or wipe its label"), "{message}");
}

#[test]
fn a_shorter_device_is_refused() {
    let shrunk = FoundDevice { size: Bytes::new(1 << 29), ..device("/dev/a", 1, 0) };
    let pools = FoundPool::group(vec![shrunk]);
    assert!(matches!(pools[0].require_sound(), Err(LayoutError::DeviceShrunk { .. })));
}

#[test]
fn the_newest_label_names_the_pool_and_others_are_reported() {
    let mut renamed = device("/dev/b", 1, 1);
    renamed.label.generation = 2;
    renamed.label.pool_name = "renamed".to_owned();
    let why = LabelDamage::Absent;
    let mut torn = device("/dev/c", 1, 2);
    torn.label.pool_name = "renamed".to_owned();
    torn.torn = Some((LabelCopy::Head, why.clone()));
    let pools = FoundPool::group(vec![device("/dev/a", 1, 0), renamed, torn]);
    assert_eq!(pools[0].name, "renamed");
    let expected = [
        ScanProblem::Disagreement { path: "/dev/a".into(), field: "pool name" },
        ScanProblem::OneCopyTorn { path: "/dev/c".into(), copy: LabelCopy::Head, why },
    ];
    assert_eq!(pools[0].problems, expected);
    assert!(pools[0].require_sound().is_ok(), "reported, not refused");
}
