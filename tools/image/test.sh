#!/bin/bash
# The driver's image: built from programs that are there and from a base that is made here (no registry is asked), what
# is in it, and the driver's own tests against it: in the guest, as a container. GUEST and RELEASE are in the environment.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
suite=trixie
PATH=$PATH:/usr/sbin:/sbin
cache=${THINLY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/thinly}
mkdir -p "$cache"
scratch=$(mktemp -d)

# Without root, all that touches an image happens where we are taken for root.
as_root=()
[ "$(id -u)" = 0 ] || as_root=(buildah unshare)
trap '"${as_root[@]}" rm -rf "$scratch"' EXIT

# Images of this run's own, kept in a way that every filesystem and every kernel knows.
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' \
    "$scratch/images" "$scratch/run" >"$scratch/storage.conf"
export CONTAINERS_STORAGE_CONF=$scratch/storage.conf STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot ENGINE=buildah

quietly() { # what it says is shown when it fails
    "$@" >"$scratch/log" 2>&1 </dev/null || {
        cat "$scratch/log" >&2
        exit 1
    }
}

# What the base gives changes with what is asked of it; until then it is kept.
make_tools() {
    echo 'building the base of the image and what is taken from it (once, a minute or two)...' >&2
    quietly mmdebstrap --quiet --variant=minbase --format=tar "$suite" "$scratch/base.tar"
    local container
    container=$(buildah from scratch)
    quietly buildah add --quiet "$container" "$scratch/base.tar" /
    quietly buildah commit --quiet "$container" localhost/base
    quietly env BASE=localhost/base STAGE=tools "$here/build.sh" localhost/tools
    container=$(buildah from localhost/tools)
    # shellcheck disable=SC2016
    "${as_root[@]}" sh -c 'tar --create --numeric-owner --directory "$(buildah mount "$1")" .' - "$container" \
        >"$1.part"
    mv "$1.part" "$1"
}
key=$({ echo "$suite"; cat "$root/deploy/image/Dockerfile" "$root/deploy/image/collect.sh"; } | sha256sum | cut -c1-16)
kept=$cache/image-tools-$key.tar
exec 9>"$cache/image-tools.lock"
flock 9
if [ ! -e "$kept" ]; then make_tools "$kept" 9>&-; fi
exec 9>&-

mkdir "$scratch/tools" "$scratch/programs" "$scratch/files" "$scratch/bin"
"${as_root[@]}" tar --extract --numeric-owner --same-permissions --file "$kept" --directory "$scratch/tools"
cp "$RELEASE/thinly" "$RELEASE/thinly-csi" "$scratch/programs"
export TOOLS=$scratch/tools PROGRAMS=$scratch/programs
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
