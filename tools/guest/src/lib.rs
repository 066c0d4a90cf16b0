//! The test bed: a Debian guest with its own kernel, its disks, and the commands run inside it.
//!
//! The same binary is both sides: on the host it builds images, starts QEMU and talks to the guest;
//! inside it is `/init` and the agent that runs commands. See `docs/testbed.md`.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "this program exists to start others: QEMU, mmdebstrap, and the commands of a test"
)]

pub mod agent;
mod assembly;
pub mod cache;
pub mod client;
mod conversation;
pub mod cpio;
pub mod image;
pub mod init;
pub mod initramfs;
pub mod kernel;
pub mod kernel_log;
pub mod kvm;
pub mod payload;
pub mod protocol;
pub mod qemu;
pub mod qmp;
pub mod run_dir;
pub mod shell;
pub mod spec;
pub mod supervisor;
pub mod terminal;
pub mod test_list;
pub mod test_run;
