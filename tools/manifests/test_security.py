"""What the pods may do: exactly this."""

import unittest

import rendered

SIDECAR = {
    "runAsUser": 0,
    "runAsGroup": 0,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
    "seLinuxOptions": {"type": "spc_t"},
}
DRIVER = {"privileged": True, "readOnlyRootFilesystem": True, "runAsUser": 0, "runAsGroup": 0}

KUBELET = "/var/lib/kubelet"
SOCKET = f"{KUBELET}/plugins/thinly.dev"
NODE_PATHS = {
    "socket": (SOCKET, "DirectoryOrCreate"),
    "registration": (f"{KUBELET}/plugins_registry", "Directory"),
    "kubelet-plugins": (f"{KUBELET}/plugins", "Directory"),
    "kubelet-pods": (f"{KUBELET}/pods", "Directory"),
    "devices": ("/dev", "Directory"),
    "cgroups": ("/sys/fs/cgroup", "Directory"),
    "runtime": ("/run/thinly", "DirectoryOrCreate"),
}
DRIVER_MOUNTS = {
    "socket": ("/csi", None, False),
    "config": ("/etc/thinly", None, True),
    "kubelet-plugins": (f"{KUBELET}/plugins", "Bidirectional", False),
    "kubelet-pods": (f"{KUBELET}/pods", "Bidirectional", False),
    "devices": ("/dev", None, False),
    "cgroups": ("/sys/fs/cgroup", None, False),
    "runtime": ("/run/thinly", None, False),
    "scratch": ("/tmp", None, False),
}
# Which containers each pod has, by overlay.
PODS = {
    "single-node": {
        "thinly-node": {"thinly-csi", "node-driver-registrar"},
        "thinly-provisioner": {"csi-provisioner"},
        "thinly-resizer": {"csi-resizer"},
        "thinly-snapshotter": {"csi-snapshotter"},
    },
    "per-node": {
        "thinly-node": {
            "thinly-csi", "node-driver-registrar", "csi-provisioner", "csi-snapshotter", "csi-resizer",
        },
    },
    "microshift": {
        "thinly-node": {"thinly-csi", "node-driver-registrar"},
        "thinly-provisioner": {"csi-provisioner"},
        "thinly-resizer": {"csi-resizer"},
    },
}


def mounts(container):
    return {
        mount["name"]: (mount["mountPath"], mount.get("mountPropagation"), mount.get("readOnly", False))
        for mount in container["volumeMounts"]
    }


