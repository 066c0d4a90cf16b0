#!/bin/bash
# The driver's image: built from programs that are there and from a base that is made here (no registry is asked), what
# is in it, and the driver's own tests against it: in the guest, as a container. GUEST and RELEASE are in the environment.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/offline.sh"
mkdir "$scratch/files" "$scratch/bin"
# What is compiled in an image is what the ignore file lets in: every member of the workspace, or cargo reads none.
for member in $(sed -n 's/^members = \[\(.*\)\]/\1/p' "$root/Cargo.toml" | tr -d '",'); do
    grep --quiet --line-regexp --fixed-strings "!${member%%/*}" "$root/deploy/image/Dockerfile.dockerignore" || {
        echo "deploy/image/Dockerfile.dockerignore leaves $member out, without which nothing is compiled" >&2
        exit 1
    }
done
quietly env ARCHIVE="$scratch/thinly-csi.tar" "$here/build.sh" localhost/thinly-csi
quietly "$here/build.sh" localhost/again
identity() { buildah inspect --type image --format '{{.FromImageID}}' "$1"; }
same() { # WHAT WANTED FOUND
    [ "$2" = "$3" ] || {
        echo "the image's $1 is '$3' and should be '$2'" >&2
        exit 1
    }
}
same 'identity, built again,' "$(identity localhost/thinly-csi)" "$(identity localhost/again)"

container=$(buildah from localhost/thinly-csi)
# shellcheck disable=SC2016
"${as_root[@]}" sh -c 'tar --create --numeric-owner --directory "$(buildah mount "$1")" .' - "$container" \
    >"$scratch/files/rootfs.tar"
"$here/check.sh" "$scratch/files/rootfs.tar"
setting() { buildah inspect --type image --format "{{.OCIv1.Config.$1}}" localhost/thinly-csi; }
version=$("$RELEASE/thinly-csi" --version)
same 'entry point' '[/usr/bin/thinly-csi]' "$(setting Entrypoint)"
same user 0:0 "$(setting User)"
same label "${version#* }" "$(setting 'Labels | printf "%s"' | sed -n 's/.*image\.version:\([^] ]*\).*/\1/p')"
runs() { # every program, in the image and nowhere else: its libraries are there
    buildah run "$container" -- "$@" 2>&1
}
same version "$version" "$(runs thinly-csi --version)"
runs thinly --version >/dev/null
for call in 'mkfs.ext4 -V' 'fsck.ext4 -V' 'mkfs.xfs -V' 'xfs_growfs -V' 'mkfs.btrfs --version' 'btrfs --version' \
    'thin_repair --version'; do
    # shellcheck disable=SC2086
    quietly runs $call
done
# It has no option that only tells its version.
{ runs resize2fs || true; } | grep '^resize2fs 1\.' >/dev/null

cp "$here/container.sh" "$scratch/bin/thinly-csi"
"$GUEST" test --package thinly-tests --bin "$RELEASE/thinly" --bin "$scratch/bin/thinly-csi" --files "$scratch/files" \
    --filter 'csi life::' --filter 'csi limits::' --filter 'csi restarts::a_life'
