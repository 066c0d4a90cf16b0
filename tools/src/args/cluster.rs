//! The verbs between a pool and a cluster.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args, ValueEnum};
use thinly_engine::catalogue::{ClusterAccess, DRIVER_NAME, TOPOLOGY_KEY};

use crate::cluster_name::{ClaimName, ClusterName};
use crate::name::{VolumePath, parse_pool};

/// `thinly adopt`.
#[derive(Debug, Args)]
pub struct Adopt {
    /// The volume or snapshot.
    #[arg(value_name = "POOL/NAME")]
    pub volume: VolumePath,
    /// What the cluster calls it; thinly-NAME when not given.
    #[arg(long, value_name = "NAME")]
    pub pv_name: Option<ClusterName>,
    /// How pods use it; when not given, `mount` if it holds a filesystem, else `block`.
    #[arg(long, value_enum, value_name = "HOW")]
    pub access: Option<AccessChoice>,
    /// The filesystem that it holds, or gets when it is mounted blank (ext4 when not given).
    #[arg(long, value_enum, value_name = "TYPE")]
    pub fs_type: Option<FilesystemChoice>,
    /// The StorageClass that claims for it name.
    #[arg(long, value_name = "NAME")]
    pub storage_class: Option<ClusterName>,
    /// The node that has the disks, as the cluster calls it; this machine's host name when not given.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub node: Option<String>,
    /// The claim that it is kept for; of a snapshot, its VolumeSnapshot.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub claim: Option<ClaimName>,
    /// The driver's name in the cluster.
    #[arg(long, value_name = "NAME", default_value = DRIVER_NAME, value_parser = NonEmptyStringValueParser::new())]
    pub driver_name: String,
    /// The topology key whose value is the node's name.
    #[arg(long, value_name = "KEY", default_value = TOPOLOGY_KEY, value_parser = NonEmptyStringValueParser::new())]
    pub topology_key: String,
}

/// How pods use a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AccessChoice {
    /// As a filesystem.
    Mount,
    /// As a device.
    Block,
}

impl From<AccessChoice> for ClusterAccess {
    fn from(choice: AccessChoice) -> Self {
        match choice {
            AccessChoice::Mount => Self::Mount,
            AccessChoice::Block => Self::Block,
        }
    }
}

/// A filesystem that the driver mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the names say it")]
pub enum FilesystemChoice {
    Ext4,
    Xfs,
    Btrfs,
}

impl FilesystemChoice {
    /// Its name, as mount knows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }
}

/// `thinly forget`.
#[derive(Debug, Args)]
pub struct Forget {
    /// The volume or snapshot, or with --group the group of snapshots.
    #[arg(value_name = "POOL/NAME")]
    pub object: VolumePath,
    /// It is a group of snapshots: its name, or its uuid.
    #[arg(long)]
    pub group: bool,
}

/// `thinly audit`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("cluster").required(true).args(["handles", "kube"]))]
pub struct Audit {
    /// The pool's name or uuid.
    #[arg(value_name = "POOL", value_parser = parse_pool)]
    pub pool: String,
    /// The cluster's handles: one a line, or a JSON array; - for standard input.
    #[arg(long, value_name = "FILE")]
    pub handles: Option<PathBuf>,
    /// Ask the cluster itself, for its persistent volumes and the contents of snapshots and groups.
    #[arg(long)]
    pub kube: bool,
    /// How the cluster is reached; when not given, KUBECONFIG, ~/.kube/config or the pod's service account.
    #[arg(long, value_name = "FILE", requires = "kube")]
    pub kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig; its current one when not given.
    #[arg(long, value_name = "NAME", requires = "kube")]
    pub context: Option<String>,
    /// The driver's name in the cluster.
    #[arg(long, value_name = "NAME", default_value = DRIVER_NAME, value_parser = NonEmptyStringValueParser::new())]
    pub driver_name: String,
}

pub(super) const ADOPT_EXAMPLE: &str = "\
Example:
  thinly adopt p0/web | kubectl apply -f -
  thinly adopt p0/web --node n1 --claim shop/data --storage-class local
  thinly adopt p0/disk --access block --pv-name disk-of-vm-7
  thinly adopt p0/web-monday --claim shop/web-monday";

pub(super) const FORGET_EXAMPLE: &str = "\
Example:
  thinly forget p0/web
  thinly forget p0/monday --group";

pub(super) const AUDIT_EXAMPLE: &str = "\
Example:
  thinly audit p0 --kube
  thinly audit p0 --kube --kubeconfig ~/prod.yaml --context n1
  thinly audit p0 --handles handles.txt
  thinly audit p0 --handles - --json";
