//! The label's bytes: one block of 4096, little-endian, described in `docs/format.md`.
#![forbid(unsafe_code)]

use uuid::Uuid;

use super::bytes::{array_at, put, u16_at, u32_at, u64_at};
use super::error::LayoutError;
use super::label::{
    JournalPlacement, Label, LabelState, PLACEMENTS_MAX, POOL_NAME_BYTES_MAX, tail_offset,
};
use super::label_read::LabelDamage;
use super::role::{Extents, Role};
use super::segment::Segment;
use crate::units::{BlockSize, Bytes, Sectors};

/// The length of one copy.
pub const LABEL_BYTES: usize = 4096;

/// Where the first copy is.
pub const LABEL_HEAD_OFFSET: u64 = 4096;

/// What every label starts with.
pub(super) const MAGIC: [u8; 8] = *b"THINLYLB";

/// The one version of the format so far.
const VERSION: u32 = 1;

const MAGIC_OFFSET: usize = 0;
const VERSION_OFFSET: usize = MAGIC_OFFSET + 8;
const CRC_OFFSET: usize = VERSION_OFFSET + 4;
const COPY_OFFSET: usize = CRC_OFFSET + 4;
const STATE_OFFSET: usize = COPY_OFFSET + 4;
const OWN_OFFSET_OFFSET: usize = STATE_OFFSET + 4;
const GENERATION_OFFSET: usize = OWN_OFFSET_OFFSET + 8;
const POOL_UUID_OFFSET: usize = GENERATION_OFFSET + 8;
const DEVICE_UUID_OFFSET: usize = POOL_UUID_OFFSET + 16;
const EXTENT_BYTES_OFFSET: usize = DEVICE_UUID_OFFSET + 16;
const DEVICE_BYTES_OFFSET: usize = EXTENT_BYTES_OFFSET + 8;
const CREATED_AT_OFFSET: usize = DEVICE_BYTES_OFFSET + 8;
const BLOCK_SIZE_OFFSET: usize = CREATED_AT_OFFSET + 8;
const DEVICE_INDEX_OFFSET: usize = BLOCK_SIZE_OFFSET + 8;
const NAME_LENGTH_OFFSET: usize = DEVICE_INDEX_OFFSET + 4;
const PLACEMENT_COUNT_OFFSET: usize = NAME_LENGTH_OFFSET + 2;
const SEGMENT_COUNT_OFFSET: usize = PLACEMENT_COUNT_OFFSET + 2;
const NAME_OFFSET: usize = SEGMENT_COUNT_OFFSET + 2;
const RESERVED_OFFSET: usize = NAME_OFFSET + POOL_NAME_BYTES_MAX;
const PLACEMENTS_OFFSET: usize = 512;
const PLACEMENT_BYTES: usize = 24;
const SEGMENTS_OFFSET: usize = PLACEMENTS_OFFSET + PLACEMENTS_MAX * PLACEMENT_BYTES;
const SEGMENT_BYTES: usize = 32;

const PLACEMENT_COPY: usize = 0;
const PLACEMENT_START: usize = 8;
const PLACEMENT_LENGTH: usize = 16;

const SEGMENT_ROLE: usize = 0;
const SEGMENT_LOGICAL_START: usize = 8;
const SEGMENT_DEVICE_START: usize = 16;
const SEGMENT_COUNT: usize = 24;

/// The most segments that one label repeats.
pub const LABEL_SEGMENTS_MAX: usize = (LABEL_BYTES - SEGMENTS_OFFSET) / SEGMENT_BYTES;

const _: () = assert!(RESERVED_OFFSET <= PLACEMENTS_OFFSET);
const _: () = assert!(SEGMENTS_OFFSET + LABEL_SEGMENTS_MAX * SEGMENT_BYTES == LABEL_BYTES);

/// Which of the two copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LabelCopy {
    /// The one at byte 4096.
    Head,
    /// The one in the last aligned block.
    Tail,
}

impl LabelCopy {
    const fn code(self) -> u32 {
        match self {
            Self::Head => 0,
            Self::Tail => 1,
        }
    }
}

impl std::fmt::Display for LabelCopy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Head => "first",
            Self::Tail => "second",
        })
    }
}

