//! What all services share: the node, its pools, the running calls.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use prost::Message;
use thinly_csi_wire::Topology;
use thinly_engine::catalogue::{GroupTag, Volume};
use thinly_engine::pool::Pool;
use tonic::{Response, Status};
use uuid::Uuid;

use crate::host::paths::KubeletDir;
use crate::operations::{Hold, Operations, Use};
use crate::pools::{Class, Classes};
use crate::{ObjectId, ObjectKind};

/// How many calls work at one time. They block on the kernel more than they compute.
const SLOTS: usize = 64;

/// What a driver is started with.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The driver's name in the cluster.
    pub driver_name: String,
    /// This node's name in the cluster.
    pub node_id: String,
    /// The topology key whose value is the node.
    pub topology_key: String,
    /// Kubelet's directory: nothing outside of it is ever mounted on.
    pub kubelet_dir: PathBuf,
    /// Whether parts that the specification calls alpha are offered.
    pub alpha: bool,
    /// Whether volumes grow by the node's call alone, and the Controller changes none: its caller may
    /// mean another node's.
    pub node_expansion: bool,
}

/// The driver.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) identity: Identity,
    pub(crate) kubelet: KubeletDir,
    pub(crate) operations: Arc<Operations>,
    classes: RwLock<Arc<Classes>>,
    ready: AtomicBool,
}

/// Which pool to ask for which identity.
type Located = (Arc<Class>, Arc<Pool>, Uuid);

/// What a call does, on a thread that may block.
pub(crate) type Work<Q, R> = fn(&Driver, &Q) -> Result<R, Status>;

/// A volume or snapshot that a cluster knows.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) class: Arc<Class>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) volume: Volume,
}

impl Found {
    pub(crate) fn id(&self) -> ObjectId {
        id_of(self.class.uuid, &self.volume)
    }
}

/// The identifier of a volume or snapshot.
pub(crate) fn id_of(pool: Uuid, volume: &Volume) -> ObjectId {
    ObjectId::of(pool, volume)
}

impl Driver {
    /// A driver without pools; it is not ready until it has them.
    pub(crate) fn new(identity: Identity, kubelet: KubeletDir) -> Self {
        Self {
            identity,
            kubelet,
            operations: Arc::new(Operations::new(SLOTS)),
            classes: RwLock::new(Arc::new(Classes::new(Vec::new()))),
            ready: AtomicBool::new(false),
        }
    }

    pub(crate) fn serve_classes(&self, classes: Classes) {
        *self.classes.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(classes);
        self.ready.store(true, Ordering::Release);
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// The classes that are served.
    pub(crate) fn classes(&self) -> Arc<Classes> {
        Arc::clone(&self.classes.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Refuses calls that come before the pools are open.
    pub(crate) fn refuse_unless_ready(&self) -> Result<(), Status> {
        if self.is_ready() {
            return Ok(());
        }
        Err(Status::unavailable("the driver is still opening its pools; ask again"))
    }

    /// Runs what a call asks for as an operation that outlives its caller.
    pub(crate) async fn call<Q, R>(
        self: &Arc<Self>,
        rpc: &'static str,
        request: Q,
        holds: Vec<Hold>,
        work: Work<Q, R>,
    ) -> Result<Response<R>, Status>
    where
        Q: Message + Clone + 'static,
        R: Clone + Send + Sync + 'static,
    {
        let (driver, asked) = (Arc::clone(self), request.clone());
        let work = move || work(&driver, &asked);
        self.operations.run(rpc, &request, holds, work).await.map(Response::new)
    }

    /// This node, as a place.
    pub(crate) fn segments(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(self.identity.topology_key.clone(), self.identity.node_id.clone())])
    }

    /// This node, where all its volumes are.
    pub(crate) fn topology(&self) -> Topology {
        Topology { segments: self.segments() }
    }

    /// A volume or snapshot by its identifier. One that no cluster asked for is not found: a handle
    /// that somebody made up must not reach volumes of others.
    pub(crate) fn find(&self, id: &str, kind: ObjectKind) -> Result<Option<Found>, Status> {
        let Some((class, pool, uuid)) = self.locate(id, kind)? else { return Ok(None) };
        let Some(volume) = pool.volume_record(uuid) else { return Ok(None) };
        if volume.is_snapshot() != (kind == ObjectKind::Snapshot) || !is_known(&pool, &volume) {
            return Ok(None);
        }
        Ok(Some(Found { class, pool, volume }))
    }

    /// The same, with `NOT_FOUND` when there is none.
    pub(crate) fn need(&self, id: &str, kind: ObjectKind) -> Result<Found, Status> {
        self.find(id, kind)?.ok_or_else(|| not_found(id, kind))
    }

    /// A group of snapshots by its identifier.
    pub(crate) fn find_group(&self, id: &str) -> Result<Option<FoundGroup>, Status> {
        let Some((class, pool, uuid)) = self.locate(id, ObjectKind::Group)? else {
            return Ok(None);
        };
        Ok(pool
            .group_records(uuid)
            .filter(|_| pool.provision_of(uuid).is_some())
            .map(|(tag, members)| FoundGroup { class, pool, tag, members }))
    }

    fn locate(&self, id: &str, kind: ObjectKind) -> Result<Option<Located>, Status> {
        // Text that is no identifier of ours names no object of ours.
        let Some(id) = id.parse::<ObjectId>().ok().filter(|id| id.kind() == kind) else {
            return Ok(None);
        };
        let classes = self.classes();
        let Some(class) = classes.iter().find(|class| id.is_in(class.uuid)) else {
            return Ok(None);
        };
        Ok(Some((Arc::clone(class), class.pool()?, id.uuid())))
    }

    /// Whether an identifier is well formed and of a pool that is not on this node.
    pub(crate) fn is_elsewhere(&self, id: &str, kind: ObjectKind) -> bool {
        id.parse::<ObjectId>().is_ok_and(|id| {
            id.kind() == kind && !self.classes().iter().any(|class| id.is_in(class.uuid))
        })
    }
}

/// A group of snapshots that a cluster knows.
#[derive(Debug)]
pub(crate) struct FoundGroup {
    pub(crate) class: Arc<Class>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) tag: GroupTag,
    pub(crate) members: Vec<Volume>,
}

/// Whether a cluster asked for it, by itself or by its group.
pub(crate) fn is_known(pool: &Pool, volume: &Volume) -> bool {
    pool.provision_of(volume.uuid).is_some()
        || group_of(volume).is_some_and(|group| pool.provision_of(group.uuid).is_some())
}

/// The group that a snapshot was taken in.
pub(crate) const fn group_of(volume: &Volume) -> Option<&GroupTag> {
    match &volume.kind {
        thinly_engine::catalogue::VolumeKind::Snapshot { group, .. } => group.as_ref(),
        _ => None,
    }
}

pub(crate) fn not_found(id: &str, kind: ObjectKind) -> Status {
    Status::not_found(format!("there is no {kind} {id:?} on this node"))
}

/// Holds an object for a change.
pub(crate) fn changes(name: impl Into<String>) -> Hold {
    (name.into(), Use::Changes)
}

/// Holds an object against changes by others.
pub(crate) fn needs(name: impl Into<String>) -> Hold {
    (name.into(), Use::Needs)
}
