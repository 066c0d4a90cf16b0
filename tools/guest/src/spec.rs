//! What a guest is asked to be.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, bail};
use clap::Args;

use crate::kernel::Version;
use crate::test_list::Suite;

/// The shape of a guest, as options of every command that starts one.
#[derive(Debug, Clone, Args)]
pub struct Spec {
    /// The kernel: 6.12 or 6.1.
    #[arg(long, env = "KERNEL", default_value = "6.12")]
    pub kernel: Version,
    /// Sizes of the fresh disks, as in "10G 512M 4G:4096" (size, then logical block size when not 512).
    #[arg(long, env = "DISKS", default_value = "", hide_env_values = true)]
    pub disks: Disks,
    /// Let nothing write the fresh disks faster than this, each, so that what a test interrupts takes its time.
    #[arg(long, value_name = "MIB_PER_SECOND")]
    pub disks_write_at: Option<u32>,
    /// Keep the disks in this directory, and take those that are there already.
    #[arg(long, value_name = "DIR")]
    pub keep_disks: Option<PathBuf>,
    /// The guest's memory in MiB.
    #[arg(long, env = "THINLY_GUEST_MEMORY", default_value_t = 3072)]
    pub memory_mib: u32,
    /// The guest's processors.
    #[arg(long, env = "THINLY_GUEST_CPUS", default_value_t = 2)]
    pub cpus: u32,
    /// The size of the disk mounted at /scratch, in GiB (sparse on the host).
    #[arg(long, default_value_t = 64)]
    pub scratch_gib: u64,
    /// A program to put on the guest's path; may be repeated.
    #[arg(long = "bin", value_name = "FILE")]
    pub binaries: Vec<PathBuf>,
    /// As --bin, but without complaint when the file is not there.
    #[arg(long = "bin-if-built", value_name = "FILE")]
    pub binaries_if_built: Vec<PathBuf>,
    /// Test programs, each put on the path by its own name.
    #[arg(skip)]
    pub suites: Vec<Suite>,
    /// A directory to put at /opt/thinly/files.
    #[arg(long, value_name = "DIR")]
    pub files: Option<PathBuf>,
}

/// A list of disks, as people write it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disks(pub Vec<Disk>);

/// One fresh disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Its size.
    pub size_bytes: u64,
    /// Its logical block size.
    pub block_bytes: u32,
}

impl FromStr for Disks {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        text.split([' ', ','])
            .filter(|word| !word.is_empty())
            .map(str::parse)
            .collect::<Result<_>>()
            .map(Self)
    }
}

impl FromStr for Disk {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (size, block) = text.split_once(':').unwrap_or((text, "512"));
        let digits = size.trim_end_matches(|c: char| !c.is_ascii_digit());
        let shift = match &size[digits.len()..] {
            "M" | "MiB" => 20,
            "G" | "GiB" => 30,
            "T" | "TiB" => 40,
            _ => bail!("a disk's size is a whole number with M, G or T, not {size:?}"),
        };
        let size_bytes = digits
            .parse::<u64>()
            .ok()
            .filter(|&number| number > 0)
            .and_then(|number| number.checked_mul(1 << shift))
            .filter(|&bytes| i64::try_from(bytes).is_ok());
        let Some(size_bytes) = size_bytes else { bail!("{size:?} is no size for a disk") };
        let block_bytes = match block {
            "512" => 512,
            "4096" => 4096,
            other => bail!("a disk's block size is 512 or 4096, not {other:?}"),
        };
        Ok(Self { size_bytes, block_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_read_as_people_write_them() {
        let disks: Disks = "10G 512M, 1T:4096".parse().unwrap();
        let sizes: Vec<_> =
            disks.0.iter().map(|disk| (disk.size_bytes, disk.block_bytes)).collect();
        assert_eq!(sizes, [(10 << 30, 512), (512 << 20, 512), (1 << 40, 4096)]);
        assert_eq!("".parse::<Disks>().unwrap(), Disks::default());
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["10", "G", "0G", "-1G", "1.5G", "9999999999999T", "1G:1000", "1K"] {
            assert!(text.parse::<Disks>().is_err(), "{text}");
        }
    }
}