class Security(unittest.TestCase):
    def test_these_pods_and_no_others(self):
        for name in rendered.OVERLAYS:
            found = {
                w["metadata"]["name"]: {c["name"] for c in rendered.pod(w)["containers"]}
                for w in rendered.workloads(rendered.overlay(name))
            }
            self.assertEqual(found, PODS[name])
        known = {"DaemonSet", "Deployment", "ServiceAccount", "ConfigMap", "Namespace", "CSIDriver"}
        known |= {"StorageClass", "VolumeSnapshotClass", "VolumeGroupSnapshotClass", "PodMonitor"}
        known |= {"VolumeAttributesClass", "StorageProfile", "ClusterRole", "ClusterRoleBinding"}
        known |= {"Role", "RoleBinding"}
        for where, item in rendered.everything():
            self.assertIn(item["kind"], known, where)

    def test_contexts_are_exact_and_only_the_driver_is_privileged(self):
        for name in rendered.OVERLAYS:
            for container, pod in rendered.containers(rendered.overlay(name)):
                with self.subTest(name, container=container["name"]):
                    wanted = DRIVER if container["name"] == "thinly-csi" else SIDECAR
                    self.assertEqual(container["securityContext"], wanted)
                    self.assertNotIn("securityContext", pod)
                    for field in ("hostPID", "hostIPC", "hostNetwork", "initContainers", "shareProcessNamespace"):
                        self.assertNotIn(field, pod)

    def test_paths_of_the_host_are_exact(self):
        for name in rendered.OVERLAYS:
            for workload in rendered.workloads(rendered.overlay(name)):
                volumes = rendered.pod(workload)["volumes"]
                paths = {
                    v["name"]: (v["hostPath"]["path"], v["hostPath"]["type"]) for v in volumes if "hostPath" in v
                }
                others = {v["name"]: sorted(set(v) - {"name"}) for v in volumes if "hostPath" not in v}
                if workload["kind"] == "DaemonSet":
                    self.assertEqual(paths, NODE_PATHS)
                    self.assertEqual(others, {"config": ["configMap"], "scratch": ["emptyDir"]})
                else:
                    # It never makes the directory: that is the node's.
                    self.assertEqual(paths, {"socket": (SOCKET, "Directory")})
                    self.assertEqual(others, {})

    def test_mounts_are_exact(self):
        for name in rendered.OVERLAYS:
            for container, _ in rendered.containers(rendered.overlay(name)):
                with self.subTest(name, container=container["name"]):
                    wanted = {"socket": ("/csi", None, False)}
                    if container["name"] == "thinly-csi":
                        wanted = DRIVER_MOUNTS
                    elif container["name"] == "node-driver-registrar":
                        wanted["registration"] = ("/registration", None, False)
                    self.assertEqual(mounts(container), wanted)

    def test_tokens_are_only_where_something_speaks_to_the_cluster(self):
        for name in rendered.OVERLAYS:
            items = rendered.overlay(name)
            for workload in rendered.workloads(items):
                pod = rendered.pod(workload)
                account = rendered.only(items, "ServiceAccount", pod["serviceAccountName"])
                token = pod.get("automountServiceAccountToken", account.get("automountServiceAccountToken", True))
                speaks = any(c["name"].startswith("csi-") for c in pod["containers"])
                self.assertEqual(token, speaks, f"{name}: {workload['metadata']['name']}")

    def test_pods_live_long_and_die_slowly(self):
        for name in rendered.OVERLAYS:
            for workload in rendered.workloads(rendered.overlay(name)):
                pod, spec = rendered.pod(workload), workload["spec"]
                self.assertEqual(pod["tolerations"], [{"operator": "Exists"}])
                self.assertEqual(pod["nodeSelector"]["kubernetes.io/os"], "linux")
                if workload["kind"] == "DaemonSet":
                    self.assertEqual(pod["priorityClassName"], "system-node-critical")
                    self.assertGreaterEqual(pod["terminationGracePeriodSeconds"], 60)
                    self.assertEqual(spec["updateStrategy"]["type"], "RollingUpdate")
                    self.assertEqual(spec["updateStrategy"]["rollingUpdate"], {"maxUnavailable": "10%"})
                    labelled = "thinly.dev/storage" in pod["nodeSelector"]
                    self.assertEqual(labelled, name == "per-node")
                else:
                    self.assertEqual(pod["priorityClassName"], "system-cluster-critical")
                    self.assertEqual((spec["replicas"], spec["strategy"]), (1, {"type": "Recreate"}))
                for container in pod["containers"]:
                    resources = container["resources"]
                    self.assertEqual(set(resources["requests"]), {"cpu", "memory"})
                    # A driver that waits for its turn on the processor may hold a frozen filesystem.
                    self.assertEqual(set(resources["limits"]), {"memory"})
                    self.assertEqual(container["terminationMessagePolicy"], "FallbackToLogsOnError")

    def test_the_namespace_lets_the_driver_in(self):
        for name in rendered.OVERLAYS:
            space = rendered.only(rendered.overlay(name), "Namespace", rendered.NAMESPACE)
            for mode in ("enforce", "audit", "warn"):
                self.assertEqual(space["metadata"]["labels"][f"pod-security.kubernetes.io/{mode}"], "privileged")

    def test_sidecars_are_the_ones_that_were_chosen(self):
        wanted = {
            "node-driver-registrar": "csi-node-driver-registrar:v2.17.0",
            "csi-provisioner": "csi-provisioner:v6.3.0",
            "csi-resizer": "csi-resizer:v2.2.1",
            "csi-snapshotter": "csi-snapshotter:v8.6.0",
        }
        for name in rendered.OVERLAYS:
            for container, _ in rendered.containers(rendered.overlay(name)):
                image = wanted.get(container["name"])
                image = f"registry.k8s.io/sig-storage/{image}" if image else "thinly-csi:latest"
                self.assertEqual(container["image"], image)
