//! The texts of known targets as named fields.

use serde_json::{Value, json};
use thinly_engine::dm::{
    DeviceInfo, LinearTable, PoolUsage, StatusLine, Target, TextError, ThinPoolStatus,
    ThinPoolTable, ThinStatus, ThinTable,
};
use thinly_engine::units::MetadataBlocks;

/// Named values in the order in which a person reads them.
pub(super) type Fields = Vec<(&'static str, Value)>;

/// A line of a table; `None` where the target's format is not known.
pub(super) fn table(line: &StatusLine) -> Result<Option<Fields>, TextError> {
    Ok(match Target::parse(&line.kind, &line.text)? {
        Target::Linear(table) => Some(linear_table(&table)),
        Target::ThinPool(table) => Some(thin_pool_table(&table)),
        Target::Thin(table) => Some(thin_table(&table)),
        Target::Error | Target::Zero => Some(Vec::new()),
        Target::Other { .. } => None,
    })
}

/// A line of a status; `None` where the target's format is not known.
pub(super) fn status(line: &StatusLine) -> Result<Option<Fields>, TextError> {
    match line.kind.as_str() {
        "thin-pool" => line.thin_pool().map(|status| Some(thin_pool_status(&status))),
        "thin" => line.thin().map(|status| Some(thin_status(status))),
        "linear" | "error" | "zero" if line.text.is_empty() => Ok(Some(Vec::new())),
        _ => Ok(None),
    }
}

/// A device as a whole.
pub(super) fn info(info: &DeviceInfo) -> Fields {
    vec![
        ("name", json!(info.name.as_str())),
        ("uuid", json!(info.uuid.as_ref().map(AsRef::<str>::as_ref))),
        ("number", json!(info.number.to_string())),
        ("open_count", json!(info.open_count)),
        ("event_nr", json!(info.event_nr)),
        ("target_count", json!(info.target_count)),
        ("suspended", json!(info.suspended)),
        ("internally_suspended", json!(info.internally_suspended)),
        ("live_table", json!(info.live_table)),
        ("inactive_table", json!(info.inactive_table)),
        ("read_only", json!(info.read_only)),
        ("deferred_remove", json!(info.deferred_remove)),
    ]
}

/// A device's state in a word or two, the most urgent first.
pub(super) fn state(info: &DeviceInfo) -> String {
    let mut words = Vec::new();
    for (holds, word) in [
        (info.deferred_remove, "to be removed"),
        (info.suspended, "suspended"),
        (info.internally_suspended, "suspended internally"),
        (!info.live_table && !info.inactive_table, "no table"),
        (info.inactive_table, "inactive table"),
        (info.read_only, "read-only"),
    ] {
        if holds {
            words.push(word);
        }
    }
    if words.is_empty() { "live".to_owned() } else { words.join(", ") }
}

fn linear_table(table: &LinearTable) -> Fields {
    vec![("device", json!(table.device.to_string())), ("offset_sectors", json!(table.offset.get()))]
}

fn thin_pool_table(table: &ThinPoolTable) -> Fields {
    let features: Vec<&str> = table.features.iter().map(|feature| feature.as_str()).collect();
    vec![
        ("metadata_device", json!(table.metadata.to_string())),
        ("data_device", json!(table.data.to_string())),
        ("data_block_size_sectors", json!(table.block_size.sectors().get())),
        ("low_water_mark_blocks", json!(table.low_water_mark.get())),
        ("features", json!(features)),
    ]
}

fn thin_table(table: &ThinTable) -> Fields {
    vec![
        ("pool_device", json!(table.pool.to_string())),
        ("thin_id", json!(table.id.get())),
        ("external_origin", json!(table.external_origin.as_ref().map(ToString::to_string))),
    ]
}

fn thin_pool_status(status: &ThinPoolStatus) -> Fields {
    match status {
        ThinPoolStatus::Working(usage) => pool_usage(usage),
        ThinPoolStatus::Fail => vec![("mode", json!("fail"))],
        ThinPoolStatus::Error => vec![("mode", json!("error"))],
    }
}

fn pool_usage(usage: &PoolUsage) -> Fields {
    vec![
        ("mode", json!(usage.mode.as_str())),
        ("needs_check", json!(usage.needs_check)),
        ("transaction_id", json!(usage.transaction_id.get())),
        ("used_data_blocks", json!(usage.used_data_blocks.get())),
        ("total_data_blocks", json!(usage.total_data_blocks.get())),
        ("used_metadata_blocks", json!(usage.used_metadata_blocks.get())),
        ("total_metadata_blocks", json!(usage.total_metadata_blocks.get())),
        (
            "metadata_low_watermark_blocks",
            json!(usage.metadata_low_watermark.map(MetadataBlocks::get)),
        ),
        ("held_metadata_root", json!(usage.held_root)),
        ("discard", json!(usage.discard.as_str())),
        ("on_no_space", json!(usage.on_no_space.as_str())),
        ("trailing", json!(usage.trailing)),
    ]
}

fn thin_status(status: ThinStatus) -> Fields {
    match status {
        ThinStatus::Mapped { mapped_sectors, highest_sector } => vec![
            ("state", json!("mapped")),
            ("mapped_sectors", json!(mapped_sectors.get())),
            ("highest_sector", json!(highest_sector)),
        ],
        ThinStatus::Fail => vec![("state", json!("fail"))],
        ThinStatus::Error => vec![("state", json!("error"))],
        ThinStatus::NotOpen => vec![("state", json!("not open"))],
    }
}
