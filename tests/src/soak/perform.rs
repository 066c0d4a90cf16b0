//! Doing a change: by the library in this process, or by the program.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use thinly_engine::catalogue::{
    AutoExtend, GrowthStep, ObjectKind, OnFull, PoolPolicy, Provision, ProvisionKey, VolumeName,
};
use thinly_engine::pool::{EvacuateDevice, GrowPool, Pool, VolumeAccess};
use thinly_engine::units::Bytes;

use super::op::{Op, POLICIES};
use super::refusal::Refusal;

/// Does it on a handle; gives the device of what was activated.
pub(super) fn by_library(pool: &Pool, op: &Op) -> Result<Option<PathBuf>, Refusal> {
    if let Op::Activate { name, writable } = op {
        let access = if *writable { VolumeAccess::ReadWrite } else { VolumeAccess::ReadOnly };
        return Ok(pool.activate(&volume(name)?, access)?.device);
    }
    on_volumes(pool, op)?;
    Ok(None)
}

fn on_volumes(pool: &Pool, op: &Op) -> Result<(), Refusal> {
    match op {
        Op::Create { name, size } => {
            pool.create_volume(&volume(name)?, Bytes::new(*size))?;
        }
        Op::Provision { name, size } => {
            pool.provision_volume(&volume(name)?, Bytes::new(*size), provision(name)?)?;
            pool.forget(&volume(name)?)?;
        }
        Op::Snapshot { origin, name } => {
            pool.snapshot(&volume(origin)?, &volume(name)?)?;
        }
        Op::Group { members } => {
            let pairs: Result<Vec<_>, Refusal> = members
                .iter()
                .map(|(origin, member)| Ok((volume(origin)?, volume(member)?)))
                .collect();
            pool.snapshot_group(&volume("g")?, &pairs?)?;
        }
        Op::Clone { source, name, size } => {
            pool.clone_volume(&volume(source)?, &volume(name)?, Some(Bytes::new(*size)))?;
        }
        Op::Rollback { name, to } => {
            pool.rollback(&volume(name)?, &volume(to)?)?;
        }
        Op::Resize { name, size } => {
            pool.resize(&volume(name)?, Bytes::new(*size))?;
        }
        Op::Rename { from, to } => {
            pool.rename(&volume(from)?, &volume(to)?)?;
        }
        Op::Deactivate { name } => {
            pool.deactivate(&volume(name)?)?;
        }
        Op::View { name } => {
            pool.read_only_view(&volume(name)?)?;
            pool.drop_read_only_view(&volume(name)?)?;
        }
        Op::ZeroDetect { name } => {
            pool.discard_zeros(&volume(name)?, &mut |_, _| {})?;
        }
        Op::Delete { name, .. } => pool.delete(&volume(name)?)?,
        Op::Erase { name, .. } => {
            pool.delete_and_erase(&volume(name)?)?;
        }
        Op::DeleteMany { names } => {
            let names: Result<Vec<_>, Refusal> = names.iter().map(|name| volume(name)).collect();
            pool.delete_many(&names?)?;
        }
        Op::Trim { name } => {
            pool.trim(&volume(name)?, &mut |_, _| {})?;
        }
        _ => return on_pool(pool, op),
    }
    Ok(())
}

fn on_pool(pool: &Pool, op: &Op) -> Result<(), Refusal> {
    match op {
        Op::Reap => {
            pool.reap(&mut |_| {})?;
        }
        Op::Grow { by, metadata_by } => {
            let (by, metadata_by) = (Some(Bytes::new(*by)), Bytes::new(*metadata_by));
            pool.grow(&GrowPool { by, metadata_by, ..GrowPool::default() })?;
        }
        Op::Join { device, by } => {
            let (devices, by) = (vec![device.clone()], Some(Bytes::new(*by)));
            let joining = GrowPool { devices, by, raw: true, force: true, ..GrowPool::default() };
            pool.grow(&joining)?;
        }
        Op::Evacuate { device, onto } => {
            let (device, onto) = (device.clone(), onto.iter().cloned().collect());
            let leaving = EvacuateDevice { device, onto, raw: true, force: true };
            pool.evacuate(&leaving, &mut |_, _| {})?;
        }
        Op::Policy { choice } => pool.set_policy(policy(*choice))?,
        Op::Tend => {
            pool.tend()?;
        }
        other => return Err(Refusal::new("soak", &format!("{other:?} is not known"))),
    }
    Ok(())
}

