//! `thinly volume ...`.
#![forbid(unsafe_code)]

use thinly_engine::catalogue::{VolumeKind, VolumeName};
use thinly_engine::pool::{Engine, Pool, VolumeAccess, VolumeView};

use crate::args::{
    VolumeActivate, VolumeCreate, VolumeList, VolumePath, VolumeRename, VolumeResize, VolumeVerb,
};
use crate::console::Console;
use crate::context::Context;
use crate::failure::Failure;
use crate::json::{ErasureJson, VolumeJson};
use crate::known::refuse_known;
use crate::render;
use crate::session::change;
use crate::trim_command;

pub(crate) fn run(context: Context<'_>, verb: &VolumeVerb) -> Result<(), Failure> {
    match verb {
        VolumeVerb::Create(arguments) => create(context, arguments),
        VolumeVerb::List(arguments) => list(context.console, arguments),
        VolumeVerb::Show(target) => show(context.console, &target.volume),
        VolumeVerb::Resize(arguments) => resize(context, arguments),
        VolumeVerb::Activate(arguments) => activate(context, arguments),
        VolumeVerb::Deactivate(target) => {
            let path = &target.volume;
            change_one(context, &path.pool, |pool| Ok(pool.deactivate(&path.volume)?))
        }
        VolumeVerb::Delete(arguments) => {
            delete_wanted(context, &arguments.volume, Wanted::Volume, arguments.erase)
        }
        VolumeVerb::Rename(arguments) => rename(context, arguments),
        VolumeVerb::Trim(arguments) => trim_command::run(context, arguments),
    }
}

/// The answer of every verb that ends with one volume or snapshot.
pub(crate) fn answer(console: Console<'_>, volume: &VolumeView) -> Result<(), Failure> {
    console.answer(&VolumeJson::from(volume), || render::volume_page(volume))
}

/// The answer of every verb that ends with several of them.
pub(crate) fn answer_list(console: Console<'_>, volumes: &[&VolumeView]) -> Result<(), Failure> {
    let values: Vec<VolumeJson> = volumes.iter().map(|volume| VolumeJson::from(*volume)).collect();
    console.answer(&values, || render::volume_table(volumes))
}

/// A change that ends with one volume or snapshot.
pub(crate) fn change_one(
    context: Context<'_>,
    pool: &str,
    operation: impl FnOnce(&Pool) -> Result<VolumeView, Failure>,
) -> Result<(), Failure> {
    change(context, pool, operation, |volume| answer(context.console, volume))
}

/// What a verb takes: a slip of the tongue must not delete the origin instead of its snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Volume,
    Snapshot,
}

/// Deletes what `path` names, if it is what the verb takes.
pub(crate) fn delete_wanted(
    context: Context<'_>,
    path: &VolumePath,
    wanted: Wanted,
    erase: bool,
) -> Result<(), Failure> {
    let operation = |pool: &Pool| {
        let volume = pool.volume(&path.volume)?;
        check_kind(&volume, wanted, "delete")?;
        refuse_known(path, &volume)?;
        let erasure = if erase {
            Some(pool.delete_and_erase(&path.volume)?)
        } else {
            pool.delete(&path.volume)?;
            None
        };
        Ok((VolumeJson::from(&volume).deleted(), erasure))
    };
    change(context, &path.pool, operation, |(volume, erasure)| match erasure {
        None => context.console.answer(volume, || format!("{path} is deleted\n")),
        Some(erasure) => {
            let value = ErasureJson::new(volume.clone(), erasure);
            context.console.answer(&value, || render::erasure(path, erasure))
        }
    })
}

pub(crate) const fn is_snapshot(volume: &VolumeView) -> bool {
    matches!(volume.kind, VolumeKind::Snapshot { .. })
}

fn check_kind(volume: &VolumeView, wanted: Wanted, verb: &'static str) -> Result<(), Failure> {
    let word = |is_snapshot| if is_snapshot { "snapshot" } else { "volume" };
    let (is, wanted) = (word(is_snapshot(volume)), word(wanted == Wanted::Snapshot));
    if is == wanted {
        return Ok(());
    }
    Err(Failure::WrongKind { name: volume.name.to_string(), is, wanted, verb })
}

fn create(context: Context<'_>, arguments: &VolumeCreate) -> Result<(), Failure> {
    let VolumePath { pool, volume } = &arguments.volume;
    if let Some(source) = arguments.from.as_ref().filter(|source| source.pool != *pool) {
        return Err(Failure::Usage(format!(
            "{source} is in another pool than {}; a copy shares its data with its source, so both \
             are in one pool",
            arguments.volume
        )));
    }
    change_one(context, pool, |handle| match (&arguments.from, arguments.size) {
        (Some(source), size) => Ok(handle.clone_volume(&source.volume, volume, size)?),
        (None, Some(size)) => Ok(handle.create_volume(volume, size)?),
        (None, None) => Err(Failure::Usage("a new volume needs --size or --from".to_owned())),
    })
}

fn list(console: Console<'_>, arguments: &VolumeList) -> Result<(), Failure> {
    let volumes = Engine::new()?.volumes(&arguments.pool)?;
    let shown: Vec<&VolumeView> =
        volumes.iter().filter(|volume| arguments.all || !is_snapshot(volume)).collect();
    if shown.is_empty() {
        console.hint("no volumes; make one with `thinly volume create POOL/NAME --size SIZE`");
    }
    answer_list(console, &shown)
}

fn show(console: Console<'_>, path: &VolumePath) -> Result<(), Failure> {
    let volumes = Engine::new()?.volumes(&path.pool)?;
    answer(console, find(&volumes, &path.pool, &path.volume)?)
}

/// What a pool calls by this name.
pub(crate) fn find<'a>(
    volumes: &'a [VolumeView],
    pool: &str,
    name: &VolumeName,
) -> Result<&'a VolumeView, Failure> {
    volumes
        .iter()
        .find(|volume| volume.name == *name)
        .ok_or_else(|| Failure::NoVolume { pool: pool.to_owned(), name: name.to_string() })
}

fn resize(context: Context<'_>, arguments: &VolumeResize) -> Result<(), Failure> {
    let VolumePath { pool, volume } = &arguments.volume;
    change_one(context, pool, |handle| Ok(handle.resize(volume, arguments.size)?))
}

fn activate(context: Context<'_>, arguments: &VolumeActivate) -> Result<(), Failure> {
    let VolumePath { pool, volume } = &arguments.volume;
    change_one(context, pool, |handle| {
        let read_only = arguments.read_only || is_snapshot(&handle.volume(volume)?);
        let access = if read_only { VolumeAccess::ReadOnly } else { VolumeAccess::ReadWrite };
        handle.activate(volume, access)?;
        Ok(handle.volume(volume)?)
    })
}

fn rename(context: Context<'_>, arguments: &VolumeRename) -> Result<(), Failure> {
    let VolumePath { pool, volume } = &arguments.volume;
    change_one(context, pool, |handle| Ok(handle.rename(volume, &arguments.new_name)?))
}
