//! What volumes cost, for people.
#![forbid(unsafe_code)]

use thinly_engine::pool::{Accounting, Cost, VolumeUsage};
use thinly_engine::units::Bytes;

use super::{nothing, pairs, section, table, text_or_nothing};
use crate::size::{human, percent};

const HEADER: [&str; 8] =
    ["NAME", "THIN ID", "VIRTUAL", "MAPPED", "EXCLUSIVE", "SHARED", "METADATA", "ORIGIN"];

/// A line for each volume, then what the pool holds in all.
pub fn accounting_page(accounting: &Accounting) -> String {
    let volumes = accounting.volumes.iter().map(volume_row);
    let others = accounting.others.iter().map(|other| {
        let what = if other.is_deleted { "(deleted, being freed)" } else { "(orphan)" };
        let [mapped, exclusive, shared, metadata] = columns(Some(&other.cost));
        let id = other.thin_id.to_string();
        vec![what.to_owned(), id, nothing(), mapped, exclusive, shared, metadata, nothing()]
    });
    let mut page = table(&HEADER, &[1, 2, 3, 4, 5, 6], volumes.chain(others));
    let mapped = accounting.mapped_bytes;
    page.push('\n');
    page.push_str(&pairs(&[
        ("Mapped data", share_of(mapped, accounting.total_bytes)),
        ("Shared by several", share_of(accounting.shared_bytes, mapped)),
        ("Metadata of mappings", human(accounting.metadata_bytes)),
    ]));
    if let Some(set) = &accounting.set {
        let names: Vec<String> = set.names.iter().map(ToString::to_string).collect();
        let (names, data) = (names.join(", "), human(set.exclusive_bytes));
        let metadata = human(set.exclusive_metadata_bytes);
        let freed = format!("deleting all of them frees {data} of data and {metadata} of metadata");
        page.push_str(&section(&names, std::iter::once(freed)));
    }
    page
}

fn volume_row(volume: &VolumeUsage) -> Vec<String> {
    let [mapped, exclusive, shared, metadata] = columns(volume.cost.as_ref());
    vec![
        volume.name.to_string(),
        text_or_nothing(volume.thin_id),
        human(volume.virtual_bytes),
        mapped,
        exclusive,
        shared,
        metadata,
        text_or_nothing(volume.origin_name.as_ref()),
    ]
}

fn columns(cost: Option<&Cost>) -> [String; 4] {
    let of = |bytes: fn(&Cost) -> Bytes| cost.map_or_else(nothing, |cost| human(bytes(cost)));
    [
        of(|cost| cost.mapped_bytes),
        of(|cost| cost.exclusive_bytes),
        of(|cost| cost.shared_bytes),
        of(|cost| cost.exclusive_metadata_bytes),
    ]
}

fn share_of(part: Bytes, whole: Bytes) -> String {
    format!("{} of {} ({} %)", human(part), human(whole), percent(part, whole))
}
