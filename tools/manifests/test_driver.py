"""What the manifests ask of the driver is what the driver's source offers."""

import re
import unittest

import rendered

SOURCE = rendered.ROOT / "csi" / "src"
NAME = "thinly.dev"

CSI = "--csi-address=/csi/csi.sock"
META = "--extra-create-metadata"
NODE = {
    "thinly-csi": [
        "--endpoint=unix:///csi/csi.sock", "--config=/etc/thinly/config.yaml",
        "--kubelet-dir=/var/lib/kubelet", "--metrics-address=0.0.0.0:9810", "--log-format=json",
    ],
    "node-driver-registrar": [CSI, "--kubelet-registration-path=/var/lib/kubelet/plugins/thinly.dev/csi.sock"],
}
ALONE = NODE | {
    "csi-provisioner": [CSI, META, "--enable-capacity", "--capacity-ownerref-level=2"],
    "csi-resizer": [CSI, "--handle-volume-inuse-error=false"],
}
ARGUMENTS = {
    "single-node": ALONE | {"csi-snapshotter": [CSI, META, "--feature-gates=CSIVolumeGroupSnapshot=true"]},
    "microshift": ALONE,
    "per-node": NODE | {
        "thinly-csi": [*NODE["thinly-csi"], "--cluster-controller", "--node-expansion"],
        "csi-provisioner": [
            CSI, META, "--enable-capacity", "--capacity-ownerref-level=0",
            "--node-deployment", "--strict-topology", "--immediate-topology=false",
        ],
        "csi-snapshotter": [CSI, META, "--node-deployment"],
        "csi-resizer": [CSI, "--handle-volume-inuse-error=false", "--leader-election"],
    },
}
# What the sidecars read from their environment, and where it comes from.
ENVIRONMENT = {
    "thinly-csi": {"NODE_NAME"},
    "node-driver-registrar": set(),
    "csi-provisioner": {"NAMESPACE", "POD_NAME"},
    "csi-resizer": set(),
    "csi-snapshotter": set(),
}
FIELDS = {"NODE_NAME": "spec.nodeName", "NAMESPACE": "metadata.namespace", "POD_NAME": "metadata.name"}


def source(*path):
    """Rust without its tests."""
    return SOURCE.joinpath(*path).read_text(encoding="utf-8").split("#[cfg(test)]")[0]


def flags():
    """The driver's options."""
    fields = re.findall(r"#\[arg\(long[^\]]*\)\]\s+(?:pub\(crate\) )?(\w+):", source("args.rs"))
    return {field.replace("_", "-") for field in fields}


def keys(*path):
    """The driver's own keys that a source file names."""
    return set(re.findall(rf'"({re.escape(NAME)}/[a-z-]+)"', source(*path)))


class Driver(unittest.TestCase):
    maxDiff = None

    def test_arguments_are_exact(self):
        for name in rendered.OVERLAYS:
            found = {c["name"]: sorted(c["args"]) for c, _ in rendered.containers(rendered.overlay(name))}
            self.assertEqual(found, {key: sorted(value) for key, value in ARGUMENTS[name].items()}, name)

    def test_the_driver_knows_its_arguments(self):
        known = flags()
        self.assertGreater(len(known), 8)
        for name in rendered.OVERLAYS:
            for argument in rendered.driver(rendered.overlay(name))["args"]:
                self.assertIn(argument.removeprefix("--").split("=")[0], known)

    def test_the_environment_is_what_is_read(self):
        for name in rendered.OVERLAYS:
            for container, _ in rendered.containers(rendered.overlay(name)):
                wanted = ENVIRONMENT[container["name"]]
                if "--node-deployment" in container["args"]:
                    wanted = wanted | {"NODE_NAME"}
                found = {e["name"]: e["valueFrom"]["fieldRef"]["fieldPath"] for e in container.get("env", [])}
                self.assertEqual(found, {key: FIELDS[key] for key in wanted}, container["name"])
        self.assertIn('env = "NODE_NAME"', source("args.rs"))

    def test_classes_name_the_driver_and_parameters_that_it_knows(self):
        handle = rendered.ROOT / "engine" / "src" / "catalogue" / "handle.rs"
        self.assertIn(f'DRIVER_NAME: &str = "{NAME}"', handle.read_text(encoding="utf-8"))
        volume, limits = keys("request", "parameters.rs"), keys("request", "limits.rs")
        self.assertTrue(volume and limits)
        seen = set()
        for where, item in rendered.everything():
            kind, parameters = item["kind"], item.get("parameters", {})
            seen.add(kind)
            if kind == "StorageClass":
                self.assertEqual(item["provisioner"], NAME, where)
                self.assertEqual(item["volumeBindingMode"], "WaitForFirstConsumer", where)
                self.assertTrue(item["allowVolumeExpansion"], where)
                self.assertLessEqual(set(parameters), volume | {"csi.storage.k8s.io/fstype"}, where)
                kept = parameters.get("csi.storage.k8s.io/fstype", "ext4")
                self.assertIn(f'"{kept}"', source("config.rs"), where)
                # A cluster has one default class, and this need not be it.
                self.assertNotIn("annotations", item["metadata"], where)
            elif kind == "VolumeAttributesClass":
                self.assertEqual(item["driverName"], NAME, where)
                self.assertLessEqual(set(parameters), limits, where)
                for value in parameters.values():
                    self.assertRegex(value, "^([1-9][0-9]*|max)$", where)
            elif kind in ("VolumeSnapshotClass", "VolumeGroupSnapshotClass"):
                self.assertEqual(item["driver"], NAME, where)
                self.assertEqual(parameters, {}, where)
        self.assertLessEqual({"StorageClass", "VolumeAttributesClass", "VolumeSnapshotClass"}, seen)

    def test_the_cluster_is_told_what_the_driver_does(self):
        for name in rendered.OVERLAYS:
            told = rendered.only(rendered.overlay(name), "CSIDriver", NAME)
            self.assertEqual(
                told["spec"],
                {
                    "attachRequired": False,
                    "podInfoOnMount": False,
                    "requiresRepublish": False,
                    "storageCapacity": True,
                    "fsGroupPolicy": "File",
                    "seLinuxMount": True,
                    "volumeLifecycleModes": ["Persistent"],
                },
            )
        # Why it is told nothing of pods: it would not read it.
        for path in SOURCE.rglob("*.rs"):
            self.assertNotIn("csi.storage.k8s.io/pod", path.read_text(encoding="utf-8"), path)

    def test_the_configuration_touches_no_disk_unless_it_is_told_to(self):
        """Whether the driver can read it is tested where its parser is, in csi/src/config.rs."""
        for name in rendered.OVERLAYS:
            (config,) = rendered.of_kind(rendered.overlay(name), "ConfigMap")
            text = config["data"]["config.yaml"]
            self.assertEqual(text, (rendered.TREE / "base" / "config.yaml").read_text(encoding="utf-8"))
            lines = [line.strip() for line in text.splitlines() if not line.strip().startswith("#")]
            self.assertFalse([line for line in lines if line.startswith(("devices", "create"))])
