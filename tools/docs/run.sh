#!/bin/bash
# Runs every shell block of the README and of the quick start in the guest, in order, one shell for each page.
# What cannot be run there says why in the page, and is listed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$here/../package/deb.sh" "$THINLY" "$scratch/target/debian" >/dev/null
blocks() { awk -f "$here/blocks.awk" -v host="$1" -v name="$2" "$root/$2"; } # 1 for those on the host
pages=(README.md docs/quick-start.md)
for page in "${pages[@]}"; do
    {
        cat "$here/prelude.sh"
        # The pool of the other machine; the quick start makes its own.
        [ "$page" != README.md ] || echo 'thinly pool create p1 /dev/vdd >/dev/null'
        blocks 0 "$page"
    } >"$scratch/$(basename "$page").sh"
done
# A page that lost its blocks would pass as well.
for page in "${pages[@]}"; do
    grep -q '^block ' "$scratch/$(basename "$page").sh" || { echo "$page has no shell block" >&2; exit 1; }
done
# What the pages say of `make` is known to it.
grep -hoE '^make( [A-Za-z]+=[^ ]+)* [a-z-]+' "$root/README.md" "$root/docs/quick-start.md" | sort -u |
    while read -r _ words; do
        target=${words##* }
        grep -qE "^$target:" "$root/Makefile" || { echo "there is no make $target" >&2; exit 1; }
    done
for page in "${pages[@]}"; do
    echo "== $page"
    # shellcheck disable=SC2016
    "$GUEST" run --log --timeout 300 --disks '4G 4G 4G 4G' --files "$scratch" -- \
        "cd /opt/thinly/files && bash $(basename "$page").sh"
done
echo "== on the host"
for page in "${pages[@]}"; do
    blocks 1 "$page" | sed "s/^block /echo -- /" >"$scratch/host"
    (cd "$root" && bash -euo pipefail "$scratch/host")
done
echo "shell blocks: $(cat "$scratch"/*.sh | grep -c '^block ') run," \
    "$(cat "$scratch"/*.sh | grep -c '^skipped ') not"
