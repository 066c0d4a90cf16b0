//! The command `thinly` beside a driver that holds the pool.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use thinly::exit::Exit;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_tests::csi::{Client, CsiBed, block};
use thinly_tests::gib;

use crate::concurrency::until_done;
use crate::support::{mib, nothing_is_left};

/// Somebody at a terminal of the node.
struct Administrator {
    pool: String,
    socket: PathBuf,
}

impl Administrator {
    fn of(bed: &CsiBed) -> Self {
        Self { pool: bed.pool().to_owned(), socket: bed.admin_socket() }
    }

    /// `POOL/NAME`.
    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.pool)
    }

    #[allow(clippy::disallowed_methods, reason = "the test runs the program that it tests")]
    fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new("thinly");
        command.args(arguments).args(["--json", "--admin-socket"]).arg(&self.socket);
        Ok(command.output()?)
    }

    /// What the command answers.
    fn done(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.run(arguments)?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && told.is_empty(), "{arguments:?}: {told}");
        serde_json::from_slice(&output.stdout).context("no JSON")
    }

    /// Why it was refused.
    fn refused(&self, arguments: &[&str], exit: Exit) -> Result<String> {
        let output = self.run(arguments)?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(exit.code().into()), "{arguments:?}: {output:?}");
        ensure!(output.stdout.is_empty(), "{arguments:?} answered");
        let value: Value = serde_json::from_str(told.lines().last().unwrap_or_default())?;
        ensure!(value["error"]["exit_code"] == exit.code(), "{value}");
        Ok(value["error"]["message"].as_str().unwrap_or_default().to_owned())
    }
}

#[test]
fn the_driver_runs_changes_for_the_command() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let socket = bed.admin_socket();
    let facts = fs::symlink_metadata(&socket)?;
    ensure!(facts.file_type().is_socket() && facts.permissions().mode() & 0o777 == 0o600);
    let directory = fs::metadata(socket.parent().context("no directory")?)?;
    ensure!(directory.permissions().mode() & 0o777 == 0o700);

    let admin = Administrator::of(&bed);
    let made = admin.done(&["volume", "create", &admin.path("own"), "--size", "64MiB"])?;
    ensure!(made["virtual_bytes"] == mib(64), "{made}");
    let device = admin.done(&["volume", "activate", &admin.path("own")])?["link"].clone();
    let device = device.as_str().context("no link")?;
    fs::write(device, "monday")?;
    fs::File::open(device)?.sync_all()?;
    admin.done(&["snapshot", "create", &admin.path("own"), "cut"])?;
    admin.done(&["volume", "rename", &admin.path("own"), "mine"])?;
    admin.done(&["volume", "resize", &admin.path("mine"), "--size", "128MiB"])?;
    admin.done(&["snapshot", "group", &admin.pool, "--name", "both", "mine=left", "cut=right"])?;
    admin.done(&["volume", "deactivate", &admin.path("mine")])?;
    admin.done(&["snapshot", "rollback", &admin.path("mine"), "--to", "cut"])?;
    let names = admin.done(&["volume", "list", &admin.pool, "--all"])?;
    let names: Vec<&str> =
        names.as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect();
    ensure!(names.len() == 4 && names.contains(&"mine"), "{names:?}");
    // What no cluster asked for is none of the cluster's, until it is told of it.
    let known = || -> Result<usize> {
        Ok(driver.client().volumes()?.len() + driver.client().snapshots()?.len())
    };
    ensure!(known()? == 0);
    let adopt = ["adopt", &admin.path("mine"), "--access", "block", "--node", "n1"];
    let handle = admin.done(&adopt)?["handle"].clone();
    ensure!(driver.client().volumes()?[0].volume_id == handle && known()? == 1, "{handle}");
    let told = admin.done(&["operations", &admin.pool])?;
    let last = &told["operations"][0];
    ensure!(last["operation"] == "adopt" && last["subject"] == "mine", "{told}");
    ensure!(last["outcome"] == "ok" && told["holder_pid"] == driver.pid().as_raw(), "{told}");
    let why = admin.refused(&["volume", "delete", &admin.path("mine")], Exit::Refused)?;
    ensure!(why.contains(handle.as_str().unwrap_or_default()), "{why}");
    admin.done(&["forget", &admin.path("mine")])?;
    ensure!(known()? == 0, "it is still known");
    ensure!(
        admin.refused(&["volume", "delete", &admin.path("nope")], Exit::NotFound)?.contains("nope")
    );
    let why = admin.refused(&["pool", "close", &admin.pool], Exit::InUse)?;
    ensure!(why.contains(&driver.pid().to_string()), "{why}");
    for name in names {
        let volume = admin.done(&["volume", "show", &admin.path(name)])?;
        let family = if volume["kind"] == "snapshot" { "snapshot" } else { "volume" };
        admin.done(&[family, "delete", &admin.path(name)])?;
    }
    driver.stop()?;
    ensure!(!fs::exists(&socket)?, "the socket is left");
    nothing_is_left(&bed)
}

