//! Claims, and what the provisioner, the resizer and the snapshotter would do for them.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use thinly_csi_wire as wire;
use thinly_csi_wire::volume_capability::access_mode::Mode;
use thinly_csi_wire::volume_content_source::{SnapshotSource, Type as Source};
use tonic::Code;

use super::kubectl::{apply, delete, get, kubectl, until};
use crate::csi::{Client, block, mount, range};

/// Where kubelet keeps what is the driver's.
const SOCKET: &str = "/var/lib/kubelet/plugins/thinly.dev/csi.sock";

/// In the place of the sidecars.
pub(super) struct Provisioner(Client);

/// A claim with a volume behind it.
pub(super) struct Claim {
    pub(super) name: &'static str,
    pub(super) handle: String,
    pub(super) is_block: bool,
}

impl Claim {
    fn volume_name(&self) -> String {
        format!("pv-{}", self.name)
    }
}

fn quantity(bytes: i64) -> String {
    format!("{}Mi", bytes >> 20)
}

/// As external-provisioner writes what a volume is reachable from.
fn affinity(volume: &wire::Volume) -> Value {
    let terms = volume.accessible_topology.iter().map(|topology| {
        let matches = topology.segments.iter();
        let matches = matches.map(|(k, v)| json!({"key": k, "operator": "In", "values": [v]}));
        json!({"matchExpressions": matches.collect::<Vec<_>>()})
    });
    json!({"required": {"nodeSelectorTerms": terms.collect::<Vec<_>>()}})
}

impl Provisioner {
    pub(super) fn new() -> Result<Self> {
        Ok(Self(Client::new(Path::new(SOCKET))?))
    }

    /// Makes a claim, its volume, and what binds the two.
    pub(super) fn claim(
        &self,
        name: &'static str,
        bytes: i64,
        is_block: bool,
        snapshot: Option<&str>,
    ) -> Result<Claim> {
        let capability = if is_block {
            block(Mode::SingleNodeMultiWriter)
        } else {
            mount("ext4", Mode::SingleNodeMultiWriter)
        };
        let source = snapshot.map(|id| wire::VolumeContentSource {
            r#type: Some(Source::Snapshot(SnapshotSource { snapshot_id: id.to_owned() })),
        });
        let volume = self.0.create_volume(wire::CreateVolumeRequest {
            name: name.to_owned(),
            capacity_range: range(bytes),
            volume_capabilities: vec![capability],
            volume_content_source: source,
            ..Default::default()
        })?;
        let claim = Claim { name, handle: volume.volume_id.clone(), is_block };
        bind(&claim, bytes, &volume)?;
        Ok(claim)
    }

    /// What the resizer does when a claim asks for more.
    pub(super) fn grow(&self, claim: &Claim, bytes: i64) -> Result<()> {
        let more = json!({"spec": {"resources": {"requests": {"storage": quantity(bytes)}}}});
        kubectl(&["patch", "pvc", claim.name, "--patch", &more.to_string()])?;
        let answer = self.0.expand(&claim.handle, bytes)?;
        ensure!(answer.node_expansion_required != claim.is_block, "{answer:?}");
        let more = json!({"spec": {"capacity": {"storage": quantity(bytes)}}});
        kubectl(&["patch", "pv", &claim.volume_name(), "--patch", &more.to_string()])?;
        until("the claim has grown", || {
            let found = get("pvc", claim.name)?.context("no claim")?;
            Ok(found["status"]["capacity"]["storage"] == quantity(bytes))
        })
    }

    /// What the snapshotter does.
    pub(super) fn snapshot(&self, claim: &Claim, name: &str) -> Result<String> {
        Ok(self.0.create_snapshot(&claim.handle, name)?.snapshot_id)
    }

    pub(super) fn delete_snapshot(&self, id: &str) -> Result<()> {
        Ok(self.0.delete_snapshot(id)?)
    }

    /// Removes a claim, and does what the provisioner does then.
    pub(super) fn delete(&self, claim: &Claim) -> Result<()> {
        delete("pvc", claim.name)?;
        let volume = claim.volume_name();
        until("the volume is released", || {
            let found = get("pv", &volume)?.context("no volume")?;
            Ok(["Released", "Failed"].map(Value::from).contains(&found["status"]["phase"]))
        })?;
        // Refused as long as kubelet has it staged, which is until after its last pod is gone.
        until("the volume is no longer in use", || match self.0.delete_volume(&claim.handle) {
            Err(e) if e.code() == Code::FailedPrecondition => Ok(false),
            done => Ok(done.map(|()| true)?),
        })?;
        delete("pv", &volume)
    }
}

fn bind(claim: &Claim, bytes: i64, volume: &wire::Volume) -> Result<()> {
    let mode = if claim.is_block { "Block" } else { "Filesystem" };
    let size = json!({"storage": quantity(bytes)});
    let own = claim.volume_name();
    apply(&json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": claim.name},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "thinly", "volumeMode": mode,
            "volumeName": own, "resources": {"requests": size},
        }
    }))?;
    let mut csi = json!({
        "driver": "thinly.dev", "volumeHandle": claim.handle, "volumeAttributes": volume.volume_context,
    });
    if !claim.is_block {
        csi["fsType"] = json!("ext4");
    }
    apply(&json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {
            "name": own, "annotations": {"pv.kubernetes.io/provisioned-by": "thinly.dev"},
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "thinly", "volumeMode": mode,
            "capacity": size, "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {"namespace": "default", "name": claim.name},
            "csi": csi, "nodeAffinity": affinity(volume),
        }
    }))?;
    until("the claim is bound", || {
        let found = get("pvc", claim.name)?.context("no claim")?;
        Ok(found["status"]["phase"] == "Bound")
    })
}
