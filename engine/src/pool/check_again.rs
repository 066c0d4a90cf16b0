//! A second look at what a check of an open pool says of volumes: the pool does not stand still meanwhile.
//!
//! The metadata snapshot that a check reads may be older than the catalogue beside it, and a writer makes a thin id before the
//! record that speaks of it. So a new volume could look lost, and a volume that is being made could look like nobody's.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::check::CatalogueFinding;
use super::error::PoolError;
use super::located::Located;
use crate::catalogue::{Catalogue, Epoch};
use crate::metadata::{BlockSource, DeviceDetails, prove_devices};
use crate::units::ThinId;

/// Keeps of the findings what is so now.
pub(super) fn look_again(
    located: &Located,
    source: &dyn BlockSource,
    findings: Vec<CatalogueFinding>,
) -> Result<Vec<CatalogueFinding>, PoolError> {
    let ids: Vec<ThinId> = findings.iter().filter_map(doubtful).collect();
    if ids.is_empty() {
        return Ok(findings);
    }
    // The devices first: what has gone from the tree by then may have gone from the catalogue later.
    let live = prove_devices(source, &ids)?.details;
    let (catalogue, _) = located.read_catalogue()?;
    Ok(findings.into_iter().filter(|finding| is_so(finding, &live, &catalogue)).collect())
}

/// The thin id of a finding that may be due to the moment alone.
const fn doubtful(finding: &CatalogueFinding) -> Option<ThinId> {
    match finding {
        CatalogueFinding::VolumeGone { thin_id, is_known: false, .. }
        | CatalogueFinding::Orphan { thin_id } => Some(*thin_id),
        _ => None,
    }
}

fn is_so(
    finding: &CatalogueFinding,
    live: &BTreeMap<ThinId, DeviceDetails>,
    catalogue: &Catalogue,
) -> bool {
    match finding {
        CatalogueFinding::VolumeGone { thin_id, name, is_known: false } => {
            let is_named = catalogue.owner(*thin_id).is_some_and(|owner| owner.name == *name);
            is_named && !live.contains_key(thin_id)
        }
        CatalogueFinding::Orphan { thin_id } => live.get(thin_id).is_some_and(|details| {
            let is_spoken_for =
                catalogue.owner(*thin_id).is_some() || catalogue.tombstones().contains_key(thin_id);
            !is_spoken_for && !is_unfinished(details, catalogue.epoch())
        }),
        _ => true,
    }
}

/// Whether the present writer made it and has not recorded it yet; if it died, recovery frees it.
fn is_unfinished(details: &DeviceDetails, epoch: Epoch) -> bool {
    matches!(epoch, Epoch::Opened { to, .. } if details.transaction_id == to)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::catalogue::fixture::empty_catalogue;
    use crate::catalogue::{Record, Timestamp, VolumeName};
    use crate::units::{Bytes, DataBlocks, TransactionId};

    const TO: TransactionId = TransactionId::new(8);

    fn id(number: u32) -> ThinId {
        ThinId::new(number).unwrap()
    }

    fn web() -> VolumeName {
        VolumeName::new("web").unwrap()
    }

    /// A writer is at work, and `web` has thin id 1.
    fn catalogue() -> Catalogue {
        let mut catalogue = empty_catalogue(Uuid::from_u128(1));
        let uuid = Uuid::from_u128(2);
        let (size, created_at) = (Bytes::new(1 << 20), Timestamp(1));
        for record in [
            Record::Opened { epoch: 1, from: TransactionId::new(7), to: TO },
            Record::VolumeCreated { uuid, name: web(), size, created_at },
            Record::VolumeReady { uuid, thin_id: id(1), touched: true },
        ] {
            catalogue.apply(record).unwrap();
        }
        catalogue
    }

    /// What is in the tree now: ids, and the transaction ids that they were made with.
    fn live(devices: &[(u32, TransactionId)]) -> BTreeMap<ThinId, DeviceDetails> {
        let details = |transaction_id| DeviceDetails {
            mapped_blocks: DataBlocks::new(0),
            transaction_id,
            creation_time: 0,
            snapshotted_time: 0,
        };
        devices.iter().map(|(number, made)| (id(*number), details(*made))).collect()
    }

    #[test]
    fn a_volume_is_gone_only_if_it_is_still_named_and_not_there() {
        let gone = |name: &str| CatalogueFinding::VolumeGone {
            name: VolumeName::new(name).unwrap(),
            thin_id: id(1),
            is_known: false,
        };
        assert!(is_so(&gone("web"), &live(&[]), &catalogue()));
        assert!(!is_so(&gone("web"), &live(&[(1, TO)]), &catalogue()), "made meanwhile");
        assert!(!is_so(&gone("db"), &live(&[]), &catalogue()), "deleted meanwhile");
    }

    #[test]
    fn an_orphan_is_there_and_nobody_is_making_it() {
        let orphan = |number| CatalogueFinding::Orphan { thin_id: id(number) };
        let old = TransactionId::new(3);
        assert!(is_so(&orphan(5), &live(&[(5, old)]), &catalogue()));
        assert!(!is_so(&orphan(5), &live(&[]), &catalogue()), "freed meanwhile");
        assert!(!is_so(&orphan(5), &live(&[(5, TO)]), &catalogue()), "being made");
        assert!(!is_so(&orphan(1), &live(&[(1, old)]), &catalogue()), "recorded meanwhile");
    }
}
