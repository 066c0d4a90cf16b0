//! Answers for people: tables for lists, a page for one thing.
#![forbid(unsafe_code)]

mod accounting;
mod check;
mod cluster;
mod diff;
mod erasure;
mod evacuation;
mod image;
mod operations;
mod policy;
mod trim;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use thinly_engine::catalogue::{PoolPolicy, Provision, VolumeKind};
use thinly_engine::layout::METADATA_BYTES_MAX;
use thinly_engine::plan::Condition;
use thinly_engine::pool::{
    PoolView, RepairReport, SNAPSHOT_TIME_MAX, SalvagedVolume, Usage, VolumeView,
};
use thinly_engine::units::{Bytes, ThinId};

pub use self::accounting::accounting_page;
pub use self::check::check_page;
pub use self::cluster::audit_page;
pub use self::diff::DiffPage;
pub use self::erasure::erasure;
pub use self::evacuation::evacuated;
pub use self::image::{image_page, image_table};
pub(crate) use self::operations::duration;
pub use self::operations::operation_table;
pub use self::trim::trim;
use crate::advice::advice;
use crate::json::{pool_state, refuses_writes, volume_state};
use crate::size::{human, percent};
use crate::time;

const NOTHING: &str = "-";
const IDS_SHOWN_MAX: usize = 20;

/// One line per pool.
pub fn pool_table(pools: &[PoolView]) -> String {
    let header = [
        "NAME",
        "STATE",
        "HEALTH",
        "DATA",
        "METADATA",
        "VOLUMES",
        "SNAPSHOTS",
        "VIRTUAL",
        "DEVICES",
    ];
    let rows = pools.iter().map(|pool| {
        vec![
            pool.name.to_string(),
            pool_state(pool.state).to_owned(),
            text_or_nothing(pool.health),
            pool.usage.as_ref().map_or_else(nothing, data_usage),
            pool.usage.as_ref().map_or_else(nothing, metadata_usage),
            pool.volume_count.to_string(),
            pool.snapshot_count.to_string(),
            human(pool.virtual_bytes),
            device_list(pool),
        ]
    });
    table(&header, &[5, 6, 7], rows)
}

/// One line per volume or snapshot.
pub fn volume_table(volumes: &[&VolumeView]) -> String {
    let header = ["NAME", "STATE", "SIZE", "MAPPED", "ORIGIN", "CREATED", "DEVICE"];
    let rows = volumes.iter().map(|volume| {
        vec![
            volume.name.to_string(),
            volume_state(volume.state).to_owned(),
            human(volume.virtual_bytes),
            volume.mapped_bytes.map_or_else(nothing, human),
            origin(volume),
            time::short(volume.created_at),
            device(volume),
        ]
    });
    table(&header, &[2, 3], rows)
}

/// One line per volume that salvage named anew.
pub fn salvage_table(volumes: &[SalvagedVolume]) -> String {
    let rows = volumes.iter().map(|volume| {
        vec![
            volume.name.to_string(),
            volume.thin_id.to_string(),
            human(volume.virtual_bytes),
            volume.filesystem.clone().unwrap_or_else(nothing),
        ]
    });
    table(&["NAME", "THIN ID", "SIZE", "FILESYSTEM"], &[1, 2], rows)
}

/// All that is known of one volume or snapshot.
pub fn volume_page(volume: &VolumeView) -> String {
    let kind = match &volume.kind {
        VolumeKind::Blank => "volume".to_owned(),
        VolumeKind::Clone { .. } => format!("volume, a copy of {}", origin(volume)),
        VolumeKind::Snapshot { group, .. } => {
            let group = group.as_ref().map(|tag| format!(", in group {}", tag.name));
            format!("snapshot of {}{}", origin(volume), group.unwrap_or_default())
        }
    };
    let access = if refuses_writes(volume) { "read-only" } else { "read-write" };
    let mut page = pairs(&[
        ("Name", volume.name.to_string()),
        ("UUID", volume.uuid.to_string()),
        ("Kind", kind),
        ("State", volume_state(volume.state).to_owned()),
        ("Size", exact(volume.virtual_bytes)),
        ("Mapped", volume.mapped_bytes.map_or_else(nothing, exact)),
        ("Thin id", text_or_nothing(volume.thin_id)),
        ("Created", format!("{} UTC", time::short(volume.created_at))),
        ("Device", device(volume)),
        ("Access", access.to_owned()),
        ("Open count", text_or_nothing(volume.open_count)),
    ]);
    if let Some(Provision { key, attributes }) = &volume.provision {
        // A driver's attributes may hold anything: no line of the page is made by one.
        let lines = attributes.iter().map(|(name, value)| format!("{name:?}: {value:?}"));
        page.push_str(&section("Provisioned as", std::iter::once(key.to_string())));
        page.push_str(&section("Handle", std::iter::once(volume.handle.to_string())));
        page.push_str(&section("Attributes", lines));
    }
    page
}

