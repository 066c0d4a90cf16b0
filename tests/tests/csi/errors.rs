//! Bad calls of the Controller and the group service: the code of the specification's error table,
//! a reason in words, and nothing changed.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use thinly_csi_wire as wire;
use thinly_csi_wire::volume_capability::AccessType;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_csi_wire::{CapacityRange, CreateVolumeRequest, TopologyRequirement, VolumeCapability};
use thinly_tests::csi::{CsiBed, block, from_snapshot, from_volume, mount, range};
use thinly_tests::gib;
use tonic::Code;

use crate::support::{Judge, elsewhere, mib};

fn map(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

const fn sized(required_bytes: i64, limit_bytes: i64) -> CapacityRange {
    CapacityRange { required_bytes, limit_bytes }
}

fn place(node: &str) -> wire::Topology {
    wire::Topology { segments: map("topology.thinly.dev/node", node) }
}

/// A request that would be granted.
fn good(name: &str) -> CreateVolumeRequest {
    CreateVolumeRequest {
        name: name.to_owned(),
        capacity_range: range(mib(16)),
        volume_capabilities: vec![mount("ext4", Mode::SingleNodeWriter)],
        ..Default::default()
    }
}

fn bad_capabilities() -> Vec<(&'static str, Vec<VolumeCapability>)> {
    let writer = Mode::SingleNodeWriter;
    let mut grouped = mount("ext4", writer);
    if let Some(AccessType::Mount(mount)) = &mut grouped.access_type {
        mount.volume_mount_group.push('0');
    }
    vec![
        ("no capability", vec![]),
        ("an empty capability", vec![VolumeCapability::default()]),
        ("no access type", vec![VolumeCapability { access_type: None, ..block(writer) }]),
        ("no access mode", vec![VolumeCapability { access_mode: None, ..block(writer) }]),
        ("the unknown mode", vec![block(Mode::Unknown)]),
        ("several writing nodes", vec![mount("ext4", Mode::MultiNodeMultiWriter)]),
        ("one writing node of several", vec![block(Mode::MultiNodeSingleWriter)]),
        ("block and mount", vec![block(writer), mount("ext4", writer)]),
        ("two filesystems", vec![mount("xfs", writer), mount("ext4", writer)]),
        ("a filesystem nobody makes", vec![mount("zfs", writer)]),
        ("a group for the mount", vec![grouped]),
    ]
}

#[test]
fn bad_creations_are_refused() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let mut judge = Judge::new(&bed, client)?;
    let mut try_it =
        |what: &str, wanted, request| judge.hear(what, wanted, client.create_volume(request));
    for name in ["", "a\nb", "a\u{7f}b", "a\u{85}b", &"x".repeat(129), &"\u{e4}".repeat(65)] {
        try_it(&format!("the name {name:?}"), Code::InvalidArgument, good(name))?;
    }
    for (what, volume_capabilities) in bad_capabilities() {
        let request = CreateVolumeRequest { volume_capabilities, ..good("new") };
        try_it(what, Code::InvalidArgument, request)?;
    }
    for (required, limit, wanted) in [
        (-1, 0, Code::InvalidArgument),
        (0, -1, Code::InvalidArgument),
        (i64::MIN, i64::MIN, Code::InvalidArgument),
        (mib(16), mib(8), Code::InvalidArgument),
        (i64::MAX, 0, Code::OutOfRange),
        (i64::MAX, i64::MAX, Code::OutOfRange),
        (mib(4) + 1, mib(4) + 1, Code::OutOfRange),
        (0, 1, Code::OutOfRange),
    ] {
        let request =
            CreateVolumeRequest { capacity_range: Some(sized(required, limit)), ..good("new") };
        try_it(&format!("the size {required}..{limit}"), wanted, request)?;
    }
    let long = "v".repeat(4097);
    for (what, parameters, mutable_parameters) in [
        ("an unknown parameter", map("thinly.dev/device-clas", "main"), BTreeMap::new()),
        ("an unknown class", map("thinly.dev/device-class", "other"), BTreeMap::new()),
        ("large parameters", map("csi.storage.k8s.io/x", &long), BTreeMap::new()),
        ("an unknown mutable parameter", BTreeMap::new(), map("iops", "7")),
    ] {
        let request = CreateVolumeRequest { parameters, mutable_parameters, ..good("new") };
        try_it(what, Code::InvalidArgument, request)?;
    }
    let request = CreateVolumeRequest { secrets: map("k", &long), ..good("new") };
    try_it("large secrets", Code::InvalidArgument, request)?;
    judge.verdict()
}

