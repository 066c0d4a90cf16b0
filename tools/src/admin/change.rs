//! Which commands a resident runs for others: those that change a pool and need nothing but names
//! and numbers. Files would be looked up in the resident's file system, which may be a container's.
#![forbid(unsafe_code)]

use thinly_engine::catalogue::VolumeName;

use crate::args::{
    Command, PoolEvacuate, PoolGrow, PoolSet, PoolVerb, SnapshotVerb, VolumePath, VolumeVerb,
};

/// What a command changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change<'a> {
    /// The pool's name or uuid.
    pub(super) pool: &'a str,
    /// The volumes and snapshots that nobody else may change meanwhile.
    pub(super) volumes: Vec<&'a VolumeName>,
}

impl<'a> Change<'a> {
    /// Of a command, if it is one that a resident runs.
    pub(super) fn of(command: &'a Command) -> Option<Self> {
        match command {
            Command::Volume { verb } => Self::of_volumes(verb),
            Command::Snapshot { verb } => Self::of_snapshots(verb),
            Command::Pool { verb: PoolVerb::RemoveOrphan(arguments) } => {
                Some(Self { pool: &arguments.pool, volumes: Vec::new() })
            }
            Command::Pool {
                verb:
                    PoolVerb::Grow(PoolGrow { pool, .. })
                    | PoolVerb::Set(PoolSet { pool, .. })
                    | PoolVerb::Evacuate(PoolEvacuate { pool, .. }),
            } => Some(Self { pool, volumes: Vec::new() }),
            Command::Adopt(arguments) => Some(Self::of_path(&arguments.volume)),
            Command::Forget(arguments) if arguments.group => {
                Some(Self { pool: &arguments.object.pool, volumes: Vec::new() })
            }
            Command::Forget(arguments) => Some(Self::of_path(&arguments.object)),
            Command::ReceiveStep(arguments) => Some(Self::of_path(&arguments.volume)),
            Command::Pool { .. }
            | Command::Send(_)
            | Command::Receive(_)
            | Command::Image { .. }
            | Command::Audit(_)
            | Command::Usage(_)
            | Command::Operations(_)
            | Command::Top(_)
            | Command::Map(_)
            | Command::Diff(_)
            | Command::Dm(_)
            | Command::Serve(_)
            | Command::Completions(_)
            | Command::Man(_) => None,
        }
    }

    fn of_volumes(verb: &'a VolumeVerb) -> Option<Self> {
        let path = match verb {
            VolumeVerb::Create(arguments) => {
                let source = arguments.from.iter().map(|source| &source.volume);
                let volumes = source.chain([&arguments.volume.volume]).collect();
                return Some(Self { pool: &arguments.volume.pool, volumes });
            }
            VolumeVerb::Resize(arguments) => &arguments.volume,
            VolumeVerb::Activate(arguments) => &arguments.volume,
            VolumeVerb::Rename(arguments) => &arguments.volume,
            VolumeVerb::Trim(arguments) => &arguments.volume,
            VolumeVerb::Deactivate(target) => &target.volume,
            VolumeVerb::Delete(arguments) => &arguments.volume,
            VolumeVerb::List(_) | VolumeVerb::Show(_) => return None,
        };
        Some(Self::of_path(path))
    }

    fn of_snapshots(verb: &'a SnapshotVerb) -> Option<Self> {
        match verb {
            SnapshotVerb::Create(arguments) => Some(Self::of_path(&arguments.origin)),
            SnapshotVerb::Rollback(arguments) => {
                let path = &arguments.volume;
                Some(Self { pool: &path.pool, volumes: vec![&path.volume, &arguments.to] })
            }
            SnapshotVerb::Delete(arguments) => Some(Self::of_path(&arguments.snapshot)),
            SnapshotVerb::Group(arguments) => {
                let volumes = arguments.members.iter().map(|member| &member.origin).collect();
                Some(Self { pool: &arguments.pool, volumes })
            }
            SnapshotVerb::List(_) => None,
        }
    }

    fn of_path(path: &'a VolumePath) -> Self {
        Self { pool: &path.pool, volumes: vec![&path.volume] }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Cli;

    fn named(line: &str) -> Option<(String, Vec<String>)> {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        Change::of(&cli.command).map(|change| {
            let volumes = change.volumes.iter().map(ToString::to_string).collect();
            (change.pool.to_owned(), volumes)
        })
    }

    #[test]
    fn changes_name_all_that_they_touch() {
        for (line, volumes) in [
            ("thinly volume create p/v --size 1G", vec!["v"]),
            ("thinly volume create p/v --from p/s", vec!["s", "v"]),
            ("thinly volume resize p/v --size 1G", vec!["v"]),
            ("thinly volume activate p/v", vec!["v"]),
            ("thinly volume deactivate p/v", vec!["v"]),
            ("thinly volume delete p/v", vec!["v"]),
            ("thinly volume rename p/v w", vec!["v"]),
            ("thinly snapshot create p/v s", vec!["v"]),
            ("thinly snapshot rollback p/v --to s", vec!["v", "s"]),
            ("thinly snapshot delete p/s", vec!["s"]),
            ("thinly snapshot group p a=b c=d --name g", vec!["a", "c"]),
            ("thinly pool remove-orphan p 7 --yes", vec![]),
            ("thinly pool grow p /dev/sdd", vec![]),
            ("thinly pool evacuate p /dev/sdd", vec![]),
            ("thinly pool set p --reserve 0", vec![]),
            ("thinly adopt p/v", vec!["v"]),
            ("thinly forget p/v", vec!["v"]),
            ("thinly forget p/g --group", vec![]),
            (
                "thinly receive-step p/v finish --source 11111111-1111-1111-1111-111111111111",
                vec!["v"],
            ),
        ] {
            let volumes = volumes.into_iter().map(str::to_owned).collect();
            assert_eq!(named(line), Some(("p".to_owned(), volumes)), "{line}");
        }
    }

    #[test]
    fn what_reads_or_needs_files_is_not_run_for_others() {
        for line in [
            "thinly volume list p",
            "thinly volume show p/v",
            "thinly snapshot list p",
            "thinly pool destroy p --yes",
            "thinly pool close p",
            "thinly pool export p",
            "thinly pool import p",
            "thinly pool backup p file",
            "thinly serve p",
            "thinly audit p --handles -",
            "thinly image ls file",
            "thinly diff p/a p/b",
            "thinly send p/s",
            "thinly receive p/v",
        ] {
            assert_eq!(named(line), None, "{line}");
        }
    }
}
