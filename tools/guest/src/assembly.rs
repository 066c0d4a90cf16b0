//! Puts a guest together: its images, its disks, and QEMU's command line.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::cache::Cache;
use crate::init::serial;
use crate::initramfs;
use crate::kernel::Kernel;
use crate::kvm::Accelerator;
use crate::payload;
use crate::qemu::{self, Machine};
use crate::run_dir::{AGENT_SOCKET, CONSOLE_LOG, QMP_SOCKET, RunDir};
use crate::shell;
use crate::spec::Spec;

/// Writes what the guest is made of and returns QEMU's command line.
pub(crate) fn prepare(
    spec: &Spec,
    cache: &Cache,
    kernel: &Kernel,
    root: &Path,
    run: &RunDir,
) -> Result<Vec<String>> {
    let initramfs = run.file("initramfs");
    initramfs::write(kernel, &initramfs)?;
    let payload = run.file("payload.img");
    payload::write(spec, &payload)?;
    let scratch = run.file("scratch.img");
    let lazily = ["-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"];
    shell::make_ext4(&scratch, spec.scratch_gib << 30, None, &lazily)?;
    let disks = match &spec.keep_disks {
        Some(dir) => std::path::absolute(dir)?,
        None => run.file("disks"),
    };
    fs::create_dir_all(&disks)?;
    let accelerator = Accelerator::choose(cache, &kernel.image, &initramfs, run.path())?;
    let mut machine = Machine::new(accelerator, spec.cpus, spec.memory_mib);
    machine.boot(&kernel.image, Path::new("initramfs"), "", CONSOLE_LOG);
    machine.sockets(AGENT_SOCKET, QMP_SOCKET);
    // First, so that they are vda, vdb and so on.
    for (index, disk) in spec.disks.0.iter().enumerate() {
        let file = qemu::disk_file(&disks, index);
        if !file.exists() {
            fs::File::create(&file)?.set_len(disk.size_bytes)?;
        }
        let serial = qemu::disk_serial(index);
        match spec.disks_write_at {
            None => machine.disk(&file, &serial, disk.block_bytes),
            Some(pace) => machine.slow_disk(&file, &serial, disk.block_bytes, pace),
        }
    }
    machine.read_only_disk(root, serial::ROOT);
    machine.read_only_disk(&kernel.modules_image, serial::MODULES);
    machine.read_only_disk(Path::new("payload.img"), serial::PAYLOAD);
    machine.disk(Path::new("scratch.img"), serial::SCRATCH, 512);
    Ok(machine.into_args())
}