#[test]
fn bad_sources_and_contradictions_are_refused() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let taken = client.create_volume(good("taken"))?;
    let snapshot = client.create_snapshot(&taken.volume_id, "cut")?;
    let (vol, snap) = (&taken.volume_id, &snapshot.snapshot_id);
    let mut judge = Judge::new(&bed, client)?;
    let mut try_it =
        |what: &str, wanted, request| judge.hear(what, wanted, client.create_volume(request));
    for (what, source, wanted) in [
        ("no kind of source", wire::VolumeContentSource::default(), Code::InvalidArgument),
        ("an empty snapshot", from_snapshot(""), Code::InvalidArgument),
        ("an empty volume", from_volume(""), Code::InvalidArgument),
        ("a garbage snapshot", from_snapshot("../../etc"), Code::NotFound),
        ("a garbage volume", from_volume("x"), Code::NotFound),
        ("a volume as a snapshot", from_snapshot(vol), Code::NotFound),
        ("a snapshot as a volume", from_volume(snap), Code::NotFound),
        ("a snapshot elsewhere", from_snapshot(&elsewhere("snap")), Code::ResourceExhausted),
        ("a volume elsewhere", from_volume(&elsewhere("vol")), Code::ResourceExhausted),
    ] {
        let volume_content_source = Some(source);
        try_it(what, wanted, CreateVolumeRequest { volume_content_source, ..good("new") })?;
    }
    let request = CreateVolumeRequest {
        volume_content_source: Some(from_snapshot(snap)),
        capacity_range: Some(sized(0, mib(8))),
        ..good("new")
    };
    try_it("a limit below the source", Code::OutOfRange, request)?;
    let requirement = TopologyRequirement { requisite: vec![place("n2")], preferred: vec![] };
    let request =
        CreateVolumeRequest { accessibility_requirements: Some(requirement), ..good("new") };
    try_it("another node", Code::ResourceExhausted, request)?;
    for (what, request) in [
        ("another size", CreateVolumeRequest { capacity_range: range(mib(32)), ..good("taken") }),
        (
            "a smaller limit",
            CreateVolumeRequest { capacity_range: Some(sized(0, mib(8))), ..good("taken") },
        ),
        (
            "another use",
            CreateVolumeRequest {
                volume_capabilities: vec![block(Mode::SingleNodeWriter)],
                ..good("taken")
            },
        ),
        (
            "a source",
            CreateVolumeRequest {
                volume_content_source: Some(from_snapshot(snap)),
                ..good("taken")
            },
        ),
        (
            "another parameter",
            CreateVolumeRequest {
                parameters: map("thinly.dev/device-class", "main"),
                ..good("taken")
            },
        ),
    ] {
        try_it(&format!("the same name with {what}"), Code::AlreadyExists, request)?;
    }
    judge.verdict()
}

