"""Schemas of the kinds that Kubernetes itself does not have: the fields that we use, and no others."""


def string(**more):
    return {"type": "string", "minLength": 1, **more}


def words(*allowed):
    return {"type": "string", "enum": list(allowed)}


def mapping(required=(), **properties):
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def listing(of):
    return {"type": "array", "items": of, "minItems": 1}


STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
METADATA = mapping(["name"], name=string(), namespace=string(), labels=STRINGS, annotations=STRINGS)


def kind(required, **properties):
    top = {"apiVersion": string(), "kind": string(), "metadata": METADATA, **properties}
    return mapping(["apiVersion", "kind", "metadata", *required], **top)


SNAPSHOT_CLASS = kind(
    ["driver", "deletionPolicy"],
    driver=string(),
    deletionPolicy=words("Delete", "Retain"),
    parameters=STRINGS,
)
SELECTOR = mapping(["matchLabels"], matchLabels=STRINGS)
ENDPOINT = mapping(
    ["port"],
    port=string(),
    path=string(pattern="^/"),
    interval=string(pattern="^[0-9]+(ms|s|m|h)$"),
    relabelings=listing(
        mapping(["sourceLabels", "targetLabel"], sourceLabels=listing(string()), targetLabel=string())
    ),
)
CLAIM_SET = mapping(
    ["accessModes"],
    accessModes=listing(words("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")),
    volumeMode=words("Block", "Filesystem"),
)

SCHEMAS = {
    ("snapshot.storage.k8s.io/v1", "VolumeSnapshotClass"): SNAPSHOT_CLASS,
    ("groupsnapshot.storage.k8s.io/v1", "VolumeGroupSnapshotClass"): SNAPSHOT_CLASS,
    ("snapshot.storage.k8s.io/v1", "VolumeSnapshot"): kind(
        ["spec"],
        spec=mapping(
            ["source"],
            volumeSnapshotClassName=string(),
            source=mapping(["persistentVolumeClaimName"], persistentVolumeClaimName=string()),
        ),
    ),
    ("groupsnapshot.storage.k8s.io/v1", "VolumeGroupSnapshot"): kind(
        ["spec"],
        spec=mapping(
            ["source"],
            volumeGroupSnapshotClassName=string(),
            source=mapping(["selector"], selector=SELECTOR),
        ),
    ),
    ("monitoring.coreos.com/v1", "PodMonitor"): kind(
        ["spec"],
        spec=mapping(
            ["selector", "podMetricsEndpoints"], selector=SELECTOR, podMetricsEndpoints=listing(ENDPOINT)
        ),
    ),
    ("cdi.kubevirt.io/v1beta1", "StorageProfile"): kind(
        ["spec"],
        spec=mapping(
            claimPropertySets=listing(CLAIM_SET),
            cloneStrategy=words("copy", "snapshot", "csi-clone"),
            dataImportCronSourceFormat=words("pvc", "snapshot"),
            snapshotClass=string(),
        ),
    ),
}
