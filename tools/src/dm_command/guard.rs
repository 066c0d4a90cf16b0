//! Which messages may be sent by hand.

use anyhow::{Result, bail, ensure};
use thinly_engine::dm::{DeviceInfo, PoolMessage};

/// What the uuids of Thinly's own devices start with.
pub(super) const OWN_UUID_PREFIX: &str = "THINLY-";

/// Refuses what would change a pool of Thinly behind its catalogue.
///
/// Only what is known to be harmless passes: the kernel unquotes a message before it reads it, so
/// a list of forbidden words could be got around.
pub(super) fn check(info: &DeviceInfo, message: &str, yes: bool) -> Result<()> {
    let own = info.uuid.as_ref().is_some_and(|uuid| uuid.as_str().starts_with(OWN_UUID_PREFIX));
    if own && !is_harmless(message) {
        bail!(
            "{} belongs to Thinly, and {message:?} would bypass its catalogue; use `thinly volume` \
             and `thinly snapshot` instead",
            info.name
        );
    }
    ensure!(yes, "nothing was sent to {}: add --yes to send {message:?}", info.name);
    Ok(())
}

fn is_harmless(message: &str) -> bool {
    let metadata_snapshot = matches!(
        message.parse(),
        Ok(PoolMessage::ReserveMetadataSnap | PoolMessage::ReleaseMetadataSnap)
    );
    let statistics = message.starts_with("@stats_") && !message.contains(['\\', '\n']);
    metadata_snapshot || statistics
}

#[cfg(test)]
mod tests {
    use super::*;
    use thinly_engine::block_device::DeviceNumber;
    use thinly_engine::dm::{DmName, DmUuid};

    fn device(uuid: Option<&str>) -> DeviceInfo {
        DeviceInfo {
            name: DmName::new("pool").unwrap(),
            uuid: uuid.map(|uuid| DmUuid::new(uuid).unwrap()),
            number: DeviceNumber { major: 253, minor: 0 },
            open_count: 0,
            event_nr: 0,
            target_count: 1,
            suspended: false,
            internally_suspended: false,
            live_table: true,
            inactive_table: false,
            read_only: false,
            deferred_remove: false,
        }
    }

    #[test]
    fn our_pools_take_no_changes_by_hand() {
        let own = device(Some("THINLY-7f-pool"));
        for message in [
            "create_thin 1",
            "CREATE_THIN 1",
            "cre\\ate_thin 1",
            " create_snap 2 1",
            "delete 1",
            "set_transaction_id 0 1",
            "something_new",
            "reserve_metadata_snap now",
        ] {
            let error = check(&own, message, true).unwrap_err().to_string();
            assert!(error.starts_with("pool belongs to Thinly"), "{error}");
        }
        for message in ["reserve_metadata_snap", "release_metadata_snap", "@stats_list"] {
            check(&own, message, true).unwrap();
        }
    }

    #[test]
    fn others_take_them_when_told_so() {
        for uuid in [None, Some("LVM-abc-tpool")] {
            check(&device(uuid), "create_thin 1", true).unwrap();
            let error = check(&device(uuid), "create_thin 1", false).unwrap_err().to_string();
            assert_eq!(error, "nothing was sent to pool: add --yes to send \"create_thin 1\"");
        }
    }
}
