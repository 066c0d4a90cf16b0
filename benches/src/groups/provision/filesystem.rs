//! From nothing to a mounted file system: what a user waits for.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount, umount};
use uuid::Uuid;

use super::contender::{Contender, OURS};
use super::turns::Slots;
use crate::program;
use crate::results::{Bound, Group, Table};
use crate::samples::{Samples, timed};

/// Creates, activates, formats and mounts; by everybody, in turns.
pub(super) fn filesystem(
    contenders: &[&dyn Contender],
    slots: &Slots,
    rounds: usize,
    group: &mut Group,
) -> Result<()> {
    let directory = std::env::temp_dir().join(format!("thinly-bench-{}", Uuid::new_v4().simple()));
    fs::create_dir(&directory)?;
    let mut times = vec![(Samples::default(), Samples::default()); contenders.len()];
    for turn in 0..rounds {
        for position in 0..contenders.len() {
            let position = (position + turn) % contenders.len();
            let contender = contenders[position];
            let slot = slots.take_many(1)?[0];
            let (device, made) = timed(|| contender.create_active(slot))?;
            let ((), formatted) = timed(|| format_and_mount(&device, &directory))
                .with_context(|| format!("on a volume by {}", contender.name()))?;
            umount(&directory)?;
            contender.delete_active(slot)?;
            contender.reap()?;
            times[position].0.push(made);
            times[position].1.push(made + formatted);
        }
    }
    fs::remove_dir(&directory)?;

    let title = format!("From nothing to a mounted ext4, {rounds} rounds, medians in ms");
    let columns = ["by", "create + activate", "with mkfs.ext4 and mount", "against ours"];
    let mut table = Table::new(title, &columns);
    let whole = |position: usize| times[position].1.median().as_secs_f64();
    let ours = contenders.iter().position(|contender| contender.name() == OURS);
    let ours = whole(ours.context("the engine takes part")?);
    for (position, contender) in contenders.iter().enumerate() {
        let made = times[position].0.median().as_secs_f64();
        let ratio = whole(position) / ours;
        table.row([
            contender.name().to_owned(),
            format!("{:.0}", made * 1e3),
            format!("{:.0}", whole(position) * 1e3),
            format!("{ratio:.2}"),
        ]);
        if contender.name() != OURS {
            let what = format!(
                "create, activate, mkfs.ext4 and mount: {}, against ours",
                contender.name()
            );
            group.goal(what, ratio, "x", Bound::Shown);
        }
    }
    group.tables.push(table);
    Ok(())
}

fn format_and_mount(device: &Path, directory: &Path) -> Result<()> {
    program::output(program::command(program::path("mkfs.ext4")).args(["-q", "-F"]).arg(device))?;
    Ok(mount(Some(device), directory, Some("ext4"), MsFlags::empty(), None::<&str>)?)
}
