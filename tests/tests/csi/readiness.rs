//! A driver whose pools are not open says so, refuses what needs them, and is ready once it can be.

use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_tests::csi::{CsiBed, Driver, block};
use thinly_tests::{Disks, gib};
use tonic::Code;

use crate::capabilities::codes_of_nothing;
use crate::observability::{METRICS, address, page};
use crate::support::mib;

/// What a driver answers while it is not ready.
fn is_not_ready(driver: &Driver) -> Result<()> {
    let client = driver.client();
    ensure!(client.readiness()? == Some(false), "it says {:?}", client.readiness()?);
    let about_itself = [
        "Identity/GetPluginInfo",
        "Identity/GetPluginCapabilities",
        "Identity/Probe",
        "Controller/ControllerGetCapabilities",
        "GroupController/GroupControllerGetCapabilities",
        "Node/NodeGetCapabilities",
        "Node/NodeGetInfo",
    ];
    let mut unavailable = 0;
    for (call, code) in codes_of_nothing(client) {
        let wanted = match code {
            Code::Unimplemented => continue,
            _ if about_itself.contains(&call.as_str()) => Code::Ok,
            _ => Code::Unavailable,
        };
        ensure!(code == wanted, "{call}: {code:?} instead of {wanted:?}");
        unavailable += i32::from(code == Code::Unavailable);
    }
    ensure!(unavailable == 23, "{unavailable} calls were refused");
    let address = address(driver)?;
    let (status, body) = page(&address, "/readyz")?;
    ensure!(status == "503" && body.contains("not open yet"), "{status}: {body}");
    // Whoever starts it anew for that would not help.
    let (status, body) = page(&address, "/healthz")?;
    ensure!(status == "200", "{status}: {body}");
    Ok(())
}

fn becomes_ready(driver: &Driver) -> Result<()> {
    driver.wait_until_ready()?;
    ensure!(driver.client().readiness()? == Some(true));
    let (status, body) = page(&address(driver)?, "/readyz")?;
    ensure!(status == "200", "{status}: {body}");
    Ok(())
}

/// Waits until the driver has said so.
fn hear(driver: &Driver, wanted: &str) -> Result<()> {
    let start = Instant::now();
    while !driver.log()?.contains(wanted) {
        ensure!(start.elapsed() < Duration::from_mins(1), "no {wanted:?} in:\n{}", driver.log()?);
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[test]
fn a_disk_that_comes_late_makes_the_driver_ready_late() -> Result<()> {
    let disks = Disks::new(&[gib(1)])?;
    let directory = tempfile::tempdir()?;
    let late = directory.path().join("late");
    let bed = CsiBed::on(std::slice::from_ref(&late), "")?;
    let driver = bed.start_unready(&[&METRICS[..], &["--alpha"]].concat())?;
    hear(&driver, "the pools cannot be opened yet")?;
    is_not_ready(&driver)?;
    ensure!(driver.log()?.contains(&late.display().to_string()), "{}", driver.log()?);
    symlink(&disks.paths()[0], &late)?;
    becomes_ready(&driver)?;
    let volume = driver.client().volume("v", mib(4), &block(Mode::SingleNodeWriter))?;
    driver.client().delete_volume(&volume.volume_id)?;
    driver.stop()
}

/// A program that holds a pool; ended when dropped.
struct Holder(Child);

impl Holder {
    #[expect(clippy::disallowed_methods, reason = "the test runs the program that it tests")]
    fn of(bed: &CsiBed) -> Result<Self> {
        let socket = bed.kubelet().join("serve.sock");
        let mut command = Command::new("thinly");
        command.args(["serve", bed.pool(), "--admin-socket"]).arg(socket);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let holder = Self(child.context("starting thinly serve")?);
        let start = Instant::now();
        while bed.pool_view()?["writer_pid"] != holder.0.id() {
            ensure!(start.elapsed() < Duration::from_mins(1), "it does not get the pool");
            thread::sleep(Duration::from_millis(50));
        }
        Ok(holder)
    }

    fn end(mut self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.0.id())?), Signal::SIGTERM)?;
        let status = self.0.wait()?;
        ensure!(status.success(), "{status}");
        Ok(())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_pool_that_another_program_holds_is_waited_for() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let volume = driver.client().volume("v", mib(4), &block(Mode::SingleNodeWriter))?;
    driver.stop()?;
    let holder = Holder::of(&bed)?;
    let driver = bed.start_unready(&[&METRICS[..], &["--alpha"]].concat())?;
    hear(&driver, "the pools cannot be opened yet")?;
    is_not_ready(&driver)?;
    ensure!(driver.log()?.contains(bed.pool()), "{}", driver.log()?);
    holder.end()?;
    becomes_ready(&driver)?;
    ensure!(driver.client().volumes()? == [volume]);
    driver.stop()
}

/// It can be stopped while it waits.
#[test]
fn a_driver_that_never_gets_ready_can_be_stopped() -> Result<()> {
    let bed = CsiBed::on(&["/dev/no-such-disk".into()], "")?;
    let driver = bed.start_unready(&METRICS)?;
    hear(&driver, "the pools cannot be opened yet")?;
    driver.stop()
}
