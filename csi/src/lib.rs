//! The CSI driver of Thinly: Kubernetes' storage interface over the engine, for volumes on the
//! disks of this node.
//!
//! * `request`: what clients ask for, read strictly (pure);
//! * `operations`: calls that outlive their callers;
//! * `driver`, `pools`: what all services share;
//! * `admin`: changes that the command `thinly` asks for;
//! * `identity`, `controller`, `group`, `snapshot_metadata`, `node`: the services;
//! * [`cluster`]: what the driver does in its cluster, by the API server;
//! * `observe`: a line and a number for every call, metrics;
//! * [`host`]: mounts and filesystems of this host;
//! * [`config`], [`serve`]: what the program is started with, and its life.
#![deny(unsafe_code)]

mod admin;
pub mod cluster;
pub mod config;
mod controller;
mod driver;
mod endpoint;
mod failure;
mod group;
pub mod host;
mod identity;
mod limits;
mod names;
mod node;
mod observe;
mod operations;
mod policy_config;
mod pools;
mod request;
pub mod serve;
mod snapshot_metadata;

pub use driver::Identity;
pub use endpoint::{Endpoint, EndpointError};
pub use thinly_engine::catalogue::{ObjectId, ObjectIdError, ObjectKind};