/// All that is known of one pool, and what to do.
pub fn pool_page(pool: &PoolView) -> String {
    let usage = |of: fn(&Usage) -> String| pool.usage.as_ref().map_or_else(nothing, of);
    let policy = |of: fn(&PoolPolicy) -> String| pool.policy.as_ref().map_or_else(nothing, of);
    let writer = match pool.writer {
        Some(pid) => format!("process {pid}"),
        None if pool.is_written_elsewhere => {
            "a process in another container, or on the host, if it still runs".to_owned()
        }
        None if pool.clean => "none; the last one ended in order".to_owned(),
        None => "none; the last one was cut short".to_owned(),
    };
    let mut page = pairs(&[
        ("Name", pool.name.to_string()),
        ("UUID", pool.uuid.to_string()),
        ("State", pool_state(pool.state).to_owned()),
        ("Health", text_or_nothing(pool.health)),
        ("Data", usage(data_usage)),
        ("Metadata", usage(metadata_usage)),
        ("Can grow by", pool.unused.map_or_else(nothing, |unused| growth(pool, unused))),
        ("Volumes", format!("{}, {} virtual", pool.volume_count, human(pool.virtual_bytes))),
        ("Snapshots", pool.snapshot_count.to_string()),
        ("Block size", human(pool.block_size.bytes())),
        ("Created", pool.created_at.map_or_else(nothing, |at| format!("{} UTC", time::short(at)))),
        ("Transaction", text_or_nothing(pool.transaction_id)),
        (
            "Snapshot time",
            pool.snapshot_time.map_or_else(nothing, |at| format!("{at} of {SNAPSHOT_TIME_MAX}")),
        ),
        ("Grows", policy(policy::extension)),
        ("When full", policy(policy::when_full)),
        ("Writer", writer),
    ]);
    if let Some(limits) = pool.policy.as_ref().and_then(policy::admission) {
        page.push_str(&section("Admission", [limits].into_iter()));
    }
    let devices = pool.devices.iter().map(|device| {
        let path = device.path.as_ref().map(|path| path.display().to_string());
        let size = human(device.size);
        format!("{} ({size}, {})", path.as_deref().unwrap_or("missing"), device.uuid)
    });
    page.push_str(&section("Devices", devices));
    let conditions = pool.conditions();
    let condition = |it: &Condition| format!("{}: {}", it.reason, it.message);
    page.push_str(&section("Conditions", conditions.iter().map(condition)));
    page.push_str(&section("Problems", pool.problems.iter().cloned()));
    page.push_str(&section("Thin ids waiting to be freed", id_line(&pool.tombstones)));
    let reaping = pool.reaping_bytes.filter(|_| !pool.tombstones.is_empty());
    let reaping = reaping.map(|bytes| format!("{}, shared or not", human(bytes)));
    page.push_str(&section("What these still map", reaping.into_iter()));
    page.push_str(&section("Thin ids that no volume claims", id_line(&pool.orphans)));
    page.push_str(&section("What to do", advice(pool).into_iter()));
    page
}

/// How far a pool can grow: its data by what its disks still hold, its metadata up to what the kernel
/// uses.
fn growth(pool: &PoolView, unused: Bytes) -> String {
    let metadata = pool.usage.as_ref().map_or_else(String::new, |usage| {
        format!("; metadata up to {} in all", human(METADATA_BYTES_MAX.max(usage.total_metadata)))
    });
    if unused == Bytes::ZERO {
        return format!("nothing without another disk{metadata}");
    }
    format!("{}{metadata}", human(unused))
}

