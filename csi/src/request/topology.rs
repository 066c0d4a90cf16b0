//! Where a volume may be.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use thinly_csi_wire::TopologyRequirement;

/// Whether a node with these segments is among the places asked for; no requirement is met by any.
pub(crate) fn is_satisfied_by(
    requirement: Option<&TopologyRequirement>,
    segments: &BTreeMap<String, String>,
) -> bool {
    let Some(requirement) = requirement else { return true };
    let places = match requirement.requisite.as_slice() {
        [] => &requirement.preferred,
        _ => &requirement.requisite,
    };
    places.is_empty()
        || places
            .iter()
            .any(|place| place.segments.iter().all(|(key, value)| segments.get(key) == Some(value)))
}

#[cfg(test)]
mod tests {
    use thinly_csi_wire::Topology;

    use super::*;

    fn place(node: &str) -> Topology {
        Topology { segments: BTreeMap::from([("node".to_owned(), node.to_owned())]) }
    }

    #[test]
    fn one_of_the_requisite_places_must_be_ours() {
        let ours = place("n1").segments;
        let requirement = |requisite: &[&str], preferred: &[&str]| TopologyRequirement {
            requisite: requisite.iter().map(|node| place(node)).collect(),
            preferred: preferred.iter().map(|node| place(node)).collect(),
        };
        assert!(is_satisfied_by(None, &ours));
        assert!(is_satisfied_by(Some(&requirement(&[], &[])), &ours));
        assert!(is_satisfied_by(Some(&requirement(&["n2", "n1"], &["n2"])), &ours));
        assert!(!is_satisfied_by(Some(&requirement(&["n2"], &[])), &ours));
        assert!(!is_satisfied_by(Some(&requirement(&[], &["n2"])), &ours));
    }
}
