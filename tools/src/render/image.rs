//! Metadata images, for people.
#![forbid(unsafe_code)]

use thinly_engine::units::Bytes;

use super::{nothing, pairs, table, text_or_nothing};
use crate::json::{ImageDeviceJson, ImageJson, SpaceMapJson};
use crate::size::{human, percent};

/// All that the superblock of an image says.
pub fn image_page(image: &ImageJson) -> String {
    let yes_or_no = |yes| if yes { "yes" } else { "no" }.to_owned();
    pairs(&[
        ("File", image.file.display().to_string()),
        ("UUID", text_or_nothing(image.uuid)),
        ("Version", image.version.to_string()),
        ("Needs check", yes_or_no(image.needs_check)),
        ("Transaction", image.transaction_id.to_string()),
        ("Snapshot time", image.snapshot_time.to_string()),
        ("Thin devices", text_or_nothing(image.device_count)),
        ("Block size", human(Bytes::new(image.block_size_bytes))),
        ("Data blocks", used_of(&image.data_space_map)),
        ("Metadata blocks", used_of(&image.metadata_space_map)),
        ("Formatted with", format!("{} metadata blocks", image.metadata_block_count)),
        ("Held root", text_or_nothing(image.held_root_block)),
        ("Mapping root", image.data_mapping_root_block.to_string()),
        ("Details root", image.device_details_root_block.to_string()),
        ("Data space map", roots(&image.data_space_map)),
        ("Metadata space map", roots(&image.metadata_space_map)),
    ])
}

/// One line per thin device.
pub fn image_table(devices: &[ImageDeviceJson]) -> String {
    let header = [
        "THIN ID",
        "MAPPED",
        "BLOCKS",
        "EXCLUSIVE",
        "SHARED",
        "TRANSACTION",
        "CREATED AT",
        "SNAPSHOTTED AT",
    ];
    let amount = |bytes: Option<u64>| bytes.map_or_else(nothing, |bytes| human(Bytes::new(bytes)));
    let rows = devices.iter().map(|device| {
        vec![
            device.thin_id.to_string(),
            human(Bytes::new(device.mapped_bytes)),
            device.mapped_block_count.to_string(),
            amount(device.exclusive_bytes),
            amount(device.shared_bytes),
            device.transaction_id.to_string(),
            device.creation_time.to_string(),
            device.snapshotted_time.to_string(),
        ]
    });
    table(&header, &[0, 1, 2, 3, 4, 5, 6, 7], rows)
}

fn used_of(map: &SpaceMapJson) -> String {
    let SpaceMapJson { total_block_count: total, used_block_count: used, .. } = *map;
    let share = percent(Bytes::new(used), Bytes::new(total));
    format!("{used} of {total} in use ({share} %), {} free", map.free_block_count)
}

fn roots(map: &SpaceMapJson) -> String {
    format!(
        "bitmaps in block {}, counts in block {}",
        map.bitmap_root_block, map.ref_count_root_block
    )
}
