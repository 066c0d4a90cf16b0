//! I/O limits: the mutable parameters of a volume.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tonic::Status;

use super::text::check_map;

/// The keys, and what the kernel calls them in `io.max` (Documentation/admin-guide/cgroup-v2.rst).
const KEYS: [(&str, &str); 4] = [
    ("thinly.dev/read-bytes-per-second", "rbps"),
    ("thinly.dev/write-bytes-per-second", "wbps"),
    ("thinly.dev/read-operations-per-second", "riops"),
    ("thinly.dev/write-operations-per-second", "wiops"),
];

/// What stands for "no limit".
pub(crate) const NO_LIMIT: &str = "max";

/// Refuses mutable parameters that are not known or no limits. All of them are looked at before any
/// takes effect.
pub(crate) fn check_mutable(map: &BTreeMap<String, String>) -> Result<(), Status> {
    check_map("mutable_parameters", map)?;
    for (key, value) in map {
        if !KEYS.iter().any(|(known, _)| known == key) {
            let known: Vec<&str> = KEYS.iter().map(|(known, _)| *known).collect();
            return Err(Status::invalid_argument(format!(
                "mutable parameter {key:?} is not known; there are {}",
                known.join(", ")
            )));
        }
        if value != NO_LIMIT && !value.parse::<u64>().is_ok_and(|limit| limit > 0) {
            return Err(Status::invalid_argument(format!(
                "mutable parameter {key} is {value:?}; give a whole number above zero, or {NO_LIMIT:?}"
            )));
        }
    }
    Ok(())
}

/// What to write into a cgroup's `io.max` behind the device's number; `None` when nothing was ever
/// asked for.
pub(crate) fn io_max(mutable: &BTreeMap<String, String>) -> Option<String> {
    let mut text = String::new();
    for (key, word) in KEYS {
        if let Some(value) = mutable.get(key) {
            let _ = write!(text, " {word}={value}");
        }
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn limits_become_the_kernels_words() {
        let limits = map(&[
            ("thinly.dev/write-operations-per-second", "max"),
            ("thinly.dev/read-bytes-per-second", "1048576"),
        ]);
        check_mutable(&limits).unwrap();
        assert_eq!(io_max(&limits).unwrap(), " rbps=1048576 wiops=max");
        assert_eq!(io_max(&map(&[])), None);
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for (key, value) in [
            ("thinly.dev/read-bytes-per-second", "0"),
            ("thinly.dev/read-bytes-per-second", "-1"),
            ("thinly.dev/read-bytes-per-second", "1M"),
            ("thinly.dev/read-bytes-per-second", "1 wbps=1"),
            ("thinly.dev/iops", "5"),
        ] {
            let refused = check_mutable(&map(&[(key, value)])).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{key}={value}");
        }
    }
}
