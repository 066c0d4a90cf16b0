#!/bin/bash
# The driver's image and manifests under kubelet: a node of Kubernetes in the guest, with a control plane of its own, and
# WALK on it. GUEST, RELEASE and WALK (the program) are in the environment.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../image/offline.sh"
. "$here/../debian.sh"
programs=$("$here/programs.sh")
kubectl=$("$here/../manifests/run.sh" --kubectl)
files=$scratch/files
mkdir -p "$files/bin" "$files/images" "$scratch/debian" "$scratch/busybox/bin"

debian trixie deb "$scratch/debian" download containerd busybox-static
for package in "$scratch"/debian/*.deb; do
    dpkg-deb --extract "$package" "$scratch/debian/root"
done
"$kubectl" kustomize "$here/kubelet" >"$files/manifests.yaml"

# What pods run: a shell and its programs. The sandbox of a pod is the same image.
cp "$scratch/debian/root/usr/bin/busybox" "$scratch/busybox/bin"
for applet in $("$scratch/busybox/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln --symbolic busybox "$scratch/busybox/bin/$applet"
done
image() { # NAME FROM TO ENTRY-POINT
    local container
    container=$(buildah from scratch)
    quietly buildah copy --quiet "$container" "$2" "$3"
    quietly buildah config --entrypoint "$4" --env PATH=/bin "$container"
    quietly buildah commit --quiet "$container" "$1"
}
image localhost/busybox:1 "$scratch/busybox" / '["/bin/sleep", "1000000"]'
registrar=$(sed -n 's|^ *image: \(.*/csi-node-driver-registrar:.*\)|\1|p' "$files/manifests.yaml")
image "$registrar" "$programs/registrar" /registrar '["/registrar"]'
driver=docker.io/library/thinly-csi:latest
quietly "$here/../image/build.sh" "$driver"
for name in localhost/busybox:1 "$registrar" "$driver"; do
    quietly buildah push --quiet "$name" "docker-archive:$files/images/$(basename "${name%:*}").tar:$name"
done

cp "$here/crds.yaml" "$here/node.sh" "$here/until_true.sh" "$files"
cp "$kubectl" "$files/bin/kubectl"
cp "$programs"/kube* "$(command -v etcd)" "$WALK" "$files/bin"
cp "$scratch"/debian/root/usr/bin/{containerd,containerd-shim-runc-v2,ctr} "$files/bin"
openssl genrsa -out "$files/accounts.key" 2048 2>/dev/null
"$GUEST" run --memory-mib 6144 --disks '10G 10G' --bin "$RELEASE/thinly" --files "$files" -- \
    /opt/thinly/files/node.sh thinly-kubelet /dev/vda /dev/vdb
