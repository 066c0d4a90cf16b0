//! The driver goes and comes back between any two calls, and beside running work: nothing is
//! deactivated, unmounted or forgotten.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use thinly_csi_wire as wire;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_tests::csi::{CsiBed, Driver, block, from_snapshot, mount};
use thinly_tests::{gib, sh};

use crate::support::{active_devices, mib, nothing_is_left};

/// How a driver ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Stopped,
    Killed,
}

/// A driver that is a new one for every call.
struct Replaced<'a> {
    bed: &'a CsiBed,
    end: End,
    driver: Option<Driver>,
}

impl Replaced<'_> {
    /// The next driver. What the last one had active and mounted must be there still.
    fn next(&mut self) -> Result<&Driver> {
        if let Some(driver) = self.driver.take() {
            let before = (self.bed.mounts()?, active_devices(self.bed)?);
            match self.end {
                End::Stopped => driver.stop()?,
                End::Killed => driver.crash()?,
            }
            ensure!((self.bed.mounts()?, active_devices(self.bed)?) == before, "its end took");
            let started = self.bed.start()?;
            ensure!((self.bed.mounts()?, active_devices(self.bed)?) == before, "its start took");
            return Ok(self.driver.insert(started));
        }
        Ok(self.driver.insert(self.bed.start()?))
    }
}

fn a_life_across_restarts(end: End) -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let mut drivers = Replaced { bed: &bed, end, driver: None };
    let capability = mount("ext4", Mode::SingleNodeWriter);
    let (staging, target) = (bed.staging("a")?, bed.target("a")?);
    let (other_staging, other_target) = (bed.staging("b")?, bed.target("b")?);
    let id = drivers.next()?.client().volume("v", mib(32), &capability)?.volume_id;
    drivers.next()?.client().stage(&id, &staging, &capability)?;
    drivers.next()?.client().publish(&id, (&staging, &target), &capability, false)?;
    let file = |target: &str| format!("{target}/file");
    fs::write(file(&target), "before")?;
    let snapshot = drivers.next()?.client().create_snapshot(&id, "cut")?;
    fs::write(file(&target), "after")?;
    // The answer to a call may be lost with the driver: the same call finds what it did.
    ensure!(drivers.next()?.client().create_snapshot(&id, "cut")? == snapshot, "another snapshot");
    let source = || from_snapshot(&snapshot.snapshot_id);
    let copy = drivers.next()?.client().copy("copy", source(), mib(64), &capability)?;
    let again = drivers.next()?.client().copy("copy", source(), mib(64), &capability)?;
    ensure!(again == copy, "another copy: {again:?}");
    let copy = copy.volume_id;
    drivers.next()?.client().stage(&copy, &other_staging, &capability)?;
    let at = (other_staging.as_str(), other_target.as_str());
    drivers.next()?.client().publish(&copy, at, &capability, false)?;
    ensure!(fs::read_to_string(file(&other_target))? == "before");
    ensure!(drivers.next()?.client().expand(&id, mib(64))?.node_expansion_required);
    let before = drivers.next()?.client().stats(&id, &target)?[0].total;
    drivers.next()?.client().expand_on_node(&id, &target, &capability)?;
    ensure!(drivers.next()?.client().stats(&id, &target)?[0].total > before, "it did not grow");
    ensure!(fs::read_to_string(file(&target))? == "after");
    // Repetitions meet a driver that did not do the first call.
    drivers.next()?.client().stage(&id, &staging, &capability)?;
    drivers.next()?.client().publish(&id, (&staging, &target), &capability, false)?;
    ensure!(bed.mounts()?.len() == 4, "{:?}", bed.mounts()?);
    for (id, staging, target) in [(&id, &staging, &target), (&copy, &other_staging, &other_target)]
    {
        drivers.next()?.client().unpublish(id, target)?;
        drivers.next()?.client().unstage(id, staging)?;
        drivers.next()?.client().delete_volume(id)?;
        drivers.next()?.client().delete_volume(id)?;
    }
    drivers.next()?.client().delete_snapshot(&snapshot.snapshot_id)?;
    drivers.driver.take().context("no driver")?.stop()?;
    nothing_is_left(&bed)
}

#[test]
fn a_life_across_drivers_that_are_stopped() -> Result<()> {
    a_life_across_restarts(End::Stopped)
}

#[test]
fn a_life_across_drivers_that_are_killed() -> Result<()> {
    a_life_across_restarts(End::Killed)
}

