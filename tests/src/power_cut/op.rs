//! What the recorded work consists of, and the marks in the log that speak of it.

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::stream::Stream;

/// What fits into a block of 512 bytes beside the entry's own numbers and a closing zero.
const MARK_BYTES_MAX: usize = 512 - 32 - 1;

/// One operation. Offsets and lengths are bytes, names those of volumes and snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Op {
    /// Make the pool; it is open afterwards, and has a writer.
    CreatePool { name: String },
    /// Make a blank volume.
    Create { name: String, size: u64 },
    /// Make a volume's device.
    Activate { name: String, writable: bool },
    /// Write the pattern of this number, and flush if it is to be synced.
    Write { name: String, offset: u64, length: u64, number: u64, synced: bool },
    /// Discard whole blocks.
    Discard { name: String, offset: u64, length: u64 },
    /// Take a snapshot.
    Snapshot { origin: String, name: String },
    /// Take several at one instant.
    Group { name: String, members: Vec<(String, String)> },
    /// Make a writable copy.
    Clone { source: String, name: String, size: u64 },
    /// Put a volume back to a snapshot of it.
    Rollback { name: String, to: String },
    /// Make a volume larger.
    Resize { name: String, size: u64 },
    /// Give it another name.
    Rename { from: String, to: String },
    /// Remove a volume's device.
    Deactivate { name: String },
    /// Delete a volume or snapshot.
    Delete { name: String },
    /// Free what deleted ones held.
    Reap,
    /// Give the pool so much more data.
    Grow { by: u64 },
    /// End the writer in order, and take the claim anew.
    Release,
    /// Let the writer die, and take the claim anew.
    Abandon,
    /// Take the pool out of the kernel.
    Close,
    /// Bring it back.
    Open,
    /// Make a volume ready for a stream, or for the rest of one: its device is there, as after an activation.
    BeginReceive { name: String, size: u64, stream: Stream, resume: bool },
    /// Flush, and note how far the stream came.
    NoteReceived { name: String, source: u64, durable: u64 },
    /// Flush, and end the stream with its snapshot.
    FinishReceive { name: String, source: u64, snapshot: String },
    /// Several at once, each from a thread of its own, on different volumes.
    Beside { ops: Vec<Op> },
}

impl Op {
    /// The volumes that it changes or reads; `None` when it needs the pool for itself.
    pub(super) fn names(&self) -> Option<Vec<&str>> {
        Some(match self {
            Self::Create { name, .. }
            | Self::Activate { name, .. }
            | Self::Write { name, .. }
            | Self::Discard { name, .. }
            | Self::Resize { name, .. }
            | Self::Deactivate { name }
            | Self::NoteReceived { name, .. }
            | Self::Delete { name } => vec![name],
            Self::Snapshot { origin: first, name: second }
            | Self::Clone { source: first, name: second, .. }
            | Self::Rollback { name: first, to: second }
            | Self::Rename { from: first, to: second }
            | Self::BeginReceive { name: first, stream: Stream { snapshot: second, .. }, .. }
            | Self::FinishReceive { name: first, snapshot: second, .. } => vec![first, second],
            Self::Group { members, .. } => {
                members.iter().flat_map(|(origin, name)| [origin.as_str(), name.as_str()]).collect()
            }
            // Of the pool, while anything goes on in it.
            Self::Grow { .. } => Vec::new(),
            _ => return None,
        })
    }
}

/// What a mark in the log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mark {
    /// The operation is about to be asked for.
    Begin(Op),
    /// The operation that was begun was acknowledged.
    Acknowledged,
}

const BEGIN: &str = "begin:";
const ACKNOWLEDGED: &str = "acknowledged";

/// What the kernel itself writes when the target goes.
const END: &str = "dm-log-writes-end";

impl Mark {
    /// The mark's text; it has no space in it, because a message is split at spaces.
    pub(super) fn text(&self) -> Result<String> {
        let Self::Begin(op) = self else { return Ok(ACKNOWLEDGED.to_owned()) };
        let text = format!("{BEGIN}{}", serde_json::to_string(op)?);
        ensure!(
            text.len() <= MARK_BYTES_MAX && !text.contains([' ', '\\']),
            "a mark cannot hold {text:?}"
        );
        Ok(text)
    }

    /// Reads a mark; `None` for the kernel's own.
    pub(super) fn parse(text: &str) -> Result<Option<Self>> {
        if let Some(op) = text.strip_prefix(BEGIN) {
            let op = serde_json::from_str(op).with_context(|| format!("the mark {text:?}"))?;
            return Ok(Some(Self::Begin(op)));
        }
        match text {
            ACKNOWLEDGED => Ok(Some(Self::Acknowledged)),
            END => Ok(None),
            other => bail!("a mark that nobody set: {other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_as_they_were_set() {
        let members = vec![("a".to_owned(), "a@1".to_owned()), ("b".to_owned(), "b@1".to_owned())];
        for mark in [
            Mark::Begin(Op::Group { name: "g".to_owned(), members }),
            Mark::Begin(Op::Reap),
            Mark::Begin(Op::Beside { ops: vec![Op::Delete { name: "v".to_owned() }, Op::Reap] }),
            Mark::Acknowledged,
        ] {
            assert_eq!(Mark::parse(&mark.text().unwrap()).unwrap(), Some(mark));
        }
        assert_eq!(Mark::parse(END).unwrap(), None);
        assert!(Mark::parse("hello").is_err());
    }

    #[test]
    fn a_mark_that_the_kernel_would_split_or_cut_is_refused() {
        let delete = |name: &str| Mark::Begin(Op::Delete { name: name.to_owned() });
        assert!(delete("two words").text().is_err());
        assert!(delete(&"x".repeat(480)).text().is_err());
    }
}
