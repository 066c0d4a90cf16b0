//! The driver's configuration: device classes, in the shape that users of TopoLVM know.
//!
//! Every value is checked while it is read, so that a mistake is reported with its line.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thinly_engine::catalogue::{PoolName, PoolPolicy};
use thinly_engine::pool::{CapacityRule, ReapBudget};
use thinly_engine::units::{BlockSize, Bytes};
use thiserror::Error;

use crate::policy_config::RawPolicy;

/// A configuration that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration {path:?} cannot be read; give its path with --config")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A mistake in it.
    #[error("the configuration {path:?} is wrong: {reason}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line where that is known.
        reason: String,
    },
}

/// What the driver serves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The classes that volumes can be made in.
    pub device_classes: Vec<DeviceClass>,
}

/// A pool, and how volumes in it are made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawClass")]
pub struct DeviceClass {
    /// Its name, given in a StorageClass.
    pub name: String,
    /// Whether it is taken when no class is named.
    pub default: bool,
    /// Its pool.
    pub pool: PoolName,
    /// The disks to make the pool of, when it is not there and may be made.
    pub devices: Vec<PathBuf>,
    /// A faster device for metadata and journal, for the same case.
    pub metadata_device: Option<PathBuf>,
    /// Whether a pool that is not there is made.
    pub create: Create,
    /// The data block size of a pool that is made.
    pub block_size: BlockSize,
    /// The filesystem of a volume whose claim names none.
    pub filesystem: String,
    /// How much may be promised.
    pub rule: CapacityRule,
    /// How the pool is looked after; `None` leaves that to the pool.
    pub policy: Option<PoolPolicy>,
    /// What freeing deleted volumes may cost their neighbours.
    pub reap_budget: ReapBudget,
}

