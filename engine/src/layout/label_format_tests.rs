//! The label's bytes: round trips, damage, and the page that describes them.
#![forbid(unsafe_code)]

use proptest::prelude::*;

use super::*;

fn label() -> Label {
    Label {
        pool_uuid: Uuid::from_u128(0x1111),
        pool_name: "fast".to_owned(),
        device_uuid: Uuid::from_u128(0x2222),
        device_index: 1,
        state: LabelState::Live,
        generation: 7,
        extent_bytes: Bytes::new(4 << 20),
        device_bytes: Bytes::new(1 << 30),
        created_at: 1_800_000_000,
        block_size: BlockSize::DEFAULT,
        placements: vec![JournalPlacement {
            copy: 0,
            offset: Bytes::new(1 << 20),
            length: Bytes::new(32 << 20),
        }],
        segments: vec![segment(Role::Journal, 0), segment(Role::Data, 8)],
    }
}

fn segment(role: Role, start: u64) -> Segment {
    Segment {
        role,
        logical_start: Extents::ZERO,
        device: Uuid::from_u128(0x2222),
        device_start: Extents::new(start),
        count: Extents::new(8),
    }
}

fn head(label: &Label) -> Vec<u8> {
    encode(label, LabelCopy::Head).unwrap()
}

/// Puts the checksum right after a deliberate change.
fn sealed(mut block: Vec<u8>) -> Vec<u8> {
    seal(&mut block);
    block
}

fn changed(offset: usize, bytes: &[u8]) -> Result<Label, LabelDamage> {
    let mut block = head(&label());
    put(&mut block, offset, bytes);
    decode(&sealed(block), LabelCopy::Head, LABEL_HEAD_OFFSET)
}

#[test]
fn both_copies_round_trip() {
    let label = label();
    let tail = label.tail_offset().unwrap();
    assert_eq!(tail, (1 << 30) - 4096);
    assert_eq!(decode(&head(&label), LabelCopy::Head, LABEL_HEAD_OFFSET), Ok(label.clone()));
    let block = encode(&label, LabelCopy::Tail).unwrap();
    assert_eq!(decode(&block, LabelCopy::Tail, tail), Ok(label));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let good = head(&label());
    for bit in 0..LABEL_BYTES * 8 {
        let mut block = good.clone();
        block[bit / 8] ^= 1 << (bit % 8);
        let read = decode(&block, LabelCopy::Head, LABEL_HEAD_OFFSET);
        assert!(read.is_err(), "bit {bit}");
    }
}

#[test]
fn every_torn_write_is_noticed() {
    let old = head(&label());
    let new = head(&Label { generation: 8, state: LabelState::Destroying, ..label() });
    for sectors in 1..LABEL_BYTES / 512 {
        let mut block = old.clone();
        block[..sectors * 512].copy_from_slice(&new[..sectors * 512]);
        let read = decode(&block, LabelCopy::Head, LABEL_HEAD_OFFSET);
        // All that differs is in the first sector: from there on the write is whole.
        assert_eq!(read.map(|label| label.generation), Ok(8));
    }
    let longer = Label { segments: vec![segment(Role::Data, 0); 100], ..label() };
    let new = head(&longer);
    for sectors in 1..LABEL_BYTES / 512 - 1 {
        let mut block = old.clone();
        block[..sectors * 512].copy_from_slice(&new[..sectors * 512]);
        let read = decode(&block, LabelCopy::Head, LABEL_HEAD_OFFSET);
        assert!(matches!(read, Err(LabelDamage::Checksum { .. })), "{sectors}");
    }
}

#[test]
fn a_sealed_lie_is_refused_by_name() {
    let impossible = |field| Err(LabelDamage::Impossible { field });
    assert_eq!(changed(STATE_OFFSET, &[9]), impossible("state"));
    assert_eq!(changed(BLOCK_SIZE_OFFSET, &[1]), impossible("block size"));
    assert_eq!(changed(EXTENT_BYTES_OFFSET, &[0; 8]), impossible("extent length"));
    assert_eq!(changed(DEVICE_BYTES_OFFSET, &[0; 8]), impossible("device length"));
    assert_eq!(changed(NAME_OFFSET, &[0xff]), impossible("pool name"));
    assert_eq!(changed(PLACEMENT_COUNT_OFFSET, &[5]), impossible("journal placements"));
    let start = PLACEMENTS_OFFSET + PLACEMENT_START;
    assert_eq!(changed(start, &(1_u64 << 30).to_le_bytes()), impossible("journal placements"));
    assert_eq!(changed(start, &[0xff; 8]), impossible("journal placements"));
    assert_eq!(changed(GENERATION_OFFSET, &[0xff; 8]), impossible("generation"));
    assert_eq!(changed(SEGMENT_COUNT_OFFSET, &[109]), impossible("segments"));
    assert_eq!(changed(SEGMENTS_OFFSET, &[0]), impossible("segments"));
    let newer = LabelDamage::Version { found: 2, supported: 1 };
    assert_eq!(changed(VERSION_OFFSET, &[2]), Err(newer));
    let moved = LabelDamage::Misplaced { recorded: 8192, found: 4096 };
    assert_eq!(changed(OWN_OFFSET_OFFSET, &8192_u64.to_le_bytes()), Err(moved));
}

