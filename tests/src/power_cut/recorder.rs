//! A disk below dm-log-writes, and the work that is recorded on it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use thinly_engine::block_device::{Access, BlockDevice};
use thinly_engine::dm::{Control, Dm, DmName, DmUuid, TableLine, Target};
use thinly_engine::layout::wipe_labels;
use thinly_engine::units::Sectors;
use uuid::Uuid;

use super::DISK_BYTES;
use super::generator::Generator;
use super::model::Model;
use super::op::{Mark, Op};
use super::performer::Performer;

/// What is to be recorded.
#[derive(Debug)]
pub struct Plan {
    /// The pool's disk, of [`DISK_BYTES`]; its content is lost.
    pub disk: PathBuf,
    /// The disk that the log goes to.
    pub log: PathBuf,
    /// How many operations follow on those that are always done.
    pub steps: usize,
    /// Which operations chance picks.
    pub seed: u64,
}

/// Does the work, records it, and takes everything down again; only the log stays. Returns how many
/// operations were acknowledged.
pub fn record(plan: &Plan) -> Result<usize> {
    let recorder = Recorder::new(&plan.disk, &plan.log)?;
    let done = record_all(plan, &recorder);
    // The pool must be gone from the kernel, or the recorder could not be removed.
    let finished = recorder.finish();
    let acknowledged = done?;
    finished?;
    // From here on the replayed copies are the pool.
    wipe_labels(&BlockDevice::open(&plan.disk, Access::Exclusive)?)?;
    Ok(acknowledged)
}

fn record_all(plan: &Plan, recorder: &Recorder) -> Result<usize> {
    let pool = format!("cut{}", &Uuid::new_v4().simple().to_string()[..12]);
    let mut performer = Performer::new(recorder.node.clone())?;
    let mut generator = Generator::new(plan.seed);
    let mut model = Model::default();
    let mut acknowledged = 0;
    let mut step = |op: Op, model: &mut Model| -> Result<()> {
        recorder.mark(&Mark::Begin(op.clone()))?;
        performer.perform(&op).with_context(|| format!("{op:?}"))?;
        recorder.mark(&Mark::Acknowledged)?;
        *model = model.after(&op);
        acknowledged += 1;
        Ok(())
    };
    for op in generator.every_kind(&pool) {
        step(op, &mut model)?;
    }
    for _ in 0..plan.steps {
        step(generator.next(&model), &mut model)?;
    }
    if model.is_open {
        step(Op::Close, &mut model)?;
    }
    Ok(acknowledged)
}

/// The log-writes device.
pub(super) struct Recorder {
    control: Control,
    name: DmName,
    pub(super) node: PathBuf,
}

impl Recorder {
    pub(super) fn new(disk: &Path, log: &Path) -> Result<Self> {
        let size = BlockDevice::open(disk, Access::ReadOnly)?.size();
        ensure!(size.get() == DISK_BYTES, "{} must have {DISK_BYTES} bytes", disk.display());
        let control = Control::open()?;
        let label = format!("powercut-{}", Uuid::new_v4().simple());
        let name = DmName::new(&*label)?;
        control.create(&name, &DmUuid::new(&*label)?)?;
        let target = Target::Other {
            kind: "log-writes".to_owned(),
            parameters: format!("{} {}", disk.display(), log.display()),
        };
        let line = TableLine { start: Sectors::ZERO, length: size.to_sectors_exact()?, target };
        let started = control.load(&name, &[line], false).and_then(|_| control.resume(&name));
        let info = match started {
            Ok(info) => info,
            Err(error) => {
                control.remove(&name)?;
                return Err(error).context("the kernel's module dm-log-writes is needed");
            }
        };
        let node = PathBuf::from(format!("/dev/dm-{}", info.number.minor));
        // Without a cache to be flushed nobody would send a flush, and the log would prove nothing.
        let cache = info.number.sysfs().join("queue/write_cache");
        let cache = std::fs::read_to_string(cache)?;
        ensure!(cache.trim() == "write back", "{} has a cache that is {cache:?}", disk.display());
        Ok(Self { control, name, node })
    }

    fn mark(&self, mark: &Mark) -> Result<()> {
        self.note(&mark.text()?)
    }

    /// Sets a mark of another kind.
    pub(super) fn note(&self, text: &str) -> Result<()> {
        self.control.message(&self.name, &format!("mark {text}"))?;
        Ok(())
    }

    /// Ends the log and removes the device.
    pub(super) fn finish(self) -> Result<()> {
        let status = self.control.status(&self.name, false)?;
        let text = status.first().map_or("", |line| line.text.as_str());
        let is_whole = !text.contains("logging_disabled");
        self.control.remove(&self.name)?;
        if !is_whole {
            bail!("the kernel gave up recording ({text}); is the log's disk too small?");
        }
        Ok(())
    }
}
