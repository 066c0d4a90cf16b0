//! Every operation with few volumes and with many, by everybody.
#![forbid(unsafe_code)]

use anyhow::Result;

use super::callers::{CALLERS_MOST, spread};
use super::contender::{BARE, Contender, DMSETUP, LVM, OURS, Slot};
use super::turns::{Operation, Slots, Times};
use crate::results::{Axis, Bound, Group, Plot, Series, Table};
use crate::samples::Samples;

/// Everybody on one number of volumes, and how they did.
pub(super) struct Step {
    volumes: usize,
    /// The engine and bare ioctls: many rounds.
    quick: Times,
    /// The engine and what forks programs: few rounds.
    slow: Times,
}

/// Who takes part.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) ours: &'a dyn Contender,
    pub(super) bare: &'a dyn Contender,
    pub(super) dmsetup: &'a dyn Contender,
    /// With the same number of volumes, where it is measured at all.
    pub(super) lvm: Option<&'a dyn Contender>,
}

/// How often.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rounds {
    pub(super) quick: usize,
    pub(super) slow: usize,
    /// Whether everybody did everything before, or nothing is to be learnt from the times.
    pub(super) is_warm: bool,
}

impl Step {
    /// Measures with that many volumes, which must be there.
    pub(super) fn measure(
        field: Field<'_>,
        slots: &Slots,
        volumes: usize,
        rounds: Rounds,
    ) -> Result<Self> {
        let quick = [field.ours, field.bare];
        let quick = Times::measure(&quick, slots, rounds.quick, rounds.is_warm)?;
        let slow: Vec<_> = [field.ours, field.dmsetup].into_iter().chain(field.lvm).collect();
        let slow = Times::measure(&slow, slots, rounds.slow, rounds.is_warm)?;
        Ok(Self { volumes, quick, slow })
    }

    fn times(&self, operation: Operation, contender: &'static str) -> Samples {
        match contender {
            OURS | BARE => self.quick.of(operation, contender),
            _ => self.slow.of(operation, contender),
        }
    }

    fn table(&self) -> Table {
        let title = format!("With {} volumes, medians in ms", self.volumes);
        let columns = [
            "operation",
            "ours",
            "bare ioctls",
            "ours / bare",
            "dmsetup",
            "LVM",
            "dmsetup / ours",
            "LVM / ours",
        ];
        let mut table = Table::new(title, &columns);
        for operation in Operation::ALL {
            let time = |name| millis(&self.times(operation, name));
            let times_ours = |name| match self.slow.pair(operation, OURS, name) {
                pair if pair.rival.is_empty() => "-".to_owned(),
                pair => format!("{:.0}", 1.0 / pair.ratio()),
            };
            table.row([
                operation.name().to_owned(),
                time(OURS),
                time(BARE),
                format!("{:.2}", self.quick.pair(operation, OURS, BARE).ratio()),
                time(DMSETUP),
                time(LVM),
                times_ours(DMSETUP),
                times_ours(LVM),
            ]);
        }
        table
    }

    fn tell(&self, group: &mut Group) {
        let volumes = self.volumes;
        let create = self.quick.pair(Operation::Create, OURS, BARE);
        let what = format!("create with {volumes} volumes, against create_thin + status");
        group.goal(what, create.ratio(), "x", Bound::AtMost(0.5));
        group.tables.push(self.table());
    }

    /// LVM as a multiple of the engine.
    fn tell_lvm(&self, group: &mut Group, bounds: [Bound; 2]) {
        let commands = ["lvcreate -an, against create", "lvcreate, against create + activate"];
        let operations = [Operation::Create, Operation::CreateActive];
        for ((operation, what), bound) in operations.into_iter().zip(commands).zip(bounds) {
            let pair = self.slow.pair(operation, OURS, LVM);
            let what = format!("{what}, with {} volumes", self.volumes);
            group.goal(what, 1.0 / pair.ratio(), "x", bound);
        }
    }
}

/// Adds volumes to both pools: `more` of them.
pub(super) fn fill(field: Field<'_>, slots: &Slots, more: usize) -> Result<()> {
    let (ours, bare) = (slots.take_many(more)?, slots.take_many(more)?);
    spread(CALLERS_MOST, &ours, &|slot: Slot| field.ours.create(slot))?;
    spread(1, &bare, &|slot: Slot| field.bare.create(slot))?;
    Ok(())
}

/// Tells all steps: tables, goals and pictures.
pub(super) fn tell(steps: &[Step], group: &mut Group) {
    for step in steps {
        step.tell(group);
    }
    let with_lvm: Vec<&Step> =
        steps.iter().filter(|step| !step.slow.of(Operation::Create, LVM).is_empty()).collect();
    if let [first, more @ ..] = with_lvm.as_slice() {
        // The goals stand where LVM is quickest.
        first.tell_lvm(group, [Bound::AtLeast(200.0), Bound::AtLeast(25.0)]);
        for step in more {
            step.tell_lvm(group, [Bound::Shown; 2]);
            let median = |step: &Step| step.slow.of(Operation::Create, LVM).median().as_secs_f64();
            let what = format!(
                "lvcreate -an with {} volumes, against itself with {}",
                step.volumes, first.volumes
            );
            group.goal(what, median(step) / median(first), "x", Bound::Shown);
        }
    }
    let create = (Operation::Create, "provision-create", "Creating a volume that is not active");
    let active =
        (Operation::CreateActive, "provision-activate", "Creating a volume with its device");
    group.plots.extend([create, active].map(|(operation, file, title)| Plot {
        file: file.to_owned(),
        title: title.to_owned(),
        x: Axis::logarithmic("volumes"),
        y: Axis::logarithmic("median, ms"),
        series: [OURS, BARE, DMSETUP, LVM].map(|name| series(steps, operation, name)).into(),
    }));
}

fn series(steps: &[Step], operation: Operation, contender: &'static str) -> Series {
    let points = steps.iter().filter_map(|step| {
        let samples = step.times(operation, contender);
        let volumes = f64::from(u32::try_from(step.volumes).ok()?);
        (!samples.is_empty()).then(|| (volumes, samples.median().as_secs_f64() * 1e3))
    });
    let name = match (contender, operation) {
        (BARE, Operation::Create) => "bare create_thin + status",
        (LVM, Operation::Create) => "lvcreate -an",
        (LVM, Operation::CreateActive) => "lvcreate",
        (name, _) => name,
    };
    Series { name: name.to_owned(), points: points.collect() }
}

fn millis(samples: &Samples) -> String {
    if samples.is_empty() {
        return "-".to_owned();
    }
    let millis = samples.median().as_secs_f64() * 1e3;
    if millis < 10.0 { format!("{millis:.2}") } else { format!("{millis:.0}") }
}
