//! StorageClass, VolumeAttributesClass and snapshot class parameters.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use tonic::Status;

use super::text::check_map;

/// Keys that the sidecars add (names of the claim, the volume, the snapshot).
const SIDECAR_PREFIX: &str = "csi.storage.k8s.io/";
/// What a volume is made with, and cannot be changed later.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Parameters {
    /// The device class, when one is named.
    pub(crate) device_class: Option<String>,
}

impl Parameters {
    /// Which device class a volume comes from.
    pub(crate) const DEVICE_CLASS: &str = "thinly.dev/device-class";

    /// Reads parameters; what is not known is refused, because a spelling mistake would otherwise
    /// give a volume that is not what was asked for.
    pub(crate) fn read(map: &BTreeMap<String, String>) -> Result<Self, Status> {
        check_map("parameters", map)?;
        let mut parameters = Self::default();
        for (key, value) in map {
            match key.as_str() {
                Self::DEVICE_CLASS => parameters.device_class = Some(value.clone()),
                key if key.starts_with(SIDECAR_PREFIX) => {}
                key => {
                    return Err(Status::invalid_argument(format!(
                        "parameter {key:?} is not known; there is {}",
                        Self::DEVICE_CLASS
                    )));
                }
            }
        }
        Ok(parameters)
    }
}

/// Snapshots know no parameters but those of the sidecars.
pub(crate) fn check_snapshot_parameters(map: &BTreeMap<String, String>) -> Result<(), Status> {
    check_map("parameters", map)?;
    match map.keys().find(|key| !key.starts_with(SIDECAR_PREFIX)) {
        Some(key) => Err(Status::invalid_argument(format!(
            "snapshot parameter {key:?} is not known; there is none"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn known_keys_are_read_and_others_are_refused() {
        let read = Parameters::read(&map(&[
            (Parameters::DEVICE_CLASS, "fast"),
            ("csi.storage.k8s.io/pvc/name", "data"),
        ]));
        assert_eq!(read.unwrap().device_class.as_deref(), Some("fast"));
        assert_eq!(Parameters::read(&map(&[])).unwrap(), Parameters::default());
        let refused = Parameters::read(&map(&[("thinly.dev/device-clas", "x")])).unwrap_err();
        assert!(refused.message().contains(Parameters::DEVICE_CLASS), "{refused}");
    }
}
