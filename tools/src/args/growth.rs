//! The verbs of `thinly pool` that give it space and say how it is looked after.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use thinly_engine::catalogue::{GrowthStep, OnFull};
use thinly_engine::units::Bytes;

use crate::name::parse_pool;
use crate::size::{SizeError, parse_bytes};

/// `thinly pool grow`.
#[derive(Debug, Args)]
pub struct PoolGrow {
    /// The pool's name or uuid.
    #[arg(value_name = "POOL", value_parser = parse_pool)]
    pub pool: String,
    /// Disks, partitions or logical volumes that join the pool.
    #[arg(value_name = "DEVICE")]
    pub devices: Vec<PathBuf>,
    /// How much data to add, from the devices that join and those that are there; 0 only lets devices
    /// join. Without it all that the new devices hold is added.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes_or_none)]
    pub by: Option<Bytes>,
    /// How much metadata to add beyond what the larger pool gets by itself.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub metadata_by: Option<Bytes>,
    /// Overwrite whatever the devices carry.
    #[arg(long, requires = "devices")]
    pub force: bool,
    /// Use whole disks without a partition table.
    #[arg(long, requires = "devices")]
    pub raw: bool,
}

/// `thinly pool evacuate`.
#[derive(Debug, Args)]
pub struct PoolEvacuate {
    /// The pool's name or uuid.
    #[arg(value_name = "POOL", value_parser = parse_pool)]
    pub pool: String,
    /// The device that is to leave, or the disk that it is a partition of.
    #[arg(value_name = "DEVICE")]
    pub device: PathBuf,
    /// A device that joins first and takes over; may be given again.
    #[arg(long, value_name = "DEVICE")]
    pub onto: Vec<PathBuf>,
    /// Overwrite whatever the devices that join carry.
    #[arg(long, requires = "onto")]
    pub force: bool,
    /// Use whole disks that join without a partition table.
    #[arg(long, requires = "onto")]
    pub raw: bool,
}

/// `thinly pool set`.
#[derive(Debug, Args)]
pub struct PoolSet {
    /// The pool's name or uuid.
    #[arg(value_name = "POOL", value_parser = parse_pool)]
    pub pool: String,
    /// Extend the pool when so much of its data is used, in percent; `off` leaves it to people.
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    pub auto_extend_at: Option<Share>,
    /// Extend it by so much: a size, or a part of the data that there is, as in 20%.
    #[arg(long, value_name = "STEP", value_parser = parse_step)]
    pub auto_extend_by: Option<GrowthStep>,
    /// Extend it up to so much data and no further; `off` for all that its devices hold.
    #[arg(long, value_name = "SIZE", value_parser = parse_limit)]
    pub auto_extend_max: Option<Limit>,
    /// Keep so much of the devices back until the data is full; 0 keeps nothing.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes_or_none)]
    pub reserve: Option<Bytes>,
    /// What a write does that finds the pool full: wait a minute for space, or fail at once.
    #[arg(long, value_name = "WHAT")]
    pub on_full: Option<OnFullWord>,
    /// Refuse new volumes and snapshots when more of the data is used, in percent; `off` never does.
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    pub admit_data: Option<Share>,
    /// The same for metadata.
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    pub admit_metadata: Option<Share>,
    /// Take snapshots and clones although the metadata may not outlast them.
    #[arg(long, value_name = "YES_NO", value_parser = parse_yes)]
    pub overcommit_metadata: Option<bool>,
}

impl PoolSet {
    /// Whether no change is named.
    pub const fn is_empty(&self) -> bool {
        self.auto_extend_at.is_none()
            && self.auto_extend_by.is_none()
            && self.auto_extend_max.is_none()
            && self.reserve.is_none()
            && self.on_full.is_none()
            && self.admit_data.is_none()
            && self.admit_metadata.is_none()
            && self.overcommit_metadata.is_none()
    }
}

/// What a full pool does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnFullWord {
    /// Writes wait, 60 seconds unless the kernel was told otherwise; then they fail.
    Queue,
    /// Writes fail at once.
    Error,
}

impl From<OnFullWord> for OnFull {
    fn from(word: OnFullWord) -> Self {
        match word {
            OnFullWord::Queue => Self::Queue,
            OnFullWord::Error => Self::Error,
        }
    }
}

/// A share in percent, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(pub Option<u8>);

/// A size, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(pub Option<Bytes>);

const OFF: &str = "off";

fn parse_percent(text: &str) -> Result<Share, String> {
    if text == OFF {
        return Ok(Share(None));
    }
    match text.trim_end_matches('%').parse() {
        Ok(percent @ 1..=99) => Ok(Share(Some(percent))),
        _ => Err(format!("{text:?} is no share; give 1 to 99, or {OFF}")),
    }
}

fn parse_step(text: &str) -> Result<GrowthStep, String> {
    match text.strip_suffix('%') {
        None => parse_bytes(text).map(GrowthStep::Bytes).map_err(|error| error.to_string()),
        Some(percent) => match percent.parse() {
            Ok(percent @ 1..=1000) => Ok(GrowthStep::Percent(percent)),
            _ => Err(format!("{text:?} is no step; give a size, or 1% to 1000%")),
        },
    }
}

fn parse_yes(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(format!("{text:?} is neither yes nor no")),
    }
}

fn parse_limit(text: &str) -> Result<Limit, SizeError> {
    if text == OFF { Ok(Limit(None)) } else { parse_bytes(text).map(|size| Limit(Some(size))) }
}

fn parse_bytes_or_none(text: &str) -> Result<Bytes, SizeError> {
    match parse_bytes(text) {
        Err(SizeError::Zero(_)) => Ok(Bytes::ZERO),
        parsed => parsed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_steps_and_limits() {
        assert_eq!(parse_percent("80"), Ok(Share(Some(80))));
        assert_eq!(parse_percent("80%"), Ok(Share(Some(80))));
        assert_eq!(parse_percent("off"), Ok(Share(None)));
        for text in ["0", "100", "-1", "", "many"] {
            assert!(parse_percent(text).unwrap_err().contains("1 to 99"), "{text}");
        }
        assert_eq!(parse_step("20%"), Ok(GrowthStep::Percent(20)));
        assert_eq!(parse_step("1G"), Ok(GrowthStep::Bytes(Bytes::new(1 << 30))));
        for text in ["0%", "1001%", "%", "0"] {
            assert!(parse_step(text).is_err(), "{text}");
        }
        assert_eq!(parse_limit("off"), Ok(Limit(None)));
        assert_eq!(parse_bytes_or_none("0"), Ok(Bytes::ZERO));
        assert!(parse_bytes_or_none("x").is_err());
    }
}
