//! The guest's root file system: Debian trixie, made by mmdebstrap.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::cache::Cache;
use crate::shell;

/// The Debian release of the userland. Its `thin_check` verifies data reference counts; bookworm's does not.
pub const SUITE: &str = "trixie";

/// Changes with everything below that changes the image, so that an old one in a cache is not taken for it.
const RECIPE: u32 = 2;

/// What the guest has beside the essential packages.
const PACKAGES: &[&str] = &[
    "lvm2",
    "thin-provisioning-tools",
    "dmsetup",
    "mdadm",
    "xfsprogs",
    "e2fsprogs",
    "btrfs-progs",
    "dosfstools",
    "fdisk",
    "gdisk",
    "fio",
    "strace",
    "util-linux",
    "bsdextrautils",
    "kmod",
    "procps",
    "psmisc",
    "iproute2",
    "less",
    "xxd",
    // Runs the driver's image as kubelet would have it run.
    "crun",
];

/// Paths no test reads.
const LEFT_OUT: &[&str] =
    &["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*"];

/// Returns the image, after building it if the cache has none.
pub fn root_image(cache: &Cache) -> Result<PathBuf> {
    let made = cache.get_or_build(&format!("root-{SUITE}-{RECIPE}"), |dir| {
        eprintln!("building the guest's root file system (once, a minute or two)...");
        let mut command = Command::new("mmdebstrap");
        command
            .env("PATH", shell::host_path())
            .args(["--quiet", "--variant=minbase", "--format=ext2"])
            .arg(format!("--include={}", PACKAGES.join(",")))
            .args(LEFT_OUT.iter().map(|path| format!("--dpkgopt=path-exclude={path}")))
            .arg("--customize-hook=rm -f \"$1/etc/resolv.conf\"")
            .arg(SUITE)
            .arg(dir.join("root.img"));
        shell::run(&mut command)
    })?;
    Ok(made.join("root.img"))
}
