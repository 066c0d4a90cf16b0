//! Marks in dm-thin's superblock that the kernel makes only when a disk fails.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Result;

/// Sets the flag by which the kernel asks for a check (`THIN_METADATA_NEEDS_CHECK_FLAG`), as it does itself after a lost
/// commit, unless the superblock cannot be written either. The metadata begins at `offset` of the disk.
pub fn demand_check(disk: &Path, offset: u64) -> Result<()> {
    let file = File::options().read(true).write(true).open(disk)?;
    let mut superblock = [0; 4096];
    file.read_exact_at(&mut superblock, offset)?;
    superblock[4] |= 1;
    // The kernel's CRC-32C leaves out the final complement, and mixes the superblock's salt in.
    let checksum = !crc32c::crc32c(&superblock[4..]) ^ 0x0002_7406;
    superblock[..4].copy_from_slice(&checksum.to_le_bytes());
    file.write_all_at(&superblock, offset)?;
    Ok(file.sync_all()?)
}
