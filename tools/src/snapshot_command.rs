//! `thinly snapshot ...`.
#![forbid(unsafe_code)]

use thinly_engine::pool::{Engine, VolumeView};

use crate::args::{SnapshotGroup, SnapshotVerb};
use crate::console::Console;
use crate::context::Context;
use crate::failure::Failure;
use crate::session::change;
use crate::volume_command::{Wanted, answer_list, change_one, delete_wanted, is_snapshot};

pub(crate) fn run(context: Context<'_>, verb: &SnapshotVerb) -> Result<(), Failure> {
    match verb {
        SnapshotVerb::Create(arguments) => change_one(context, &arguments.origin.pool, |pool| {
            Ok(pool.snapshot(&arguments.origin.volume, &arguments.name)?)
        }),
        SnapshotVerb::List(arguments) => list(context.console, &arguments.pool),
        SnapshotVerb::Rollback(arguments) => change_one(context, &arguments.volume.pool, |pool| {
            Ok(pool.rollback(&arguments.volume.volume, &arguments.to)?)
        }),
        SnapshotVerb::Delete(arguments) => {
            delete_wanted(context, &arguments.snapshot, Wanted::Snapshot, arguments.erase)
        }
        SnapshotVerb::Group(arguments) => group(context, arguments),
    }
}

fn list(console: Console<'_>, pool: &str) -> Result<(), Failure> {
    let volumes = Engine::new()?.volumes(pool)?;
    let shown: Vec<&VolumeView> = volumes.iter().filter(|volume| is_snapshot(volume)).collect();
    if shown.is_empty() {
        console.hint("no snapshots; take one with `thinly snapshot create POOL/ORIGIN NAME`");
    }
    answer_list(console, &shown)
}

fn group(context: Context<'_>, arguments: &SnapshotGroup) -> Result<(), Failure> {
    let members: Vec<_> = arguments
        .members
        .iter()
        .map(|member| (member.origin.clone(), member.snapshot.clone()))
        .collect();
    change(
        context,
        &arguments.pool,
        |pool| Ok(pool.snapshot_group(&arguments.name, &members)?),
        |snapshots| answer_list(context.console, &snapshots.iter().collect::<Vec<_>>()),
    )
}
