//! What the parts of the screen say: titles and rows.
#![forbid(unsafe_code)]

use thinly_engine::catalogue::{ObjectId, Timestamp, VolumeKind};
use thinly_engine::pool::{VolumeState, VolumeView};

use super::columns::{Cell, Column, left, right, sentence, toned};
use super::events::Event;
use super::model::Model;
use super::pool_pane::nothing;
use super::rows::Row;
use super::sample::{Resident, seconds_since};
use super::theme::Tone;
use crate::json::{OperationJson, volume_state};
use crate::render::duration;
use crate::size::human;
use crate::time;

pub(super) const VOLUME_COLUMNS: [Column; 8] = [
    left("VOLUME", 0),
    left("KIND", 6),
    right("SIZE", 3),
    right("MAPPED", 2),
    right("EXCLUSIVE", 1),
    left("STATE", 4),
    right("OPEN", 5),
    left("CREATED", 7),
];

pub(super) const EVENT_COLUMNS: [Column; 4] =
    [left("SEEN", 2), left("POOL", 1), left("EVENT", 0), sentence("")];

pub(super) const OPERATION_COLUMNS: [Column; 5] =
    [left("OPERATION", 0), left("ON", 3), right("TOOK", 1), left("OUTCOME", 2), left("ENDED", 4)];

/// A volume or snapshot.
pub(super) fn volume_row(row: &Row<'_>) -> Vec<Cell> {
    let volume = row.volume;
    let kind = match volume.kind {
        VolumeKind::Blank => "volume",
        VolumeKind::Clone { .. } => "clone",
        VolumeKind::Snapshot { .. } => "snapshot",
    };
    let tone = match volume.state {
        VolumeState::Active => Tone::Good,
        VolumeState::Lost | VolumeState::Suspended => Tone::Bad,
        VolumeState::Receiving => Tone::Warn,
        VolumeState::Pending | VolumeState::Inactive => Tone::Dim,
    };
    vec![
        volume.name.to_string().into(),
        kind.into(),
        human(volume.virtual_bytes).into(),
        volume.mapped_bytes.map_or_else(nothing, |bytes| human(bytes).into()),
        row.exclusive.map_or_else(nothing, |bytes| human(bytes).into()),
        toned(volume_state(volume.state), tone),
        volume.open_count.map_or_else(nothing, |count| count.to_string().into()),
        time::short(volume.created_at).into(),
    ]
}

/// Something that happened.
pub(super) fn event_row(event: &Event) -> Vec<Cell> {
    vec![
        toned(clock(event.at), Tone::Dim),
        event.pool.clone().into(),
        toned(event.word, event.tone),
        event.message.clone().into(),
    ]
}

/// What the holder of a pool did. A cluster calls volumes by handles; people know their names.
pub(super) fn operation_row(operation: &OperationJson, volumes: &[VolumeView]) -> Vec<Cell> {
    let subject = operation.subject.as_deref();
    let handle = subject.and_then(|subject| subject.parse::<ObjectId>().ok());
    let named = volumes.iter().find(|volume| Some(volume.handle) == handle);
    let name = named.map(|volume| volume.name.to_string());
    let tone = if operation.outcome == "ok" { Tone::Good } else { Tone::Bad };
    let ended = operation.ended_at.as_deref().unwrap_or_default();
    vec![
        operation.operation.clone().into(),
        name.or_else(|| subject.map(str::to_owned)).map_or_else(nothing, Into::into),
        duration(operation.duration_seconds).into(),
        toned(operation.outcome.clone(), tone),
        toned(ended.get(11..19).unwrap_or_default(), Tone::Dim),
    ]
}

/// The first line of the screen.
pub(super) fn headline(model: &Model, now: Timestamp) -> String {
    let paused = if model.is_paused { "  PAUSED" } else { "" };
    let interval = super::interval::text(model.interval);
    let age = model.sample.as_ref().map(|sample| seconds_since(sample.at, now));
    // A look that takes long is told of.
    let age = match age {
        Some(seconds) if seconds > model.interval.as_secs() + 2 => {
            format!(", last look {seconds} s ago")
        }
        _ => String::new(),
    };
    format!("thinly top  {} UTC  every {interval}{age}{paused}", time::short(now))
}

/// What the volumes' title says of their order, and of what they hold alone.
pub(super) fn volume_title(model: &Model, now: Timestamp) -> String {
    let Some(pool) = model.chosen_pool() else { return "VOLUMES".to_owned() };
    let choice = &model.choice;
    let reversed = if choice.is_reversed { ", reversed" } else { "" };
    let reading = match model.readings.get(&pool.uuid) {
        None => "exclusive is being read".to_owned(),
        Some(reading) => match &reading.exclusive {
            Ok(_) => format!("exclusive as of {} s ago", seconds_since(reading.at, now)),
            Err(error) => format!("exclusive not known: {error}"),
        },
    };
    let filter = if choice.filter.is_empty() && !model.is_filtering {
        String::new()
    } else {
        let cursor = if model.is_filtering { "_" } else { "" };
        format!("  /{}{cursor}", choice.filter)
    };
    format!("VOLUMES of {} by {}{reversed}{filter}  ({reading})", pool.name, choice.order.word())
}

/// Who tells of operations, or why nobody does.
pub(super) fn operation_title(model: &Model) -> String {
    match model.resident() {
        Some(Resident::Tells(told)) => format!("OPERATIONS of process {}", told.holder_pid),
        Some(Resident::Silent(why)) => format!("OPERATIONS not told: {why}"),
        Some(Resident::None) => "OPERATIONS: no resident".to_owned(),
        None => "OPERATIONS".to_owned(),
    }
}

/// The time of day.
fn clock(at: Timestamp) -> String {
    time::short(at).split(' ').nth(1).unwrap_or_default().to_owned()
}
