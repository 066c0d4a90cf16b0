//! What a pool keeps for clusters, compared with the handles that a cluster has.
//!
//! Nothing here asks anybody: views and handles go in, the difference comes out.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use thinly_engine::catalogue::{GroupTag, ObjectId, ObjectKind, VolumeKind};
use thinly_engine::pool::VolumeView;
use uuid::Uuid;

/// An object of the pool that a cluster is meant to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its handle.
    pub handle: ObjectId,
    /// Its name in the pool.
    pub name: String,
    /// The name that the cluster asked for it by: its own, or its group's.
    pub key: String,
}

/// Why a handle reaches nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The pool has no such object.
    Absent,
    /// The object is of another kind.
    OtherKind,
    /// The object is there, and no cluster is meant to know it.
    NotAdopted,
}

/// A handle that reaches nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dangling {
    /// The handle.
    pub handle: ObjectId,
    /// Why.
    pub fault: Fault,
    /// The name of the object with this identity, when there is one.
    pub name: Option<String>,
    /// What keeps it in the cluster, where that is known.
    pub object: Option<String>,
}

/// A cluster's handles, and what keeps each, where that is known.
pub type Handles = BTreeMap<ObjectId, Option<String>>;

/// An object of the cluster whose handle cannot be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The object.
    pub object: String,
    /// What stands where its handle should.
    pub handle: String,
    /// The object that has the same handle; of something that is no handle, none.
    pub also: Option<String>,
}

/// The difference. Each list is in the order of identities.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audit {
    /// Objects that no handle names.
    pub unnamed: Vec<Known>,
    /// Handles of this pool that reach nothing.
    pub dangling: Vec<Dangling>,
    /// Objects of the cluster whose handle cannot be right.
    pub malformed: Vec<Malformed>,
    /// Handles of other pools.
    pub elsewhere: Vec<ObjectId>,
    /// How many objects have their handle.
    pub agreed_count: usize,
}

impl Audit {
    /// Whether pool and cluster have the same objects.
    pub const fn agrees(&self) -> bool {
        self.unnamed.is_empty() && self.dangling.is_empty() && self.malformed.is_empty()
    }

    /// Compares the pool that has this identity and these objects with a cluster's handles.
    pub fn of(pool: Uuid, volumes: &[VolumeView], handles: &Handles) -> Self {
        let objects = objects(volumes);
        let mut audit = Self::default();
        for object in objects.values() {
            let Some(key) = &object.key else { continue };
            let handle = object.handle;
            if handles.contains_key(&handle) {
                audit.agreed_count += 1;
            } else {
                let (name, key) = (object.name.clone(), key.clone());
                audit.unnamed.push(Known { handle, name, key });
            }
        }
        for (&handle, keeper) in handles {
            if !handle.is_in(pool) {
                audit.elsewhere.push(handle);
                continue;
            }
            let object = objects.get(&handle.uuid());
            let fault = match object {
                None => Fault::Absent,
                Some(object) if object.handle != handle => Fault::OtherKind,
                Some(object) if object.key.is_none() => Fault::NotAdopted,
                Some(_) => continue,
            };
            let name = object.map(|object| object.name.clone());
            audit.dangling.push(Dangling { handle, fault, name, object: keeper.clone() });
        }
        audit
    }

    /// Keeps of the differences those that another look found as well.
    pub fn keep_common(&mut self, other: &Self) {
        let is_unnamed = |one: &Known| other.unnamed.iter().any(|it| it.handle == one.handle);
        self.unnamed.retain(is_unnamed);
        let is_dangling = |one: &Dangling| other.dangling.iter().any(|it| it.handle == one.handle);
        self.dangling.retain(is_dangling);
        self.malformed.retain(|one| other.malformed.contains(one));
    }
}

/// A volume, a snapshot or a group.
struct Object {
    handle: ObjectId,
    name: String,
    key: Option<String>,
}

/// Everything that a handle could name, by identity. A group is there while one of its snapshots is.
fn objects(volumes: &[VolumeView]) -> BTreeMap<Uuid, Object> {
    let mut objects = BTreeMap::new();
    for view in volumes {
        let of_group = view.group_provision.as_ref().map(|asked| asked.key.to_string());
        let own = view.provision.as_ref().map(|asked| asked.key.to_string());
        if let Some(tag) = group_of(view) {
            let handle = view.handle.beside(ObjectKind::Group, tag.uuid);
            let (name, key) = (tag.name.to_string(), of_group.clone());
            objects.insert(tag.uuid, Object { handle, name, key });
        }
        let (handle, name) = (view.handle, view.name.to_string());
        objects.insert(view.uuid, Object { handle, name, key: own.or(of_group) });
    }
    objects
}

/// The group that a snapshot was taken in.
pub(crate) const fn group_of(view: &VolumeView) -> Option<&GroupTag> {
    match &view.kind {
        VolumeKind::Snapshot { group, .. } => group.as_ref(),
        VolumeKind::Blank | VolumeKind::Clone { .. } => None,
    }
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
