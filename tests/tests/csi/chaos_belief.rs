//! What a client was told, and how it is compared with what is there.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::{Context, Result, ensure};
use thinly_csi_wire::VolumeCapability;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_tests::csi::{Client, block, from_snapshot};

use crate::support::mib;

/// How large volumes begin.
pub(crate) const BYTES: i64 = mib(4);

/// A volume, and the tag that its first and last page hold; 0 for zeros.
pub(crate) struct Disk {
    pub(crate) id: String,
    pub(crate) bytes: i64,
    pub(crate) tag: u64,
    /// Its staging and target path while it is published.
    pub(crate) at: Option<(String, String)>,
}

/// A snapshot likewise.
pub(crate) struct Cut {
    pub(crate) id: String,
    pub(crate) bytes: i64,
    pub(crate) tag: u64,
}

fn page(tag: u64) -> Vec<u8> {
    tag.to_le_bytes().repeat(512)
}

pub(crate) fn write(target: &str, tag: u64) -> Result<()> {
    let file = File::options().write(true).open(target)?;
    for at in [0, u64::try_from(BYTES)? - 4096] {
        file.write_all_at(&page(tag), at)?;
    }
    Ok(file.sync_all()?)
}

pub(crate) fn check(target: &str, tag: u64) -> Result<()> {
    let file = File::open(target)?;
    for at in [0, u64::try_from(BYTES)? - 4096] {
        let mut found = vec![1; 4096];
        file.read_exact_at(&mut found, at)?;
        ensure!(found == page(tag), "{tag} is not at {at} of {target}: {:?}", &found[..8]);
    }
    Ok(())
}

pub(crate) fn use_of() -> VolumeCapability {
    block(Mode::SingleNodeWriter)
}

/// What a client was told.
pub(crate) struct Belief {
    pub(crate) kubelet: PathBuf,
    pub(crate) disks: Vec<Disk>,
    pub(crate) cuts: Vec<Cut>,
    pub(crate) groups: Vec<(String, Vec<Cut>)>,
    /// How many calls were answered, of all clients.
    pub(crate) done: Arc<AtomicU64>,
}

impl Belief {
    pub(crate) fn volumes(&self) -> impl Iterator<Item = &str> {
        self.disks.iter().map(|disk| disk.id.as_str())
    }

    pub(crate) fn snapshots(&self) -> impl Iterator<Item = &str> {
        let members = self.groups.iter().flat_map(|(_, members)| members);
        self.cuts.iter().chain(members).map(|cut| cut.id.as_str())
    }

    /// Looks at every volume and into every snapshot, and deletes it.
    pub(crate) fn check_and_delete(&self, client: &Client) -> Result<()> {
        let place = |id: &str| self.place(id);
        for cut in self.cuts.iter().chain(self.groups.iter().flat_map(|(_, members)| members)) {
            let name = format!("of {}", cut.id);
            let copy = client.copy(&name, from_snapshot(&cut.id), cut.bytes, &use_of())?.volume_id;
            let disk = Disk { id: copy, bytes: cut.bytes, tag: cut.tag, at: None };
            look_and_delete(client, &disk, place(&disk.id)?)?;
        }
        for (group, members) in &self.groups {
            let members: Vec<&str> = members.iter().map(|cut| cut.id.as_str()).collect();
            client.delete_group(group, &members)?;
        }
        for cut in &self.cuts {
            client.delete_snapshot(&cut.id)?;
        }
        self.disks.iter().try_for_each(|disk| {
            let at = disk.at.clone().map_or_else(|| place(&disk.id), Ok)?;
            look_and_delete(client, disk, at)
        })
    }

    /// Paths for a volume, made as kubelet makes them.
    pub(crate) fn place(&self, id: &str) -> Result<(String, String)> {
        let staging = self.kubelet.join("plugins").join(id).join("globalmount");
        let target = self.kubelet.join("pods").join(id).join("mount");
        fs::create_dir_all(&staging)?;
        fs::create_dir_all(target.parent().context("a path without a parent")?)?;
        Ok((staging.display().to_string(), target.display().to_string()))
    }
}

fn look_and_delete(client: &Client, disk: &Disk, at: (String, String)) -> Result<()> {
    let (staging, target) = at;
    if disk.at.is_none() {
        client.stage(&disk.id, &staging, &use_of())?;
        client.publish(&disk.id, (&staging, &target), &use_of(), false)?;
    }
    check(&target, disk.tag).with_context(|| disk.id.clone())?;
    ensure!(
        client.stats(&disk.id, &target)?[0].total == disk.bytes,
        "{} has another size",
        disk.id
    );
    client.unpublish(&disk.id, &target)?;
    client.unstage(&disk.id, &staging)?;
    Ok(client.delete_volume(&disk.id)?)
}
