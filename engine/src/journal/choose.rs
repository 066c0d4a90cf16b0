//! Which region is the current one: a pure function of the two headers and the two seals.
#![forbid(unsafe_code)]

use super::format::{Header, HeaderState, Region, SealState};

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
    Damaged { region: Region, in_seal: bool, what: &'static str },
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
            in_seal: false,
            what: "both regions claim the same epoch",
        }),
    }
}

fn header_lost(region: Region) -> Refusal {
    Refusal::Damaged { region, in_seal: false, what: "the header is unreadable" }
}

fn choose_only(only: &Header, seal: SealState, other: HeaderState) -> Result<Choice, Refusal> {
    let choice = Choice { current: *only, unsealed: None, may_fall_back: false };
    match (seal, other) {
        // The other header was never whole: its region was being prepared, or its write was torn.
        // A seal is only written after it, so bytes in the seal unit beside a blank header are rot.
        (SealState::Open, _) | (SealState::Damaged, HeaderState::Blank) => Ok(choice),
        (SealState::Sealed(_), _) => Err(Refusal::Damaged {
            region: only.region.other(),
            in_seal: false,
            what: "the other region is closed in favour of this one, whose header is lost",
        }),
        (SealState::Damaged, _) => Err(Refusal::Damaged {
            region: only.region,
            in_seal: true,
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
            in_seal: false,
            what: "the other region is closed in favour of a newer one, an older one is here",
        });
    }
    match older_seal {
        SealState::Sealed(seal)
            if seal.successor_epoch == newer.epoch
                && seal.next_sequence == newer.first_sequence =>
        {
            Ok(Choice { current: *newer, unsealed: None, may_fall_back: false })
        }
        SealState::Sealed(_) => Err(Refusal::Damaged {
            region: newer.region,
            in_seal: false,
            what: "the header is not the one that the other region was closed for",
        }),
        SealState::Open => {
            Ok(Choice { current: *newer, unsealed: Some(*older), may_fall_back: true })
        }
        // A torn seal: the newer header was durable before it was written.
        SealState::Damaged => {
            Ok(Choice { current: *newer, unsealed: Some(*older), may_fall_back: false })
        }
    }
}
