"""Every object, and every example of the documents, is what Kubernetes takes."""

import copy
import json
import re
import unittest

import jsonschema
import kubernetes_validate
import yaml

import rendered
from crd_schemas import SCHEMAS

# The oldest that is spoken of in docs/kubernetes.md, and the newest that there are schemas of.
VERSIONS = ("1.30", "1.34", "1.37")
# Kinds that came later.
SINCE = {"VolumeAttributesClass": (1, 34)}
EXAMPLES = rendered.ROOT / "docs" / "kubernetes.md"


def check(item):
    """Raises what is wrong with an object; returns against how many schemas it was held."""
    own = SCHEMAS.get((item["apiVersion"], item["kind"]))
    if own:
        jsonschema.validate(item, own)
        return 1
    since = SINCE.get(item["kind"], (0, 0))
    versions = [v for v in VERSIONS if tuple(map(int, v.split("."))) >= since]
    for version in versions:
        kubernetes_validate.validate(item, version, strict=True)
    return len(versions)


def examples():
    """The objects in the document's YAML."""
    text = EXAMPLES.read_text(encoding="utf-8")
    for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for item in yaml.safe_load_all(block):
            if "apiVersion" in item and "metadata" in item:
                yield item


class Schemas(unittest.TestCase):
    def test_every_object_is_valid(self):
        # What overlays have in common once.
        different = {json.dumps(item, sort_keys=True): (where, item) for where, item in rendered.everything()}
        held = 0
        for where, item in different.values():
            with self.subTest(where):
                held += check(item)
        self.assertGreater(held, 100)

    def test_every_example_is_valid(self):
        found = list(examples())
        for item in found:
            with self.subTest(rendered.label(item)):
                self.assertGreaterEqual(check(item), 1)
        kinds = {item["kind"] for item in found}
        self.assertLessEqual({"PersistentVolumeClaim", "Pod", "VolumeSnapshot"}, kinds)

    def test_classes_that_examples_name_are_there(self):
        items = rendered.overlay("single-node") + rendered.extra("volume-attributes")
        names = {(item["kind"], item["metadata"]["name"]) for item in items}
        asked = {
            "storageClassName": "StorageClass",
            "volumeSnapshotClassName": "VolumeSnapshotClass",
            "volumeGroupSnapshotClassName": "VolumeGroupSnapshotClass",
            "volumeAttributesClassName": "VolumeAttributesClass",
        }
        seen = set()
        for item in examples():
            for field, kind in asked.items():
                if field in item["spec"]:
                    self.assertIn((kind, item["spec"][field]), names)
                    seen.add(kind)
        self.assertLessEqual({"StorageClass", "VolumeSnapshotClass"}, seen)

    def test_mistakes_are_found(self):
        """The checks above can fail."""
        items = rendered.overlay("single-node") + rendered.extra("pod-monitor")
        mistakes = (
            ("DaemonSet", ("spec", "template", "spec", "hostPid"), True),
            ("DaemonSet", ("spec", "updateStrategy", "rollingUpdate", "maxUnavailable"), []),
            ("CSIDriver", ("spec", "attachRequired"), "no"),
            ("StorageClass", ("allowVolumeExpansions",), True),
            ("VolumeSnapshotClass", ("deletionPolicy",), "Keep"),
            ("PodMonitor", ("spec", "podMetricEndpoints"), []),
        )
        for kind, path, value in mistakes:
            item = copy.deepcopy(rendered.of_kind(items, kind)[0])
            check(item)
            place = item
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = value
            with self.assertRaises(jsonschema.ValidationError, msg=f"{kind} {path}"):
                check(item)
