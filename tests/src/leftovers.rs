//! Taking down what a test left on a device: mounts and device-mapper devices, topmost first.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::command::sh;

/// Removes everything that stands on a block device.
pub(crate) fn remove_above(device: &Path) -> Result<()> {
    let name =
        device.file_name().context("a device without a name")?.to_string_lossy().into_owned();
    remove_holders(&name)?;
    unmount(&name)
}

fn remove_holders(name: &str) -> Result<()> {
    let holders = Path::new("/sys/class/block").join(name).join("holders");
    for entry in fs::read_dir(&holders)? {
        let holder = entry?.file_name().to_string_lossy().into_owned();
        // Two devices may share a holder, which is gone when the second is looked at. That a
        // device of this number exists says nothing: it may be another test's by now.
        if !holders.join(&holder).exists() {
            continue;
        }
        // Whatever is suspended would block the unmounts above it, so that the way up resumes.
        if holder.starts_with("dm-") {
            sh(&format!(
                "timeout 30 dmsetup resume --noflush '{}' || true",
                mapped_name(&holder)?
            ))?;
        }
        remove_holders(&holder)?;
        unmount(&holder)?;
        if holder.starts_with("dm-") {
            remove_mapped(&holder)?;
        }
    }
    Ok(())
}

fn remove_mapped(name: &str) -> Result<()> {
    let mapped = mapped_name(name)?;
    sh(&format!(
        "timeout 60 dmsetup remove --retry '{mapped}' || timeout 60 dmsetup remove --force '{mapped}'"
    ))?;
    Ok(())
}

fn mapped_name(name: &str) -> Result<String> {
    Ok(fs::read_to_string(format!("/sys/class/block/{name}/dm/name"))?.trim().to_owned())
}

fn unmount(name: &str) -> Result<()> {
    let number = fs::read_to_string(format!("/sys/class/block/{name}/dev"))?;
    let number = number.trim();
    for line in fs::read_to_string("/proc/self/mountinfo")?.lines() {
        let mut fields = line.split(' ');
        if fields.nth(2) == Some(number)
            && let Some(target) = fields.nth(1)
        {
            sh(&format!("timeout 60 umount \"$(printf '{target}')\""))?;
        }
    }
    Ok(())
}