#[test]
fn bytes_without_a_meaning_must_be_zero() {
    let places = [
        NAME_OFFSET + 4,
        RESERVED_OFFSET,
        PLACEMENTS_OFFSET - 1,
        PLACEMENTS_OFFSET + 1,
        PLACEMENTS_OFFSET + PLACEMENT_BYTES,
        SEGMENTS_OFFSET + 7,
        SEGMENTS_OFFSET + 2 * SEGMENT_BYTES,
        LABEL_BYTES - 1,
    ];
    for place in places {
        assert_eq!(changed(place, &[1]), Err(LabelDamage::Reserved), "{place}");
    }
    assert_eq!(changed(NAME_LENGTH_OFFSET, &[0]), Err(LabelDamage::Reserved));
    assert_eq!(changed(NAME_LENGTH_OFFSET, &[129]), Err(LabelDamage::Reserved));
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_written() {
    let many = Label { segments: vec![segment(Role::Data, 0); LABEL_SEGMENTS_MAX + 1], ..label() };
    let foreign = Label { device_uuid: Uuid::nil(), ..label() };
    let nameless = Label { pool_name: String::new(), ..label() };
    let long = Label { pool_name: "x".repeat(POOL_NAME_BYTES_MAX + 1), ..label() };
    let short = Label { device_bytes: Bytes::new(8192), ..label() };
    for label in [many, foreign, nameless, long, short] {
        assert!(matches!(encode(&label, LabelCopy::Head), Err(LayoutError::LabelOverflow { .. })));
    }
}

#[test]
fn version_1_is_these_bytes_forever() {
    let block = head(&label());
    let used: Vec<String> = block
        .chunks(32)
        .enumerate()
        .filter(|(_, row)| row.iter().any(|byte| *byte != 0))
        .map(|(index, row)| {
            let hex: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{:04}: {}", index * 32, hex.concat())
        })
        .collect();
    insta::assert_snapshot!(used.join("\n"));
}

/// One line of the page's tables.
fn row(name: &str, offset: usize, length: usize) -> String {
    format!("| {offset} | {length} | {name} |")
}

#[test]
fn the_page_lists_every_field_where_the_code_has_it() {
    let fields = [
        ("magic", MAGIC_OFFSET, MAGIC.len()),
        ("version", VERSION_OFFSET, 4),
        ("crc", CRC_OFFSET, 4),
        ("copy", COPY_OFFSET, 4),
        ("state", STATE_OFFSET, 4),
        ("own_offset", OWN_OFFSET_OFFSET, 8),
        ("generation", GENERATION_OFFSET, 8),
        ("pool_uuid", POOL_UUID_OFFSET, 16),
        ("device_uuid", DEVICE_UUID_OFFSET, 16),
        ("extent_bytes", EXTENT_BYTES_OFFSET, 8),
        ("device_bytes", DEVICE_BYTES_OFFSET, 8),
        ("created_at", CREATED_AT_OFFSET, 8),
        ("block_size", BLOCK_SIZE_OFFSET, 8),
        ("device_index", DEVICE_INDEX_OFFSET, 4),
        ("name_length", NAME_LENGTH_OFFSET, 2),
        ("placement_count", PLACEMENT_COUNT_OFFSET, 2),
        ("segment_count", SEGMENT_COUNT_OFFSET, 2),
        ("pool_name", NAME_OFFSET, POOL_NAME_BYTES_MAX),
        ("reserved", RESERVED_OFFSET, PLACEMENTS_OFFSET - RESERVED_OFFSET),
        ("placements", PLACEMENTS_OFFSET, PLACEMENTS_MAX * PLACEMENT_BYTES),
        ("segments", SEGMENTS_OFFSET, LABEL_SEGMENTS_MAX * SEGMENT_BYTES),
        ("placement.copy", PLACEMENT_COPY, 1),
        ("placement.reserved", PLACEMENT_COPY + 1, 7),
        ("placement.offset", PLACEMENT_START, 8),
        ("placement.length", PLACEMENT_LENGTH, 8),
        ("segment.role", SEGMENT_ROLE, 1),
        ("segment.reserved", SEGMENT_ROLE + 1, 7),
        ("segment.logical_start", SEGMENT_LOGICAL_START, 8),
        ("segment.device_start", SEGMENT_DEVICE_START, 8),
        ("segment.count", SEGMENT_COUNT, 8),
    ];
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/format.md"));
    let documented: Vec<String> = page
        .split("<!-- label fields -->")
        .nth(1)
        .expect("docs/format.md has the label's tables between two markers")
        .lines()
        .filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit())
        .map(|line| line.splitn(5, '|').take(4).collect::<Vec<_>>().join("|") + "|")
        .collect();
    let expected: Vec<String> =
        fields.iter().map(|(name, offset, length)| row(name, *offset, *length)).collect();
    assert_eq!(documented, expected, "the page and the code differ:\n{}", expected.join("\n"));
    // Fields follow each other without a hole up to the end of the block.
    let mut next = 0;
    for (name, offset, length) in &fields[..21] {
        assert_eq!(*offset, next, "{name}");
        next += length;
    }
    assert_eq!(next, LABEL_BYTES);
}

