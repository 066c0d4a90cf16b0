//! What a device already carries, found by magic numbers.
//!
//! Fixed magic numbers are in a table; what needs arithmetic or a second look is a function here.
//! A wrong "there is something" costs the user a `--force`, a wrong "there is nothing" costs data:
//! the checks are as loose as a magic number allows.
#![forbid(unsafe_code)]

use super::bytes::{u16_at, u32_at};
use super::label::tail_offset;
use super::label_format::{LABEL_HEAD_OFFSET, MAGIC};
use super::signature_table::FIXED;
use super::window::Window;
use crate::block_device::{BlockDevice, DeviceError};
use crate::units::Bytes;

/// What sort of thing a signature stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureKind {
    /// A filesystem.
    Filesystem,
    /// Swap, or a hibernation image in it.
    Swap,
    /// An encrypted volume.
    Encryption,
    /// A member of a volume manager.
    VolumeManager,
    /// A member of a RAID or of replication.
    Raid,
    /// A partition table.
    PartitionTable,
    /// A cache or its backing device.
    Cache,
    /// Metadata of a device-mapper target.
    DeviceMapper,
    /// A label of a Thinly pool.
    Thinly,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// What sort of thing it is.
    pub kind: SignatureKind,
    /// What it is called.
    pub name: &'static str,
    /// Where its magic number is, in bytes.
    pub offset: u64,
}

/// Looks for signatures on a device.
pub fn find_signatures(device: &BlockDevice) -> Result<Vec<Signature>, DeviceError> {
    Ok(find_signatures_in(&Window::read(device)?))
}

/// Looks for signatures in what was read of a device.
pub fn find_signatures_in(window: &Window) -> Vec<Signature> {
    let mut found = Vec::new();
    for magic in FIXED {
        if window.has(magic.offset, magic.bytes) {
            found.push(Signature { kind: magic.kind, name: magic.name, offset: magic.offset });
        }
    }
    let probes: [fn(&Window) -> Vec<Signature>; 8] =
        [ext, swap, md, firmware_raid, drbd, zfs, partition_tables, thinly];
    for probe in probes {
        found.extend(probe(window));
    }
    found.sort_by_key(|signature| (signature.offset, signature.name));
    found.dedup();
    found
}

const fn signature(kind: SignatureKind, name: &'static str, offset: u64) -> Signature {
    Signature { kind, name, offset }
}

/// ext2, ext3 and ext4 share a magic number; the features tell them apart.
fn ext(window: &Window) -> Vec<Signature> {
    const SUPERBLOCK: u64 = 1024;
    const HAS_JOURNAL: u32 = 0x4;
    const JOURNAL_DEVICE: u32 = 0x8;
    const EXTENTS_64BIT_FLEX: u32 = 0x40 | 0x80 | 0x200;
    if !window.has(SUPERBLOCK + 0x38, &0xef53_u16.to_le_bytes()) {
        return Vec::new();
    }
    let compat = window.u32(SUPERBLOCK + 0x5c).unwrap_or(0);
    let incompat = window.u32(SUPERBLOCK + 0x60).unwrap_or(0);
    let name = if incompat & JOURNAL_DEVICE != 0 {
        "ext journal device"
    } else if incompat & EXTENTS_64BIT_FLEX != 0 {
        "ext4"
    } else if compat & HAS_JOURNAL != 0 {
        "ext3"
    } else {
        "ext2"
    };
    vec![signature(SignatureKind::Filesystem, name, SUPERBLOCK + 0x38)]
}

/// Swap's magic number is at the end of its first page, whatever length pages had where it was made.
fn swap(window: &Window) -> Vec<Signature> {
    const MAGICS: [(&[u8; 9], &str); 6] = [
        (b"SWAP-SPAC", "swap"),
        (b"SWAPSPACE", "swap"),
        (b"S1SUSPEND", "hibernation image"),
        (b"S2SUSPEND", "hibernation image"),
        (b"ULSUSPEND", "hibernation image"),
        (b"LINHIB000", "hibernation image"),
    ];
    let pages = [4096_u64, 8192, 16384, 32768, 65536];
    let places = pages.iter().flat_map(|page| MAGICS.map(|(magic, name)| (page - 10, magic, name)));
    places
        .filter(|(offset, magic, _)| window.has(*offset, *magic))
        .map(|(offset, _, name)| signature(SignatureKind::Swap, name, offset))
        .collect()
}

/// Linux RAID: version 0.90 and 1.0 at the end, 1.1 at the start, 1.2 at 4096.
fn md(window: &Window) -> Vec<Signature> {
    const MD_MAGIC: u32 = 0xa92b_4efc;
    const V1_SUPER_OFFSET: u64 = 144;
    let sectors = window.size() / 512;
    let v0 = (window.size() & !0xffff).checked_sub(0x1_0000);
    let v1_end = sectors.checked_sub(16).map(|sector| (sector & !7) * 512);
    let is_v0 = |offset: u64| {
        // Version 0.90 is in the byte order of the machine that wrote it.
        window.u32(offset).is_some_and(|magic| [magic, magic.swap_bytes()].contains(&MD_MAGIC))
    };
    let is_v1 = |offset: u64| {
        window.u32(offset) == Some(MD_MAGIC)
            && window.u32(offset + 4) == Some(1)
            && window.u64(offset + V1_SUPER_OFFSET) == Some(offset / 512)
    };
    let mut found = Vec::new();
    let v0 = v0.filter(|offset| is_v0(*offset) && !is_v1(*offset));
    found.extend(v0.map(|offset| signature(SignatureKind::Raid, "md 0.90", offset)));
    let places = [(v1_end, "md 1.0"), (Some(0), "md 1.1"), (Some(4096), "md 1.2")];
    for (offset, name) in places {
        let offset = offset.filter(|offset| is_v1(*offset));
        found.extend(offset.map(|offset| signature(SignatureKind::Raid, name, offset)));
    }
    found
}

