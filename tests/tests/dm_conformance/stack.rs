//! Devices for one test, gone when it ends: loop devices below, dm devices above.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;
use thinly_engine::block_device::{Access, BlockDevice, DeviceNumber};
use thinly_engine::dm::{
    Control, DeviceInfo, Dm, DmName, DmUuid, LinearTable, PoolFeature, PoolMessage, TableLine,
    Target, ThinPoolTable, ThinTable,
};
use thinly_engine::units::{BlockSize, Bytes, DataBlocks, Sectors, ThinId};

/// Events are the kernel's, not a test's: one test of this program at a time.
static ALONE: Mutex<()> = Mutex::new(());
static COUNT: AtomicU32 = AtomicU32::new(0);

/// The size of a pool's metadata device.
pub(crate) const METADATA: Bytes = Bytes::new(8 << 20);
/// The size of a pool's data device.
pub(crate) const DATA: Bytes = Bytes::new(64 << 20);
/// The size of a thin.
pub(crate) const THIN: Bytes = Bytes::new(128 << 20);

/// A file as a block device.
struct Loop {
    path: PathBuf,
}

impl Loop {
    fn attach(directory: &Path, size: Bytes) -> Self {
        let file = tempfile::NamedTempFile::new_in(directory).unwrap();
        file.as_file().set_len(size.get()).unwrap();
        let (_, path) = file.keep().unwrap();
        let node = run("losetup", &["--find", "--show", path.to_str().unwrap()]);
        Self { path: PathBuf::from(node.trim()) }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        run("losetup", &["--detach", self.path.to_str().unwrap()]);
    }
}

#[allow(clippy::disallowed_methods, reason = "loop devices are made by the system's own tool")]
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// All that one test makes.
pub(crate) struct Stack {
    pub(crate) control: Control,
    pub(crate) prefix: String,
    devices: Vec<DmName>,
    // Dropped after the devices are removed, in this order.
    loops: Vec<Loop>,
    directory: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Stack {
    pub(crate) fn new() -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let scratch = Some(PathBuf::from("/scratch")).filter(|path| path.is_dir());
        Self {
            control: Control::open().unwrap(),
            prefix: format!("thinly-test-{}-{count}-", std::process::id()),
            devices: Vec::new(),
            loops: Vec::new(),
            directory: TempDir::new_in(scratch.unwrap_or_else(std::env::temp_dir)).unwrap(),
            _alone: alone,
        }
    }

    pub(crate) fn name(&self, suffix: &str) -> DmName {
        DmName::new(format!("{}{suffix}", self.prefix)).unwrap()
    }

    pub(crate) fn uuid(&self, suffix: &str) -> DmUuid {
        DmUuid::new(format!("THINLY-TEST-{}{suffix}", self.prefix)).unwrap()
    }

    /// A device without a table.
    pub(crate) fn create(&mut self, suffix: &str) -> DeviceInfo {
        let (name, uuid) = (self.name(suffix), self.uuid(suffix));
        let info = self.control.create(&name, &uuid).unwrap();
        self.devices.push(name);
        info
    }

    /// A live device with one target.
    pub(crate) fn activate(&mut self, suffix: &str, line: TableLine) -> DeviceInfo {
        let name = self.create(suffix).name;
        self.control.load(&name, &[line], false).unwrap();
        self.control.resume(&name).unwrap()
    }

    /// A zeroed disk.
    pub(crate) fn disk(&mut self, size: Bytes) -> (PathBuf, DeviceNumber) {
        let disk = Loop::attach(self.directory.path(), size);
        let path = disk.path.clone();
        self.loops.push(disk);
        let number = BlockDevice::open(&path, Access::ReadOnly).unwrap().number().unwrap();
        (path, number)
    }

    /// A linear device over a disk of its own.
    pub(crate) fn linear(&mut self, suffix: &str, size: Bytes) -> DeviceInfo {
        let (_, disk) = self.disk(size);
        self.activate(suffix, linear_line(disk, size))
    }

    /// A fresh pool.
    pub(crate) fn pool(&mut self, features: &[PoolFeature]) -> TestPool {
        let metadata = self.linear("meta", METADATA).number;
        let data = self.linear("data", DATA).number;
        let table = ThinPoolTable {
            metadata: metadata.into(),
            data: data.into(),
            block_size: BlockSize::MIN,
            low_water_mark: DataBlocks::new(16),
            features: features.iter().copied().collect(),
        };
        let line = pool_line(table.clone());
        let info = self.activate("pool", line);
        TestPool { name: info.name, number: info.number, table }
    }

    /// A new, active thin.
    pub(crate) fn thin(&mut self, pool: &TestPool, id: u32) -> DeviceInfo {
        self.control.pool_message(&pool.name, &PoolMessage::CreateThin(thin_id(id))).unwrap();
        self.activate(&format!("thin{id}"), pool.thin_line(id))
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        for name in self.devices.iter().rev() {
            match self.control.remove(name) {
                Err(error) if !error.is_not_found() && !std::thread::panicking() => {
                    panic!("{error}");
                }
                _ => {}
            }
        }
    }
}

/// A pool of a stack.
pub(crate) struct TestPool {
    pub(crate) name: DmName,
    pub(crate) number: DeviceNumber,
    pub(crate) table: ThinPoolTable,
}

impl TestPool {
    pub(crate) fn thin_line(&self, id: u32) -> TableLine {
        let pool = self.number.into();
        let table = ThinTable { pool, id: thin_id(id), external_origin: None };
        whole(THIN, Target::Thin(table))
    }
}

pub(crate) fn pool_line(table: ThinPoolTable) -> TableLine {
    whole(DATA, Target::ThinPool(table))
}

pub(crate) fn linear_line(device: DeviceNumber, size: Bytes) -> TableLine {
    let table = LinearTable { device: device.into(), offset: Sectors::ZERO };
    whole(size, Target::Linear(table))
}

/// One target for a whole device.
pub(crate) fn whole(size: Bytes, target: Target) -> TableLine {
    TableLine { start: Sectors::ZERO, length: size.to_sectors_exact().unwrap(), target }
}

pub(crate) fn thin_id(id: u32) -> ThinId {
    ThinId::new(id).unwrap()
}

/// The node that the kernel makes for a device.
pub(crate) fn node(info: &DeviceInfo) -> PathBuf {
    PathBuf::from(format!("/dev/dm-{}", info.number.minor))
}
