//! What the driver announces, whether it answers just that, and what it tells of what it made.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use thinly_csi_wire as wire;
use thinly_csi_wire::controller_service_capability::Type as ControllerType;
use thinly_csi_wire::controller_service_capability::rpc::Type as ControllerRpc;
use thinly_csi_wire::group_controller_service_capability::Type as GroupType;
use thinly_csi_wire::group_controller_service_capability::rpc::Type as GroupRpc;
use thinly_csi_wire::node_service_capability::Type as NodeType;
use thinly_csi_wire::node_service_capability::rpc::Type as NodeRpc;
use thinly_csi_wire::plugin_capability::Type as PluginType;
use thinly_csi_wire::plugin_capability::service::Type as Service;
use thinly_csi_wire::plugin_capability::volume_expansion::Type as Expansion;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_tests::csi::{Client, CsiBed, block, code, from_snapshot, from_volume, mount};
use thinly_tests::gib;
use tonic::Code;

use crate::support::mib;

/// Every call of the specification, as `Service/Call`, and its code for a request that holds
/// nothing.
pub(crate) fn codes_of_nothing(client: &Client) -> BTreeMap<String, Code> {
    let mut service = "";
    let mut codes = BTreeMap::new();
    for line in include_str!("../../../csi/wire/proto/csi.proto").lines() {
        let mut words = line.split([' ', '(']).filter(|word| !word.is_empty());
        match (words.next(), words.next()) {
            (Some("service"), Some(name)) => service = name,
            (Some("rpc"), Some(name)) => {
                let answer = client.call_with_nothing(&format!("/csi.v1.{service}/{name}"));
                codes.insert(format!("{service}/{name}"), code(&answer));
            }
            _ => {}
        }
    }
    codes
}

/// The calls that have this code.
fn with_code(codes: &BTreeMap<String, Code>, wanted: Code) -> BTreeSet<String> {
    let found = codes.iter().filter(|(_, code)| **code == wanted);
    found.map(|(call, _)| call.clone()).collect()
}

/// Every capability of the Controller, and the calls that it announces.
const CONTROLLER: [(ControllerRpc, &[&str]); 15] = [
    (ControllerRpc::CreateDeleteVolume, &["CreateVolume", "DeleteVolume"]),
    (
        ControllerRpc::PublishUnpublishVolume,
        &["ControllerPublishVolume", "ControllerUnpublishVolume"],
    ),
    (ControllerRpc::ListVolumes, &["ListVolumes"]),
    (ControllerRpc::GetCapacity, &["GetCapacity"]),
    (ControllerRpc::CreateDeleteSnapshot, &["CreateSnapshot", "DeleteSnapshot"]),
    (ControllerRpc::ListSnapshots, &["ListSnapshots"]),
    (ControllerRpc::CloneVolume, &[]),
    (ControllerRpc::PublishReadonly, &[]),
    (ControllerRpc::ExpandVolume, &["ControllerExpandVolume"]),
    (ControllerRpc::ListVolumesPublishedNodes, &[]),
    (ControllerRpc::VolumeCondition, &[]),
    (ControllerRpc::GetVolume, &["ControllerGetVolume"]),
    (ControllerRpc::SingleNodeMultiWriter, &[]),
    (ControllerRpc::ModifyVolume, &["ControllerModifyVolume"]),
    (ControllerRpc::GetSnapshot, &["GetSnapshot"]),
];

/// What the Controller announces, without what is alpha and nobody needs.
const CONTROLLER_OFFERED: [ControllerRpc; 9] = [
    ControllerRpc::CreateDeleteVolume,
    ControllerRpc::ListVolumes,
    ControllerRpc::GetCapacity,
    ControllerRpc::CreateDeleteSnapshot,
    ControllerRpc::ListSnapshots,
    ControllerRpc::CloneVolume,
    ControllerRpc::ExpandVolume,
    ControllerRpc::SingleNodeMultiWriter,
    ControllerRpc::ModifyVolume,
];

