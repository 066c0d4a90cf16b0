#!/bin/bash
# Makes the pool that stands for this release in tests/pools: once, when the release is made. Needs root or a user who
# can run the guest; refuses to replace one.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$here/../../tests/pools/$("$THINLY" --version | cut -d' ' -f2)
[ ! -e "$out" ] || { echo "$out is there: what a release wrote is not written again" >&2; exit 1; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$GUEST" run --log --timeout 300 --disks '128M 128M' --keep-disks "$scratch" --bin "$THINLY" --files "$here" -- \
    'bash /opt/thinly/files/inside.sh'
mkdir -p "$out"
number=0
for disk in "$scratch"/*; do
    gzip -9n <"$disk" >"$out/disk$number.gz"
    number=$((number + 1))
done
ls -l "$out"
