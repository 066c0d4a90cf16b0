//! Which region is the current one: a pure function of the two headers and the two seals.
#![forbid(unsafe_code)]

use super::control::{Header, HeaderState, SealState};
use super::format::Region;

/// The control units of both regions, A first.
pub(super) type Slots = [Slot; 2];

/// The control units of one region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) header: HeaderState,
    /// `Open` unless the header is valid.
    pub(super) seal: SealState,
}

impl Slot {
    fn valid(&self) -> Option<Header> {
        match self.header {
            HeaderState::Valid(header) => Some(header),
            _ => None,
        }
    }
}

/// The region to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) current: Header,
    /// The older region where it is not sealed, so must be before the current one is written.
    pub(super) unsealed: Option<Header>,
    /// Whether the older region may stand in for a current one that is not whole: nothing was
    /// acknowledged in the current region before the older one was sealed.
    pub(super) may_fall_back: bool,
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Both headers are zero.
    Blank,
    /// Something that belongs in this region's control units is gone or unreadable.
    ///
    /// The offset counts from the region's start.
    Damaged { region: Region, offset: u64, what: &'static str },
}

/// Picks the current region.
pub(super) fn choose(slots: &Slots) -> Result<Choice, Refusal> {
    match (slots[0].valid(), slots[1].valid()) {
        (None, None) => {
            let damaged = Region::BOTH
                .into_iter()
                .zip(slots)
                .find(|(_, slot)| slot.header != HeaderState::Blank);
            Err(damaged.map_or(Refusal::Blank, |(region, _)| header_lost(region)))
        }
        (Some(only), None) => choose_only(&only, slots[0].seal, slots[1].header),
        (None, Some(only)) => choose_only(&only, slots[1].seal, slots[0].header),
        (Some(a), Some(b)) if a.epoch > b.epoch => {
            choose_newer(&a, slots[0].seal, &b, slots[1].seal)
        }
        (Some(a), Some(b)) if b.epoch > a.epoch => {
            choose_newer(&b, slots[1].seal, &a, slots[0].seal)
        }
        (Some(a), Some(_)) => Err(Refusal::Damaged {
            region: a.region,
            offset: 0,
            what: "both regions claim the same epoch",
        }),
    }
}

fn header_lost(region: Region) -> Refusal {
    Refusal::Damaged { region, offset: 0, what: "the header is unreadable" }
}

fn choose_only(only: &Header, seal: SealState, other: HeaderState) -> Result<Choice, Refusal> {
    let choice = Choice { current: *only, unsealed: None, may_fall_back: false };
    match (seal, other) {
        // The other header was never whole: its region was being prepared, or its write was torn.
        // A seal is only written after it, so bytes in the seal unit beside a blank header are rot.
        (SealState::Open, _) | (SealState::Damaged, HeaderState::Blank) => Ok(choice),
        (SealState::Sealed(_), _) => Err(Refusal::Damaged {
            region: only.region.other(),
            offset: 0,
            what: "the other region is closed in favour of this one, whose header is lost",
        }),
        (SealState::Damaged, _) => Err(Refusal::Damaged {
            region: only.region,
            offset: u64::from(only.unit_bytes),
            what: "neither this seal nor the other region's header is readable",
        }),
    }
}

fn choose_newer(
    newer: &Header,
    newer_seal: SealState,
    older: &Header,
    older_seal: SealState,
) -> Result<Choice, Refusal> {
    if let SealState::Sealed(_) = newer_seal {
        return Err(Refusal::Damaged {
            region: older.region,
            offset: 0,
            what: "the other region is closed in favour of a newer one, an older one is here",
        });
    }
    let current = Choice { current: *newer, unsealed: None, may_fall_back: false };
    match older_seal {
        // What is left of an earlier lap says nothing about this one; its own open seal does.
        SealState::Sealed(seal)
            if newer.previous_epoch != older.epoch && seal.successor_epoch < newer.epoch =>
        {
            Ok(current)
        }
        SealState::Open | SealState::Damaged if newer.previous_epoch != older.epoch => Ok(current),
        SealState::Sealed(seal)
            if seal.successor_epoch == newer.epoch
                && seal.next_sequence == newer.first_sequence =>
        {
            Ok(current)
        }
        SealState::Sealed(_) => Err(Refusal::Damaged {
            region: newer.region,
            offset: 0,
            what: "the header is not the one that the other region was closed for",
        }),
        SealState::Open => Ok(Choice { unsealed: Some(*older), may_fall_back: true, ..current }),
        // A torn seal: the newer header was durable before it was written.
        SealState::Damaged => Ok(Choice { unsealed: Some(*older), ..current }),
    }
}
