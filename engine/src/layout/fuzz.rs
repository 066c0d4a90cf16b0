//! A label from arbitrary bytes.
#![forbid(unsafe_code)]
#![allow(clippy::missing_panics_doc, reason = "a broken promise is told by a panic")]

use super::extent_map::{DeviceSpace, ExtentMap};
use super::found_pool::{FoundDevice, FoundPool};
use super::label::{Label, tail_offset};
use super::label_format::{
    LABEL_BYTES, LABEL_HEAD_OFFSET, LabelCopy, claimed_device_bytes, decode, encode, seal,
};
use super::label_read::{LabelDamage, LabelRead};
use super::role::Role;
use super::sizes::device_extents;
use crate::block_device::DeviceNumber;
use crate::fuzzing::asks;

/// Input: a byte of choices (0: right the checksum, 1: it is the second copy), then a label.
pub fn label(data: &[u8]) -> bool {
    let Some((&flags, bytes)) = data.split_first() else { return false };
    let mut block = vec![0; LABEL_BYTES];
    let length = bytes.len().min(LABEL_BYTES);
    block[..length].copy_from_slice(&bytes[..length]);
    if asks(flags, 0) {
        seal(&mut block);
    }
    let tail = claimed_device_bytes(&block).and_then(tail_offset);
    let places = [
        (LabelCopy::Head, LABEL_HEAD_OFFSET),
        (LabelCopy::Tail, tail.unwrap_or(LABEL_HEAD_OFFSET)),
    ];
    let (this, other) = if asks(flags, 1) { (1, 0) } else { (0, 1) };
    let (copy, offset) = places[this];
    // A short block is as likely as any other damage.
    let _ = decode(&block[..length], copy, offset);
    let Ok(label) = decode(&block, copy, offset) else { return false };
    assert_eq!(encode(&label, copy).ok().as_ref(), Some(&block), "it is written as it was read");
    let (copy, offset) = places[other];
    let twin = encode(&label, copy).ok().and_then(|block| decode(&block, copy, offset).ok());
    assert_eq!(twin.as_ref(), Some(&label), "both copies say the same");
    check_use(&label);
    let good = LabelRead::decide(Ok(label.clone()), Ok(label.clone()));
    assert_eq!(good.label(), Some(&label));
    let torn = LabelRead::decide(Err(LabelDamage::Absent), Ok(label.clone()));
    assert_eq!(torn.label(), Some(&label));
    true
}

/// What the engine does with a label that it believes.
fn check_use(label: &Label) {
    for at in &label.placements {
        let end = at.offset.checked_add(at.length);
        assert!(end.is_some_and(|end| end <= label.device_bytes), "{at:?} is not on the device");
    }
    let found = |minor| FoundDevice {
        path: format!("/dev/fuzz{minor}").into(),
        number: DeviceNumber { major: 7, minor },
        size: label.device_bytes,
        label: label.clone(),
        torn: None,
    };
    let pools = FoundPool::group(vec![found(0), found(1)]);
    assert_eq!(pools.len(), 1);
    assert!(pools[0].require_sound().is_err(), "a duplicate is not sound");
    for segment in &label.segments {
        let _ = segment.to_linear(label.extent_bytes);
    }
    let extents = device_extents(label.device_bytes, label.extent_bytes);
    let space = DeviceSpace { device: label.device_uuid, extents };
    let Ok(mut map) = ExtentMap::new(label.extent_bytes, &[space]) else { return };
    if map.insert(&label.segments).is_ok() {
        assert!(map.free_extents_total() <= extents);
        for role in Role::ALL {
            assert!(map.linear_table(role).is_ok(), "what is on the device can be mapped");
        }
    }
}

#[cfg(test)]
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    use uuid::Uuid;

    use super::label::{JournalPlacement, LabelState};
    use super::role::Extents;
    use super::segment::Segment;
    use crate::units::{BlockSize, Bytes};

    let device_uuid = Uuid::from_u128(2);
    let segment = |role, logical, start, count| Segment {
        role,
        logical_start: Extents::new(logical),
        device: device_uuid,
        device_start: Extents::new(start),
        count: Extents::new(count),
    };
    let label = Label {
        pool_uuid: Uuid::from_u128(1),
        pool_name: "fast".to_owned(),
        device_uuid,
        device_index: 0,
        state: LabelState::Live,
        generation: 2,
        extent_bytes: Bytes::new(4 << 20),
        device_bytes: Bytes::new(1 << 30),
        created_at: 1_800_000_000,
        block_size: BlockSize::DEFAULT,
        placements: vec![JournalPlacement {
            copy: 0,
            offset: Bytes::new(1 << 20),
            length: Bytes::new(8 << 20),
        }],
        segments: vec![
            segment(Role::Journal, 0, 0, 2),
            segment(Role::Metadata, 0, 2, 4),
            segment(Role::MetadataSpare, 0, 6, 4),
            segment(Role::Data, 0, 10, 100),
            segment(Role::Data, 100, 120, 30),
        ],
    };
    let blank = Label { placements: Vec::new(), segments: Vec::new(), ..label.clone() };
    let seed = |label: &Label, flags, copy| {
        let block = encode(label, copy).unwrap();
        let used = block.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        [&[flags], &block[..used]].concat()
    };
    vec![
        ("head", seed(&label, 0b01, LabelCopy::Head)),
        ("tail", seed(&label, 0b11, LabelCopy::Tail)),
        ("bare", seed(&blank, 0b00, LabelCopy::Head)),
    ]
}
