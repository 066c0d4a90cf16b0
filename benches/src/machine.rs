//! What a run ran on: a figure without it says nothing.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

use anyhow::Result;
use nix::sys::utsname::uname;
use serde::{Deserialize, Serialize};

/// The machine, as far as figures depend on it. No name of it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The kernel's release, without what whoever built it appended.
    pub kernel: String,
    /// What the processors call themselves.
    pub processor: String,
    /// How many there are.
    pub processor_count: usize,
    /// Main memory.
    pub memory_mib: u64,
    /// Whether every instruction is translated by software: times say nothing, ratios something.
    pub is_emulated: bool,
    /// The disks that are used.
    pub disks: Vec<Disk>,
}

/// One disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Its driver's word for it.
    pub model: String,
    /// Its size.
    pub size_gib: u64,
    /// Whether it has a cache that a flush must empty.
    pub has_write_cache: bool,
}

impl Machine {
    /// Looks at the machine that this process runs on.
    pub fn look(disks: &[impl AsRef<Path>]) -> Result<Self> {
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        let memory = fs::read_to_string("/proc/meminfo")?;
        let processor = field(&processors, "model name").unwrap_or("unknown").to_owned();
        let memory_kib = field(&memory, "MemTotal").and_then(|text| text.split(' ').next());
        let release = uname()?.release().to_string_lossy().into_owned();
        Ok(Self {
            kernel: release.split('-').next().unwrap_or_default().to_owned(),
            // What QEMU's own translator shows; a virtual machine on hardware shows the hardware.
            is_emulated: processor.contains("TCG"),
            processor,
            processor_count: available_parallelism()?.get(),
            memory_mib: memory_kib.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) >> 10,
            disks: disks.iter().map(|disk| Disk::look(disk.as_ref())).collect(),
        })
    }
}

impl Disk {
    fn look(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let read = |file: &str| {
            let text = fs::read_to_string(format!("/sys/class/block/{name}/{file}"));
            text.map(|text| text.trim().to_owned()).unwrap_or_default()
        };
        let model = match (read("device/model"), name.starts_with("vd")) {
            (model, _) if !model.is_empty() => model,
            (_, true) => "virtio-blk".to_owned(),
            (_, false) => "no model".to_owned(),
        };
        let sectors: u64 = read("size").parse().unwrap_or_default();
        Self {
            model,
            size_gib: sectors >> 21,
            has_write_cache: read("queue/write_cache") == "write back",
        }
    }
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) =
        text.lines().find_map(|line| line.split_once(':').filter(|(key, _)| key.trim() == name))?;
    Some(value.trim())
}
