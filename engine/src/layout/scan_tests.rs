//! What is looked at, and how a pool is found among several.
#![forbid(unsafe_code)]

use super::*;

#[test]
fn drivers_are_told_by_their_whole_name() {
    assert!(is_of_driver("ram0", "ram"));
    assert!(is_of_driver("zram12", "zram"));
    assert!(!is_of_driver("zram0", "ram"));
    assert!(!is_of_driver("ram", "ram"));
    assert!(!is_of_driver("srx", "sr"));
    assert!(!is_of_driver("fd0p1", "fd"));
}

#[test]
fn a_scan_of_this_machine_names_every_device_that_it_cannot_read() {
    let scan = scan_labels(&System::default()).unwrap();
    for (path, failure) in &scan.failures {
        assert!(failure.to_string().contains(path.to_str().unwrap()), "{failure}");
    }
}

#[test]
fn a_name_that_several_pools_have_is_refused_with_their_uuids() {
    let pool = |uuid: u128, name: &str| FoundPool {
        uuid: Uuid::from_u128(uuid),
        name: name.to_owned(),
        devices: Vec::new(),
        problems: Vec::new(),
    };
    let pools = vec![pool(1, "fast"), pool(2, "fast"), pool(3, "slow")];
    let scan = Scan { pools, ..Scan::default() };
    assert_eq!(scan.find("slow").unwrap().unwrap().uuid, Uuid::from_u128(3));
    assert_eq!(scan.find("none").unwrap(), None);
    let second = Uuid::from_u128(2).to_string();
    assert_eq!(scan.find(&second).unwrap().unwrap().uuid, Uuid::from_u128(2));
    let message = scan.find("fast").unwrap_err().to_string();
    assert!(message.starts_with("2 pools are named fast; name the pool by its uuid: "));
    assert!(message.contains(&second), "{message}");
}
