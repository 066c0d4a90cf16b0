//! How a writer begins and how it ends: the records of an epoch, and when they may be written.
#![forbid(unsafe_code)]

use super::mode::{Health, Operation, Refusal};
use crate::catalogue::{Epoch, Record};
use crate::units::TransactionId;

/// The record that announces the next writer of a pool found at `found`.
///
/// Refused on a pool that takes no messages: the swap that follows would be refused too, and what
/// such a pool says of its transaction id may be in core only. A record that names it would expect
/// a number that no reboot brings back, and the pool would look like somebody else's.
pub fn announcement(
    epoch: Epoch,
    health: Health,
    found: TransactionId,
    operation: Operation,
) -> Result<Record, Refusal> {
    if !health.serves_messages() {
        return Err(Refusal { health, operation });
    }
    Ok(Record::Opened { epoch: epoch.number() + 1, from: found, to: found.next() })
}

/// The record that ends the open epoch; none when there is no open one, or when the pool is in
/// doubt: the next open then looks at everything.
pub fn farewell(epoch: Epoch, health: Health, found: TransactionId) -> Option<Record> {
    match epoch {
        Epoch::Opened { epoch, .. } if health.serves_messages() => {
            Some(Record::Released { epoch, transaction_id: found })
        }
        _ => None,
    }
}
