//! What the pool's shell does around the plans: look-ups under the locks, refusals, the reaper's
//! loop. The plans are those of the real core.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use uuid::Uuid;

use super::operation::{A, B, C, GROWN, Kind, PENDING, SIZE, SNAPSHOT, length, made, name_of_made};
use super::run::Run;
use super::start::volume_name;
use super::world::World;
use crate::catalogue::{
    Arrived, Content, GroupTag, Incoming, Provision, ProvisionKey, Received, Record,
    SnapshotMember, ThinState, Timestamp, VolumeName,
};
use crate::plan::{
    Access, CloneRequest, Operation, Plan, SnapshotRequest, Step, admit, farewell, operations,
};
use crate::units::{Bytes, ThinId};

/// What an operation does next.
#[derive(Debug)]
pub(super) enum Next {
    Run(Plan),
    Done,
    Refused,
}

/// The next plan of an operation, decided from the state as the pool decides it.
pub(super) fn next(run: &mut Run, world: &mut World) -> Next {
    let health = world.kernel.shown_health();
    let asked = run.kind.admission().filter(|_| run.stage == 0);
    if asked.is_some_and(|operation| admit(health, operation).is_err()) {
        return Next::Refused;
    }
    if run.kind == Kind::Reap && world.ledger.is_settled().is_err() {
        return Next::Refused;
    }
    plan(run, world).unwrap_or(Next::Refused)
}

/// `None` where the pool refuses.
fn plan(run: &mut Run, world: &mut World) -> Option<Next> {
    match (run.kind, run.stage) {
        (Kind::Reap, _) => return Some(reap(run, world)),
        (Kind::Delete, stage) => return delete(A, stage, world),
        (Kind::DeleteSnapshot, stage) => return delete(SNAPSHOT, stage, world),
        (Kind::Receive, stage) => return receive(run, stage, world),
        (Kind::SnapshotPending, 0 | 1) | (_, 0) => {}
        _ => return Some(Next::Done),
    }
    Some(match run.kind {
        Kind::Create => record(Record::VolumeCreated {
            uuid: made(run.slot, 0),
            name: name_of_made(run.kind, run.slot, 0),
            size: SIZE,
            created_at: Timestamp(0),
        }),
        Kind::Rename => {
            let name = volume_name(&format!("r{}", run.slot));
            record(Record::Renamed { uuid: world.volume(B)?.uuid, name })
        }
        Kind::ActivatePending | Kind::SnapshotPending => match world.volume(PENDING)?.thin {
            ThinState::Pending => first(run, world)?,
            _ if run.kind == Kind::ActivatePending => activate(PENDING, world)?,
            _ => snapshot(&[PENDING], run, world)?,
        },
        Kind::Activate => {
            refuse_half(world)?;
            activate(B, world)?
        }
        Kind::Deactivate => {
            world.volume(A)?;
            world.device_of(A).map_or(Next::Done, |id| Next::Run(operations::deactivate(id)))
        }
        Kind::SnapshotInactive => {
            refuse_half(world)?;
            snapshot(&[B], run, world)?
        }
        Kind::SnapshotActive => snapshot(&[A], run, world)?,
        Kind::SnapshotGroup => snapshot(&[A, C], run, world)?,
        Kind::Clone => clone(run, world)?,
        Kind::Rollback => rollback(run, world)?,
        Kind::Resize => {
            let size = world.volume(A)?.size.max(GROWN);
            let active = world.device_of(A).map(|id| (id, length(size), false));
            Next::Run(operations::resize(A, size, active))
        }
        Kind::Refresh => world
            .device_of(C)
            .map_or(Next::Done, |id| Next::Run(operations::refresh(id, length(SIZE), false))),
        Kind::Release => {
            let (epoch, found) = (world.memory().epoch(), world.kernel.core.transaction_id);
            farewell(epoch, world.kernel.shown_health(), found).map_or(Next::Done, record)
        }
        Kind::Reap | Kind::Delete | Kind::DeleteSnapshot | Kind::Receive => Next::Done,
    })
}

/// A change of the catalogue alone.
fn record(record: Record) -> Next {
    Next::Run(Plan { operation: Operation::Rename, steps: vec![Step::Commit(record)] })
}

fn first(run: &mut Run, world: &mut World) -> Option<Next> {
    let id = run.reserve(world)?;
    Some(Next::Run(if run.kind == Kind::ActivatePending {
        operations::activate_pending(PENDING, id, length(SIZE), Access::FirstTouch)
    } else {
        operations::allocate_pending(PENDING, id)
    }))
}

fn activate(uuid: Uuid, world: &mut World) -> Option<Next> {
    let volume = world.volume(uuid)?;
    // A lost volume is refused, and never made anew.
    let ThinState::Ready(id) = volume.thin else { return None };
    let is_blank = volume.content == Content::Blank;
    if world.kernel.devices.get(&id).is_some_and(|device| device.live.is_some()) {
        let content = Content::Touched;
        let touch = is_blank.then(|| record(Record::ContentChanged { uuid, content }));
        return Some(touch.unwrap_or(Next::Done));
    }
    // What an activation left that never got to its resume.
    world.kernel.devices.remove(&id);
    let access = if is_blank { Access::FirstTouch } else { Access::ReadWrite };
    Some(Next::Run(operations::activate(uuid, id, length(SIZE), access)))
}

fn ready_id(uuid: Uuid, world: &World) -> Option<ThinId> {
    match world.volume(uuid)?.thin {
        ThinState::Ready(id) => Some(id),
        _ => None,
    }
}

