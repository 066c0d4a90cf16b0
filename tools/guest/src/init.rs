//! The guest's first process: from the initramfs to a running agent.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::agent::GUEST_PATH;
use anyhow::{Context, Result, bail};
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::wait::wait;
use nix::unistd::{chdir, chroot, sethostname};

/// Serial numbers by which the guest knows its disks.
pub mod serial {
    /// The root file system.
    pub const ROOT: &str = "thinly-root";
    /// The kernel's modules.
    pub const MODULES: &str = "thinly-modules";
    /// The project's binaries and files.
    pub const PAYLOAD: &str = "thinly-payload";
    /// The disk from which tests make their own.
    pub const SCRATCH: &str = "thinly-scratch";
    /// What the serial numbers of the fresh disks start with.
    pub const DISK_PREFIX: &str = "thinly-disk";
}

/// Printed by a guest that was booted only to see whether it boots.
pub const PROBE_TEXT: &str = "thinly: the probe guest runs";

/// Runs as process 1 and never returns while the guest lives.
pub fn run() -> Result<()> {
    if let Err(e) = boot() {
        eprintln!("thinly-init: {e:#}");
        thread::sleep(Duration::from_millis(200));
        reboot(RebootMode::RB_POWER_OFF)?;
    }
    Ok(())
}

fn boot() -> Result<()> {
    mount_at("devtmpfs", "/dev", "devtmpfs", "")?;
    mount_at("proc", "/proc", "proc", "")?;
    mount_at("sysfs", "/sys", "sysfs", "")?;
    if fs::read_to_string("/proc/cmdline")?.contains("thinly.probe") {
        println!("{PROBE_TEXT}");
        thread::sleep(Duration::from_millis(100));
        reboot(RebootMode::RB_POWER_OFF)?;
    }
    load_boot_modules()?;
    enter_root()?;
    prepare()?;
    let agent = Command::new("/proc/self/exe")
        .arg("agent")
        .env("DISKS", fresh_disks().join(" "))
        .spawn()
        .context("cannot start the agent")?;
    let agent_id = i32::try_from(agent.id())?;
    // As process 1 we inherit every orphan and must collect it.
    loop {
        match wait() {
            Ok(status) if status.pid().is_some_and(|pid| pid.as_raw() == agent_id) => {
                bail!("the agent ended: {status:?}");
            }
            Ok(_) => {}
            Err(e) => bail!("nothing to wait for: {e}"),
        }
    }
}

/// Loads what the root file system needs, in the order the host wrote down.
fn load_boot_modules() -> Result<()> {
    for name in fs::read_to_string("/modules/order")?.lines() {
        let file = fs::File::open(format!("/modules/{name}")).with_context(|| name.to_owned())?;
        match finit_module(&file, c"", ModuleInitFlags::empty()) {
            Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
            Err(e) => bail!("module {name}: {e}"),
        }
    }
    Ok(())
}

/// The read-only root with a tmpfs over it becomes `/`.
fn enter_root() -> Result<()> {
    let root = wait_for_disk(serial::ROOT)?;
    mount_flags(&root, "/lower", "ext4", MsFlags::MS_RDONLY, "")?;
    mount_at("tmpfs", "/upper", "tmpfs", "")?;
    fs::create_dir_all("/upper/files")?;
    fs::create_dir_all("/upper/work")?;
    let layers = "lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work";
    mount_at("overlay", "/new", "overlay", layers)?;
    for kept in ["dev", "proc", "sys"] {
        let target = format!("/new/{kept}");
        fs::create_dir_all(&target)?;
        mount(Some(&*format!("/{kept}")), &*target, None::<&str>, MsFlags::MS_MOVE, None::<&str>)?;
    }
    chdir("/new")?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)?;
    // The kernel's own threads share this root, so that module loading finds modprobe.
    chroot(".")?;
    chdir("/")?;
    Ok(())
}

fn prepare() -> Result<()> {
    sethostname("guest")?;
    mount_at("tmpfs", "/tmp", "tmpfs", "mode=1777")?;
    mount_at("tmpfs", "/run", "tmpfs", "mode=755")?;
    mount_at("devpts", "/dev/pts", "devpts", "ptmxmode=666")?;
    mount_at("tmpfs", "/dev/shm", "tmpfs", "mode=1777")?;
    mount_at("cgroup2", "/sys/fs/cgroup", "cgroup2", "")?;
    mount_at("debugfs", "/sys/kernel/debug", "debugfs", "")?;
    fs::create_dir_all("/run/lock")?;
    fs::create_dir_all("/run/lvm")?;
    for (link, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "fd/0"),
        ("/dev/stdout", "fd/1"),
        ("/dev/stderr", "fd/2"),
    ] {
        if fs::symlink_metadata(link).is_err() {
            symlink(target, link)?;
        }
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let modules = format!("/usr/lib/modules/{}", release.trim());
    mount_flags(&wait_for_disk(serial::MODULES)?, &modules, "ext4", MsFlags::MS_RDONLY, "")?;
    if let Some(disk) = find_disk(serial::PAYLOAD) {
        mount_flags(&disk, "/opt/thinly", "ext4", MsFlags::MS_RDONLY, "")?;
    }
    if let Some(disk) = find_disk(serial::SCRATCH) {
        mount_at(&disk, "/scratch", "ext4", "discard")?;
    }
    let status = Command::new("modprobe")
        .env("PATH", GUEST_PATH)
        .args(["--all", "dm_mod", "dm_thin_pool", "loop"])
        .status()
        .context("cannot start modprobe")?;
    if !status.success() {
        bail!("modprobe of the device-mapper modules: {status}");
    }
    let mut loopback = Command::new("ip");
    loopback.env("PATH", GUEST_PATH).args(["link", "set", "lo", "up"]);
    if !loopback.status().context("cannot start ip")?.success() {
        bail!("the loopback interface does not come up");
    }
    fs::write("/proc/sys/kernel/sysrq", "1")?;
    Ok(())
}

fn mount_at(source: &str, target: &str, kind: &str, data: &str) -> Result<()> {
    mount_flags(source, target, kind, MsFlags::empty(), data)
}

fn mount_flags(source: &str, target: &str, kind: &str, flags: MsFlags, data: &str) -> Result<()> {
    if fs::metadata(target).is_err() {
        fs::create_dir_all(target).with_context(|| format!("mkdir {target}"))?;
    }
    mount(Some(source), target, Some(kind), flags, Some(data))
        .with_context(|| format!("mount {source} at {target}"))
}

fn wait_for_disk(serial: &str) -> Result<String> {
    for _ in 0..500 {
        if let Some(found) = find_disk(serial) {
            return Ok(found);
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("no disk with serial {serial}")
}

fn find_disk(serial: &str) -> Option<String> {
    disks().into_iter().find(|(_, found)| found == serial).map(|(device, _)| device)
}

fn fresh_disks() -> Vec<String> {
    let mut found = disks();
    found.retain(|(_, serial)| serial.starts_with(serial::DISK_PREFIX));
    found.sort_by(|a, b| a.1.cmp(&b.1));
    found.into_iter().map(|(device, _)| device).collect()
}

/// Every virtio disk with its serial number.
fn disks() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        let device = format!("/dev/{}", entry.file_name().to_string_lossy());
        let Ok(serial) = fs::read_to_string(entry.path().join("serial")) else { continue };
        if OpenOptions::new().read(true).open(&device).is_ok() {
            found.push((device, serial.trim().to_owned()));
        }
    }
    found
}
