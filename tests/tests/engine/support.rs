//! A pool on fresh disks, for one test, and the witnesses that look at it from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::libc;
use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::catalogue::{PoolName, VolumeName};
use thinly_engine::dm::{Control, Dm, DmName, PoolUsage, ThinPoolStatus};
use thinly_engine::metadata::{SuperblockState, list_devices, read_superblock};
use thinly_engine::plan::DeviceNames;
use thinly_engine::pool::{Cost, CreatePool, Engine, Pool, PoolError, VolumeAccess};
use thinly_engine::units::{BlockSize, Bytes, ThinId};
use thinly_tests::{Disks, sh};
use uuid::Uuid;

pub(crate) fn gib(count: u64) -> Bytes {
    Bytes::new(count << 30)
}

pub(crate) fn mib(count: u64) -> Bytes {
    Bytes::new(count << 20)
}

pub(crate) fn name(text: &str) -> VolumeName {
    VolumeName::new(text).unwrap()
}

/// A linear device on a disk, as long as that, which takes no discards. Not the disk itself: a kernel that is told so of a
/// loop device keeps to it for whoever gets that device next.
pub(crate) fn without_discards(disk: &Path) -> Result<PathBuf> {
    let (disk, linear) = (disk.display().to_string(), new_pool_name());
    let sectors = sh(&format!("blockdev --getsz {disk}"))?;
    sh(&format!("dmsetup create --noudevsync {linear} --table '0 {sectors} linear {disk} 0'"))?;
    let node = sh(&format!("dmsetup info -c --noheadings -o blkdevname {linear}"))?;
    std::fs::write(format!("/sys/block/{}/queue/discard_max_bytes", node.trim()), "0")?;
    Ok(Path::new("/dev").join(node.trim()))
}

/// Disks, the engine, and the name of a pool on all of them. Dropped last, the disks take what is
/// left of the pool with them.
#[derive(Debug)]
pub(crate) struct Bed {
    pub(crate) engine: Engine,
    pub(crate) control: Control,
    pub(crate) pool: String,
    pub(crate) names: DeviceNames,
    pub(crate) disks: Disks,
}

impl Bed {
    /// Makes a pool over fresh disks; it is open in the kernel.
    pub(crate) fn new(sizes_bytes: &[u64]) -> Result<Self> {
        Self::with(Disks::new(sizes_bytes)?, |_| {})
    }

    /// Makes a pool over these disks, of the kind that `change` makes of the usual one.
    pub(crate) fn with(disks: Disks, change: impl FnOnce(&mut CreatePool)) -> Result<Self> {
        let engine = Engine::new()?;
        let pool = new_pool_name();
        let mut asked = request(&pool, disks.paths());
        change(&mut asked);
        let made = engine.create_pool(&asked)?;
        let names = DeviceNames::new(made.uuid)?;
        Ok(Self { engine, control: Control::open()?, pool, names, disks })
    }

    pub(crate) fn attach(&self) -> Result<Pool> {
        Ok(self.engine.attach(&self.pool)?)
    }

    pub(crate) fn open(&self) -> Result<Pool> {
        Ok(self.engine.open_pool(&self.pool, &[])?)
    }

    /// Sends a message to the pool past the engine, as another tool would.
    pub(crate) fn message(&self, message: &str) -> Result<()> {
        self.control.message(&self.names.pool_device, message)?;
        Ok(())
    }

    /// The thin ids that the pool's device tree holds on disk.
    pub(crate) fn ids_on_disk(&self) -> Result<BTreeSet<ThinId>> {
        // A status with a flush commits first, so that the disk shows what the kernel has.
        self.control.status(&self.names.pool_device, true)?;
        let metadata = self.control.info(&self.names.metadata)?.number.minor;
        let metadata = PathBuf::from(format!("/dev/dm-{metadata}"));
        let reader = BlockDevice::open(&metadata, Access::ReadOnly)?;
        let SuperblockState::Valid(superblock) = read_superblock(&reader)? else {
            anyhow::bail!("the metadata is blank");
        };
        Ok(list_devices(&reader, &superblock)?.into_keys().collect())
    }

    pub(crate) fn usage(&self) -> Result<PoolUsage> {
        match self.control.pool_status(&self.names.pool_device, true)? {
            ThinPoolStatus::Working(usage) => Ok(usage),
            other => anyhow::bail!("the pool is {other:?}"),
        }
    }

    /// The dm devices of this pool.
    pub(crate) fn devices(&self) -> Result<Vec<DmName>> {
        let names = &self.names;
        let listed = self.control.list(&names.name_prefix(), &names.uuid_prefix())?;
        Ok(listed.into_iter().map(|device| device.name).collect())
    }

