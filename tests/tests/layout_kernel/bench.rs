//! Disks and dm devices for one test, gone when it ends.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;
use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::dm::{Control, Dm, DmError, DmName, DmUuid, LinearTable, TableLine, Target};
use thinly_engine::layout::{Label, LabelState, System, write_labels};
use thinly_engine::units::{BlockSize, Bytes, Sectors};
use uuid::Uuid;

/// A scan sees the devices of every test: only one test at a time.
static ALONE: Mutex<()> = Mutex::new(());
static COUNT: AtomicU32 = AtomicU32::new(0);

/// The length of a disk unless a test says otherwise.
pub(crate) const DISK: u64 = 64 << 20;

/// All that one test makes.
pub(crate) struct Bench {
    pub(crate) system: System,
    pub(crate) control: Control,
    devices: Vec<DmName>,
    loops: Vec<PathBuf>,
    undo: Vec<Vec<String>>,
    directory: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Bench {
    /// A fresh bench, or `None` where this kernel has no device-mapper.
    pub(crate) fn new() -> Option<Self> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let required = std::env::var_os("THINLY_KERNEL_TESTS").is_some();
        let control = match Control::open() {
            Ok(control) => control,
            Err(DmError::NoDeviceMapper { .. } | DmError::NotPermitted { .. }) if !required => {
                eprintln!("skipped: no device-mapper here, or not root");
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        Some(Self {
            system: System::default(),
            control,
            devices: Vec::new(),
            loops: Vec::new(),
            undo: Vec::new(),
            directory: TempDir::new().unwrap(),
            _alone: alone,
        })
    }

    /// A file in the bench's directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A disk that takes partitions.
    pub(crate) fn disk(&mut self) -> PathBuf {
        self.disk_with(DISK, 512)
    }

    /// A disk of this length with logical blocks of this length.
    pub(crate) fn disk_with(&mut self, size: u64, logical_block: u32) -> PathBuf {
        let name = format!("disk{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let file = self.file(&name);
        std::fs::File::create(&file).unwrap().set_len(size).unwrap();
        self.attach(&file, logical_block)
    }

    /// Makes a file a disk.
    pub(crate) fn attach(&mut self, file: &Path, logical_block: u32) -> PathBuf {
        let block = logical_block.to_string();
        let options = ["--find", "--show", "--partscan", "--sector-size", &block];
        let node = run("losetup", &[&options[..], &[file.to_str().unwrap()]].concat());
        let node = PathBuf::from(node.trim());
        self.loops.push(node.clone());
        node
    }

    /// A linear dm device over the third quarter of a device: both of its labels stay its own.
    pub(crate) fn linear(&mut self, dm_uuid: &str, below: &Path) -> PathBuf {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = DmName::new(format!("layout-test-{}-{count}", std::process::id())).unwrap();
        let uuid = DmUuid::new(dm_uuid.to_owned()).unwrap();
        let device = BlockDevice::open(below, Access::ReadOnly).unwrap();
        let half = device.size().get() / 2 / (1 << 20) * (1 << 20) / 512;
        let line = TableLine {
            start: Sectors::ZERO,
            length: Sectors::new(half / 2),
            target: Target::Linear(LinearTable {
                device: device.number().unwrap().into(),
                offset: Sectors::new(half),
            }),
        };
        self.control.create(&name, &uuid).unwrap();
        self.devices.push(name.clone());
        self.control.load(&name, &[line], false).unwrap();
        let info = self.control.resume(&name).unwrap();
        PathBuf::from(format!("/dev/dm-{}", info.number.minor))
    }

    /// Runs a command now and another one when the test ends.
    pub(crate) fn run_with_undo(&mut self, command: &[&str], undo: &[&str]) -> String {
        let output = run(command[0], &command[1..]);
        self.undo.push(undo.iter().map(|&word| word.to_owned()).collect());
        output
    }

    /// Undoes the last command before the test ends.
    pub(crate) fn undo_last(&mut self) {
        undo(&self.undo.pop().unwrap());
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        while let Some(command) = self.undo.pop() {
            undo(&command);
        }
        for name in self.devices.iter().rev() {
            // A test that failed half-way may leave less than this expects.
            let _ = self.control.remove(name);
        }
        for node in &self.loops {
            run("losetup", &["--detach", node.to_str().unwrap()]);
        }
    }
}

fn undo(command: &[String]) {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    run(words[0], &words[1..]);
}

#[allow(clippy::disallowed_methods, reason = "the system's own tools make what is refused")]
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .env("DM_DISABLE_UDEV", "1")
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// A path as a command's argument.
pub(crate) fn word(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Labels a device as the only one of a pool.
pub(crate) fn label(path: &Path, pool: Uuid) -> Label {
    let device = BlockDevice::open(path, Access::ReadWrite).unwrap();
    let label = Label {
        pool_uuid: pool,
        pool_name: format!("pool-{}", pool.simple()),
        device_uuid: Uuid::from_u128(pool.as_u128() + 1),
        device_index: 0,
        state: LabelState::Live,
        generation: 1,
        extent_bytes: Bytes::new(1 << 20),
        device_bytes: device.size(),
        created_at: 0,
        block_size: BlockSize::DEFAULT,
        placements: Vec::new(),
        segments: Vec::new(),
    };
    write_labels(&device, &label).unwrap();
    label
}
