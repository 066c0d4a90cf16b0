//! `thinly forget`.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use thinly_engine::pool::{Pool, VolumeView};
use uuid::Uuid;

use crate::args::{Forget, VolumePath};
use crate::audit::group_of;
use crate::context::Context;
use crate::failure::Failure;
use crate::json::VolumeJson;
use crate::known::known_group;
use crate::session::change;

pub(crate) fn run(context: Context<'_>, arguments: &Forget) -> Result<(), Failure> {
    let console = context.console;
    let path = &arguments.object;
    let text = |was_known: bool| {
        if was_known {
            format!("{path} is forgotten: no cluster knows it any more; it and its data stay\n")
        } else {
            format!("{path} was not known to a cluster; nothing changed\n")
        }
    };
    if arguments.group {
        change(
            context,
            &path.pool,
            |pool| group(pool, path),
            |(was_known, members)| {
                let values: Vec<VolumeJson> = members.iter().map(VolumeJson::from).collect();
                console.answer(&values, || text(*was_known))
            },
        )
    } else {
        change(
            context,
            &path.pool,
            |pool| one(pool, path),
            |(was_known, volume)| console.answer(&VolumeJson::from(volume), || text(*was_known)),
        )
    }
}

/// Tells whether it was known, and what it is now.
fn one(pool: &Pool, path: &VolumePath) -> Result<(bool, VolumeView), Failure> {
    let before = pool.volume(&path.volume)?;
    if let Some(group) = known_group(path, &before) {
        return Err(Failure::KnownByGroup {
            path: path.to_string(),
            group: group.name,
            handle: group.handle,
            forget: group.forget,
        });
    }
    Ok((before.provision.is_some(), pool.forget(&path.volume)?))
}

fn group(pool: &Pool, path: &VolumePath) -> Result<(bool, Vec<VolumeView>), Failure> {
    let group = find_group(&pool.volumes()?, path)?;
    let was_known = pool.provision_of(group).is_some();
    Ok((was_known, pool.forget_group(group)?))
}

/// A group by its name or its uuid. Names of groups need not be different.
fn find_group(volumes: &[VolumeView], path: &VolumePath) -> Result<Uuid, Failure> {
    let wanted = path.volume.as_str();
    let groups: BTreeSet<Uuid> = volumes
        .iter()
        .filter_map(group_of)
        .filter(|tag| tag.name.as_str() == wanted || tag.uuid.to_string() == wanted)
        .map(|tag| tag.uuid)
        .collect();
    let (pool, name) = (path.pool.clone(), wanted.to_owned());
    match groups.iter().collect::<Vec<_>>()[..] {
        [] => Err(Failure::NoGroup { pool, name }),
        [group] => Ok(*group),
        [..] => {
            let uuids: Vec<String> = groups.iter().map(Uuid::to_string).collect();
            Err(Failure::AmbiguousGroup { pool, name, uuids: uuids.join(", ") })
        }
    }
}
