//! Both copies on an image file: what a crash at any point leaves, and what is read then.
#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use uuid::Uuid;

use super::*;
use crate::block_device::Access;
use crate::layout::{LabelCopy, LabelDamage, LabelState};
use crate::units::{BlockSize, Bytes};

const SIZE: u64 = 20 << 20;
const TAIL: u64 = SIZE - 4096;

struct Image {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Image {
    fn new(size: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        File::create(&path).unwrap().set_len(size).unwrap();
        Self { _dir: dir, path }
    }

    fn open(&self) -> BlockDevice {
        BlockDevice::open_any(&self.path, Access::ReadWrite).unwrap()
    }

    fn resize(&self, size: u64) {
        OpenOptions::new().write(true).open(&self.path).unwrap().set_len(size).unwrap();
    }

    /// Overwrites bytes as nothing of ours would.
    fn scribble(&self, offset: u64, bytes: &[u8]) {
        let file = OpenOptions::new().write(true).open(&self.path).unwrap();
        file.write_all_at(bytes, offset).unwrap();
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap()
    }

    fn read(&self) -> LabelRead {
        read_labels(&self.open()).unwrap()
    }
}

fn label(generation: u64, size: u64) -> Label {
    Label {
        pool_uuid: Uuid::from_u128(1),
        pool_name: "fast".to_owned(),
        device_uuid: Uuid::from_u128(2),
        device_index: 0,
        state: LabelState::Live,
        generation,
        extent_bytes: Bytes::new(1 << 20),
        device_bytes: Bytes::new(size),
        created_at: 0,
        block_size: BlockSize::DEFAULT,
        placements: Vec::new(),
        segments: Vec::new(),
    }
}

fn labelled(size: u64) -> (Image, Label) {
    let image = Image::new(size);
    let label = label(1, size);
    write_labels(&image.open(), &label).unwrap();
    (image, label)
}

#[test]
fn an_empty_device_has_no_label_and_a_labelled_one_has_it() {
    assert_eq!(Image::new(SIZE).read(), LabelRead::Absent);
    assert_eq!(Image::new(4096).read(), LabelRead::Absent);
    let (image, label) = labelled(SIZE);
    assert_eq!(image.read(), LabelRead::Good(label));
}

#[test]
fn only_the_two_blocks_are_written() {
    let (image, _) = labelled(SIZE);
    let bytes = image.bytes();
    let used: Vec<usize> = bytes
        .chunks(4096)
        .enumerate()
        .filter(|(_, block)| block.iter().any(|byte| *byte != 0))
        .map(|(index, _)| index * 4096)
        .collect();
    assert_eq!(used, [4096, usize::try_from(TAIL).unwrap()]);
}

#[test]
fn one_torn_copy_leaves_the_other() {
    for (offset, copy) in [(4096 + 100, LabelCopy::Head), (TAIL + 100, LabelCopy::Tail)] {
        let (image, label) = labelled(SIZE);
        image.scribble(offset, b"torn");
        let LabelRead::OneTorn { label: read, copy: torn, why } = image.read() else {
            panic!("{copy}: {:?}", image.read());
        };
        assert_eq!((read, torn), (label, copy));
        assert!(matches!(why, LabelDamage::Checksum { .. }));
    }
}

#[test]
fn two_torn_copies_are_an_error_that_names_the_way_out() {
    let (image, _) = labelled(SIZE);
    image.scribble(4096 + 100, b"torn");
    image.scribble(TAIL + 100, b"torn");
    let LabelRead::BothTorn { head, tail } = image.read() else { panic!("{:?}", image.read()) };
    let error = LayoutError::BothLabelsTorn { path: "/dev/sdb".into(), head, tail };
    let message = error.to_string();
    for part in ["/dev/sdb", "first: its checksum is", "pool restore", "pool salvage"] {
        assert!(message.contains(part), "{message}");
    }
}

/// Every crash inside a rewrite: before it, in the middle of either block, between them, after.
#[test]
fn a_rewrite_can_be_cut_anywhere() {
    let old = label(1, SIZE);
    let new = Label { state: LabelState::Destroying, ..label(2, SIZE) };
    let new_tail = encode(&new, LabelCopy::Tail).unwrap();
    let new_head = encode(&new, LabelCopy::Head).unwrap();
    for sectors_done in 0..=16_usize {
        let (image, _) = labelled(SIZE);
        let tail_done = sectors_done.min(8) * 512;
        let head_done = sectors_done.saturating_sub(8) * 512;
        image.scribble(TAIL, &new_tail[..tail_done]);
        image.scribble(LABEL_HEAD_OFFSET, &new_head[..head_done]);
        let read = image.read();
        let got = read.label().unwrap_or_else(|| panic!("{sectors_done}: {read:?}"));
        assert!(*got == old || *got == new, "{sectors_done}");
        // Once the second copy is durable, the rewrite has happened.
        assert_eq!(*got == new, tail_done > 0, "{sectors_done}");
    }
}

/// The rewrite fails at its first copy, as a crash in the middle of it would end it.
#[test]
fn the_only_copy_is_not_overwritten_before_there_is_another_one() {
    let (image, old) = labelled(SIZE);
    image.scribble(4096 + 100, b"torn");
    let too_much = Label { pool_name: String::new(), ..label(2, SIZE) };
    assert!(write_labels(&image.open(), &too_much).is_err());
    assert_eq!(image.read(), LabelRead::Good(old));
}

#[test]
fn the_newest_copy_wins_and_the_older_one_is_named() {
    let (image, _) = labelled(SIZE);
    image.scribble(TAIL, &encode(&label(2, SIZE), LabelCopy::Tail).unwrap());
    let why = LabelDamage::Stale { found: 1, newest: 2 };
    let copy = LabelCopy::Head;
    assert_eq!(image.read(), LabelRead::OneTorn { label: label(2, SIZE), copy, why });
}

#[test]
fn copies_of_different_pools_do_not_outvote_each_other() {
    let (image, _) = labelled(SIZE);
    let other = Label { pool_uuid: Uuid::from_u128(9), ..label(99, SIZE) };
    image.scribble(TAIL, &encode(&other, LabelCopy::Tail).unwrap());
    let LabelRead::BothTorn { head, .. } = image.read() else { panic!("{:?}", image.read()) };
    assert!(matches!(head, LabelDamage::Disagrees { .. }));
}

#[test]
fn a_device_that_grew_keeps_its_second_copy_where_its_end_was() {
    let (image, label) = labelled(SIZE);
    image.resize(2 * SIZE);
    assert_eq!(image.read(), LabelRead::Good(label.clone()));
    // Even a torn first copy still leads there.
    image.scribble(4096 + 1000, b"torn");
    assert_eq!(image.read().label(), Some(&label));
}

#[test]
fn growing_moves_the_second_copy_and_survives_every_cut() {
    let new = label(2, 2 * SIZE);
    let (image, old) = labelled(SIZE);
    image.resize(2 * SIZE);
    image.scribble(2 * SIZE - 4096, &encode(&new, LabelCopy::Tail).unwrap());
    assert_eq!(image.read(), LabelRead::Good(old), "the first copy does not point there yet");
    write_labels(&image.open(), &new).unwrap();
    assert_eq!(image.read(), LabelRead::Good(new));
}

#[test]
fn a_label_for_a_longer_device_is_refused() {
    let (image, label) = labelled(SIZE);
    image.resize(SIZE / 2);
    let refused = write_labels(&image.open(), &label);
    assert!(matches!(refused, Err(LayoutError::DeviceShrunk { .. })));
    let read = image.read();
    assert!(matches!(&read, LabelRead::OneTorn { copy: LabelCopy::Tail, .. }), "{read:?}");
}

#[test]
fn a_partitions_second_copy_is_not_the_disks() {
    let disk = Image::new(SIZE);
    let partition = label(1, SIZE - (1 << 20));
    disk.scribble(TAIL, &encode(&partition, LabelCopy::Tail).unwrap());
    assert_eq!(disk.read(), LabelRead::Absent);
}

#[test]
fn a_wipe_takes_every_copy_and_nothing_else() {
    let (image, _) = labelled(SIZE);
    image.resize(2 * SIZE);
    image.scribble(2 * SIZE - 4096, b"somebody else's");
    wipe_labels(&image.open()).unwrap();
    assert_eq!(image.read(), LabelRead::Absent);
    let bytes = image.bytes();
    assert!(bytes[..bytes.len() - 4096].iter().all(|byte| *byte == 0));
    assert!(bytes.ends_with(&[0; 4081]) && bytes[bytes.len() - 4096..].starts_with(b"somebody"));
}

#[test]
fn a_wipe_that_was_cut_can_be_done_again() {
    let (image, label) = labelled(SIZE);
    image.resize(2 * SIZE);
    image.scribble(TAIL, &[0; 4096]);
    assert_eq!(image.read().label(), Some(&label), "the first copy goes last");
    wipe_labels(&image.open()).unwrap();
    assert_eq!(image.read(), LabelRead::Absent);
}