/// Whether a pool that is not there is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Create {
    /// Never: a missing pool is an error.
    #[default]
    Never,
    /// On devices that hold nothing.
    IfEmpty,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawClass {
    name: String,
    #[serde(default)]
    default: bool,
    pool: PoolName,
    #[serde(default)]
    devices: Vec<PathBuf>,
    metadata_device: Option<PathBuf>,
    #[serde(default)]
    create: Create,
    block_size_kb: Option<u64>,
    filesystem: Option<String>,
    #[serde(default)]
    spare_gb: u64,
    thin_pool: Option<RawThinPool>,
    policy: Option<RawPolicy>,
    reap_mb_per_second: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawThinPool {
    overprovision_ratio: Option<f64>,
}

/// Ratios beyond this promise nothing any more.
const RATIO_MAX: f64 = 1000.0;

impl TryFrom<RawClass> for DeviceClass {
    type Error = String;

    fn try_from(raw: RawClass) -> Result<Self, String> {
        let name = raw.name;
        let of = |problem: String| format!("device class {name:?}: {problem}");
        if name.is_empty() || name.len() > 63 || !is_class_name(&name) {
            return Err(of("a name is 1 to 63 lower-case letters, digits and '-'".to_owned()));
        }
        if let Some(path) =
            raw.devices.iter().chain(&raw.metadata_device).find(|path| path.is_relative())
        {
            return Err(of(format!("the device {} is no absolute path", path.display())));
        }
        if raw.create == Create::IfEmpty && raw.devices.is_empty() {
            return Err(of("'create: if-empty' needs 'devices' to make the pool of".to_owned()));
        }
        let filesystem = raw.filesystem.unwrap_or_else(|| "ext4".to_owned());
        if !matches!(filesystem.as_str(), "ext4" | "xfs" | "btrfs") {
            return Err(of(format!("filesystem {filesystem:?} is none of ext4, xfs, btrfs")));
        }
        let block_size = match raw.block_size_kb {
            None => BlockSize::DEFAULT,
            Some(kib) => kib
                .checked_mul(1024)
                .and_then(|bytes| Bytes::new(bytes).to_sectors_exact().ok())
                .ok_or_else(|| of("block-size-kb is too large".to_owned()))
                .and_then(|sectors| {
                    BlockSize::new(sectors).map_err(|error| of(error.to_string()))
                })?,
        };
        let reserve = raw
            .spare_gb
            .checked_mul(1 << 30)
            .map(Bytes::new)
            .ok_or_else(|| of("spare-gb is too large".to_owned()))?;
        let reap_rate = raw.reap_mb_per_second.map(|mib| match mib.checked_mul(1 << 20) {
            Some(bytes) if bytes > 0 => Ok(Bytes::new(bytes)),
            _ => Err(of(format!("reap-mb-per-second is {mib}; leave it out for no limit"))),
        });
        let discard_bytes_per_second = reap_rate.transpose()?;
        let policy = raw.policy.map(PoolPolicy::try_from).transpose();
        let policy = policy.map_err(|error| of(format!("policy: {error}")))?;
        let ratio = raw.thin_pool.and_then(|thin_pool| thin_pool.overprovision_ratio);
        let overprovision_percent = ratio.map(percent).transpose().map_err(of)?;
        Ok(Self {
            default: raw.default,
            pool: raw.pool,
            devices: raw.devices,
            metadata_device: raw.metadata_device,
            create: raw.create,
            block_size,
            filesystem,
            rule: CapacityRule { overprovision_percent, reserve },
            policy,
            reap_budget: ReapBudget { discard_bytes_per_second, ..ReapBudget::default() },
            name,
        })
    }
}

fn is_class_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 100000")]
fn percent(ratio: f64) -> Result<u64, String> {
    if (1.0..=RATIO_MAX).contains(&ratio) {
        Ok((ratio * 100.0).round() as u64)
    } else {
        Err(format!("overprovision-ratio is {ratio}; it must be from 1 to {RATIO_MAX}"))
    }
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|reason| ConfigError::Wrong { path: path.to_owned(), reason })
    }

    /// Reads and checks text; the error names the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?;
        let classes = &config.device_classes;
        let line = |name: &str| {
            let needle = |line: &str| {
                line.split_once("name:")
                    .is_some_and(|(_, rest)| rest.trim().trim_matches(['"', '\'']) == name)
            };
            text.lines()
                .rposition_of(needle)
                .map_or(String::new(), |line| format!(" at line {line}"))
        };
        if classes.is_empty() {
            return Err("device-classes is empty: there is nothing to serve".to_owned());
        }
        for (index, class) in classes.iter().enumerate() {
            let before = &classes[..index];
            if before.iter().any(|other| other.name == class.name) {
                return Err(format!(
                    "there are two device classes {:?}{}",
                    class.name,
                    line(&class.name)
                ));
            }
            if let Some(other) = before.iter().find(|other| other.pool == class.pool) {
                return Err(format!(
                    "device classes {:?} and {:?}{} share the pool {}; give each its own",
                    other.name,
                    class.name,
                    line(&class.name),
                    class.pool
                ));
            }
            if let Some(other) = before.iter().find(|other| other.default && class.default) {
                return Err(format!(
                    "device classes {:?} and {:?}{} are both the default",
                    other.name,
                    class.name,
                    line(&class.name)
                ));
            }
        }
        Ok(config)
    }
}

/// The number, from 1, of the last line that is meant.
trait LastLine {
    fn rposition_of(self, is_meant: impl Fn(&str) -> bool) -> Option<usize>;
}

impl LastLine for std::str::Lines<'_> {
    fn rposition_of(self, is_meant: impl Fn(&str) -> bool) -> Option<usize> {
        self.enumerate().filter(|(_, line)| is_meant(line)).last().map(|(index, _)| index + 1)
    }
}

#[cfg(test)]
mod tests {
    use thinly_engine::catalogue::{GrowthStep, OnFull};

    use super::*;

    const WHOLE: &str = "
device-classes:
  - name: fast
    default: true
    pool: nvme
    devices: [/dev/nvme0n1]
    create: if-empty
    block-size-kb: 128
    spare-gb: 10
    filesystem: xfs
    reap-mb-per-second: 200
    thin-pool:
      overprovision-ratio: 2.5
    policy:
      auto-extend: {at-percent: 80, by-percent: 20, max-gb: 500}
      reserve-gb: 5
      on-full: error
      admit-data-percent: 95
  - name: slow
    pool: hdd
";

