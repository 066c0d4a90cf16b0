//! Fresh disks, a configuration, a directory that stands for kubelet's, and the driver's process.

use std::cell::{Cell, OnceCell};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use uuid::Uuid;

use super::client::Client;
use crate::{Disks, sh};

/// How long a driver may take to be ready: emulation is slow, and a crash is recovered first.
const PATIENCE: Duration = Duration::from_mins(1);

fn new_pool() -> String {
    format!("csi-{}", &Uuid::new_v4().simple().to_string()[..8])
}

/// What a driver needs. Dropped last, the disks take what is left of the pool with them.
#[derive(Debug)]
pub struct CsiBed {
    directory: TempDir,
    pool: String,
    starts: Cell<u32>,
    uuid: OnceCell<String>,
    disks: Option<Disks>,
}

impl CsiBed {
    /// Fresh disks for one device class named `main`, whose pool the driver makes at its first
    /// start. `class` are further lines of the class, each with four spaces in front.
    pub fn new(sizes_bytes: &[u64], class: &str) -> Result<Self> {
        Self::over(Disks::new(sizes_bytes)?, new_pool(), class)
    }

    /// The same on devices that are the caller's.
    pub fn on(devices: &[PathBuf], class: &str) -> Result<Self> {
        Self::with(devices, new_pool(), class)
    }

    /// Leaves disks and pool behind for a test after the next boot, and tells what they are.
    pub fn leave(self) -> Result<(PathBuf, String)> {
        let mut bed = std::mem::ManuallyDrop::new(self);
        let disks = bed.disks.take().context("a bed on disks that are not its own")?;
        Ok((disks.leave(), bed.pool.clone()))
    }

    /// What a test before the last boot left.
    pub fn left_in(disks: &Path, pool: &str) -> Result<Self> {
        Self::over(Disks::left_in(disks)?, pool.to_owned(), "")
    }

    fn over(disks: Disks, pool: String, class: &str) -> Result<Self> {
        let mut bed = Self::with(disks.paths(), pool, class)?;
        bed.disks = Some(disks);
        Ok(bed)
    }

    fn with(devices: &[PathBuf], pool: String, class: &str) -> Result<Self> {
        let bed = Self {
            directory: TempDir::new()?,
            pool,
            starts: Cell::new(0),
            uuid: OnceCell::new(),
            disks: None,
        };
        fs::create_dir(bed.kubelet())?;
        let devices: Vec<String> = devices.iter().map(|path| path.display().to_string()).collect();
        bed.configure(&format!(
            "device-classes:\n  - name: main\n    default: true\n    pool: {}\n    devices: [{}]\n    \
             create: if-empty\n{class}",
            bed.pool,
            devices.join(", ")
        ))?;
        Ok(bed)
    }

    /// Replaces the configuration.
    pub fn configure(&self, text: &str) -> Result<()> {
        Ok(fs::write(self.config(), text)?)
    }

    /// The configuration's path.
    pub fn config(&self) -> PathBuf {
        self.directory.path().join("config.yaml")
    }

    /// The pool's name.
    pub fn pool(&self) -> &str {
        &self.pool
    }

    /// The directory that stands for kubelet's.
    pub fn kubelet(&self) -> PathBuf {
        self.directory.path().join("kubelet")
    }

