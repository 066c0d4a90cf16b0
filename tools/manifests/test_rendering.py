"""Every directory renders, the same by every kubectl, and what is to be in one place is."""

import os
import pathlib
import re
import tempfile
import unittest

import rendered

ELSEWHERE = "/var/lib/other/kubelet"


def of_ours(lines, *bases):
    """Renders an overlay of a user's, beside the tree."""
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch).resolve()
        text = "bases:\n"
        text += "".join(f"- {os.path.relpath(rendered.TREE / base, scratch)}\n" for base in bases)
        (scratch / "kustomization.yaml").write_text(text + lines, encoding="utf-8")
        (scratch / "config.yaml").write_text("device-classes: [mine]\n", encoding="utf-8")
        for kubectl in rendered.KUBECTLS:
            # Not remembered: the directory's name may come again.
            yield kubectl, rendered.render_with.__wrapped__(kubectl, scratch)


class Rendering(unittest.TestCase):
    def test_every_kubectl_renders_the_same(self):
        self.assertEqual(len(rendered.KUBECTLS), 2)
        for name in [f"overlays/{x}" for x in rendered.OVERLAYS] + [f"extras/{x}" for x in rendered.EXTRAS]:
            seen = []
            for kubectl in rendered.KUBECTLS:
                items = rendered.render_with(kubectl, rendered.TREE / name)
                self.assertTrue(items, name)
                # Their suffix differs between versions.
                suffixed = {item["metadata"]["name"] for item in rendered.of_kind(items, "ConfigMap")}
                plain = [normal(item, suffixed) for item in items]
                labels = [rendered.label(item) for item in plain]
                self.assertEqual(len(labels), len(set(labels)), name)
                seen.append(dict(zip(labels, plain)))
            self.assertEqual(seen[0], seen[1], name)

    def test_nothing_is_left_to_be_filled_in(self):
        for where, item in rendered.everything():
            for value in rendered.values(item):
                self.assertNotIn("$(", str(value), where)

    def test_kubelets_directory_is_changed_in_one_place(self):
        lines = (
            "configMapGenerator:\n"
            f"- {{name: thinly, namespace: {rendered.NAMESPACE}, behavior: merge,"
            f" literals: [kubelet-dir={ELSEWHERE}]}}\n"
        )
        for name in rendered.OVERLAYS:
            usual = [v for v in rendered.values(rendered.overlay(name)) if "/var/lib/kubelet" in str(v)]
            for kubectl, items in of_ours(lines, f"overlays/{name}"):
                moved = [v for v in rendered.values(items) if ELSEWHERE in str(v)]
                self.assertEqual(len(moved), len(usual), kubectl)
                self.assertGreater(len(moved), 8, kubectl)
                rest = [v for v in rendered.values(items) if "/var/lib/kubelet" in str(v)]
                self.assertEqual(rest, [], kubectl)

    def test_the_directory_stands_once_in_the_tree(self):
        places = [
            f"{path.relative_to(rendered.TREE)}: {line.strip()}"
            for path in rendered.TREE.rglob("*.yaml")
            for line in path.read_text(encoding="utf-8").splitlines()
            if "/var/lib/kubelet" in line
        ]
        self.assertEqual(places, ["base/kustomization.yaml: - kubelet-dir=/var/lib/kubelet"])

    def test_configuration_and_image_are_changed_by_an_overlay(self):
        lines = (
            "configMapGenerator:\n"
            f"- {{name: thinly, namespace: {rendered.NAMESPACE}, behavior: merge, files: [config.yaml]}}\n"
            "images:\n- {name: thinly-csi, newName: registry.example/thinly, newTag: v1}\n"
        )
        for kubectl, items in of_ours(lines, "overlays/per-node"):
            (config,) = rendered.of_kind(items, "ConfigMap")
            self.assertEqual(config["data"]["config.yaml"], "device-classes: [mine]\n", kubectl)
            self.assertEqual(rendered.driver(items)["image"], "registry.example/thinly:v1")
            before = rendered.of_kind(rendered.overlay("per-node"), "ConfigMap")[0]["metadata"]["name"]
            # A changed configuration is a new name, so that the driver is started anew with it.
            self.assertNotEqual(config["metadata"]["name"], before)
            (node,) = rendered.workloads(items)
            named = [v["configMap"]["name"] for v in rendered.pod(node)["volumes"] if "configMap" in v]
            self.assertEqual(named, [config["metadata"]["name"]])

    def test_overlays_that_the_document_shows_render(self):
        text = (rendered.ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
        shown = 0
        for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            if "configMapGenerator:" in block and "bases:" not in block:
                block = "bases:\n- ../thinly/deploy/kubernetes/overlays/per-node\n" + block
            if "bases:" in block:
                shown += 1
                bases, rest = re.match(r"bases:\n((?:- [^\n]*\n)+)(.*)", block, re.DOTALL).groups()
                places = [line.split("/deploy/kubernetes/")[1] for line in bases.splitlines()]
                for _, items in of_ours(rest, *places):
                    rendered.driver(items)
        self.assertEqual(shown, 3)

    def test_extras_join_an_overlay(self):
        for kubectl, items in of_ours("", "overlays/single-node", "extras/pod-monitor"):
            self.assertEqual(len(rendered.of_kind(items, "PodMonitor")), 1, kubectl)
        for kubectl, items in of_ours("", "overlays/microshift", "sidecars/snapshotter"):
            self.assertEqual(len(rendered.of_kind(items, "VolumeSnapshotClass")), 1, kubectl)


def normal(item, suffixed):
    """An object without what versions of kubectl write differently: order, empty maps, suffixes."""
    if isinstance(item, dict):
        return {key: normal(value, suffixed) for key, value in item.items() if value not in ({}, [])}
    if isinstance(item, list):
        return sorted((normal(value, suffixed) for value in item), key=repr)
    return "a name made of contents" if item in suffixed else item