    #[test]
    fn a_whole_configuration_is_read() {
        let config = Config::parse(WHOLE).unwrap();
        let fast = &config.device_classes[0];
        assert_eq!((fast.name.as_str(), fast.default), ("fast", true));
        assert_eq!(fast.rule.overprovision_percent, Some(250));
        assert_eq!(fast.rule.reserve, Bytes::new(10 << 30));
        let policy = fast.policy.unwrap();
        let auto = policy.auto_extend.unwrap();
        assert_eq!((auto.at_percent, auto.by), (80, GrowthStep::Percent(20)));
        assert_eq!(auto.data_max, Some(Bytes::new(500 << 30)));
        assert_eq!((policy.on_full, policy.admit_data_percent), (OnFull::Error, Some(95)));
        assert_eq!(fast.block_size.bytes(), Bytes::new(128 << 10));
        assert_eq!(fast.reap_budget.discard_bytes_per_second, Some(Bytes::new(200 << 20)));
        let slow = &config.device_classes[1];
        assert_eq!((slow.create, slow.filesystem.as_str()), (Create::Never, "ext4"));
        assert_eq!(slow.reap_budget, ReapBudget::default());
        assert_eq!((slow.rule.overprovision_percent, slow.policy), (None, None));
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        for (from, to, words) in [
            ("pool: hdd", "pool: nvme", &["share the pool", "line 19"][..]),
            ("name: slow", "name: fast", &["two device classes", "line 19"]),
            ("pool: hdd", "pool: hdd\n    default: true", &["both the default", "line 19"]),
            ("pool: hdd", "pool: a/b", &["line 19", "a/b"]),
            ("pool: hdd", "pol: hdd", &["line 20", "pol"]),
            ("ratio: 2.5", "ratio: 0.5", &["0.5", "from 1", "line 3"]),
            ("ratio: 2.5", "ratio: .nan", &["from 1"]),
            ("ratio: 2.5", "ratio: much", &["line 13", "much"]),
            ("spare-gb: 10", "spare-gb: -1", &["line 9"]),
            ("block-size-kb: 128", "block-size-kb: 100", &["block size", "line 3"]),
            ("filesystem: xfs", "filesystem: zfs", &["zfs", "ext4, xfs, btrfs"]),
            ("[/dev/nvme0n1]", "[nvme0n1]", &["absolute", "nvme0n1"]),
            ("devices: [/dev/nvme0n1]", "devices: []", &["if-empty", "devices"]),
            ("create: if-empty", "create: always", &["line 7", "always"]),
            ("name: slow", "name: Slow!", &["lower-case"]),
            ("at-percent: 80", "at-percent: 100", &["auto-extend", "100 %"]),
            ("by-percent: 20", "by-percent: 20, by-gb: 1", &["by-percent", "by-gb"]),
            ("second: 200", "second: 0", &["reap-mb-per-second", "leave it out"]),
            ("reserve-gb: 5", "reserve-gb: x", &["line 16"]),
        ] {
            let text = WHOLE.replace(from, to);
            assert_ne!(text, WHOLE, "{from}");
            let error = Config::parse(&text).unwrap_err();
            for word in words {
                assert!(error.contains(word), "{to}: {error}");
            }
        }
        assert!(Config::parse("device-classes: []").unwrap_err().contains("nothing to serve"));
        assert!(Config::parse("").is_err());
    }

    #[test]
    fn the_configuration_of_the_manifests_is_taken() {
        let text = include_str!("../../deploy/kubernetes/base/config.yaml");
        let class = &Config::parse(text).unwrap().device_classes[0];
        assert_eq!((class.default, class.create), (true, Create::Never));
        // As somebody has it who names disks.
        let class = &Config::parse(&text.replace("  # ", "  ")).unwrap().device_classes[0];
        assert_eq!((class.create, class.devices.len()), (Create::IfEmpty, 1));
        // And as it is shown.
        let document = include_str!("../../docs/kubernetes.md");
        let shown =
            document.split("```").find_map(|block| block.strip_prefix("yaml\ndevice-classes"));
        let class = &Config::parse(&format!("device-classes{}", shown.unwrap())).unwrap();
        assert_eq!(class.device_classes[0].create, Create::IfEmpty);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Config::load(Path::new("/nowhere/config.yaml")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/config.yaml"), "{error}");
    }
}
