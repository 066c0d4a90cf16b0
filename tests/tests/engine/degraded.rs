//! Metadata that cannot be written: the kernel says yes and drops the change.

use std::path::PathBuf;

use anyhow::{Context, Result};
use thinly_engine::layout::Role;
use thinly_engine::plan::Health;
use thinly_engine::pool::{ExitClass, Pool, PoolError, VolumeAccess};
use thinly_engine::units::SECTOR_BYTES;
use thinly_tests::{Disks, sh};

use crate::support::{Bed, active, assert_refused, fill, mib, name};

/// A dm device below the pool, whose sectors under the metadata can be made to refuse writes.
struct Shaky {
    name: String,
    disk: String,
    sectors: u64,
    metadata: (u64, u64),
}

impl Shaky {
    fn load(&self, table: &str) -> Result<()> {
        let name = &self.name;
        sh(&format!(
            "dmsetup suspend --noflush --nolockfs {name}; printf '{table}' | dmsetup load {name}
             dmsetup resume --noudevsync {name}"
        ))?;
        Ok(())
    }

    fn fail(&self) -> Result<()> {
        let Self { disk, sectors, metadata: (start, length), .. } = self;
        let end = start + length;
        self.load(&format!(
            "0 {start} linear {disk} 0\\n{start} {length} flakey {disk} {start} 0 1000 1 error_writes\\n\
             {end} {} linear {disk} {end}\\n",
            sectors - end
        ))
    }

    fn heal(&self) -> Result<()> {
        self.load(&format!("0 {} linear {} 0\\n", self.sectors, self.disk))
    }
}

fn shaky_bed() -> Result<(Bed, Shaky)> {
    let disks = Disks::new(&[1 << 30])?;
    let (disk, sectors) = (disks[0].display().to_string(), (1_u64 << 30) / SECTOR_BYTES);
    let dm_name = crate::support::new_pool_name();
    sh(&format!("dmsetup create --noudevsync {dm_name} --table '0 {sectors} linear {disk} 0'"))?;
    let node = sh(&format!("dmsetup info -c --noheadings -o blkdevname {dm_name}"))?;
    let bed = Bed::with(disks, |asked| {
        asked.devices = vec![PathBuf::from(format!("/dev/{}", node.trim()))];
        asked.raw = true;
    })?;
    let catalogue = bed.attach()?.catalogue();
    let extent = catalogue.pool().extent;
    let segment = catalogue.segments().iter().find(|segment| segment.role == Role::Metadata);
    let segment = segment.context("no metadata")?;
    let start = segment.device_offset(extent).unwrap().get() / SECTOR_BYTES;
    let length = segment.count.get() * extent.get() / SECTOR_BYTES;
    Ok((bed, Shaky { name: dm_name, disk, sectors, metadata: (start, length) }))
}

fn names_of(pool: &Pool) -> Result<Vec<String>> {
    Ok(pool.volumes()?.into_iter().map(|volume| volume.name.to_string()).collect())
}

#[test]
fn a_message_whose_commit_is_lost_is_reported_as_failed_and_nothing_is_listed() -> Result<()> {
    let (bed, shaky) = shaky_bed()?;
    let pool = bed.attach()?;
    let web = active(&pool, "web", mib(64))?;
    fill(&web, mib(0), mib(1), 1)?;
    pool.snapshot(&name("web"), &name("web@1"))?;
    shaky.fail()?;
    let failed = pool.snapshot(&name("web"), &name("web@2")).unwrap_err();
    assert_eq!(failed.exit_class(), ExitClass::Degraded, "{failed}");
    assert!(matches!(failed, PoolError::WentDegraded { .. }), "{failed}");
    assert!(failed.to_string().contains("while a snapshot"), "{failed}");
    bed.assert_nothing_suspended()?;
    assert_eq!(names_of(&pool)?, ["web", "web@1"]);
    let view = bed.engine.view(&bed.pool)?;
    let health = view.health.context("no health")?;
    assert!(health >= Health::ReadOnly, "{health}");
    let told = |problem: &String| problem.contains(&health.to_string()) && problem.contains("; ");
    assert!(view.problems.iter().any(told), "{:?}", view.problems);
    assert_eq!(view.snapshot_count, 1);
    let later = pool.snapshot(&name("web"), &name("web@3")).unwrap_err();
    assert!(matches!(later, PoolError::Poisoned { .. }), "{later}");
    drop(pool);

    // What a degraded pool still serves.
    shaky.heal()?;
    let pool = bed.attach()?;
    assert_refused(pool.snapshot(&name("web"), &name("web@3")), &["the pool is", "refused"]);
    let created = pool.create_volume(&name("new"), mib(1));
    assert_refused(created, &["the pool is", "refused"]);
    assert_eq!(names_of(&pool)?, ["web", "web@1"]);
    pool.rename(&name("web@1"), &name("web@old"))?;
    pool.deactivate(&name("web"))?;
    if health < Health::Failed {
        pool.activate(&name("web"), VolumeAccess::ReadWrite)?;
        pool.deactivate(&name("web"))?;
        pool.delete(&name("web@old"))?;
        assert_eq!(
            pool.reap(&mut |_| {})?.waiting,
            1 + u64::try_from(pool.view()?.tombstones.len())? - 1
        );
    }
    pool.release()?;
    Ok(())
}
