//! Whether one member of a group lies above another: freezing both would wait for itself.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fs;

use crate::block_device::DeviceNumber;
use crate::catalogue::VolumeName;

/// The first pair (upper, lower) of which the upper is built over the lower.
pub(super) fn first_stacked(
    members: &[(VolumeName, DeviceNumber)],
) -> Option<(VolumeName, VolumeName)> {
    if members.len() < 2 {
        // The common case: sysfs would only be read to find nothing.
        return None;
    }
    for (lower, number) in members {
        let above = all_above(*number, &holders);
        let upper = members.iter().find(|(_, other)| other != number && above.contains(other));
        if let Some((upper, _)) = upper {
            return Some((upper.clone(), lower.clone()));
        }
    }
    None
}

/// Every device above one, at any distance.
fn all_above(
    number: DeviceNumber,
    holders: &dyn Fn(DeviceNumber) -> Vec<DeviceNumber>,
) -> HashSet<DeviceNumber> {
    let mut above = HashSet::new();
    let mut next = vec![number];
    while let Some(device) = next.pop() {
        next.extend(holders(device).into_iter().filter(|holder| above.insert(*holder)));
    }
    above
}

fn holders(number: DeviceNumber) -> Vec<DeviceNumber> {
    let Ok(entries) = fs::read_dir(number.sysfs().join("holders")) else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let text = fs::read_to_string(entry.ok()?.path().join("dev")).ok()?;
            let (major, minor) = text.trim().split_once(':')?;
            Some(DeviceNumber { major: major.parse().ok()?, minor: minor.parse().ok()? })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_above_are_found_at_any_distance_and_cycles_end() {
        let device = |minor| DeviceNumber { major: 253, minor };
        let chain = |number: DeviceNumber| match number.minor {
            1 => vec![device(2)],
            2 => vec![device(3), device(1)],
            _ => Vec::new(),
        };
        let above = all_above(device(1), &chain);
        assert!(above.contains(&device(3)) && above.contains(&device(2)));
        assert!(all_above(device(3), &chain).is_empty());
    }
}
