//! The initramfs: this program as `/init` and the few modules needed to reach the root file system.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cpio::Cpio;
use crate::kernel::Kernel;

/// Writes the initramfs for a kernel.
pub fn write(kernel: &Kernel, target: &Path) -> Result<()> {
    let own = fs::read("/proc/self/exe").context("cannot read this program's own file")?;
    if has_interpreter(&own) {
        bail!(
            "this program was built dynamically and cannot be the guest's init; build it by `make guest`"
        );
    }
    let mut cpio = Cpio::new();
    for directory in ["dev", "proc", "sys", "modules"] {
        cpio.directory(directory);
    }
    cpio.file("init", &own);
    for entry in fs::read_dir(&kernel.boot_modules)? {
        let entry = entry?;
        let name = format!("modules/{}", entry.file_name().to_string_lossy());
        cpio.file(&name, &fs::read(entry.path())?);
    }
    fs::write(target, cpio.finish())?;
    Ok(())
}

/// Whether an ELF file asks for a loader, which the initramfs has not.
fn has_interpreter(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let half = |at: usize| {
        elf.get(at..at + 2).map_or(0, |b| usize::from(u16::from_le_bytes([b[0], b[1]])))
    };
    let word =
        |at: usize| elf.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    // e_phoff is eight bytes long, but the table of every linker stands right behind the header.
    let table = usize::try_from(word(32)).unwrap_or_default();
    let (size, count) = (half(54), half(56));
    (0..count).any(|index| word(table + index * size) == PT_INTERP)
}

#[cfg(test)]
mod tests {
    use super::has_interpreter;

    #[test]
    fn a_dynamic_program_is_told_from_a_file_that_is_none() {
        assert!(has_interpreter(&std::fs::read("/bin/sh").unwrap()));
        assert!(!has_interpreter(b"#!/bin/sh"));
    }
}