    /// The driver's socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("plugin/csi.sock")
    }

    /// The socket by which the driver takes changes from `thinly`.
    pub fn admin_socket(&self) -> PathBuf {
        self.directory.path().join("admin/thinly.sock")
    }

    /// A staging path, created as kubelet does.
    pub fn staging(&self, name: &str) -> Result<String> {
        let path = self.kubelet().join("plugins").join(name).join("globalmount");
        fs::create_dir_all(&path)?;
        Ok(path.display().to_string())
    }

    /// A target path whose parent is there, as kubelet does.
    pub fn target(&self, name: &str) -> Result<String> {
        let path = self.kubelet().join("pods").join(name).join("mount");
        fs::create_dir_all(path.parent().context("a path without a parent")?)?;
        Ok(path.display().to_string())
    }

    /// Starts the driver with these further arguments, and waits until it is ready.
    pub fn start_with(&self, arguments: &[&str]) -> Result<Driver> {
        self.start_logging("info", arguments)
    }

    /// The same, and `filter` (as in `RUST_LOG`) says what it logs.
    pub fn start_logging(&self, filter: &str, arguments: &[&str]) -> Result<Driver> {
        let driver = self.spawn(filter, arguments, None)?;
        driver.wait_until_ready()?;
        Ok(driver)
    }

    /// Starts the driver as one that acts in the cluster of a kubeconfig.
    pub fn start_in_cluster(&self, kubeconfig: &Path, arguments: &[&str]) -> Result<Driver> {
        let arguments = [&["--cluster-controller"], arguments].concat();
        let driver = self.spawn("info", &arguments, Some(kubeconfig))?;
        driver.wait_until_ready()?;
        Ok(driver)
    }

    /// Starts a driver that cannot be ready yet, and waits until it answers that.
    pub fn start_unready(&self, arguments: &[&str]) -> Result<Driver> {
        let driver = self.spawn("info", arguments, None)?;
        driver.wait_for("to serve", |client| client.readiness().is_ok())?;
        Ok(driver)
    }

    fn spawn(&self, filter: &str, arguments: &[&str], kubeconfig: Option<&Path>) -> Result<Driver> {
        let number = self.starts.get() + 1;
        self.starts.set(number);
        let log = self.directory.path().join(format!("driver.{number}.log"));
        let child = Command::new("thinly-csi")
            .arg("--endpoint")
            .arg(format!("unix://{}", self.socket().display()))
            .args(["--node-id", "n1", "--config"])
            .arg(self.config())
            .arg("--kubelet-dir")
            .arg(self.kubelet())
            .arg("--admin-socket")
            .arg(self.admin_socket())
            .args(arguments)
            .env("RUST_LOG", filter)
            .envs(kubeconfig.map(|path| ("KUBECONFIG", path)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("starting thinly-csi")?;
        let socket = self.socket();
        Ok(Driver { child, log, client: Client::new(&socket)?, socket })
    }

    /// Starts the driver and waits until it is ready.
    pub fn start(&self) -> Result<Driver> {
        self.start_with(&[])
    }

    /// Mount points below this bed's directory.
    pub fn mounts(&self) -> Result<Vec<String>> {
        let below = self.directory.path().display().to_string();
        let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
        let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
        Ok(points.filter(|point| point.starts_with(&below)).map(str::to_owned).collect())
    }

    /// The pool's uuid, once there is a pool.
    pub fn pool_uuid(&self) -> Result<&str> {
        if let Some(uuid) = self.uuid.get() {
            return Ok(uuid);
        }
        let view = self.pool_view()?;
        let uuid = view["uuid"].as_str().context("a pool without a uuid")?;
        Ok(self.uuid.get_or_init(|| uuid.to_owned()))
    }

    /// The pool as `thinly pool show --json` tells it. No driver is needed for it.
    pub fn pool_view(&self) -> Result<serde_json::Value> {
        let text = sh(&format!("thinly --json pool show {}", self.pool))?;
        Ok(serde_json::from_str(&text)?)
    }
}

impl Drop for CsiBed {
    fn drop(&mut self) {
        let below = self.directory.path().display();
        let line = format!(
            "awk '$5 ~ \"^{below}\" {{ print $5 }}' /proc/self/mountinfo | tac | xargs -r -n 1 umount -l"
        );
        if let Err(error) = sh(&line) {
            eprintln!("cannot unmount what is below {below}: {error:#}");
        }
    }
}

/// A running driver; killed when dropped.
#[derive(Debug)]
pub struct Driver {
    child: Child,
    log: PathBuf,
    client: Client,
    socket: PathBuf,
}

impl Driver {
    /// A client of it.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// The process that serves. It is not the one that was started where `thinly-csi` is a script
    /// that runs a container.
    pub fn pid(&self) -> Pid {
        let started = Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX));
        self.client.server(&self.socket).ok().flatten().map_or(started, Pid::from_raw)
    }

    /// What it has logged so far.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }

    /// Where it logs.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Waits until it says that it is ready.
    pub fn wait_until_ready(&self) -> Result<()> {
        self.wait_for("to be ready", Client::is_ready)
    }

    fn wait_for(&self, what: &str, is_so: impl Fn(&Client) -> bool) -> Result<()> {
        let start = Instant::now();
        while !is_so(&self.client) {
            if start.elapsed() > PATIENCE {
                anyhow::bail!("the driver is not going {what}; it says:\n{}", self.log()?);
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Tells it to stop and waits for that.
    pub fn stop(mut self) -> Result<()> {
        kill(self.pid(), Signal::SIGTERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the driver ended with {status}; it says:\n{}", self.log()?);
        Ok(())
    }

    /// Kills it as a crash does.
    pub fn crash(mut self) -> Result<()> {
        kill(self.pid(), Signal::SIGKILL)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the driver said:\n{}", self.log().unwrap_or_default());
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill(self.pid(), Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
