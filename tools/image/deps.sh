#!/bin/bash
# Installs what building and trying the image needs beside the test bed, if it is missing.
set -euo pipefail
command -v buildah >/dev/null && exit 0
if ! command -v apt-get >/dev/null; then
    echo "the image's test needs buildah; without apt, install it by hand" >&2
    exit 1
fi
sudo=()
[ "$(id -u)" = 0 ] || sudo=(sudo)
echo 'installing buildah' >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { "${sudo[@]}" apt-get update &&
    "${sudo[@]}" apt-get install --yes --no-install-recommends buildah; } >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    exit 1
fi
