"""What an object names is there, and the pieces of an installation agree."""

import unittest

import rendered

BUILT_IN_PRIORITIES = {"system-node-critical", "system-cluster-critical"}


def value_of(container, flag):
    """The value of `--flag=value`."""
    found = [a.split("=", 1)[1] for a in container["args"] if a.startswith(f"--{flag}=")]
    if len(found) != 1:
        raise AssertionError(f"--{flag} is given {len(found)} times")
    return found[0]


def volume(pod, name):
    (found,) = [v for v in pod["volumes"] if v["name"] == name]
    return found


def on_host(container, pod, path):
    """Where on the host a path of the container is."""
    best = max(
        (m for m in container["volumeMounts"] if path.startswith(m["mountPath"] + "/")),
        key=lambda m: len(m["mountPath"]),
    )
    return volume(pod, best["name"])["hostPath"]["path"] + path[len(best["mountPath"]) :]


class References(unittest.TestCase):
    def test_what_pods_name_is_there(self):
        for name in rendered.OVERLAYS:
            items = rendered.overlay(name)
            for workload in rendered.workloads(items):
                pod = rendered.pod(workload)
                rendered.only(items, "ServiceAccount", pod["serviceAccountName"])
                self.assertIn(pod["priorityClassName"], BUILT_IN_PRIORITIES)
                labels = workload["spec"]["template"]["metadata"]["labels"]
                self.assertEqual(workload["spec"]["selector"]["matchLabels"], labels)
                for item in pod["volumes"]:
                    if "configMap" in item:
                        config = rendered.only(items, "ConfigMap", item["configMap"]["name"])
                        for entry in item["configMap"]["items"]:
                            self.assertIn(entry["key"], config["data"])
                named = {item["name"] for item in pod["volumes"]}
                mounted = {m["name"] for c in pod["containers"] for m in c["volumeMounts"]}
                self.assertEqual(named, mounted)

    def test_ports_of_probes_and_monitors_are_there(self):
        for name in rendered.OVERLAYS:
            items = rendered.overlay(name)
            driver = rendered.driver(items)
            ports = {port["name"]: port["containerPort"] for port in driver["ports"]}
            self.assertEqual(ports, {"metrics": 9810})
            self.assertEqual(value_of(driver, "metrics-address"), f"0.0.0.0:{ports['metrics']}")
            for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
                self.assertEqual(driver[probe]["httpGet"], {"path": path, "port": "metrics"})
            (monitor,) = rendered.extra("pod-monitor")
            (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
            self.assertIn(endpoint["port"], ports)
            node = rendered.only(items, "DaemonSet", "thinly-node")
            wanted = monitor["spec"]["selector"]["matchLabels"].items()
            self.assertLessEqual(wanted, node["spec"]["template"]["metadata"]["labels"].items())
            others = [w for w in rendered.workloads(items) if w is not node]
            for other in others:
                labels = other["spec"]["template"]["metadata"]["labels"]
                self.assertFalse(wanted <= labels.items(), rendered.label(other))

    def test_all_meet_at_one_socket(self):
        for name in rendered.OVERLAYS:
            items = rendered.overlay(name)
            sockets = set()
            for container, pod in rendered.containers(items):
                if container["name"] == "thinly-csi":
                    path = value_of(container, "endpoint").removeprefix("unix://")
                else:
                    path = value_of(container, "csi-address")
                sockets.add(on_host(container, pod, path))
                if container["name"] == "node-driver-registrar":
                    sockets.add(value_of(container, "kubelet-registration-path"))
            self.assertEqual(sockets, {"/var/lib/kubelet/plugins/thinly.dev/csi.sock"}, name)

    def test_kubelets_paths_are_the_same_inside_and_outside(self):
        for name in rendered.OVERLAYS:
            items = rendered.overlay(name)
            node = rendered.only(items, "DaemonSet", "thinly-node")
            pod, driver = rendered.pod(node), rendered.driver(items)
            kubelet = value_of(driver, "kubelet-dir")
            for mount in driver["volumeMounts"]:
                if mount["name"].startswith("kubelet-"):
                    self.assertEqual(volume(pod, mount["name"])["hostPath"]["path"], mount["mountPath"])
                    self.assertTrue(mount["mountPath"].startswith(kubelet + "/"))
            registrar = volume(pod, "registration")["hostPath"]["path"]
            self.assertEqual(registrar, f"{kubelet}/plugins_registry")

    def test_everything_is_in_the_one_namespace(self):
        everywhere = {"Namespace", "CSIDriver", "StorageClass", "ClusterRole", "ClusterRoleBinding"}
        everywhere |= {"VolumeSnapshotClass", "VolumeGroupSnapshotClass", "VolumeAttributesClass"}
        everywhere |= {"StorageProfile"}
        for where, item in rendered.everything():
            wanted = None if item["kind"] in everywhere else rendered.NAMESPACE
            self.assertEqual(item["metadata"].get("namespace"), wanted, where)

    def test_profiles_are_for_classes_that_are_there(self):
        classes = {s["metadata"]["name"] for s in rendered.of_kind(rendered.overlay("per-node"), "StorageClass")}
        for name in ("kubevirt-single-node", "kubevirt-per-node"):
            profiles = {p["metadata"]["name"] for p in rendered.extra(name)}
            self.assertEqual(profiles, classes, name)
