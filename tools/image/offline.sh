# To be sourced: all that building the driver's image takes without a registry. Afterwards `build.sh TAG` builds it from
# the programs in RELEASE and from a base that is made here, into images of this run's own; `scratch` is a directory.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
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
    quietly env BASE=localhost/base STAGE=tools "$root/tools/image/build.sh" localhost/tools
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

mkdir "$scratch/tools" "$scratch/programs"
"${as_root[@]}" tar --extract --numeric-owner --same-permissions --file "$kept" --directory "$scratch/tools"
cp "$RELEASE/thinly" "$RELEASE/thinly-csi" "$scratch/programs"
export TOOLS=$scratch/tools PROGRAMS=$scratch/programs
