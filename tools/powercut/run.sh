#!/bin/bash
# `make powercut`: records work below dm-log-writes in the guest, replays the log here to every durable moment, and lets
# the guest's kernel open the pool at some of them meanwhile. Ends with one line that counts what was found.
set -euo pipefail

work=$(mktemp -d "${TMPDIR:-/var/tmp}/thinly-powercut.XXXXXX")
guest=
cleanup() {
    [ -z "$guest" ] || "$GUEST" down --dir "$guest" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap cleanup EXIT

guest=$("$GUEST" up --disks '128M 1G' --keep-disks "$work" --bin "$POWERCUT")
inside() {
    "$GUEST" exec --dir "$guest" --log --timeout 900 -- "$*"
}
# A disk of 128 MiB for the pool, another one for the log, which is read here from the disk's file.
inside thinly-powercut record /dev/vda /dev/vdb --steps "${STEPS:-900}" --seed "${SEED:-1}"
inside thinly-powercut open /dev/vdb --moments "${OPENS:-60}" >"$work/opened.json" &
opening=$!
"$POWERCUT" judge "$work/disk01.img" --directory "$work" --parts 3 >"$work/judged.json"
wait "$opening"
"$POWERCUT" report "$work/judged.json" "$work/opened.json"
