//! Pods that use a claim.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::kubectl::{apply, delete, get, kubectl, until};

/// Where a pod finds its claim.
pub(super) const DATA: &str = "/data";

/// The group that owns a filesystem in these pods.
pub(super) const GROUP: u32 = 2000;

/// A pod that is somebody of no rights, whose one container runs a line of shell and then stays.
fn pod(name: &str, claim: &str, is_block: bool, line: &str) -> Value {
    let (mounts, devices) = if is_block {
        (json!([]), json!([{"name": "data", "devicePath": DATA}]))
    } else {
        (json!([{"name": "data", "mountPath": DATA}]), json!([]))
    };
    // A device is root's.
    let user = if is_block { 0 } else { 1000 };
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            // The guest's kernel has no virtual network cards.
            "hostNetwork": true,
            // With none a pod is gone at once, and not when kubelet has let go of what it used.
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsUser": user, "runAsGroup": user, "fsGroup": GROUP},
            "containers": [{
                "name": "main", "image": "localhost/busybox:1", "imagePullPolicy": "Never",
                "command": ["/bin/sh", "-c", format!("{line}; exec sleep 1000000")],
                "volumeMounts": mounts, "volumeDevices": devices,
            }],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
        }
    })
}

/// Makes a pod and waits until it runs.
pub(super) fn start(name: &str, claim: &str, is_block: bool, line: &str) -> Result<()> {
    apply(&pod(name, claim, is_block, line))?;
    until(&format!("pod {name} runs"), || {
        let pod = get("pod", name)?.with_context(|| format!("no pod {name}"))?;
        Ok(pod["status"]["phase"] == "Running")
    })
    .or_else(|e| Err(e.context(kubectl(&["describe", "pod", name])?)))
}

/// Removes a pod; kubelet has unmounted its volumes when it is gone.
pub(super) fn stop(name: &str) -> Result<()> {
    delete("pod", name)
}

/// What a line of shell prints in a pod.
pub(super) fn inside(name: &str, line: &str) -> Result<String> {
    kubectl(&["exec", name, "--", "/bin/sh", "-c", line])
}

/// Demands that a pod prints this.
pub(super) fn demand(name: &str, line: &str, wanted: &str) -> Result<()> {
    let found = inside(name, line)?;
    ensure!(found == wanted, "pod {name}, `{line}`: {found:?} and not {wanted:?}");
    Ok(())
}