    /// No device of the pool holds its users back.
    pub(crate) fn assert_nothing_suspended(&self) -> Result<()> {
        for device in self.devices()? {
            ensure!(!self.control.info(&device)?.suspended, "{device} is suspended");
        }
        Ok(())
    }

    /// Every thin id in the pool has a name, and every name its thin id.
    pub(crate) fn assert_ids_are_named(&self) -> Result<()> {
        let named: BTreeSet<ThinId> = self
            .engine
            .volumes(&self.pool)?
            .into_iter()
            .filter_map(|volume| volume.thin_id)
            .collect();
        let held = self.ids_on_disk()?;
        ensure!(named == held, "named: {named:?}, in the pool: {held:?}");
        Ok(())
    }
}

pub(crate) fn new_pool_name() -> String {
    format!("t{}", &Uuid::new_v4().simple().to_string()[..12])
}

pub(crate) fn request(pool: &str, devices: &[PathBuf]) -> CreatePool {
    CreatePool {
        name: PoolName::new(pool).unwrap(),
        devices: devices.to_vec(),
        metadata_device: None,
        block_size: BlockSize::DEFAULT,
        metadata_size: None,
        data_size: None,
        force: false,
        raw: false,
    }
}

/// Creates a volume and hands it out for writing.
pub(crate) fn active(pool: &Pool, volume: &str, size: Bytes) -> Result<PathBuf> {
    pool.create_volume(&name(volume), size)?;
    activate(pool, volume)
}

pub(crate) fn activate(pool: &Pool, volume: &str) -> Result<PathBuf> {
    let view = pool.activate(&name(volume), VolumeAccess::ReadWrite)?;
    view.device.context("an active volume without a device")
}

pub(crate) fn activate_read_only(pool: &Pool, volume: &str) -> Result<PathBuf> {
    let view = pool.activate(&name(volume), VolumeAccess::ReadOnly)?;
    ensure!(view.read_only, "{volume} can be written");
    view.device.context("an active volume without a device")
}

/// Writes so many MiB of one byte, durably.
pub(crate) fn fill(device: &Path, offset: Bytes, length: Bytes, byte: u8) -> Result<()> {
    let file = File::options().write(true).open(device)?;
    let chunk = vec![byte; 1 << 20];
    let mut done = 0;
    while done < length.get() {
        let step = (length.get() - done).min(1 << 20);
        file.write_all_at(&chunk[..usize::try_from(step)?], offset.get() + done)?;
        done += step;
    }
    Ok(file.sync_all()?)
}

/// Whether a range holds nothing but one byte, as the disk has it.
pub(crate) fn holds(device: &Path, offset: Bytes, length: Bytes, byte: u8) -> Result<bool> {
    let mut reader = thinly_engine::aligned::AlignedBuffer::zeroed(usize::try_from(length.get())?);
    let file = File::options().read(true).custom_flags(libc::O_DIRECT).open(device)?;
    file.read_exact_at(&mut reader, offset.get())?;
    Ok(reader.iter().all(|found| *found == byte))
}

/// The operation failed, and says so in these words.
pub(crate) fn assert_refused<T: Debug>(result: Result<T, PoolError>, words: &[&str]) {
    let text = result.unwrap_err().to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

/// What each thin device maps, holds alone, and shares, in blocks.
pub(crate) type Costs = BTreeMap<u64, Vec<u64>>;

/// As `thin_ls` has it, called with these arguments.
pub(crate) fn judged_costs(arguments: &str) -> Result<Costs> {
    let columns = "DEV,MAPPED_BLOCKS,EXCLUSIVE_BLOCKS,SHARED_BLOCKS";
    let mut judged = Costs::new();
    for line in sh(&format!("thin_ls --no-headers -o {columns} {arguments}"))?.lines() {
        let row: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        judged.insert(row[0], row[1..].to_vec());
    }
    Ok(judged)
}

/// As the engine has it, deleted devices that are not freed yet included.
pub(crate) fn our_costs(bed: &Bed, block_bytes: u64) -> Result<Costs> {
    let found = bed.engine.usage(&bed.pool, &[], &mut |_, _| ())?;
    let volumes = found.volumes.iter().filter_map(|it| Some((it.thin_id?, it.cost?)));
    let all = volumes.chain(found.others.iter().map(|it| (it.thin_id, it.cost)));
    let row = |(id, cost): (ThinId, Cost)| {
        let bytes = [cost.mapped_bytes, cost.exclusive_bytes, cost.shared_bytes];
        (u64::from(id.get()), bytes.map(|bytes| bytes.get() / block_bytes).to_vec())
    };
    Ok(all.map(row).collect())
}
