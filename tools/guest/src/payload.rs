//! The project's own programs and files, packed for one run into an image that is mounted at `/opt/thinly`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::shell;
use crate::spec::Spec;

/// Writes the image.
pub fn write(spec: &Spec, image: &Path) -> Result<()> {
    let stage = image.with_extension("stage");
    let programs = stage.join("bin");
    fs::create_dir_all(&programs)?;
    let mut size_bytes = 0;
    let built = spec.binaries_if_built.iter().filter(|file| file.exists());
    for binary in spec.binaries.iter().chain(built) {
        let name =
            binary.file_name().with_context(|| format!("{} names no file", binary.display()))?;
        size_bytes += place(binary, &programs.join(name))?;
    }
    for suite in &spec.suites {
        size_bytes += place(&suite.path, &programs.join(&suite.name))?;
    }
    if let Some(files) = &spec.files {
        size_bytes += copy_tree(files, &stage.join("files"))?;
    }
    shell::make_ext4(
        image,
        size_bytes * 5 / 4 + (16 << 20),
        Some(&stage),
        &["-O", "^has_journal"],
    )?;
    fs::remove_dir_all(stage)?;
    Ok(())
}

/// Links where that can be done, copies otherwise; returns the size.
fn place(from: &Path, to: &Path) -> Result<u64> {
    // A symbolic link would be packed as one, and point to nothing in the guest.
    let from = from.canonicalize().with_context(|| format!("cannot find {}", from.display()))?;
    if fs::hard_link(&from, to).is_err() {
        fs::copy(&from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(fs::metadata(to)?.len().next_multiple_of(4096))
}

fn copy_tree(from: &Path, to: &Path) -> Result<u64> {
    fs::create_dir_all(to)?;
    let mut size_bytes = 4096;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        size_bytes += if fs::metadata(entry.path())?.is_dir() {
            copy_tree(&entry.path(), &target)?
        } else {
            place(&entry.path(), &target)?
        };
    }
    Ok(size_bytes)
}
