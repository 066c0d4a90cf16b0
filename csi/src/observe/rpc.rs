//! Calls by name and by code.
#![forbid(unsafe_code)]

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tonic::Code;

/// Every call of the specification. A path that is none of them gets one label for all: whoever
/// may call must not be able to make new series.
const RPCS: [&str; 32] = [
    "GetPluginInfo",
    "GetPluginCapabilities",
    "Probe",
    "CreateVolume",
    "DeleteVolume",
    "ControllerPublishVolume",
    "ControllerUnpublishVolume",
    "ValidateVolumeCapabilities",
    "ListVolumes",
    "GetCapacity",
    "ControllerGetCapabilities",
    "CreateSnapshot",
    "DeleteSnapshot",
    "ListSnapshots",
    "GetSnapshot",
    "ControllerExpandVolume",
    "ControllerGetVolume",
    "ControllerModifyVolume",
    "GroupControllerGetCapabilities",
    "CreateVolumeGroupSnapshot",
    "DeleteVolumeGroupSnapshot",
    "GetVolumeGroupSnapshot",
    "GetMetadataAllocated",
    "GetMetadataDelta",
    "NodeStageVolume",
    "NodeUnstageVolume",
    "NodePublishVolume",
    "NodeUnpublishVolume",
    "NodeGetVolumeStats",
    "NodeExpandVolume",
    "NodeGetCapabilities",
    "NodeGetInfo",
];

/// The name of the call that a path asks for.
pub(super) fn rpc_of(path: &str) -> &'static str {
    let name = path.strip_prefix("/csi.v1.").and_then(|path| path.split_once('/'));
    let known = |(_, name): (&str, &str)| RPCS.into_iter().find(|rpc| *rpc == name);
    name.and_then(known).unwrap_or("unknown")
}

/// Whether a call changes nothing, so that its success is worth no line.
pub(crate) fn is_reading(rpc: &str) -> bool {
    rpc == "Probe" || ["Get", "List", "Validate"].iter().any(|word| rpc.contains(word))
}

/// The code, as other gRPC programs label it.
pub(crate) const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

/// From a probe to a mkfs of a large volume.
const BUCKETS_SECONDS: [f64; 10] = [0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];

type Label = (&'static str, &'static str);

/// The numbers of all calls so far.
#[derive(Debug, Clone)]
pub(crate) struct RpcMetrics {
    durations: Family<[Label; 1], Histogram, fn() -> Histogram>,
    calls: Family<[Label; 2], Counter>,
}

impl RpcMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS_SECONDS);
        let durations = Family::new_with_constructor(histogram);
        let calls = Family::default();
        registry.register_with_unit(
            "thinly_csi_rpc_duration",
            "How long calls took, from the request to the end of the answer",
            Unit::Seconds,
            durations.clone(),
        );
        registry.register("thinly_csi_rpcs", "Calls that ended, by gRPC code", calls.clone());
        Self { durations, calls }
    }

    pub(super) fn count(&self, rpc: &'static str, code: Code, taken: Duration) {
        self.durations.get_or_create(&[("rpc", rpc)]).observe(taken.as_secs_f64());
        self.calls.get_or_create(&[("rpc", rpc), ("code", code_name(code))]).inc();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_call_of_the_specification_has_its_label_and_nothing_else_has() {
        let proto = include_str!("../../wire/proto/csi.proto");
        let rpcs = proto.lines().filter_map(|line| line.trim().strip_prefix("rpc "));
        let names: BTreeSet<&str> = rpcs.filter_map(|rest| rest.split([' ', '(']).next()).collect();
        assert_eq!(RPCS.into_iter().collect::<BTreeSet<_>>(), names);
        assert_eq!(rpc_of("/csi.v1.Node/NodeStageVolume"), "NodeStageVolume");
        for path in ["/csi.v1.Node/Made/Up", "/csi.v1.Node/made-up", "/x/Probe", "/", ""] {
            assert_eq!(rpc_of(path), "unknown", "{path}");
        }
    }

    #[test]
    fn only_calls_that_change_nothing_are_silent() {
        let silent = RPCS.into_iter().filter(|rpc| is_reading(rpc));
        assert!(silent.clone().count() > 10);
        for rpc in silent {
            let words = ["Create", "Delete", "Stage", "Publish", "Expand", "Modify"];
            assert!(!words.iter().any(|word| rpc.contains(word)), "{rpc}");
        }
    }
}
