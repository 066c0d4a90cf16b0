//! Mounts and filesystems of this host, as the node service needs them. Nothing here knows of
//! pools, of volumes or of gRPC; everything blocks until it is done.
//!
//! * [`paths`]: the paths that kubelet names, never followed through a symbolic link;
//! * [`mount_table`]: what is mounted where;
//! * [`mount_options`]: which options a cluster may ask for;
//! * [`mounting`]: mounting, binding and unmounting;
//! * [`filesystem`]: recognising, making, checking, renaming and growing filesystems;
//! * [`pod_cgroup`]: limiting what a pod does with a device;
//! * [`stats`]: how full they are.

mod error;
pub mod filesystem;
#[allow(unsafe_code, reason = "one system call that has no safe wrapper; it carries its argument")]
mod mount_attributes;
pub mod mount_options;
pub mod mount_table;
pub mod mounting;
mod option_list;
pub mod paths;
pub mod pod_cgroup;
mod program;
pub mod stats;

pub use error::{HostError, HostErrorKind, Result};
