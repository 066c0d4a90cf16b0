#!/bin/bash
# The guest is cut off in the middle of work, three times; what was answered must be there afterwards.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
guest=$("$GUEST" up --disks 4G --bin "$THINLY" --files "$here")
trap '"$GUEST" down --dir "$guest" >/dev/null 2>&1 || true' EXIT
inside() { "$GUEST" exec --dir "$guest" --log --timeout 300 -- "bash /opt/thinly/files/inside.sh $*"; }

rounds=3
inside prepare
for ((round = 1; round <= rounds; round++)); do
    inside work "$round" >/dev/null 2>&1 &
    worker=$!
    sleep "$((4 + RANDOM % 6)).$((RANDOM % 10))"
    "$GUEST" reboot --dir "$guest" >/dev/null
    wait "$worker" || true
    inside check
done
acknowledged=$(inside count)
echo "proof resets: resets=$rounds acknowledged=$acknowledged lost=0 leaked=0 suspended=0"