fn any_role() -> impl Strategy<Value = Role> {
    prop::sample::select(Role::ALL.to_vec())
}

prop_compose! {
    fn any_label()(
        ids in any::<(u128, u128, u32, u64, u64)>(),
        name in "[a-z\u{e4}\u{1f4be} ]{1,30}",
        state in prop::sample::select(vec![
            LabelState::Creating, LabelState::Live, LabelState::Destroying,
        ]),
        block_size in 1_u64..16384,
        extent_blocks in 1_u64..10_000,
        device_bytes in 12_288_u64..,
        placements in prop::collection::vec(any::<(u8, u64, u64)>(), 0..=PLACEMENTS_MAX),
        segments in prop::collection::vec(
            (any_role(), any::<(u64, u64, u64)>()), 0..=LABEL_SEGMENTS_MAX),
    ) -> Label {
        let device_uuid = Uuid::from_u128(ids.1);
        let placement = |(copy, offset, length): (u8, u64, u64)| {
            let offset = offset % device_bytes;
            let length = length % (device_bytes - offset);
            JournalPlacement { copy, offset: Bytes::new(offset), length: Bytes::new(length) }
        };
        let segment = |(role, (logical_start, device_start, count))| Segment {
            role,
            logical_start: Extents::new(logical_start),
            device: device_uuid,
            device_start: Extents::new(device_start),
            count: Extents::new(count),
        };
        Label {
            pool_uuid: Uuid::from_u128(ids.0),
            pool_name: name,
            device_uuid,
            device_index: ids.2,
            state,
            generation: ids.3 >> 1,
            extent_bytes: Bytes::new(extent_blocks * 4096),
            device_bytes: Bytes::new(device_bytes),
            created_at: ids.4,
            block_size: BlockSize::new(Sectors::new(block_size * 128)).unwrap(),
            placements: placements.into_iter().map(placement).collect(),
            segments: segments.into_iter().map(segment).collect(),
        }
    }
}

proptest! {
    #[test]
    fn any_label_survives_its_bytes(label in any_label()) {
        let block = encode(&label, LabelCopy::Tail).unwrap();
        let read = decode(&block, LabelCopy::Tail, label.tail_offset().unwrap());
        prop_assert_eq!(read, Ok(label));
    }

    #[test]
    fn any_bytes_behind_the_magic_do_no_harm(
        bytes in prop::collection::vec(any::<u8>(), 0..=LABEL_BYTES), reseal in any::<bool>(),
    ) {
        let mut block = MAGIC.to_vec();
        block.extend_from_slice(&VERSION.to_le_bytes());
        block.extend_from_slice(&bytes);
        block.resize(LABEL_BYTES, 0);
        let block = if reseal { sealed(block) } else { block };
        prop_assert!(decode(&block, LabelCopy::Head, LABEL_HEAD_OFFSET).is_err());
    }
}
