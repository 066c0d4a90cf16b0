//! QEMU's command line.

use std::path::{Path, PathBuf};

use crate::init::serial;
use crate::kvm::Accelerator;
use crate::protocol::PORT_NAME;

/// The program.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// How a disk is opened that is written. Flushes are not passed on.
const WRITTEN: &str = "cache=unsafe,discard=unmap";

/// Everything QEMU is told.
#[derive(Debug)]
pub struct Machine {
    args: Vec<String>,
    drives: u32,
}

impl Machine {
    /// A machine without disks. `initramfs` and what follows may be relative to the directory QEMU runs in.
    pub fn new(accelerator: Accelerator, cpus: u32, memory_mib: u32) -> Self {
        let mut machine = Self { args: Vec::new(), drives: 0 };
        machine.add(&["-machine", "q35"]);
        machine.add(&["-nodefaults", "-no-user-config", "-display", "none"]);
        machine.add(match accelerator {
            Accelerator::Kvm => &["-accel", "kvm", "-cpu", "host"],
            Accelerator::Tcg => &["-accel", "tcg,thread=multi", "-cpu", "max"],
        });
        machine.add(&["-smp", &cpus.to_string(), "-m", &format!("{memory_mib}M")]);
        machine.add(&["-object", "rng-random,id=rng,filename=/dev/urandom"]);
        machine.add(&["-device", "virtio-rng-pci,rng=rng"]);
        machine
    }

    /// What it boots, and where the console's text goes.
    pub fn boot(&mut self, kernel: &Path, initramfs: &Path, extra: &str, console: &str) {
        // A panic reboots at once: the supervisor sees the reset and says so, where a halt would look like a hang.
        let line = format!(
            "console=ttyS0 loglevel=5 panic=-1 mitigations=off nokaslr tsc=reliable no_timer_check \
             random.trust_cpu=on {extra}"
        );
        self.add(&[
            "-kernel",
            &text(kernel),
            "-initrd",
            &text(initramfs),
            "-append",
            line.trim_end(),
        ]);
        // Appended to: what an earlier boot said before the power was cut stays readable.
        self.add(&["-chardev", &format!("file,id=console,path={console},append=on")]);
        self.add(&["-serial", "chardev:console"]);
    }

    /// A disk that nobody writes: several guests share its image.
    pub fn read_only_disk(&mut self, image: &Path, serial: &str) {
        self.drive(image, serial, "read-only=on", 512);
    }

    /// A disk that is written. A reset of the guest loses nothing that QEMU holds.
    pub fn disk(&mut self, image: &Path, serial: &str, block_bytes: u32) {
        self.drive(image, serial, WRITTEN, block_bytes);
    }

    /// The same, of which so much is written in a second and no more.
    pub fn slow_disk(&mut self, image: &Path, serial: &str, block_bytes: u32, mib_per_second: u32) {
        let bytes = u64::from(mib_per_second) << 20;
        let options = format!("{WRITTEN},throttling.bps-write={bytes}");
        self.drive(image, serial, &options, block_bytes);
    }

    fn drive(&mut self, image: &Path, serial: &str, options: &str, block_bytes: u32) {
        let id = format!("drive{}", self.drives);
        self.drives += 1;
        // A comma in an option's value is written twice.
        let image = text(image).replace(',', ",,");
        self.add(&["-drive", &format!("if=none,id={id},format=raw,{options},file={image}")]);
        let device = format!(
            "virtio-blk-pci,drive={id},serial={serial},\
             logical_block_size={block_bytes},physical_block_size={block_bytes}"
        );
        self.add(&["-device", &device]);
    }

    /// The agent's port and the machine's own control socket, as sockets in the directory QEMU runs in.
    pub fn sockets(&mut self, agent: &str, qmp: &str) {
        self.add(&["-device", "virtio-serial-pci"]);
        self.add(&["-chardev", &format!("socket,id=agent,path={agent},server=on,wait=off")]);
        self.add(&["-device", &format!("virtserialport,chardev=agent,name={PORT_NAME}")]);
        self.add(&["-chardev", &format!("socket,id=qmp,path={qmp},server=on,wait=off")]);
        self.add(&["-mon", "chardev=qmp,mode=control"]);
    }

    /// The command line.
    pub fn into_args(self) -> Vec<String> {
        self.args
    }

    fn add(&mut self, args: &[&str]) {
        self.args.extend(args.iter().map(ToString::to_string));
    }
}

/// The serial number of the fresh disk at this place.
pub fn disk_serial(index: usize) -> String {
    format!("{}{index:02}", serial::DISK_PREFIX)
}

/// The file of the fresh disk at this place.
pub fn disk_file(dir: &Path, index: usize) -> PathBuf {
    dir.join(format!("disk{index:02}.img"))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
