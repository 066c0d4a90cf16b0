//! How our devices are called in the kernel. Names that people give appear in none of them.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use uuid::Uuid;

use crate::catalogue::is_path_safe;
use crate::dm::{DmName, DmUuid, NameError};
use crate::units::ThinId;

/// What every dm uuid of ours begins with.
pub const UUID_PREFIX: &str = "THINLY-";

/// Where the links to active volumes are.
pub const LINK_DIRECTORY: &str = "/dev/thinly";

/// What the name and the uuid of a read-only view end with.
const VIEW_SUFFIX: &str = "-view";

/// The dm names and uuids of one pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceNames {
    pool: Uuid,
    /// The linear over the journal's regions; its exclusive open is the writer's claim.
    pub journal: DmName,
    /// The linear over the metadata's extents.
    pub metadata: DmName,
    /// The linear over the spare metadata's extents, only while a repair writes it.
    pub spare: DmName,
    /// The linear over the data's extents.
    pub data: DmName,
    /// The thin-pool.
    pub pool_device: DmName,
}

impl DeviceNames {
    /// The names for a pool.
    pub fn new(pool: Uuid) -> Result<Self, NameError> {
        let name = |role: &str| DmName::new(format!("thinly-{}-{role}", short(pool)));
        Ok(Self {
            pool,
            journal: name("journal")?,
            metadata: name("meta")?,
            spare: name("spare")?,
            data: name("data")?,
            pool_device: name("pool")?,
        })
    }

    /// The name of the device of a thin id. One name an id: the kernel lets nobody activate what
    /// somebody else holds.
    pub fn thin(&self, id: ThinId) -> Result<DmName, NameError> {
        DmName::new(format!("thinly-{}-{id}", short(self.pool)))
    }

    /// The thin id in a name that [`DeviceNames::thin`] made.
    pub fn thin_id_of(&self, name: &DmName) -> Option<ThinId> {
        let prefix = format!("thinly-{}-", short(self.pool));
        let number = name.as_str().strip_prefix(&prefix)?.parse().ok()?;
        ThinId::new(number).ok()
    }

    /// The name of the read-only view of a thin id's device.
    pub fn view(&self, id: ThinId) -> Result<DmName, NameError> {
        DmName::new(format!("{}{VIEW_SUFFIX}", self.thin(id)?))
    }

    /// The thin id in a name that [`DeviceNames::view`] made.
    pub fn view_id_of(&self, name: &DmName) -> Option<ThinId> {
        let thin = name.as_str().strip_suffix(VIEW_SUFFIX)?;
        self.thin_id_of(&DmName::new(thin).ok()?)
    }

    /// The uuid of the read-only view of a volume's device.
    pub fn view_uuid(&self, volume: Uuid) -> Result<DmUuid, NameError> {
        DmUuid::new(format!("{}{VIEW_SUFFIX}", self.volume_uuid(volume)?))
    }

    /// What the dm names of this pool begin with.
    pub fn name_prefix(&self) -> String {
        format!("thinly-{}-", short(self.pool))
    }

    /// The uuid of one of the pool's own devices: `journal`, `meta`, `spare`, `data` or `pool`.
    pub fn role_uuid(&self, role: &str) -> Result<DmUuid, NameError> {
        DmUuid::new(format!("{UUID_PREFIX}{}-{role}", self.pool))
    }

    /// The uuid of a volume's device.
    pub fn volume_uuid(&self, volume: Uuid) -> Result<DmUuid, NameError> {
        DmUuid::new(format!("{UUID_PREFIX}{}-{volume}", self.pool))
    }

    /// The uuid under which the reaper holds a thin id.
    pub fn reaper_uuid(&self, id: ThinId) -> Result<DmUuid, NameError> {
        DmUuid::new(format!("{UUID_PREFIX}{}-reaper-{id}", self.pool))
    }

    /// What the dm uuids of this pool begin with.
    pub fn uuid_prefix(&self) -> String {
        format!("{UUID_PREFIX}{}-", self.pool)
    }
}

fn short(pool: Uuid) -> String {
    pool.simple().to_string().chars().take(8).collect()
}

/// The link of an active volume: by name where the name is safe in a path, by uuid otherwise.
pub fn link_path(pool: &str, name: &str, volume: Uuid) -> PathBuf {
    let file = if is_path_safe(name) { name.to_owned() } else { volume.to_string() };
    [LINK_DIRECTORY, pool, &file].iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thin_names_round_trip_and_roles_are_no_ids() {
        let names = DeviceNames::new(Uuid::from_u128(0x1234 << 96)).unwrap();
        let id = ThinId::new(77).unwrap();
        assert_eq!(names.thin_id_of(&names.thin(id).unwrap()), Some(id));
        assert_eq!(names.thin_id_of(&names.journal), None);
        let view = names.view(id).unwrap();
        assert_eq!((names.thin_id_of(&view), names.view_id_of(&view)), (None, Some(id)));
        assert_eq!(names.view_id_of(&names.thin(id).unwrap()), None);
        assert!(names.view_uuid(Uuid::from_u128(5)).is_ok());
        assert!(names.volume_uuid(Uuid::from_u128(5)).is_ok());
    }

    #[test]
    fn odd_names_are_linked_by_uuid() {
        let uuid = Uuid::from_u128(5);
        assert_eq!(link_path("p0", "web-1", uuid), PathBuf::from("/dev/thinly/p0/web-1"));
        assert!(link_path("p0", "a b", uuid).ends_with(uuid.to_string()));
        assert!(link_path("p0", "..", uuid).ends_with(uuid.to_string()));
    }
}