/// RAID of mainboards: Intel's in the last but one sector, the DDF standard's in the last one.
fn firmware_raid(window: &Window) -> Vec<Signature> {
    let mut found = Vec::new();
    let intel = window.size().checked_sub(1024);
    if let Some(offset) = intel.filter(|at| window.has(*at, b"Intel Raid ISM Cfg Sig. ")) {
        found.push(signature(SignatureKind::Raid, "Intel RAID", offset));
    }
    let ddf = window.size().checked_sub(512);
    if let Some(offset) = ddf.filter(|at| window.has(*at, &[0xde, 0x11, 0xde, 0x11])) {
        found.push(signature(SignatureKind::Raid, "DDF RAID", offset));
    }
    found
}

/// DRBD keeps its internal metadata in the last 4096 bytes, in network byte order.
fn drbd(window: &Window) -> Vec<Signature> {
    const MAGIC_AT: u64 = 60;
    const MAGICS: [[u8; 4]; 3] =
        [[0x83, 0x74, 0x02, 0x6b], [0x83, 0x74, 0x02, 0x6c], [0x83, 0x74, 0x02, 0x6d]];
    let end = window.size() & !4095;
    let place = end.checked_sub(4096).map(|block| block + MAGIC_AT);
    let place = place.filter(|at| MAGICS.iter().any(|magic| window.has(*at, magic)));
    place.map(|at| signature(SignatureKind::Raid, "DRBD", at)).into_iter().collect()
}

/// ZFS: rings of uberblocks in four labels of 256 KiB, two at either end.
fn zfs(window: &Window) -> Vec<Signature> {
    const LABEL: u64 = 256 << 10;
    const RING_AT: u64 = 128 << 10;
    const RING: u64 = 128 << 10;
    const UBERBLOCK_MIN: u64 = 1024;
    const UBERBLOCK: u64 = 0x00ba_b10c;
    let end = window.size() / LABEL * LABEL;
    let labels = [Some(0), Some(LABEL), end.checked_sub(2 * LABEL), end.checked_sub(LABEL)];
    let is_uberblock = |at: u64| {
        window.u64(at).is_some_and(|magic| [magic, magic.swap_bytes()].contains(&UBERBLOCK))
    };
    let in_label = |label: u64| {
        (0..RING / UBERBLOCK_MIN)
            .map(|index| label + RING_AT + index * UBERBLOCK_MIN)
            .find(|at| is_uberblock(*at))
    };
    let found = labels.into_iter().flatten().find_map(in_label);
    found.map(|at| signature(SignatureKind::VolumeManager, "ZFS", at)).into_iter().collect()
}

/// GPT at either end for both block lengths, and the table of DOS.
fn partition_tables(window: &Window) -> Vec<Signature> {
    let kind = SignatureKind::PartitionTable;
    let backup = |block: u64| window.size().checked_sub(block);
    let places = [
        (Some(512), "GPT"),
        (Some(4096), "GPT"),
        (backup(512), "GPT (backup)"),
        (backup(4096), "GPT (backup)"),
    ];
    let mut found: Vec<Signature> = places
        .into_iter()
        .filter_map(|(offset, name)| offset.map(|offset| (offset, name)))
        .filter(|(offset, _)| window.has(*offset, b"EFI PART"))
        .map(|(offset, name)| signature(kind, name, offset))
        .collect();
    if let Some(name) = dos_table(window) {
        found.push(signature(kind, name, 510));
    }
    found
}

/// The DOS partition table; `None` for the boot sector of a filesystem, which ends the same way.
fn dos_table(window: &Window) -> Option<&'static str> {
    const ENTRY_BYTES: usize = 16;
    const TYPE_AT: usize = 4;
    const LENGTH_AT: usize = 12;
    const PROTECTIVE: u8 = 0xee;
    let sector = window.bytes(0, 512)?;
    let is_boot_sector = [&b"FAT"[..], b"NTFS", b"EXFAT", b"-FVE-"].iter().any(|word| {
        [3, 0x36, 0x52].iter().any(|at| sector.get(*at..).is_some_and(|s| s.starts_with(word)))
    });
    if u16_at(sector, 510) != Some(0xaa55) || is_boot_sector {
        return None;
    }
    let entries: Vec<&[u8]> = sector.get(446..510)?.chunks_exact(ENTRY_BYTES).collect();
    let is_entry = |entry: &&[u8]| {
        matches!(entry[0], 0 | 0x80)
            && entry[TYPE_AT] != 0
            && u32_at(entry, LENGTH_AT).is_some_and(|sectors| sectors > 0)
    };
    if !entries.iter().all(|entry| matches!(entry[0], 0 | 0x80)) {
        return None;
    }
    let used: Vec<&&[u8]> = entries.iter().filter(|entry| is_entry(entry)).collect();
    match used.first()?[TYPE_AT] {
        PROTECTIVE => Some("protective MBR"),
        _ => Some("DOS partition table"),
    }
}

/// Our own label, either copy, whole or torn.
fn thinly(window: &Window) -> Vec<Signature> {
    let tail = tail_offset(Bytes::new(window.size()));
    let places = [tail.map(|_| LABEL_HEAD_OFFSET), tail];
    let places = places.into_iter().flatten().filter(|at| window.has(*at, &MAGIC));
    places.map(|at| signature(SignatureKind::Thinly, "Thinly label", at)).collect()
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
