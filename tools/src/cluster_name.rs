//! Names that Kubernetes takes for its objects.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use thinly_engine::catalogue::VolumeName;
use thiserror::Error;

/// The longest name, in bytes: what a CSI name may be. Kubernetes itself allows 253.
const BYTES_MAX: usize = 128;

/// A name that Kubernetes would refuse.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} is no name that Kubernetes takes: 1 to {BYTES_MAX} lower-case letters, digits, '-' and \
     '.', and every part between dots begins and ends with a letter or a digit"
)]
pub struct ClusterNameError(pub String);

/// The name of an object in a cluster (a DNS subdomain, RFC 1123).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterName(String);

impl ClusterName {
    /// The name that an object gets when none is chosen: its own, as far as Kubernetes takes it.
    pub fn of(name: &VolumeName) -> Result<Self, ClusterNameError> {
        let spelled = name.as_str().chars().map(|letter| match letter {
            '_' | ' ' => '-',
            other => other.to_ascii_lowercase(),
        });
        format!("thinly-{}", spelled.collect::<String>()).parse()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClusterName {
    type Err = ClusterNameError;

    fn from_str(text: &str) -> Result<Self, ClusterNameError> {
        let is_end = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_part = |part: &str| {
            let bytes = part.as_bytes();
            bytes.iter().all(|byte| is_end(byte) || *byte == b'-')
                && bytes.first().is_some_and(is_end)
                && bytes.last().is_some_and(is_end)
        };
        if text.len() > BYTES_MAX || !text.split('.').all(is_part) {
            return Err(ClusterNameError(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `NAMESPACE/NAME`: a claim, or a snapshot's counterpart of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimName {
    /// The namespace.
    pub namespace: ClusterName,
    /// The name in it.
    pub name: ClusterName,
}

impl ClaimName {
    /// A name in the namespace that every cluster has.
    pub fn in_default(name: ClusterName) -> Self {
        Self { namespace: ClusterName("default".to_owned()), name }
    }
}

/// An argument that is no `NAMESPACE/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClaimNameError {
    /// There is no namespace before the name.
    #[error("{0:?} names no namespace; write it as NAMESPACE/NAME")]
    NoNamespace(String),
    /// One of its names is refused.
    #[error(transparent)]
    Name(#[from] ClusterNameError),
}

impl FromStr for ClaimName {
    type Err = ClaimNameError;

    fn from_str(text: &str) -> Result<Self, ClaimNameError> {
        let no_namespace = || ClaimNameError::NoNamespace(text.to_owned());
        let (namespace, name) = text.split_once('/').ok_or_else(no_namespace)?;
        Ok(Self { namespace: namespace.parse()?, name: name.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_that_of_kubernetes() {
        for good in ["a", "0", "pvc-0815", "a.b-c.9", &"x".repeat(128)] {
            assert_eq!(good.parse::<ClusterName>().unwrap().as_str(), good);
        }
        let long = "x".repeat(129);
        for bad in ["", "A", "a_b", "-a", "a-", "a..b", ".a", "a.", "a.-b", "a b", "\u{e4}", &long]
        {
            let refused = bad.parse::<ClusterName>().unwrap_err().to_string();
            assert!(refused.contains("lower-case") && refused.contains("128"), "{refused}");
        }
    }

    #[test]
    fn a_volumes_own_name_is_kept_as_far_as_it_can_be() {
        let of = |name: &str| ClusterName::of(&VolumeName::new(name).unwrap());
        for (name, wanted) in
            [("web", "thinly-web"), ("Web 1_a", "thinly-web-1-a"), ("a.b", "thinly-a.b")]
        {
            assert_eq!(of(name).unwrap().as_str(), wanted);
        }
        for bad in ["web-", "\u{e4}", "a+b", "a..b", &"x".repeat(128)] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_claim_is_in_a_namespace() {
        let claim: ClaimName = "shop/data".parse().unwrap();
        assert_eq!((claim.namespace.as_str(), claim.name.as_str()), ("shop", "data"));
        for bad in ["data", "/data", "shop/", "shop/a/b", "Shop/data"] {
            assert!(bad.parse::<ClaimName>().is_err(), "{bad}");
        }
    }
}
