//! What Thinly reads of a Kubernetes cluster: the driver's controller and `thinly audit --kube`.
//!
//! * [`objects`]: the parts of a cluster's objects that are read, and no others;
//! * [`Access`]: where the cluster is, and who asks;
//! * [`handles`]: every handle that a cluster keeps for a driver.
#![forbid(unsafe_code)]

mod access;
mod error;
#[cfg(feature = "fake")]
pub mod fake;
pub mod handles;
pub mod objects;

pub use access::Access;
pub use error::{ClusterError, told};
