//! The writer's claim: the exclusive open of the journal's linear. It ignores namespaces, so a
//! container and its host meet on it, and it dies with the process.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::error::PoolError;
use super::located::Located;
use crate::block_device::{Access, BlockDevice, DeviceError};

/// Takes the claim, or says who has it.
pub(super) fn claim(located: &Located, node: &Path) -> Result<BlockDevice, PoolError> {
    match BlockDevice::open(node, Access::Exclusive) {
        Ok(device) => {
            note_holder(located.uuid());
            Ok(device)
        }
        Err(DeviceError::Busy { .. }) => {
            let pool = located.found.name.clone();
            Err(PoolError::Claimed { pool, holder: read_note(located.uuid()).told() })
        }
        Err(error) => Err(error.into()),
    }
}

/// Who the note says has the claim. The claim itself is the kernel's; the note only helps a person.
#[derive(Debug, PartialEq, Eq)]
enum Holder {
    Unknown,
    /// A process that can be seen from here.
    Process(u32),
    /// One with process numbers of its own: the driver's container, seen from the host, or the other way round.
    Elsewhere,
}

impl Holder {
    fn read(note: &str, namespace: &str) -> Self {
        let mut words = note.split_whitespace();
        match (words.next().and_then(|word| word.parse().ok()), words.next()) {
            (Some(_), Some(other)) if other != namespace => Self::Elsewhere,
            (Some(process), _) => Self::Process(process),
            (None, _) => Self::Unknown,
        }
    }

    fn told(&self) -> String {
        match self {
            Self::Unknown => String::new(),
            Self::Process(process) => format!(" (process {process})"),
            Self::Elsewhere => " (a process in another container, or on the host)".to_owned(),
        }
    }
}

fn read_note(pool: Uuid) -> Holder {
    let note = fs::read_to_string(note(pool)).unwrap_or_default();
    match Holder::read(&note, &process_namespace()) {
        Holder::Process(process) if !Path::new(&format!("/proc/{process}")).exists() => {
            Holder::Unknown
        }
        holder => holder,
    }
}

/// The process that holds the claim, when its number means something here.
pub(super) fn holder(pool: Uuid) -> Option<u32> {
    match read_note(pool) {
        Holder::Process(process) => Some(process),
        Holder::Unknown | Holder::Elsewhere => None,
    }
}

/// Whether a process has the claim whose number means nothing here.
pub(super) fn is_held_elsewhere(pool: Uuid) -> bool {
    read_note(pool) == Holder::Elsewhere
}

/// In which a process number means what it means to this process.
fn process_namespace() -> String {
    let link = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    link.to_string_lossy().into_owned()
}

fn note_holder(pool: Uuid) {
    let path = note(pool);
    if let Some(directory) = path.parent() {
        let _ = fs::create_dir_all(directory);
    }
    let _ = fs::write(path, format!("{} {}\n", std::process::id(), process_namespace()));
}

/// Takes the note back, before the claim goes: after it the note may be the next writer's.
pub(super) fn forget_holder(pool: Uuid) {
    let _ = fs::remove_file(note(pool));
}

fn note(pool: Uuid) -> PathBuf {
    PathBuf::from(format!("/run/thinly/{pool}.writer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_from_another_namespace_is_nobodys_here() {
        let read = |note| Holder::read(note, "pid:[1]");
        assert_eq!(read("7 pid:[1]\n"), Holder::Process(7));
        assert_eq!(read("7\n"), Holder::Process(7));
        assert_eq!(read("1 pid:[2]\n"), Holder::Elsewhere);
        assert_eq!(read(""), Holder::Unknown);
        assert_eq!(read("seven pid:[1]"), Holder::Unknown);
        assert!(process_namespace().starts_with("pid:["), "{}", process_namespace());
    }
}