#[test]
fn a_socket_of_nobody_or_of_another_driver_is_told() -> Result<()> {
    let (bed, other) = (CsiBed::new(&[gib(1)], "")?, CsiBed::new(&[gib(1)], "")?);
    let (driver, beside) = (bed.start()?, other.start()?);
    let admin = Administrator::of(&bed);
    let lost = Administrator { socket: other.admin_socket(), pool: admin.pool.clone() };
    let create = ["volume", "create", &admin.path("v"), "--size", "64MiB"];
    let why = lost.refused(&create, Exit::InUse)?;
    ensure!(why.contains("does not hold this pool") && why.contains("--admin-socket"), "{why}");
    beside.stop()?;
    let why = lost.refused(&create, Exit::InUse)?;
    ensure!(why.contains("No such file") && why.contains(&driver.pid().to_string()), "{why}");
    driver.crash()?;
    // Nobody holds it now: the command does it alone, and the next driver takes the socket over.
    admin.done(&create)?;
    let driver = bed.start()?;
    admin.done(&["volume", "delete", create[2]])?;
    driver.stop()?;
    nothing_is_left(&bed)
}

/// Makes, snapshots and deletes a volume, as an administrator does.
fn administrate(admin: &Administrator, number: usize) -> Result<()> {
    let (volume, cut) = (admin.path(&format!("own{number}")), format!("cut{number}"));
    admin.done(&["volume", "create", &volume, "--size", "16MiB"])?;
    admin.done(&["snapshot", "create", &volume, &cut])?;
    admin.done(&["volume", "delete", &volume])?;
    admin.done(&["snapshot", "delete", &admin.path(&cut)])?;
    Ok(())
}

/// Makes, grows and deletes a volume, as a cluster does.
fn orchestrate(client: &Client, number: usize) -> Result<()> {
    let capability = block(Mode::SingleNodeWriter);
    let id = client.volume(&format!("pvc{number}"), mib(16), &capability)?.volume_id;
    until_done(|| client.expand(&id, mib(32)))?;
    until_done(|| client.delete_volume(&id))?;
    Ok(())
}

#[test]
fn commands_and_the_cluster_work_beside_each_other() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let admin = &Administrator::of(&bed);
    thread::scope(|scope| {
        let commands: Vec<_> = (0..3)
            .map(|turn| {
                scope.spawn(move || (0..4).try_for_each(|n| administrate(admin, turn * 4 + n)))
            })
            .collect();
        let calls: Vec<_> = (0..3)
            .map(|turn| {
                scope.spawn(move || (0..8).try_for_each(|n| orchestrate(client, turn * 8 + n)))
            })
            .collect();
        commands.into_iter().chain(calls).try_for_each(|worker| worker.join().unwrap())
    })?;
    driver.stop()?;
    nothing_is_left(&bed)
}
