//! Facts about the devices of the machine that runs the test, and refusals.
#![forbid(unsafe_code)]

use super::*;

#[test]
fn the_facts_agree_with_the_kernel_about_every_device_here() {
    let system = System::default();
    let mut seen = 0;
    for name in system.block_names().unwrap() {
        let node = system.node(&name);
        let Ok(device) =
            crate::block_device::BlockDevice::open(&node, crate::block_device::Access::ReadOnly)
        else {
            continue;
        };
        let facts = DeviceFacts::read(&system, &node).unwrap();
        assert_eq!(Some(facts.number), device.number(), "{name}");
        assert_eq!(facts.size, device.size(), "{name}");
        assert_eq!(facts.name, name);
        assert!(facts.logical_block_bytes.is_power_of_two(), "{name}");
        assert!(facts.physical_block_bytes >= facts.logical_block_bytes, "{name}");
        seen += 1;
    }
    assert!(seen > 0, "at least one block device can be opened; run the tests as root");
}

#[test]
fn what_is_no_device_is_refused_by_name() {
    let system = System::default();
    let missing = DeviceFacts::read(&system, Path::new("/dev/no-such-disk")).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "cannot open /dev/no-such-disk: No such file or directory (os error 2); check that the \
         device exists and that you are root"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    let refused = DeviceFacts::read(&system, file.path()).unwrap_err().to_string();
    assert!(refused.contains("is not a block device; name a disk"), "{refused}");
}
