"""What each service account may do in the cluster: exactly this."""

import unittest

import rendered

READ = "get list watch"
EVENTS = "create list patch update watch"
SNAP, GROUP = "snapshot.storage.k8s.io", "groupsnapshot.storage.k8s.io"
STORAGE = "storage.k8s.io"

# (group, resource): verbs in order
PROVISIONER = {
    ("", "persistentvolumes"): "create delete get list patch watch",
    ("", "persistentvolumeclaims"): "get list update watch",
    ("", "nodes"): READ,
    ("", "events"): EVENTS,
    (STORAGE, "storageclasses"): READ,
    (STORAGE, "csinodes"): READ,
    (STORAGE, "volumeattributesclasses"): "get",
    (SNAP, "volumesnapshots"): "get list update watch",
    (SNAP, "volumesnapshotcontents"): "get list",
}
RESIZER = {
    ("", "persistentvolumes"): "get list patch watch",
    ("", "persistentvolumeclaims"): READ,
    ("", "persistentvolumeclaims/status"): "patch",
    ("", "events"): EVENTS,
    (STORAGE, "volumeattributesclasses"): READ,
}
SNAPSHOTTER = {
    ("", "events"): EVENTS,
    (SNAP, "volumesnapshotclasses"): READ,
    (SNAP, "volumesnapshotcontents"): "get list patch update watch",
    (SNAP, "volumesnapshotcontents/status"): "patch update",
}
GROUP_SNAPSHOTTER = {
    (GROUP, "volumegroupsnapshotclasses"): READ,
    (GROUP, "volumegroupsnapshotcontents"): "get list patch update watch",
    (GROUP, "volumegroupsnapshotcontents/status"): "patch update",
}
CLUSTER_CONTROLLER = {
    (SNAP, "volumesnapshotcontents"): "get list patch watch",
    (SNAP, "volumesnapshots"): "get",
    ("", "persistentvolumeclaims"): "get list patch watch",
    ("", "persistentvolumes"): "get list",
    (GROUP, "volumegroupsnapshotcontents"): "list",
    (STORAGE, "storageclasses"): "get",
}
CAPACITY = {
    (STORAGE, "csistoragecapacities"): "create delete get list patch update watch",
    ("", "pods"): "get",
}
OWNER = {("apps", "replicasets"): "get"}
LEADER = {("coordination.k8s.io", "leases"): "create get update"}
PRIVILEGED = {("security.openshift.io", "securitycontextconstraints", "privileged"): "use"}

# (subject, the namespace that it holds in or None for all): roles
GRANTS = {
    "single-node": {
        ("thinly-provisioner", None): [PROVISIONER],
        ("thinly-provisioner", rendered.NAMESPACE): [CAPACITY | OWNER],
        ("thinly-resizer", None): [RESIZER],
        ("thinly-snapshotter", None): [GROUP_SNAPSHOTTER, SNAPSHOTTER],
    },
    "per-node": {
        ("thinly-node", None): [CLUSTER_CONTROLLER, PROVISIONER, RESIZER, SNAPSHOTTER],
        ("thinly-node", rendered.NAMESPACE): [CAPACITY, LEADER],
    },
    "microshift": {
        ("thinly-provisioner", None): [PROVISIONER],
        ("thinly-provisioner", rendered.NAMESPACE): [CAPACITY | OWNER],
        ("thinly-resizer", None): [RESIZER],
        (f"system:serviceaccounts:{rendered.NAMESPACE}", rendered.NAMESPACE): [PRIVILEGED],
    },
}


def rules(role):
    """The rules of a role, spread out."""
    found = {}
    for rule in role["rules"]:
        if set(rule) - {"apiGroups", "resources", "verbs", "resourceNames"}:
            raise AssertionError(f"a rule of another form: {rule}")
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                key = (group, resource, *rule.get("resourceNames", []))
                if key in found:
                    raise AssertionError(f"{key} is ruled twice")
                found[key] = " ".join(sorted(rule["verbs"]))
    return found


def grants(items):
    """Who may do what where, and which roles are used."""
    found, used = {}, set()
    for binding in rendered.of_kind(items, "ClusterRoleBinding", "RoleBinding"):
        kind = "ClusterRole" if binding["kind"] == "ClusterRoleBinding" else "Role"
        if binding["roleRef"]["kind"] != kind:
            raise AssertionError(f"{rendered.label(binding)} binds another kind of role")
        role = rendered.only(items, kind, binding["roleRef"]["name"])
        used.add(rendered.label(role))
        space = binding["metadata"].get("namespace")
        if space != role["metadata"].get("namespace"):
            raise AssertionError(f"{rendered.label(binding)} is not where its role is")
        for subject in binding["subjects"]:
            if subject["kind"] == "ServiceAccount":
                account = rendered.only(items, "ServiceAccount", subject["name"])
                if account["metadata"]["namespace"] != subject["namespace"]:
                    raise AssertionError(f"{rendered.label(binding)} names an account elsewhere")
            found.setdefault((subject["name"], space), []).append((role["metadata"]["name"], rules(role)))
    return {key: [held for _, held in sorted(roles, key=lambda r: r[0])] for key, roles in found.items()}, used


class Access(unittest.TestCase):
    maxDiff = None

    def test_every_account_may_do_exactly_this(self):
        for name in rendered.OVERLAYS:
            with self.subTest(name):
                self.assertEqual(grants(rendered.overlay(name))[0], GRANTS[name])

    def test_no_role_and_no_account_is_left_over(self):
        for name in rendered.OVERLAYS:
            items = rendered.overlay(name)
            roles = {rendered.label(r) for r in rendered.of_kind(items, "ClusterRole", "Role")}
            self.assertEqual(roles, grants(items)[1], name)
            accounts = {a["metadata"]["name"] for a in rendered.of_kind(items, "ServiceAccount")}
            pods = {rendered.pod(w)["serviceAccountName"] for w in rendered.workloads(items)}
            self.assertEqual(accounts, pods, name)

    def test_nothing_is_allowed_at_large(self):
        seen = 0
        for where, item in rendered.everything():
            if item["kind"] in ("ClusterRole", "Role"):
                for key, verbs in rules(item).items():
                    seen += 1
                    self.assertNotIn("*", "".join(key) + verbs, where)
                    self.assertNotIn(key[1], ("secrets", "serviceaccounts/token", "pods/exec"), where)
                    for verb in ("escalate", "bind", "impersonate", "deletecollection"):
                        self.assertNotIn(verb, verbs.split(), where)
        self.assertGreater(seen, 50)

    def test_the_extra_for_openshift_is_what_microshift_has(self):
        held, _ = grants(rendered.extra("openshift"))
        subject = (f"system:serviceaccounts:{rendered.NAMESPACE}", rendered.NAMESPACE)
        self.assertEqual(held, {subject: [PRIVILEGED]})