/// The bytes of one copy.
pub(super) fn encode(label: &Label, copy: LabelCopy) -> Result<Vec<u8>, LayoutError> {
    let tail = label.tail_offset().filter(|_| label.fits());
    let (Some(tail), Ok(name_length), Ok(placements), Ok(segments)) = (
        tail,
        u16::try_from(label.pool_name.len()),
        u16::try_from(label.placements.len()),
        u16::try_from(label.segments.len()),
    ) else {
        return Err(LayoutError::LabelOverflow {
            device: label.device_uuid,
            name_bytes: label.pool_name.len(),
            segments: label.segments.len(),
            segments_max: LABEL_SEGMENTS_MAX,
        });
    };
    let own_offset = match copy {
        LabelCopy::Head => LABEL_HEAD_OFFSET,
        LabelCopy::Tail => tail,
    };
    let mut block = vec![0_u8; LABEL_BYTES];
    put(&mut block, MAGIC_OFFSET, &MAGIC);
    put(&mut block, VERSION_OFFSET, &VERSION.to_le_bytes());
    put(&mut block, COPY_OFFSET, &copy.code().to_le_bytes());
    put(&mut block, STATE_OFFSET, &label.state.code().to_le_bytes());
    put(&mut block, OWN_OFFSET_OFFSET, &own_offset.to_le_bytes());
    put(&mut block, GENERATION_OFFSET, &label.generation.to_le_bytes());
    put(&mut block, POOL_UUID_OFFSET, label.pool_uuid.as_bytes());
    put(&mut block, DEVICE_UUID_OFFSET, label.device_uuid.as_bytes());
    put(&mut block, EXTENT_BYTES_OFFSET, &label.extent_bytes.get().to_le_bytes());
    put(&mut block, DEVICE_BYTES_OFFSET, &label.device_bytes.get().to_le_bytes());
    put(&mut block, CREATED_AT_OFFSET, &label.created_at.to_le_bytes());
    put(&mut block, BLOCK_SIZE_OFFSET, &label.block_size.sectors().get().to_le_bytes());
    put(&mut block, DEVICE_INDEX_OFFSET, &label.device_index.to_le_bytes());
    put(&mut block, NAME_LENGTH_OFFSET, &name_length.to_le_bytes());
    put(&mut block, PLACEMENT_COUNT_OFFSET, &placements.to_le_bytes());
    put(&mut block, SEGMENT_COUNT_OFFSET, &segments.to_le_bytes());
    put(&mut block, NAME_OFFSET, label.pool_name.as_bytes());
    encode_lists(label, &mut block);
    seal(&mut block);
    Ok(block)
}

/// Puts the right checksum on a block.
pub(super) fn seal(block: &mut [u8]) {
    let crc = checksum(block);
    put(block, CRC_OFFSET, &crc.to_le_bytes());
}

fn encode_lists(label: &Label, block: &mut [u8]) {
    for (index, placement) in label.placements.iter().enumerate() {
        let at = PLACEMENTS_OFFSET + index * PLACEMENT_BYTES;
        put(block, at + PLACEMENT_COPY, &[placement.copy]);
        put(block, at + PLACEMENT_START, &placement.offset.get().to_le_bytes());
        put(block, at + PLACEMENT_LENGTH, &placement.length.get().to_le_bytes());
    }
    for (index, segment) in label.segments.iter().enumerate() {
        let at = SEGMENTS_OFFSET + index * SEGMENT_BYTES;
        put(block, at + SEGMENT_ROLE, &[segment.role.code()]);
        put(block, at + SEGMENT_LOGICAL_START, &segment.logical_start.get().to_le_bytes());
        put(block, at + SEGMENT_DEVICE_START, &segment.device_start.get().to_le_bytes());
        put(block, at + SEGMENT_COUNT, &segment.count.get().to_le_bytes());
    }
}

/// Reads one copy that was found at `offset`.
///
/// Every byte that has no meaning must be zero: the label is rebuilt from what was understood and
/// has to be the same block again, so that nothing can hide in it and nothing is lost by a rewrite.
pub(super) fn decode(block: &[u8], copy: LabelCopy, offset: u64) -> Result<Label, LabelDamage> {
    if array_at(block, MAGIC_OFFSET) != Some(MAGIC) {
        return Err(LabelDamage::Absent);
    }
    let short = LabelDamage::Impossible { field: "length" };
    let found = u32_at(block, VERSION_OFFSET).ok_or_else(|| short.clone())?;
    let stored = u32_at(block, CRC_OFFSET).ok_or_else(|| short.clone())?;
    if block.len() != LABEL_BYTES {
        return Err(short);
    }
    let computed = checksum(block);
    if stored != computed {
        return Err(LabelDamage::Checksum { stored, computed });
    }
    // After the checksum: a torn block must not be taken for a newer version.
    if found != VERSION {
        return Err(LabelDamage::Version { found, supported: VERSION });
    }
    let recorded = u64_at(block, OWN_OFFSET_OFFSET).unwrap_or(0);
    if recorded != offset || u32_at(block, COPY_OFFSET) != Some(copy.code()) {
        return Err(LabelDamage::Misplaced { recorded, found: offset });
    }
    let label = decode_fields(block)?;
    match encode(&label, copy) {
        Ok(again) if again == block => Ok(label),
        _ => Err(LabelDamage::Reserved),
    }
}