/// What [`POLICIES`] says, for the library. A full pool always fails at once: else the soak would wait.
fn policy(choice: usize) -> PoolPolicy {
    let auto = |at_percent, by| Some(AutoExtend { at_percent, by, data_max: None });
    let usual = PoolPolicy { on_full: OnFull::Error, ..PoolPolicy::default() };
    match choice {
        1 => PoolPolicy { auto_extend: auto(80, GrowthStep::Bytes(Bytes::new(4 << 20))), ..usual },
        2 => PoolPolicy {
            auto_extend: auto(90, GrowthStep::Percent(5)),
            reserve: Bytes::new(8 << 20),
            ..usual
        },
        3 => PoolPolicy { admit_data_percent: Some(95), admit_metadata_percent: Some(95), ..usual },
        _ => usual,
    }
}

/// The command for it, without `--json`.
pub(super) fn command_line(pool: &str, op: &Op) -> Vec<String> {
    let path = |name: &str| format!("{pool}/{name}");
    let own = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let size_of = |size: &u64| size.to_string();
    match op {
        Op::Create { name, size } | Op::Provision { name, size } => {
            own(&["volume", "create", &path(name), "--size", &size_of(size)])
        }
        Op::Snapshot { origin, name } => own(&["snapshot", "create", &path(origin), name]),
        Op::Group { members } => {
            let pairs = members.iter().map(|(origin, name)| format!("{origin}={name}"));
            own(&["snapshot", "group", pool, "--name", "g"]).into_iter().chain(pairs).collect()
        }
        Op::Clone { source, name, size } => {
            let (from, size) = (path(source), size_of(size));
            own(&["volume", "create", &path(name), "--from", &from, "--size", &size])
        }
        Op::Rollback { name, to } => own(&["snapshot", "rollback", &path(name), "--to", to]),
        Op::Resize { name, size } => {
            own(&["volume", "resize", &path(name), "--size", &size_of(size)])
        }
        Op::Rename { from, to } => own(&["volume", "rename", &path(from), to]),
        Op::Activate { name, writable } => {
            let more: &[&str] = if *writable { &[] } else { &["--read-only"] };
            own(&[&["volume", "activate", &path(name)], more].concat())
        }
        Op::Deactivate { name } | Op::View { name } => own(&["volume", "deactivate", &path(name)]),
        Op::ZeroDetect { name } => own(&["volume", "trim", &path(name), "--zero-detect"]),
        Op::Trim { name } => own(&["volume", "trim", &path(name)]),
        Op::Delete { name, is_snapshot } => own(&[kind_of(*is_snapshot), "delete", &path(name)]),
        Op::Erase { name, is_snapshot } => {
            own(&[kind_of(*is_snapshot), "delete", &path(name), "--erase"])
        }
        _ => pool_command_line(pool, op),
    }
}

/// The family of verbs for it.
const fn kind_of(is_snapshot: bool) -> &'static str {
    if is_snapshot { "snapshot" } else { "volume" }
}

fn pool_command_line(pool: &str, op: &Op) -> Vec<String> {
    let own = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let text = |path: &Path| path.display().to_string();
    match op {
        Op::Grow { by, metadata_by: 0 } => own(&["pool", "grow", pool, "--by", &by.to_string()]),
        Op::Grow { metadata_by, .. } => {
            own(&["pool", "grow", pool, "--metadata-by", &metadata_by.to_string()])
        }
        Op::Join { device, by } => {
            let by = by.to_string();
            own(&["pool", "grow", pool, &text(device), "--by", &by, "--raw", "--force"])
        }
        Op::Evacuate { device, onto: None } => own(&["pool", "evacuate", pool, &text(device)]),
        Op::Evacuate { device, onto: Some(onto) } => {
            let (device, onto) = (text(device), text(onto));
            own(&["pool", "evacuate", pool, &device, "--onto", &onto, "--raw", "--force"])
        }
        Op::Policy { choice } => {
            let words = POLICIES.get(*choice).copied().unwrap_or_default();
            own(&[&["pool", "set", pool, "--on-full", "error"], words].concat())
        }
        // Done by every command, and by the resident by itself.
        _ => own(&["pool", "show", pool]),
    }
}

/// Whether the program has no verb for it.
pub(super) const fn is_for_library(op: &Op) -> bool {
    matches!(
        op,
        Op::Provision { .. } | Op::View { .. } | Op::DeleteMany { .. } | Op::Reap | Op::Tend
    )
}

fn provision(name: &str) -> Result<Provision, Refusal> {
    let wrong = |error: &dyn std::fmt::Display| Refusal::new("soak", &error.to_string());
    let key = ProvisionKey::of(ObjectKind::Volume, name).map_err(|error| wrong(&error))?;
    Provision::new(key, std::collections::BTreeMap::new()).map_err(|error| wrong(&error))
}

pub(super) fn volume(name: &str) -> Result<VolumeName, Refusal> {
    VolumeName::new(name).map_err(|error| Refusal::new("soak", &error.to_string()))
}
