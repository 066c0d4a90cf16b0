"""The manifests as kubectl renders them, each overlay once for each kubectl."""

import functools
import os
import pathlib
import subprocess

import yaml

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TREE = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("single-node", "per-node", "microshift")
EXTRAS = tuple(sorted(path.name for path in (TREE / "extras").iterdir()))
KUBECTLS = os.environ["THINLY_KUBECTLS"].split(":")
NAMESPACE = "thinly-system"


@functools.lru_cache(maxsize=None)
def render_with(kubectl, directory):
    """Every object of a directory, in the order that it is applied in."""
    done = subprocess.run(
        [kubectl, "kustomize", str(directory)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise AssertionError(f"{kubectl} cannot render {directory}:\n{done.stderr}")
    return [item for item in yaml.safe_load_all(done.stdout) if item is not None]


def render(directory):
    """The same by the newest kubectl."""
    return render_with(KUBECTLS[-1], directory)


def overlay(name):
    return render(TREE / "overlays" / name)


def extra(name):
    return render(TREE / "extras" / name)


def everything():
    """Every object with the words that a failure is told by."""
    for name in OVERLAYS:
        for item in overlay(name):
            yield f"{name}: {label(item)}", item
    for name in EXTRAS:
        for item in extra(name):
            yield f"extras/{name}: {label(item)}", item


def label(item):
    return f"{item['kind']} {item['metadata']['name']}"


def of_kind(items, *kinds):
    return [item for item in items if item["kind"] in kinds]


def only(items, kind, name):
    found = [item for item in of_kind(items, kind) if item["metadata"]["name"] == name]
    if len(found) != 1:
        raise AssertionError(f"there are {len(found)} of {kind} {name}")
    return found[0]


def workloads(items):
    """What has pods."""
    return of_kind(items, "DaemonSet", "Deployment")


def pod(workload):
    return workload["spec"]["template"]["spec"]


def containers(items):
    """Every container, with its pod."""
    for workload in workloads(items):
        for container in pod(workload)["containers"]:
            yield container, pod(workload)


def driver(items):
    """The driver's container."""
    found = [container for container, _ in containers(items) if container["name"] == "thinly-csi"]
    if len(found) != 1:
        raise AssertionError(f"there are {len(found)} containers of the driver")
    return found[0]


def values(item):
    """Every scalar in an object."""
    if isinstance(item, dict):
        for value in item.values():
            yield from values(value)
    elif isinstance(item, list):
        for value in item:
            yield from values(value)
    else:
        yield item
