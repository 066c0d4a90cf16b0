//! Names that a cluster gives, and the names that volumes get in the catalogue.
//!
//! A cluster's name may be any text; it is the key of the object and found by that. The
//! catalogue's name is for people: the same text where that is allowed and free.
#![forbid(unsafe_code)]

use thinly_engine::catalogue::{ProvisionKey, VolumeName};
use thinly_engine::pool::PoolError;
use tonic::Status;
use uuid::Uuid;

use crate::ObjectKind;
use crate::failure::status_of;

/// The key of an object that a cluster asked for by name.
pub(crate) fn key(kind: ObjectKind, name: &str) -> Result<ProvisionKey, Status> {
    ProvisionKey::of(kind, name).map_err(|error| Status::invalid_argument(error.to_string()))
}

/// A failure while a name is tried.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Of the engine.
    Engine(PoolError),
    /// Of the request.
    Status(Status),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Engine(error) => status_of(&error),
            Failure::Status(status) => status,
        }
    }
}

/// The engine's result, where a name is tried.
pub(crate) trait OrFailure<T> {
    fn or_failure(self) -> Result<T, Failure>;
}

impl<T> OrFailure<T> for Result<T, PoolError> {
    fn or_failure(self) -> Result<T, Failure> {
        self.map_err(Failure::Engine)
    }
}

/// Makes something under `wanted`, or under a name that begins like it when that is not allowed
/// or taken by something that the cluster does not know.
pub(crate) fn with_free_name<T>(
    wanted: &str,
    make: impl Fn(&VolumeName) -> Result<T, Failure>,
) -> Result<T, Status> {
    if let Ok(name) = VolumeName::new(wanted) {
        match make(&name) {
            Err(Failure::Engine(PoolError::VolumeExists { .. })) => {}
            outcome => return outcome.map_err(Status::from),
        }
    }
    make(&unique_name(wanted)?).map_err(Status::from)
}

/// A name that nobody else has: what can be kept of `wanted`, and a random end.
pub(crate) fn unique_name(wanted: &str) -> Result<VolumeName, Status> {
    const DIGITS: usize = 12;
    let end = Uuid::new_v4().simple().to_string();
    let mut begin = String::new();
    for letter in wanted.trim().chars().map(|letter| if letter == '/' { '_' } else { letter }) {
        if begin.len() + letter.len_utf8() + 1 + DIGITS > VolumeName::BYTES_MAX {
            break;
        }
        begin.push(letter);
    }
    VolumeName::new(&format!("{begin}-{}", &end[..DIGITS]))
        .map_err(|error| Status::internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_name_that_a_cluster_may_give_becomes_one_of_ours(wanted in "\\PC{1,128}") {
            prop_assume!(wanted.len() <= 128);
            prop_assert!(key(ObjectKind::Snapshot, &wanted).is_ok());
            let name = unique_name(&wanted).unwrap();
            prop_assert!(name.as_str().len() <= VolumeName::BYTES_MAX);
            prop_assert_ne!(unique_name(&wanted).unwrap(), name);
        }
    }

    #[test]
    fn a_free_and_allowed_name_is_kept_and_a_taken_one_gets_an_end() {
        let kept = with_free_name("pvc-1", |name| Ok(name.to_string())).unwrap();
        assert_eq!(kept, "pvc-1");
        let other = with_free_name("../x", |name| Ok(name.to_string())).unwrap();
        assert!(other.starts_with(".._x-"), "{other}");
        let ended = with_free_name("pvc-1", |name| {
            if name.as_str() == "pvc-1" {
                let pool = thinly_engine::catalogue::PoolName::new("p").unwrap();
                return Err(Failure::Engine(PoolError::VolumeExists { pool, name: name.clone() }));
            }
            Ok(name.to_string())
        });
        assert!(ended.unwrap().starts_with("pvc-1-"));
    }
}
