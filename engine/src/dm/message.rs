//! The messages of the thin-pool target.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use super::text::{Fields, TextError};
use crate::units::{ThinId, TransactionId};

/// A message to a pool. Each is followed by a commit of its own, whose result the kernel does not
/// report: read the status afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoolMessage {
    /// Makes an empty thin.
    CreateThin(ThinId),
    /// Makes a thin that shares all blocks of another one.
    CreateSnap {
        /// The new thin.
        id: ThinId,
        /// The thin that it is a snapshot of.
        origin: ThinId,
    },
    /// Removes a thin; holds the pool's metadata lock until all its mappings are gone.
    Delete(ThinId),
    /// Moves the transaction id, if it is `from`.
    SetTransactionId {
        /// What it must be now.
        from: TransactionId,
        /// What it becomes.
        to: TransactionId,
    },
    /// Keeps a copy of the metadata's roots for a reader.
    ReserveMetadataSnap,
    /// Gives that copy up.
    ReleaseMetadataSnap,
}

impl fmt::Display for PoolMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateThin(id) => write!(f, "create_thin {id}"),
            Self::CreateSnap { id, origin } => write!(f, "create_snap {id} {origin}"),
            Self::Delete(id) => write!(f, "delete {id}"),
            Self::SetTransactionId { from, to } => write!(f, "set_transaction_id {from} {to}"),
            Self::ReserveMetadataSnap => f.write_str("reserve_metadata_snap"),
            Self::ReleaseMetadataSnap => f.write_str("release_metadata_snap"),
        }
    }
}

impl FromStr for PoolMessage {
    type Err = TextError;

    fn from_str(line: &str) -> Result<Self, TextError> {
        let mut fields = Fields::new("thin-pool message", line);
        let verb = fields.next("verb")?;
        let message = match verb.to_ascii_lowercase().as_str() {
            "create_thin" => Self::CreateThin(thin_id(&mut fields, "thin id")?),
            "create_snap" => Self::CreateSnap {
                id: thin_id(&mut fields, "thin id")?,
                origin: thin_id(&mut fields, "origin")?,
            },
            "delete" => Self::Delete(thin_id(&mut fields, "thin id")?),
            "set_transaction_id" => Self::SetTransactionId {
                from: TransactionId::new(fields.number("old transaction_id")?),
                to: TransactionId::new(fields.number("new transaction_id")?),
            },
            "reserve_metadata_snap" => Self::ReserveMetadataSnap,
            "release_metadata_snap" => Self::ReleaseMetadataSnap,
            _ => return Err(fields.bad("verb", verb)),
        };
        fields.end()?;
        Ok(message)
    }
}

fn thin_id(fields: &mut Fields<'_>, field: &'static str) -> Result<ThinId, TextError> {
    let id: u32 = fields.number(field)?;
    ThinId::new(id).map_err(|_| fields.bad(field, &id.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_written_and_read() {
        let [one, two] = [1, 2].map(|id| ThinId::new(id).unwrap());
        let [from, to] = [7, 8].map(TransactionId::new);
        for (message, text) in [
            (PoolMessage::CreateThin(one), "create_thin 1"),
            (PoolMessage::CreateSnap { id: two, origin: one }, "create_snap 2 1"),
            (PoolMessage::Delete(two), "delete 2"),
            (PoolMessage::SetTransactionId { from, to }, "set_transaction_id 7 8"),
            (PoolMessage::ReserveMetadataSnap, "reserve_metadata_snap"),
            (PoolMessage::ReleaseMetadataSnap, "release_metadata_snap"),
        ] {
            assert_eq!(message.to_string(), text);
            assert_eq!(text.parse(), Ok(message));
        }
        assert!("create_thin 16777216".parse::<PoolMessage>().is_err());
        assert!("destroy 1".parse::<PoolMessage>().is_err());
    }
}
