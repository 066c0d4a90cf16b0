//! A client that makes random calls on block volumes of its own and remembers what it was told.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use thinly_csi_wire as wire;
use thinly_tests::csi::{Client, from_snapshot, from_volume};
use tonic::{Code, Status};

use crate::chaos_belief::{BYTES, Belief, Cut, Disk, check, use_of, write};
use crate::support::mib;

/// More volumes than this are not kept by one client; nor snapshots.
const KEPT_MAX: usize = 5;
/// How long a client repeats one call.
const PATIENCE: Duration = Duration::from_mins(4);

/// Random numbers that a seed repeats.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below a limit (splitmix64).
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn pick<T>(&mut self, list: &[T]) -> Option<usize> {
        let count = u64::try_from(list.len()).ok().filter(|count| *count > 0)?;
        usize::try_from(self.below(count)).ok()
    }
}

/// Repeats a call for as long as nobody has really answered it.
fn insist<T>(done: &AtomicU64, mut call: impl FnMut() -> Result<T, Status>) -> Result<T> {
    let start = Instant::now();
    loop {
        let answer = call();
        let unanswered = answer.as_ref().err().is_some_and(|status| {
            // An answer of the driver's has no source; a broken connection has.
            std::error::Error::source(status).is_some()
                || matches!(status.code(), Code::Unavailable | Code::Aborted)
        });
        if !unanswered || start.elapsed() > PATIENCE {
            done.fetch_add(1, Ordering::Relaxed);
            return Ok(answer?);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// A client at work.
pub(crate) struct Worker {
    number: u64,
    client: Client,
    dice: Dice,
    named: u64,
    belief: Belief,
}

impl Worker {
    pub(crate) fn new(
        number: u64,
        (socket, kubelet): (&Path, &Path),
        dice: Dice,
        done: Arc<AtomicU64>,
    ) -> Result<Self> {
        let belief = Belief {
            kubelet: kubelet.to_owned(),
            disks: Vec::new(),
            cuts: Vec::new(),
            groups: Vec::new(),
            done,
        };
        Ok(Self { number, client: Client::new(socket)?, dice, named: 0, belief })
    }

    /// Calls until told to stop.
    pub(crate) fn work(mut self, stop: &AtomicBool) -> Result<Belief> {
        while !stop.load(Ordering::SeqCst) {
            match self.dice.below(11) {
                0 | 1 => self.create()?,
                2 => self.copy()?,
                3 => self.restore()?,
                4 => self.cut()?,
                5 => self.cut_group()?,
                6 | 7 => self.write_or_publish()?,
                8 => self.withdraw_or_expand()?,
                9 => self.delete()?,
                _ => self.look()?,
            }
        }
        Ok(self.belief)
    }

    fn name(&mut self) -> String {
        self.named += 1;
        format!("client {}, number {}", self.number, self.named)
    }

    fn keep(&mut self, id: String, bytes: i64, tag: u64) {
        self.belief.disks.push(Disk { id, bytes, tag, at: None });
    }

    fn create(&mut self) -> Result<()> {
        if self.belief.disks.len() >= KEPT_MAX {
            return self.delete();
        }
        let (name, client) = (self.name(), &self.client);
        let made = insist(&self.belief.done, || client.volume(&name, BYTES, &use_of()))?;
        self.keep(made.volume_id, BYTES, 0);
        Ok(())
    }

    fn copy(&mut self) -> Result<()> {
        let Some(which) = self.dice.pick(&self.belief.disks) else { return Ok(()) };
        let (name, client) = (self.name(), &self.client);
        let Disk { id, bytes, tag, .. } = &self.belief.disks[which];
        let (bytes, tag) = (*bytes, *tag);
        let call = || client.copy(&name, from_volume(id), bytes, &use_of());
        let made = insist(&self.belief.done, call)?;
        self.keep(made.volume_id, bytes, tag);
        Ok(())
    }

    fn restore(&mut self) -> Result<()> {
        let Some(which) = self.dice.pick(&self.belief.cuts) else { return Ok(()) };
        let (name, client) = (self.name(), &self.client);
        let Cut { id, bytes, tag } = &self.belief.cuts[which];
        let (bytes, tag) = (*bytes + 4096, *tag);
        let call = || client.copy(&name, from_snapshot(id), bytes, &use_of());
        let made = insist(&self.belief.done, call)?;
        self.keep(made.volume_id, bytes, tag);
        Ok(())
    }

    fn cut(&mut self) -> Result<()> {
        let Some(which) = self.dice.pick(&self.belief.disks) else { return Ok(()) };
        let (name, client) = (self.name(), &self.client);
        let Disk { id, bytes, tag, .. } = &self.belief.disks[which];
        let made = insist(&self.belief.done, || client.create_snapshot(id, &name))?;
        self.belief.cuts.push(Cut { id: made.snapshot_id, bytes: *bytes, tag: *tag });
        Ok(())
    }

    fn cut_group(&mut self) -> Result<()> {
        let (name, client) = (self.name(), &self.client);
        if let Some((group, members)) = self.belief.groups.pop() {
            let ids: Vec<&str> = members.iter().map(|cut| cut.id.as_str()).collect();
            return insist(&self.belief.done, || client.delete_group(&group, &ids));
        }
        let sources: Vec<&Disk> = self.belief.disks.iter().take(2).collect();
        let ids: Vec<&str> = sources.iter().map(|disk| disk.id.as_str()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let group = insist(&self.belief.done, || client.create_group(&name, &ids))?;
        let member = |disk: &&Disk| {
            let found = group.snapshots.iter().find(|it| it.source_volume_id == disk.id);
            let id = found.context("a source without a member")?.snapshot_id.clone();
            Ok(Cut { id, bytes: disk.bytes, tag: disk.tag })
        };
        let members = sources.iter().map(member).collect::<Result<Vec<_>>>()?;
        self.belief.groups.push((group.group_snapshot_id, members));
        Ok(())
    }

    /// Looks at what is there before it writes something else.
    fn write_or_publish(&mut self) -> Result<()> {
        let Some(which) = self.dice.pick(&self.belief.disks) else { return Ok(()) };
        let (client, id) = (&self.client, self.belief.disks[which].id.clone());
        if self.belief.disks[which].at.is_none() {
            let (staging, target) = self.belief.place(&id)?;
            let done = &self.belief.done;
            insist(done, || client.stage(&id, &staging, &use_of()))?;
            insist(done, || client.publish(&id, (&staging, &target), &use_of(), false))?;
            self.belief.disks[which].at = Some((staging, target));
        }
        let disk = &mut self.belief.disks[which];
        let Some((_, target)) = &disk.at else { return Ok(()) };
        check(target, disk.tag)?;
        disk.tag = 1 + self.dice.below(u64::MAX - 1);
        write(target, disk.tag)
    }

    fn withdraw_or_expand(&mut self) -> Result<()> {
        let Some(which) = self.dice.pick(&self.belief.disks) else { return Ok(()) };
        let (client, done) = (&self.client, &self.belief.done);
        let disk = &mut self.belief.disks[which];
        if let Some((staging, target)) = disk.at.take() {
            insist(done, || client.unpublish(&disk.id, &target))?;
            return insist(done, || client.unstage(&disk.id, &staging));
        }
        let bytes = disk.bytes + mib(1);
        disk.bytes = insist(done, || client.expand(&disk.id, bytes))?.capacity_bytes;
        Ok(())
    }

    fn delete(&mut self) -> Result<()> {
        let (client, done) = (&self.client, &self.belief.done);
        if self.belief.cuts.len() >= KEPT_MAX {
            let cut = self.belief.cuts.swap_remove(0);
            insist(done, || client.delete_snapshot(&cut.id))?;
        }
        let Some(which) = self.dice.pick(&self.belief.disks) else { return Ok(()) };
        let disk = self.belief.disks.swap_remove(which);
        if let Some((staging, target)) = disk.at {
            insist(done, || client.unpublish(&disk.id, &target))?;
            insist(done, || client.unstage(&disk.id, &staging))?;
        }
        insist(done, || client.delete_volume(&disk.id))
    }

    /// What is believed is listed at any time.
    fn look(&mut self) -> Result<()> {
        let (client, done) = (&self.client, &self.belief.done);
        let listed = insist(done, || client.volumes())?;
        insist(done, || client.capacity(wire::GetCapacityRequest::default()))?;
        for disk in &self.belief.disks {
            let found = listed.iter().find(|volume| volume.volume_id == disk.id);
            let found = found.with_context(|| format!("{} is not listed", disk.id))?;
            ensure!(found.capacity_bytes == disk.bytes, "{found:?}, told {}", disk.bytes);
        }
        Ok(())
    }
}
