//! A walk through what kubelet does with the driver: pods that use volumes, a driver and a kubelet that go away, growth,
//! copies. Kubelet, the container runtime, the control plane, the image and the manifests are what a cluster has; in
//! the place of the sidecars, whose programs no package has, this program calls the driver.

mod claims;
mod kubectl;
mod pods;
mod walk;

pub use walk::walk;