/// Whether an origin is active; `None` when somebody else froze it.
fn is_active(id: ThinId, world: &World) -> Option<bool> {
    match world.kernel.devices.get(&id) {
        Some(device) if device.suspended => None,
        device => Some(device.is_some_and(|device| device.live.is_some())),
    }
}

fn refuse_taken(name: &VolumeName, world: &World) -> Option<()> {
    world.memory().find(name).is_none().then_some(())
}

fn snapshot(origins: &[Uuid], run: &mut Run, world: &mut World) -> Option<Next> {
    let mut members = Vec::new();
    for (part, origin) in (0..).zip(origins) {
        let origin_id = ready_id(*origin, world)?;
        let active = is_active(origin_id, world)?;
        let name = name_of_made(run.kind, run.slot, part);
        refuse_taken(&name, world)?;
        let thin_id = run.reserve(world)?;
        let uuid = made(run.slot, part);
        members.push((SnapshotMember { uuid, name, origin: *origin, thin_id }, origin_id, active));
    }
    let any_active = members.iter().any(|(_, _, active)| *active);
    let operation =
        if any_active { Operation::SnapshotActive } else { Operation::SnapshotInactive };
    admit(world.kernel.shown_health(), operation).ok()?;
    let group = (members.len() > 1)
        .then(|| GroupTag { uuid: made(run.slot, 9), name: volume_name("group") });
    let created_at = Timestamp(0);
    // A group is made for an orchestrator, what is made alone is not.
    let provisions = group.as_ref().map(|tag| (tag.uuid, wanted())).into_iter().collect();
    let request = SnapshotRequest { group, created_at, members };
    Some(Next::Run(operations::snapshot(&request).provisioned(provisions)))
}

/// What an orchestrator asks for: always under one name, so that two of a pair want the same.
fn wanted() -> Provision {
    let key = ProvisionKey::new("wanted").unwrap();
    Provision { key, attributes: BTreeMap::new() }
}

fn clone(run: &mut Run, world: &mut World) -> Option<Next> {
    let source_id = ready_id(SNAPSHOT, world)?;
    let name = name_of_made(run.kind, run.slot, 0);
    refuse_taken(&name, world)?;
    admit(world.kernel.shown_health(), Operation::SnapshotInactive).ok()?;
    let uuid = made(run.slot, 0);
    let request = CloneRequest {
        uuid,
        name,
        size: GROWN,
        created_at: Timestamp(0),
        source: SNAPSHOT,
        source_id,
        source_active: is_active(source_id, world)?,
        thin_id: run.reserve(world)?,
    };
    Some(Next::Run(operations::clone(&request).provisioned(vec![(uuid, wanted())])))
}

fn rollback(run: &mut Run, world: &mut World) -> Option<Next> {
    if world.device_of(B).is_some() {
        return None;
    }
    world.volume(B)?;
    let source_id = ready_id(SNAPSHOT, world)?;
    let thin_id = run.reserve(world)?;
    Some(Next::Run(operations::rollback(B, SNAPSHOT, source_id, thin_id)))
}

/// What B is in the middle of.
fn incoming(world: &World) -> Option<&Incoming> {
    world.memory().received(B)?.incoming.as_ref()
}

fn refuse_half(world: &World) -> Option<()> {
    incoming(world).is_none().then_some(())
}

/// Begins, is written to, loses its device, and ends with the snapshot.
fn receive(run: &mut Run, stage: u8, world: &mut World) -> Option<Next> {
    let source = made(run.slot, 8);
    let last = world.memory().received(B).and_then(|received| received.last);
    match stage {
        0 => {
            refuse_half(world)?;
            world.volume(B)?;
            if world.device_of(B).is_some() {
                return None;
            }
            let name = name_of_made(run.kind, run.slot, 0);
            refuse_taken(&name, world)?;
            let incoming = Some(Incoming { source, base: None, name, durable: Bytes::ZERO });
            Some(record(Record::received(None, B, Received { last, incoming })))
        }
        1 => activate(B, world),
        2 => world.device_of(B).map(|id| Next::Run(operations::deactivate(id))),
        3 => {
            incoming(world).filter(|incoming| incoming.source == source)?;
            let Next::Run(plan) = snapshot(&[B], run, world)? else { return None };
            let last = Some(Arrived { source, snapshot: made(run.slot, 0) });
            Some(Next::Run(plan.received(B, Received { last, incoming: None })))
        }
        _ => Some(Next::Done),
    }
}

fn delete(uuid: Uuid, stage: u8, world: &World) -> Option<Next> {
    if world.volume(uuid).is_none() {
        return (stage > 0).then_some(Next::Done);
    }
    Some(match world.device_of(uuid) {
        Some(id) => Next::Run(operations::deactivate(id)),
        None => record(Record::Deleted { uuid }),
    })
}

/// One tombstone after the other, of those that there were at its begin.
fn reap(run: &mut Run, world: &mut World) -> Next {
    if run.stage == 0 {
        run.todo = world.memory().tombstones().keys().rev().copied().collect();
    }
    while let Some(id) = run.todo.pop() {
        let in_use = world.kernel.devices.get(&id).is_some_and(|device| device.foreign);
        if world.is_pinned(id) || in_use {
            continue;
        }
        world.kernel.devices.remove(&id);
        return Next::Run(operations::reap(id));
    }
    Next::Done
}
