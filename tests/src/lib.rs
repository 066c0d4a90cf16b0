//! What tests share that run inside the guest: disks of their own, commands, the kernel log, and the
//! only permitted way to skip. `docs/testbed.md` says how they are run.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests drive the tools that the project is compared with, and those are programs"
)]

mod command;
pub mod csi;
pub mod csi_rate;
mod disks;
mod feature;
pub mod kubelet;
mod leftovers;
pub mod log_writes;
pub mod power_cut;
pub mod soak;
mod superblock;

pub use command::sh;
pub use disks::{Disks, gib, mib};
pub use feature::{KernelVersion, is_unsupported};
pub use superblock::demand_check;
pub use thinly_guest::kernel_log::KernelLog;

/// Whether random tests are to go on for hours (`make histories`).
pub fn is_soak() -> bool {
    std::env::var("THINLY_SOAK").is_ok_and(|size| size == "full")
}

/// The kernel log from here on, for a test that wants to see what the kernel said of it.
pub fn dmesg_mark() -> anyhow::Result<KernelLog> {
    Ok(KernelLog::from_now()?)
}
