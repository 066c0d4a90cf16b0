//! The kernel's lines from arbitrary text.
#![forbid(unsafe_code)]
#![allow(clippy::missing_panics_doc, reason = "a broken promise is told by a panic")]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use super::{PoolMessage, Target, ThinPoolStatus, ThinStatus};

/// What reads must print text that reads as the same.
fn round_trips<T>(line: &str) -> bool
where
    T: FromStr + Display + Debug + PartialEq,
    T::Err: Debug + Display,
{
    match line.parse::<T>() {
        Ok(value) => {
            let text = value.to_string();
            let again = text.parse::<T>();
            assert!(again.as_ref().is_ok_and(|again| *again == value), "{text:?}: {again:?}");
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// Input: the status of a thin-pool or thin target, or a message, as text.
pub fn status(data: &[u8]) -> bool {
    let line = String::from_utf8_lossy(data);
    let status = round_trips::<ThinPoolStatus>(&line);
    let thin = round_trips::<ThinStatus>(&line);
    let message = round_trips::<PoolMessage>(&line);
    if let Ok(ThinPoolStatus::Working(usage)) = line.parse() {
        assert!(usage.free_data_blocks() <= usage.total_data_blocks);
        assert!(usage.free_metadata_blocks() <= usage.total_metadata_blocks);
    }
    status || thin || message
}

/// Input: a target's name, a space, its parameters.
pub fn table(data: &[u8]) -> bool {
    let line = String::from_utf8_lossy(data);
    let (kind, parameters) = line.split_once(' ').unwrap_or((&line, ""));
    let Ok(target) = Target::parse(kind, parameters) else { return false };
    assert_eq!(target.kind(), kind);
    let again = Target::parse(kind, &target.parameters());
    assert!(again.as_ref().is_ok_and(|again| *again == target), "{target:?}: {again:?}");
    !matches!(target, Target::Other { .. })
}

#[cfg(test)]
pub(crate) fn status_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let lines = [
        ("fresh", "0 4114/131072 0/16384 - rw discard_passdown queue_if_no_space - 1024 "),
        ("full", "7 10/1024 5/5 23 out_of_data_space no_discard_passdown error_if_no_space - 256 "),
        ("check", "7 10/1024 5/5 - ro ignore_discard queue_if_no_space needs_check 256 new 1 "),
        ("old", "7 10/1024 5/5 - rw discard_passdown queue_if_no_space - "),
        ("fail", "Fail"),
        ("error", "Error"),
        ("thin", "256 2047"),
        ("blank-thin", "0 -"),
        ("snap", "create_snap 2 1"),
        ("swap", "set_transaction_id 7 8"),
        ("delete", "delete 16777215"),
    ];
    lines.map(|(name, line)| (name, line.into())).into()
}

#[cfg(test)]
pub(crate) fn table_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let lines = [
        ("linear", "linear 7:0 2048"),
        ("pool", "thin-pool 253:0 253:1 128 32 2 skip_block_zeroing error_if_no_space "),
        ("pool-paths", "thin-pool /dev/a /dev/b 2097152 0"),
        ("thin", "thin 253:2 16777215 7:3"),
        ("error", "error "),
    ];
    lines.map(|(name, line)| (name, line.into())).into()
}
