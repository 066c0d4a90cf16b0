//! Whether KVM really runs a guest here.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::utsname::uname;

use crate::cache::Cache;
use crate::init::PROBE_TEXT;
use crate::qemu::{self, Machine};

/// How QEMU runs the guest's processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The host's own processors.
    Kvm,
    /// Software emulation.
    Tcg,
}

/// A guest by KVM is up long before; one that hangs would hang for ever.
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

impl Accelerator {
    /// `THINLY_ACCEL` if it is set; otherwise KVM exactly if a guest has been seen to boot by it.
    ///
    /// A `/dev/kvm` that can be opened proves nothing, so one small guest is booted, once for each host
    /// kernel and QEMU, and what came out is remembered in the cache.
    pub fn choose(cache: &Cache, kernel: &Path, initramfs: &Path, scratch: &Path) -> Result<Self> {
        match std::env::var("THINLY_ACCEL").unwrap_or_default().as_str() {
            "kvm" => return Ok(Self::Kvm),
            "tcg" => return Ok(Self::Tcg),
            "" => {}
            other => bail!("THINLY_ACCEL is kvm or tcg, not {other:?}"),
        }
        if OpenOptions::new().read(true).write(true).open("/dev/kvm").is_err() {
            return Ok(Self::Tcg);
        }
        let note = cache.path(&format!("kvm-{}", host_identity()?));
        let _lock = cache.lock("kvm.lock")?;
        let known = fs::read_to_string(&note).unwrap_or_default();
        let works = match known.trim() {
            "works" => true,
            "does not work" => false,
            _ => {
                let works = boots(kernel, initramfs, scratch)?;
                fs::write(&note, if works { "works\n" } else { "does not work\n" })?;
                eprintln!("KVM {} here", if works { "works" } else { "does not run a guest" });
                works
            }
        };
        Ok(if works { Self::Kvm } else { Self::Tcg })
    }
}

/// The host's kernel and QEMU's version, fit for a file name.
fn host_identity() -> Result<String> {
    let output = Command::new(qemu::PROGRAM)
        .arg("--version")
        .output()
        .with_context(|| format!("cannot start {}; `make deps` installs it", qemu::PROGRAM))?;
    let version = String::from_utf8_lossy(&output.stdout);
    let host = uname()?;
    let identity = format!(
        "{}-{}",
        host.release().to_string_lossy(),
        version.lines().next().unwrap_or_default()
    );
    Ok(identity
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
        .collect())
}

fn boots(kernel: &Path, initramfs: &Path, scratch: &Path) -> Result<bool> {
    let console = scratch.join("probe.log");
    fs::write(&console, "")?;
    let mut machine = Machine::new(Accelerator::Kvm, 1, 512);
    machine.boot(kernel, initramfs, "thinly.probe", &console.to_string_lossy());
    let mut child = Command::new(qemu::PROGRAM)
        .args(machine.into_args())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let deadline = Instant::now() + PROBE_TIMEOUT;
    let works = loop {
        if String::from_utf8_lossy(&fs::read(&console)?).contains(PROBE_TEXT) {
            break true;
        }
        if child.try_wait()?.is_some() || Instant::now() > deadline {
            // The text may have come between the look and the end.
            break String::from_utf8_lossy(&fs::read(&console)?).contains(PROBE_TEXT);
        }
        thread::sleep(Duration::from_millis(50));
    };
    let _ = child.kill();
    child.wait()?;
    Ok(works)
}