fn decode_fields(block: &[u8]) -> Result<Label, LabelDamage> {
    let bad = |field: &'static str| LabelDamage::Impossible { field };
    let number = |offset: usize, field| u64_at(block, offset).ok_or_else(|| bad(field));
    let count = |offset: usize| usize::from(u16_at(block, offset).unwrap_or(u16::MAX));
    let uuid = |offset: usize| Uuid::from_bytes(array_at(block, offset).unwrap_or_default());

    let name_length = count(NAME_LENGTH_OFFSET);
    let name = block.get(NAME_OFFSET..NAME_OFFSET + name_length.min(POOL_NAME_BYTES_MAX));
    let name = name.and_then(|name| std::str::from_utf8(name).ok());
    let state = u32_at(block, STATE_OFFSET).and_then(LabelState::from_code);
    let block_size = BlockSize::new(Sectors::new(number(BLOCK_SIZE_OFFSET, "block size")?));
    let device_uuid = uuid(DEVICE_UUID_OFFSET);
    let device_bytes = Bytes::new(number(DEVICE_BYTES_OFFSET, "device length")?);
    let extent_bytes = Bytes::new(number(EXTENT_BYTES_OFFSET, "extent length")?);
    if extent_bytes == Bytes::ZERO || !extent_bytes.get().is_multiple_of(LABEL_BYTES as u64) {
        return Err(bad("extent length"));
    }
    tail_offset(device_bytes).ok_or_else(|| bad("device length"))?;
    Ok(Label {
        pool_uuid: uuid(POOL_UUID_OFFSET),
        pool_name: name.ok_or_else(|| bad("pool name"))?.to_owned(),
        device_uuid,
        device_index: u32_at(block, DEVICE_INDEX_OFFSET).ok_or_else(|| bad("device index"))?,
        state: state.ok_or_else(|| bad("state"))?,
        // Every rewrite counts on.
        generation: number(GENERATION_OFFSET, "generation")
            .and_then(|found| if found < u64::MAX { Ok(found) } else { Err(bad("generation")) })?,
        extent_bytes,
        device_bytes,
        created_at: number(CREATED_AT_OFFSET, "creation time")?,
        block_size: block_size.map_err(|_| bad("block size"))?,
        placements: decode_placements(block, count(PLACEMENT_COUNT_OFFSET), device_bytes)
            .ok_or_else(|| bad("journal placements"))?,
        segments: decode_segments(block, count(SEGMENT_COUNT_OFFSET), device_uuid)
            .ok_or_else(|| bad("segments"))?,
    })
}

fn decode_placements(
    block: &[u8],
    count: usize,
    device_bytes: Bytes,
) -> Option<Vec<JournalPlacement>> {
    if count > PLACEMENTS_MAX {
        return None;
    }
    let one = |index: usize| {
        let at = PLACEMENTS_OFFSET + index * PLACEMENT_BYTES;
        let placement = JournalPlacement {
            copy: *block.get(at + PLACEMENT_COPY)?,
            offset: Bytes::new(u64_at(block, at + PLACEMENT_START)?),
            length: Bytes::new(u64_at(block, at + PLACEMENT_LENGTH)?),
        };
        placement.is_on(device_bytes).then_some(placement)
    };
    (0..count).map(one).collect()
}

fn decode_segments(block: &[u8], count: usize, device: Uuid) -> Option<Vec<Segment>> {
    if count > LABEL_SEGMENTS_MAX {
        return None;
    }
    let one = |index: usize| {
        let at = SEGMENTS_OFFSET + index * SEGMENT_BYTES;
        Some(Segment {
            role: Role::from_code(*block.get(at + SEGMENT_ROLE)?)?,
            logical_start: Extents::new(u64_at(block, at + SEGMENT_LOGICAL_START)?),
            device,
            device_start: Extents::new(u64_at(block, at + SEGMENT_DEVICE_START)?),
            count: Extents::new(u64_at(block, at + SEGMENT_COUNT)?),
        })
    };
    (0..count).map(one).collect()
}

/// The device length that a damaged block claims: a hint where the other copy may be, no more.
pub(super) fn claimed_device_bytes(block: &[u8]) -> Option<Bytes> {
    if array_at(block, MAGIC_OFFSET) != Some(MAGIC) {
        return None;
    }
    u64_at(block, DEVICE_BYTES_OFFSET).map(Bytes::new)
}

/// CRC-32 over the block with the checksum's own bytes as zeros.
fn checksum(block: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&block[..CRC_OFFSET]);
    hasher.update(&[0; 4]);
    hasher.update(&block[CRC_OFFSET + 4..]);
    hasher.finalize()
}

#[cfg(test)]
#[path = "label_format_tests.rs"]
mod tests;