#[test]
fn bad_calls_on_volumes_are_refused() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let volume = client.create_volume(good("v"))?;
    let id = volume.volume_id.as_str();
    let snapshot = client.create_snapshot(id, "cut")?;
    let staging = bed.staging("a")?;
    client.stage(id, &staging, &mount("ext4", Mode::SingleNodeWriter))?;
    let mut judge = Judge::new(&bed, client)?;
    judge.hear("deletion of nothing", Code::InvalidArgument, client.delete_volume(""))?;
    for absent in ["x", "../../etc/passwd", &elsewhere("vol"), &snapshot.snapshot_id] {
        judge.hear(&format!("deletion of {absent}"), Code::Ok, client.delete_volume(absent))?;
        let expanded = client.expand(absent, mib(64));
        judge.hear(&format!("expansion of {absent}"), Code::NotFound, expanded)?;
    }
    judge.hear("deletion in use", Code::FailedPrecondition, client.delete_volume(id))?;
    judge.hear("expansion of nothing", Code::InvalidArgument, client.expand("", mib(64)))?;
    for (required, limit, wanted) in [
        (-1, 0, Code::InvalidArgument),
        (mib(64), mib(32), Code::InvalidArgument),
        (0, mib(8), Code::OutOfRange),
        (i64::MAX, 0, Code::OutOfRange),
        (mib(32) + 1, mib(32) + 2, Code::OutOfRange),
        (0, 0, Code::Ok),
        (1, 0, Code::Ok),
        (mib(8), mib(16), Code::Ok),
    ] {
        let request = wire::ControllerExpandVolumeRequest {
            volume_id: id.to_owned(),
            capacity_range: Some(sized(required, limit)),
            ..Default::default()
        };
        let call = async { client.controller().controller_expand_volume(request).await };
        judge.hear(&format!("expansion to {required}..{limit}"), wanted, client.answer(call))?;
    }
    let request =
        wire::ControllerExpandVolumeRequest { volume_id: id.to_owned(), ..Default::default() };
    let call = async { client.controller().controller_expand_volume(request).await };
    judge.hear("expansion without a range", Code::InvalidArgument, client.answer(call))?;
    let validate = |id: &str, volume_capabilities: Vec<VolumeCapability>| {
        let request = wire::ValidateVolumeCapabilitiesRequest {
            volume_id: id.to_owned(),
            volume_capabilities,
            ..Default::default()
        };
        client.answer(async { client.controller().validate_volume_capabilities(request).await })
    };
    let fine = || vec![mount("ext4", Mode::SingleNodeWriter)];
    judge.hear("validation of nothing", Code::InvalidArgument, validate("", fine()))?;
    judge.hear("validation of garbage", Code::NotFound, validate("x", fine()))?;
    judge.hear("validation elsewhere", Code::NotFound, validate(&elsewhere("vol"), fine()))?;
    ensure!(validate(id, fine())?.confirmed.is_some(), "a good capability is not confirmed");
    for (what, capabilities) in bad_capabilities() {
        let wanted = if capabilities.is_empty() { Code::InvalidArgument } else { Code::Ok };
        let answer = validate(id, capabilities);
        if let Ok(answer) = &answer {
            ensure!(answer.confirmed.is_none() && !answer.message.is_empty(), "{what}: {answer:?}");
        }
        judge.hear(what, wanted, answer)?;
    }
    judge.verdict()
}

#[test]
fn calls_that_are_not_offered_say_so() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let mut judge = Judge::new(&bed, client)?;
    let request = wire::ControllerPublishVolumeRequest::default();
    let call = async { client.controller().controller_publish_volume(request).await };
    judge.hear("ControllerPublishVolume", Code::Unimplemented, client.answer(call))?;
    let request = wire::ControllerUnpublishVolumeRequest::default();
    let call = async { client.controller().controller_unpublish_volume(request).await };
    judge.hear("ControllerUnpublishVolume", Code::Unimplemented, client.answer(call))?;
    judge.verdict()
}

#[test]
fn bad_limits_are_refused() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start()?;
    let client = driver.client();
    let mut judge = Judge::new(&bed, client)?;
    let nobody = "v1.00000000.vol.00112233-4455-6677-8899-aabbccddeeff";
    for (id, key, code) in [
        ("", "thinly.dev/read-bytes-per-second", Code::InvalidArgument),
        (nobody, "thinly.dev/read-bytes-per-second", Code::NotFound),
        ("garbage", "thinly.dev/read-bytes-per-second", Code::NotFound),
        (nobody, "speed", Code::InvalidArgument),
    ] {
        let request = wire::ControllerModifyVolumeRequest {
            volume_id: id.to_owned(),
            mutable_parameters: [(key.to_owned(), "1".to_owned())].into(),
            ..Default::default()
        };
        let call = async { client.controller().controller_modify_volume(request).await };
        judge.hear(&format!("ControllerModifyVolume {id} {key}"), code, client.answer(call))?;
    }
    judge.verdict()
}
