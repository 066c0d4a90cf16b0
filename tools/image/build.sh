#!/bin/bash
# Builds the driver's image with what this machine has: build.sh TAG. From the environment, all optional:
# BASE and BUILDER (images to start from), PROGRAMS (a directory with static programs, so that nothing is compiled),
# TOOLS (a directory to take instead of the stage of that name), STAGE (stop there), ARCHIVE (write the image there).
set -euo pipefail
tag=$1
root=$(cd "$(dirname "$0")/../.." && pwd)

for engine in ${ENGINE:-buildah podman docker} ''; do
    if [ -z "$engine" ]; then
        echo 'none of buildah, podman and docker is here to build an image with' >&2
        exit 1
    fi
    ! command -v "$engine" >/dev/null || break
done
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -1)
options=(--file "$root/deploy/image/Dockerfile" --tag "$tag" --build-arg "VERSION=$version")
for name in BASE BUILDER; do
    [ -z "${!name:-}" ] || options+=(--build-arg "$name=${!name}")
done
for name in PROGRAMS TOOLS; do
    [ -z "${!name:-}" ] || options+=(--build-context "${name,,}=$(realpath "${!name}")")
done
[ -z "${STAGE:-}" ] || options+=(--target "$STAGE")
if [ "$engine" = docker ]; then
    export DOCKER_BUILDKIT=1
else
    # The time in the image is that of the sources, so that the same sources and base give the same image.
    made=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || stat -c %Y "$root/CHANGELOG.md")}
    options+=(--ignorefile "$root/deploy/image/Dockerfile.dockerignore" --timestamp "$made" --layers=false)
fi
"$engine" build "${options[@]}" "$root"
case ${ARCHIVE:+$engine} in
'') ;;
buildah) buildah push --quiet "$tag" "oci-archive:$ARCHIVE:$tag" ;;
podman) podman save --quiet --format oci-archive --output "$ARCHIVE" "$tag" ;;
docker) docker save --output "$ARCHIVE" "$tag" ;;
esac
