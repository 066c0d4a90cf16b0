//! The guest's kernels: fetched as Debian packages, never installed, only unpacked.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::shell;

/// Changes with everything below that changes what is in the cache.
const RECIPE: u32 = 1;

/// The metapackage of the kernel without drivers for hardware that a guest has not; both releases have it.
const METAPACKAGE: &str = "linux-image-cloud-amd64";

/// Parts of the module tree that no test needs.
const LEFT_OUT: &[&str] =
    &["net", "drivers/net", "drivers/gpu", "drivers/infiniband", "virt", "arch/x86/kvm"];

/// A kernel the tests run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Debian 12's.
    V6_1,
    /// Debian 13's.
    V6_12,
}

impl Version {
    /// The Debian release that carries it.
    fn suite(self) -> &'static str {
        match self {
            Self::V6_1 => "bookworm",
            Self::V6_12 => "trixie",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        })
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "6.1" => Ok(Self::V6_1),
            "6.12" => Ok(Self::V6_12),
            other => Err(format!("no kernel {other} here; there are 6.1 and 6.12")),
        }
    }
}

/// A kernel unpacked in the cache.
#[derive(Debug)]
pub struct Kernel {
    /// What QEMU boots.
    pub image: PathBuf,
    /// A read-only image that the guest mounts at `/usr/lib/modules/<release>`.
    pub modules_image: PathBuf,
    /// The modules that must be there before the root file system is, in loading order.
    pub boot_modules: PathBuf,
}

impl Kernel {
    /// Returns the kernel, after fetching it if the cache has none.
    pub fn get(cache: &Cache, version: Version) -> Result<Self> {
        let dir = cache.get_or_build(&format!("kernel-{version}-{RECIPE}"), |dir| {
            eprintln!("fetching Debian's kernel {version} (once)...");
            build(dir, version)
        })?;
        Ok(Self {
            image: dir.join("vmlinuz"),
            modules_image: dir.join("modules.img"),
            boot_modules: dir.join("boot-modules"),
        })
    }
}

fn build(dir: &Path, version: Version) -> Result<()> {
    let package = dir.join("kernel.deb");
    fetch(&package, version)?;
    let tree = dir.join("tree");
    shell::run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&tree))?;
    let (image, release) = find_image(&tree.join("boot"))?;
    fs::rename(image, dir.join("vmlinuz"))?;

    let merged = tree.join("usr/lib/modules").join(&release);
    let modules = if merged.is_dir() { merged } else { tree.join("lib/modules").join(&release) };
    for part in LEFT_OUT {
        let part = modules.join("kernel").join(part);
        if part.is_dir() {
            fs::remove_dir_all(part)?;
        }
    }
    // Unpacked once here, so that no guest has to do it under emulation.
    shell::run(
        Command::new("find")
            .arg(&modules)
            .args(["-name", "*.ko.xz", "-exec", "xz", "-d", "{}", "+"]),
    )?;
    // depmod wants a root directory with lib/modules/<release> in it.
    let stage = dir.join("stage/lib/modules");
    fs::create_dir_all(&stage)?;
    let staged = stage.join(&release);
    fs::rename(&modules, &staged)?;
    shell::run(
        Command::new("depmod")
            .env("PATH", shell::host_path())
            .arg("--basedir")
            .arg(dir.join("stage"))
            .arg(&release),
    )?;
    collect_boot_modules(&staged, &dir.join("boot-modules"))?;
    let size_bytes = tree_bytes(&staged)? * 5 / 4 + (16 << 20);
    shell::make_ext4(&dir.join("modules.img"), size_bytes, Some(&staged), &["-O", "^has_journal"])?;
    fs::remove_dir_all(tree)?;
    fs::remove_dir_all(dir.join("stage"))?;
    fs::remove_file(package)?;
    Ok(())
}

/// mmdebstrap knows the suites and their keys; all we want from it is one package, downloaded.
fn fetch(package: &Path, version: Version) -> Result<()> {
    let download = format!(
        "cd \"$1\" && export APT_CONFIG=\"$MMDEBSTRAP_APT_CONFIG\" && \
         name=$(apt-cache depends {METAPACKAGE} | sed -n 's/.*Depends: \\(linux-image-[0-9].*\\)/\\1/p') && \
         apt-get download \"$name\" && mv linux-image-*.deb kernel.deb"
    );
    let mut command = Command::new("mmdebstrap");
    command
        .env("PATH", shell::host_path())
        .args(["--quiet", "--variant=extract", "--format=null", "--include=linux-base"])
        .arg(format!("--extract-hook={download}"))
        .arg(format!("--extract-hook=download /kernel.deb '{}'", package.display()))
        .arg(version.suite())
        .arg("/dev/null");
    shell::run(&mut command)
}

fn find_image(boot: &Path) -> Result<(PathBuf, String)> {
    for entry in fs::read_dir(boot)? {
        let entry = entry?;
        if let Some(release) = entry.file_name().to_string_lossy().strip_prefix("vmlinuz-") {
            return Ok((entry.path(), release.to_owned()));
        }
    }
    bail!("the kernel package has no vmlinuz")
}

/// Copies the modules needed to reach the root file system, with what they depend on, and writes their order.
fn collect_boot_modules(modules: &Path, target: &Path) -> Result<()> {
    const WANTED: &[&str] = &["virtio_pci", "virtio_blk", "virtio_console", "ext4", "overlay"];
    let dependencies = fs::read_to_string(modules.join("modules.dep"))?;
    let built_in = fs::read_to_string(modules.join("modules.builtin"))?;
    fs::create_dir_all(target)?;
    let mut order: Vec<&str> = Vec::new();
    for name in WANTED {
        let file = format!("/{name}.ko");
        let Some((path, needs)) = dependencies
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(path, _)| path.ends_with(&file))
        else {
            if built_in.lines().any(|path| path.ends_with(&file)) {
                continue;
            }
            bail!("this kernel has no {name}");
        };
        // depmod lists the nearest first; the farthest must be loaded first.
        for path in needs.split_whitespace().rev().chain([path]) {
            if !order.contains(&path) {
                order.push(path);
            }
        }
    }
    let mut list = String::new();
    for path in order {
        let name = path.rsplit('/').next().context("a module without a name")?;
        fs::copy(modules.join(path), target.join(name))?;
        list.push_str(name);
        list.push('\n');
    }
    fs::write(target.join("order"), list)?;
    Ok(())
}

fn tree_bytes(dir: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        sum += if meta.is_dir() {
            tree_bytes(&entry.path())?
        } else {
            meta.len().next_multiple_of(4096)
        };
    }
    Ok(sum)
}