fn plugin_capabilities(client: &Client) -> Result<Vec<PluginType>> {
    let request = wire::GetPluginCapabilitiesRequest {};
    let answer = client.answer(async { client.identity().get_plugin_capabilities(request).await });
    let types = answer?.capabilities.into_iter().map(|it| it.r#type.context("an empty capability"));
    types.collect()
}

fn controller_capabilities(client: &Client) -> Result<BTreeSet<i32>> {
    let request = wire::ControllerGetCapabilitiesRequest {};
    let call = async { client.controller().controller_get_capabilities(request).await };
    let capabilities = client.answer(call)?.capabilities;
    let number = capabilities.len();
    let found: BTreeSet<i32> = capabilities
        .into_iter()
        .filter_map(|it| it.r#type.map(|ControllerType::Rpc(rpc)| rpc.r#type))
        .collect();
    ensure!(found.len() == number, "empty or repeated ones among {number}: {found:?}");
    Ok(found)
}

fn group_capabilities(client: &Client) -> Result<Vec<i32>> {
    let request = wire::GroupControllerGetCapabilitiesRequest {};
    let call = async { client.groups().group_controller_get_capabilities(request).await };
    let found = client.answer(call)?.capabilities.into_iter();
    Ok(found.filter_map(|it| it.r#type.map(|GroupType::Rpc(rpc)| rpc.r#type)).collect())
}

fn node_capabilities(client: &Client) -> Result<Vec<i32>> {
    let request = wire::NodeGetCapabilitiesRequest {};
    let answer = client.answer(async { client.node().node_get_capabilities(request).await });
    let found = answer?.capabilities.into_iter();
    Ok(found.filter_map(|it| it.r#type.map(|NodeType::Rpc(rpc)| rpc.r#type)).collect())
}

/// The argument that leaves growth to the node, and what the Controller does not announce with it.
const BY_NODE: &str = "--node-expansion";
const NOT_BY_NODE: [ControllerRpc; 2] = [ControllerRpc::ExpandVolume, ControllerRpc::ModifyVolume];

fn announces(client: &Client, alpha: &[ControllerRpc], withheld: &[ControllerRpc]) -> Result<()> {
    let service = |service: Service| {
        PluginType::Service(wire::plugin_capability::Service { r#type: service.into() })
    };
    let online = wire::plugin_capability::VolumeExpansion { r#type: Expansion::Online.into() };
    let mut wanted = vec![
        service(Service::ControllerService),
        service(Service::VolumeAccessibilityConstraints),
        service(Service::GroupControllerService),
        PluginType::VolumeExpansion(online),
    ];
    if !alpha.is_empty() {
        wanted.push(service(Service::SnapshotMetadataService));
    }
    let found = plugin_capabilities(client)?;
    ensure!(found == wanted, "{found:?}");
    let found = controller_capabilities(client)?;
    let wanted = CONTROLLER_OFFERED.iter().chain(alpha).filter(|rpc| !withheld.contains(rpc));
    let wanted = wanted.map(|rpc| i32::from(*rpc)).collect();
    ensure!(found == wanted, "with {alpha:?} and without {withheld:?}: {found:?}");
    let wanted = [GroupRpc::CreateDeleteGetVolumeGroupSnapshot as i32];
    let found = group_capabilities(client)?;
    ensure!(found == wanted, "{found:?}");
    let wanted = [
        NodeRpc::StageUnstageVolume as i32,
        NodeRpc::GetVolumeStats as i32,
        NodeRpc::ExpandVolume as i32,
        NodeRpc::SingleNodeMultiWriter as i32,
    ];
    let found = node_capabilities(client)?;
    ensure!(found == wanted, "{found:?}");
    Ok(())
}

/// What is announced is answered, what is not announced is not, and the rest is always there.
fn answers_what_it_announces(client: &Client) -> Result<()> {
    let announced = controller_capabilities(client)?;
    let codes = codes_of_nothing(client);
    let mut absent = BTreeSet::new();
    let metadata = Service::SnapshotMetadataService;
    let service = wire::plugin_capability::Service { r#type: metadata.into() };
    if !plugin_capabilities(client)?.contains(&PluginType::Service(service)) {
        let calls = ["GetMetadataAllocated", "GetMetadataDelta"];
        absent.extend(calls.map(|call| format!("SnapshotMetadata/{call}")));
    }
    for (capability, calls) in CONTROLLER {
        for call in calls.iter().map(|call| format!("Controller/{call}")) {
            ensure!(codes.contains_key(&call), "{call} is not on the wire");
            if !announced.contains(&capability.into()) {
                absent.insert(call);
            }
        }
    }
    ensure!(with_code(&codes, Code::Unimplemented) == absent, "{codes:?}");
    let complete = [
        "Controller/ControllerGetCapabilities",
        "Controller/GetCapacity",
        "Controller/ListSnapshots",
        "Controller/ListVolumes",
        "GroupController/GroupControllerGetCapabilities",
        "Identity/GetPluginCapabilities",
        "Identity/GetPluginInfo",
        "Identity/Probe",
        "Node/NodeGetCapabilities",
        "Node/NodeGetInfo",
    ]
    .map(str::to_owned);
    let complete = BTreeSet::from(complete);
    ensure!(with_code(&codes, Code::Ok) == complete, "{codes:?}");
    let incomplete = with_code(&codes, Code::InvalidArgument).len();
    ensure!(codes.len() == 32, "{} calls are on the wire", codes.len());
    ensure!(incomplete + complete.len() + absent.len() == codes.len(), "{codes:?}");
    Ok(())
}

#[test]
fn what_is_announced_is_answered_and_nothing_else() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let alpha = [ControllerRpc::GetVolume, ControllerRpc::GetSnapshot];
    for (arguments, alpha, withheld) in
        [(&[][..], &[][..], &[][..]), (&["--alpha"], &alpha, &[]), (&[BY_NODE], &[], &NOT_BY_NODE)]
    {
        let driver = bed.start_with(arguments)?;
        announces(driver.client(), alpha, withheld)?;
        answers_what_it_announces(driver.client())?;
        driver.stop()?;
    }
    Ok(())
}

#[test]
fn the_driver_says_who_and_where_it_is() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let others = ["--driver-name", "other.example", "--topology-key", "other.example/host"];
    for (arguments, name, key) in [
        (&[][..], "thinly.dev", "topology.thinly.dev/node"),
        (&others, "other.example", "other.example/host"),
    ] {
        let driver = bed.start_with(arguments)?;
        let client = driver.client();
        let request = wire::GetPluginInfoRequest {};
        let call = async { client.identity().get_plugin_info(request).await };
        let wanted = wire::GetPluginInfoResponse {
            name: name.to_owned(),
            vendor_version: env!("CARGO_PKG_VERSION").to_owned(),
            manifest: BTreeMap::new(),
        };
        let found = client.answer(call)?;
        ensure!(found == wanted, "{found:?}");
        let call = async { client.node().node_get_info(wire::NodeGetInfoRequest {}).await };
        let segments = BTreeMap::from([(key.to_owned(), "n1".to_owned())]);
        let here = wire::Topology { segments };
        let wanted = wire::NodeGetInfoResponse {
            node_id: "n1".to_owned(),
            max_volumes_per_node: 1024,
            accessible_topology: Some(here.clone()),
        };
        let found = client.answer(call)?;
        ensure!(found == wanted, "{found:?}");
        let volume = client.volume(name, mib(4), &block(Mode::SingleNodeWriter))?;
        ensure!(volume.accessible_topology == [here], "{volume:?}");
        driver.stop()?;
    }
    Ok(())
}

fn get_volume(client: &Client, id: &str) -> Result<wire::ControllerGetVolumeResponse> {
    let request = wire::ControllerGetVolumeRequest { volume_id: id.to_owned() };
    let call = async { client.controller().controller_get_volume(request).await };
    Ok(client.answer(call)?)
}

fn get_snapshot(client: &Client, id: &str) -> Result<wire::Snapshot> {
    let request = wire::GetSnapshotRequest { snapshot_id: id.to_owned(), ..Default::default() };
    let call = async { client.controller().get_snapshot(request).await };
    client.answer(call)?.snapshot.context("no snapshot in the answer")
}

#[test]
fn what_was_made_is_told_as_when_it_was_made() -> Result<()> {
    let bed = CsiBed::new(&[gib(1)], "")?;
    let driver = bed.start_with(&["--alpha"])?;
    let client = driver.client();
    let capability = mount("ext4", Mode::SingleNodeWriter);
    let mut grown = client.volume("grown", mib(16), &capability)?;
    let disk = client.volume("disk", mib(8), &block(Mode::SingleNodeWriter))?;
    let cut = client.create_snapshot(&grown.volume_id, "cut")?;
    let restored =
        client.copy("restored", from_snapshot(&cut.snapshot_id), mib(32), &capability)?;
    let cloned = client.copy("cloned", from_volume(&grown.volume_id), mib(16), &capability)?;
    let group = client.create_group("both", &[&grown.volume_id, &disk.volume_id])?;
    client.expand(&grown.volume_id, mib(24))?;
    grown.capacity_bytes = mib(24);
    ensure!(group.snapshots.len() == 2, "{group:?}");

    // The next driver tells the same: nothing of it is in the first one's memory only.
    driver.stop()?;
    let driver = bed.start_with(&["--alpha"])?;
    let client = driver.client();
    for volume in [&grown, &disk, &restored, &cloned] {
        let found = get_volume(client, &volume.volume_id)?;
        // Neither nodes nor a condition: those capabilities are not offered.
        let status = Some(wire::controller_get_volume_response::VolumeStatus::default());
        let wanted = wire::ControllerGetVolumeResponse { volume: Some(volume.clone()), status };
        ensure!(found == wanted, "{found:?}, made as {volume:?}");
    }
    for snapshot in group.snapshots.iter().chain([&cut]) {
        let found = get_snapshot(client, &snapshot.snapshot_id)?;
        ensure!(found == *snapshot, "{found:?}, made as {snapshot:?}");
    }
    // A snapshot is as large as its source was.
    ensure!(cut.size_bytes == mib(16) && cut.group_snapshot_id.is_empty(), "{cut:?}");
    let of_group =
        |snapshot: &wire::Snapshot| snapshot.group_snapshot_id == group.group_snapshot_id;
    ensure!(group.snapshots.iter().all(of_group), "{group:?}");
    driver.stop()
}
