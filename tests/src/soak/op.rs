//! What changes a pool, and what it makes of the volumes that one worker has.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::volume::Volume;

/// The volumes and snapshots of one worker, by name.
pub(super) type Volumes = BTreeMap<String, Volume>;

/// How a pool is looked after, in the words of `thinly pool set`.
pub(super) const POLICIES: [&[&str]; 4] = [
    &["--auto-extend-at", "off", "--admit-data", "off", "--reserve", "0"],
    &["--auto-extend-at", "80", "--auto-extend-by", "4M"],
    &["--auto-extend-at", "90", "--auto-extend-by", "5%", "--reserve", "8M"],
    &["--admit-data", "95", "--admit-metadata", "95"],
];

/// A change. Names are those of volumes and snapshots, sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    Create {
        name: String,
        size: u64,
    },
    /// As the driver of a cluster has it made.
    Provision {
        name: String,
        size: u64,
    },
    Snapshot {
        origin: String,
        name: String,
    },
    Group {
        members: Vec<(String, String)>,
    },
    Clone {
        source: String,
        name: String,
        size: u64,
    },
    Rollback {
        name: String,
        to: String,
    },
    Resize {
        name: String,
        size: u64,
    },
    Rename {
        from: String,
        to: String,
    },
    Activate {
        name: String,
        writable: bool,
    },
    Deactivate {
        name: String,
    },
    /// A second device that refuses writes, made and removed.
    View {
        name: String,
    },
    ZeroDetect {
        name: String,
    },
    Delete {
        name: String,
        is_snapshot: bool,
    },
    Erase {
        name: String,
        is_snapshot: bool,
    },
    DeleteMany {
        names: Vec<String>,
    },
    Reap,
    Grow {
        by: u64,
        metadata_by: u64,
    },
    Join {
        device: PathBuf,
        by: u64,
    },
    Evacuate {
        device: PathBuf,
        onto: Option<PathBuf>,
    },
    Policy {
        choice: usize,
    },
    Tend,
    Trim {
        name: String,
    },
}

impl Op {
    /// What it is counted as.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Provision { .. } => "create for a cluster",
            Self::Snapshot { .. } => "snapshot",
            Self::Group { .. } => "group snapshot",
            Self::Clone { .. } => "clone",
            Self::Rollback { .. } => "rollback",
            Self::Resize { .. } => "resize",
            Self::Rename { .. } => "rename",
            Self::Activate { .. } => "activate",
            Self::Deactivate { .. } => "deactivate",
            Self::View { .. } => "read-only view",
            Self::ZeroDetect { .. } => "zero detection",
            Self::Delete { .. } => "delete",
            Self::Erase { .. } => "delete with erasing",
            Self::DeleteMany { .. } => "delete several",
            Self::Reap => "reap",
            Self::Grow { .. } => "grow",
            Self::Join { .. } => "grow by a device",
            Self::Evacuate { .. } => "evacuate a device",
            Self::Policy { .. } => "policy",
            Self::Tend => "tend",
            Self::Trim { .. } => "trim",
        }
    }

    /// Whether it may find no room, or a pool that admits nothing new.
    pub(super) const fn takes_space(&self) -> bool {
        matches!(
            self,
            Self::Create { .. }
                | Self::Provision { .. }
                | Self::Snapshot { .. }
                | Self::Group { .. }
                | Self::Clone { .. }
                | Self::Rollback { .. }
                | Self::Activate { .. }
                | Self::Grow { .. }
                | Self::Join { .. }
                | Self::Evacuate { .. }
                | Self::Tend
                | Self::ZeroDetect { .. }
                | Self::Resize { .. }
        )
    }

    /// The names of which nobody knows what they are while it has no answer.
    pub(super) fn names(&self) -> Vec<String> {
        match self {
            Self::Group { members } => members.iter().map(|(_, name)| name.clone()).collect(),
            Self::Rename { from, to } => vec![from.clone(), to.clone()],
            Self::DeleteMany { names } => names.clone(),
            Self::Create { name, .. }
            | Self::Provision { name, .. }
            | Self::Snapshot { name, .. }
            | Self::Clone { name, .. }
            | Self::Rollback { name, .. }
            | Self::Resize { name, .. }
            | Self::Activate { name, .. }
            | Self::Deactivate { name }
            | Self::View { name }
            | Self::ZeroDetect { name }
            | Self::Delete { name, .. }
            | Self::Erase { name, .. } => vec![name.clone()],
            _ => Vec::new(),
        }
    }

    /// What there must be once it was acknowledged.
    pub(super) fn apply(&self, volumes: &mut Volumes) {
        match self {
            Self::Create { name, size } | Self::Provision { name, size } => {
                volumes.insert(name.clone(), Volume::blank(*size));
            }
            Self::Snapshot { origin, name } => copy(volumes, origin, name, true, None),
            Self::Group { members } => {
                for (origin, name) in members {
                    copy(volumes, origin, name, true, None);
                }
            }
            Self::Clone { source, name, size } => copy(volumes, source, name, false, Some(*size)),
            Self::Rollback { name, to } => {
                let Some(source) = volumes.get(to).cloned() else { return };
                if let Some(volume) = volumes.get_mut(name) {
                    volume.put_back(&source);
                }
            }
            Self::Resize { name, size } => {
                if let Some(volume) = volumes.get_mut(name) {
                    volume.content.size = *size;
                }
            }
            Self::Rename { from, to } => {
                if let Some(volume) = volumes.remove(from) {
                    rename_origin(volumes, from, to);
                    volumes.insert(to.clone(), volume);
                }
            }
            Self::Deactivate { name } => {
                if let Some(volume) = volumes.get_mut(name) {
                    volume.device = None;
                }
            }
            Self::Delete { name, .. } | Self::Erase { name, .. } => drop(volumes.remove(name)),
            Self::DeleteMany { names } => names.iter().for_each(|name| drop(volumes.remove(name))),
            _ => {}
        }
    }
}

fn copy(volumes: &mut Volumes, from: &str, to: &str, is_snapshot: bool, size: Option<u64>) {
    let Some(source) = volumes.get(from) else { return };
    let mut made = source.copied();
    made.origin = is_snapshot.then(|| from.to_owned());
    made.content.size = size.unwrap_or(made.content.size);
    volumes.insert(to.to_owned(), made);
}

fn rename_origin(volumes: &mut Volumes, from: &str, to: &str) {
    for volume in volumes.values_mut() {
        if volume.origin.as_deref() == Some(from) {
            volume.origin = Some(to.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_keeps_what_its_origin_had() {
        let mut volumes = Volumes::new();
        let own = str::to_owned;
        Op::Create { name: own("v"), size: 1 << 20 }.apply(&mut volumes);
        volumes.get_mut("v").unwrap().wrote(0, 4096, 7, true);
        Op::Snapshot { origin: own("v"), name: own("s") }.apply(&mut volumes);
        volumes.get_mut("v").unwrap().wrote(0, 4096, 8, true);
        assert_eq!(volumes["s"].content.numbers(0), [7]);
        assert_eq!(volumes["v"].content.numbers(0), [8]);
        Op::Rename { from: own("v"), to: own("w") }.apply(&mut volumes);
        assert_eq!(volumes["s"].origin.as_deref(), Some("w"));
        Op::Rollback { name: own("w"), to: own("s") }.apply(&mut volumes);
        assert_eq!(volumes["w"].content.numbers(0), [7]);
        Op::Delete { name: own("w"), is_snapshot: false }.apply(&mut volumes);
        assert_eq!(volumes.keys().collect::<Vec<_>>(), ["s"]);
    }
}