/// What a repair found, did, and leaves to do.
pub fn repair_page(pool: &str, report: &RepairReport) -> String {
    let leaked = report.leaked_data_blocks.get();
    let next = match (report.is_needed(), report.swapped, &report.tool) {
        (_, true, _) => format!("bring the pool up with `thinly pool open {pool}`"),
        (false, false, _) if leaked == 0 => "nothing: the metadata is sound".to_owned(),
        (_, false, None) => "install thin_repair (thin-provisioning-tools) first".to_owned(),
        (false, false, Some(_)) => {
            format!("it is sound; `thinly pool repair {pool} --leaks --yes` gives them back")
        }
        (true, false, Some(_)) => format!("repair it with `thinly pool repair {pool} --yes`"),
    };
    let devices = report.device_count.map_or_else(nothing, |count| count.to_string());
    let mut page = pairs(&[
        ("Damage", report.damage.clone().unwrap_or_else(|| "none".to_owned())),
        ("Needs check", if report.needs_check { "yes" } else { "no" }.to_owned()),
        ("Leaked data blocks", leaked.to_string()),
        ("Thin devices", devices),
        ("thin_repair", report.tool.clone().unwrap_or_else(|| "not installed".to_owned())),
        ("Repaired", if report.swapped { "yes" } else { "no" }.to_owned()),
        ("What to do", next),
    ]);
    page.push_str(&section("Volumes lost", report.lost.iter().map(ToString::to_string)));
    page
}

fn table(
    header: &[&str],
    right_aligned: &[usize],
    rows: impl Iterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.to_vec());
    table.add_rows(rows);
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right_aligned.contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len() + 1).max().unwrap_or(0);
    let line = |(name, value): &(&str, String)| format!("{:width$}  {value}", format!("{name}:"));
    pairs.iter().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

fn section(title: &str, lines: impl Iterator<Item = String>) -> String {
    let lines: Vec<String> = lines.map(|line| format!("  {line}")).collect();
    if lines.is_empty() { String::new() } else { format!("\n{title}:\n{}\n", lines.join("\n")) }
}

fn id_line(ids: &[ThinId]) -> std::option::IntoIter<String> {
    let shown: Vec<String> = ids.iter().take(IDS_SHOWN_MAX).map(ToString::to_string).collect();
    let more = ids.len().saturating_sub(IDS_SHOWN_MAX);
    let line = match (shown.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(shown.join(", ")),
        (false, more) => Some(format!("{} and {more} more", shown.join(", "))),
    };
    line.into_iter()
}

fn data_usage(usage: &Usage) -> String {
    used_of(usage.used_data, usage.total_data)
}

fn metadata_usage(usage: &Usage) -> String {
    used_of(usage.used_metadata, usage.total_metadata)
}

fn used_of(used: Bytes, total: Bytes) -> String {
    format!("{} / {} ({} %)", human(used), human(total), percent(used, total))
}

fn exact(bytes: Bytes) -> String {
    format!("{} ({bytes} bytes)", human(bytes))
}

fn device_list(pool: &PoolView) -> String {
    let missing = pool.devices.iter().filter(|device| device.path.is_none()).count();
    let mut names: Vec<String> = pool
        .devices
        .iter()
        .filter_map(|device| device.path.as_ref())
        .map(|path| path.display().to_string())
        .collect();
    if missing > 0 {
        names.push(format!("{missing} missing"));
    }
    if names.is_empty() { nothing() } else { names.join(" ") }
}

fn origin(volume: &VolumeView) -> String {
    match (&volume.origin_name, &volume.kind) {
        (Some(name), _) => name.to_string(),
        (None, VolumeKind::Snapshot { origin_name, .. }) => format!("{origin_name} (gone)"),
        (None, VolumeKind::Clone { .. }) => "(gone)".to_owned(),
        (None, VolumeKind::Blank) => nothing(),
    }
}

fn device(volume: &VolumeView) -> String {
    volume
        .link
        .as_ref()
        .or(volume.device.as_ref())
        .map_or_else(nothing, |path| path.display().to_string())
}

fn text_or_nothing<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(nothing, |value| value.to_string())
}

fn nothing() -> String {
    NOTHING.to_owned()
}