#[test]
#[expect(clippy::disallowed_methods, reason = "fio is the load that must not notice")]
fn a_roll_out_beside_running_work_is_not_noticed() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let mut driver = bed.start()?;
    let capability = mount("xfs", Mode::SingleNodeWriter);
    let (staging, target) = (bed.staging("a")?, bed.target("a")?);
    let id = driver.client().volume("v", mib(320), &capability)?.volume_id;
    driver.client().stage(&id, &staging, &capability)?;
    driver.client().publish(&id, (&staging, &target), &capability, false)?;
    let file = format!("{target}/file");
    // Every block carries a checksum of itself, from the beginning on.
    let blocks =
        "--name=load --bs=4k --size=4m --verify=crc32c --do_verify=0 --verify_state_save=0";
    sh(&format!("fio {blocks} --filename={file} --rw=write --end_fsync=1"))?;
    let mut load = Command::new("fio");
    load.args(blocks.split(' ')).arg(format!("--filename={file}"));
    load.args(["--rw=randwrite", "--fsync=8", "--time_based", "--runtime=12"]);
    let load = load.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut replaced = 0;
    for number in 0..4 {
        thread::sleep(Duration::from_secs(1));
        match number % 2 {
            0 => driver.stop()?,
            _ => driver.crash()?,
        }
        driver = bed.start()?;
        driver.client().create_snapshot(&id, &format!("cut{number}"))?;
        replaced += 1;
    }
    let done = load.wait_with_output()?;
    let said =
        String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    ensure!(replaced == 4 && done.status.success(), "fio: {}\n{said}", done.status);
    ensure!(said.contains("err= 0"), "fio tells of errors:\n{said}");
    sh(&format!(
        "fio --name=judge --readonly --bs=4k --rw=read --verify=crc32c --verify_header_seed=0 \
         --verify_write_sequence=0 --verify_state_load=0 --verify_fatal=1 --filename={file}"
    ))?;
    driver.client().unpublish(&id, &target)?;
    driver.client().unstage(&id, &staging)?;
    driver.stop()
}

/// Tells the driver to read its configuration again, and waits until it says what came of it.
fn hang_up(driver: &Driver, wanted: &str) -> Result<()> {
    let from = driver.log()?.len();
    kill(driver.pid(), Signal::SIGHUP)?;
    for _ in 0..600 {
        if driver.log()?[from..].contains(wanted) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("the driver does not say {wanted:?}:\n{}", driver.log()?)
}

#[test]
fn a_changed_configuration_is_taken_over_and_a_broken_one_is_not() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "    thin-pool: {overprovision-ratio: 2.0}\n")?;
    let driver = bed.start()?;
    let room = || -> Result<i64> {
        let request = wire::GetCapacityRequest::default();
        Ok(driver.client().capacity(request)?.available_capacity)
    };
    let (text, twice) = (fs::read_to_string(bed.config())?, room()?);
    bed.configure(&text.replace("2.0", "4.0"))?;
    ensure!(room()? == twice, "it changed before it was told to");
    hang_up(&driver, "the configuration was read again")?;
    let four_times = room()?;
    // Whole steps of the answer may swallow less than one step.
    ensure!((four_times - 2 * twice).abs() <= 2 * 4096, "{four_times}, before {twice}");
    for broken in [
        "device-classes: [".to_owned(),
        String::new(),
        text.replace("2.0", "0.5"),
        text.replace("default: true", "defualt: true"),
        text.replace(bed.pool(), "no-such-pool-anywhere").replace("if-empty", "never"),
    ] {
        bed.configure(&broken)?;
        hang_up(&driver, "the old configuration stays")?;
        ensure!(room()? == four_times, "a broken configuration changed something: {broken}");
    }
    let id = driver.client().volume("v", mib(16), &mount("ext4", Mode::SingleNodeWriter));
    let id = id.context("after broken configurations")?.volume_id;
    driver.client().delete_volume(&id)?;
    driver.stop()
}

#[test]
fn a_device_that_never_got_a_table_is_in_nobodys_way() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let capability = block(Mode::SingleNodeWriter);
    let id = driver.client().volume("v", mib(8), &capability)?.volume_id;
    // A writer that changes something in the kernel is not released when it is killed.
    let other = driver.client().volume("w", mib(8), &capability)?.volume_id;
    let beside = bed.staging("beside")?;
    driver.client().stage(&other, &beside, &capability)?;
    driver.crash()?;
    // What a driver leaves that is killed between a device's creation and its table, in the first
    // activation of a volume: it gets another thin id the next time.
    let pool = bed.pool_uuid()?;
    let volume = id.rsplit('.').next().context("an identifier without a uuid")?;
    let (name, uuid) = (format!("thinly-{}-900", &pool[..8]), format!("THINLY-{pool}-{volume}"));
    sh(&format!("dmsetup create {name} --notable --noudevsync --uuid {uuid}"))?;
    let driver = bed.start()?;
    ensure!(!sh("dmsetup ls")?.contains(&name), "it is still there");
    let staging = bed.staging("a")?;
    driver.client().stage(&id, &staging, &capability)?;
    ensure!(active_devices(&bed)?.len() == 2, "{:?}", active_devices(&bed)?);
    for (id, staging) in [(&id, &staging), (&other, &beside)] {
        driver.client().unstage(id, staging)?;
        driver.client().delete_volume(id)?;
    }
    driver.stop()?;
    nothing_is_left(&bed)
}
