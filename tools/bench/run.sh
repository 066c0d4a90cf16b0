#!/bin/bash
# Runs every benchmark in one guest and what needs no kernel on this host, and with EXTENT=full
# writes docs/benchmarks.md and its pictures anew. GUEST and BIN come from the Makefile. RESULTS names
# a directory that keeps what was measured, as JSON; `thinly-bench report` reads it.
set -euo pipefail

extent=${EXTENT:-full}
results=${RESULTS:-}
if [ -z "$results" ]; then
    results=$(mktemp -d)
    trap 'rm -rf "$results"' EXIT
fi
mkdir -p "$results"

# Sparse on the host: a catalogue of 100,000 volumes needs the journal of a large disk.
DISKS='80G 80G 80G' EXTENT=$extent $GUEST run --log --timeout 3600 --env "EXTENT=$extent" --env "GROUPS_WANTED=${GROUPS_WANTED:-}" \
    --bin "$BIN/thinly-bench" --bin "$BIN/thinly-csi" --bin "$BIN/thinly-csi-rate" -- '
        set -e
        wanted=${GROUPS_WANTED:+--groups $GROUPS_WANTED}
        thinly-bench run $DISKS --extent $EXTENT $wanted
        [ -n "$GROUPS_WANTED" ] || thinly-csi-rate $DISKS --extent $EXTENT' >"$results/guest.json"
"$BIN/thinly-bench" run --extent "$extent" >"$results/native.json"
if [ "$extent" = full ] && [ -z "${GROUPS_WANTED:-}" ]; then
    "$BIN/thinly-bench" report "$results/guest.json" "$results/native.json" --docs docs
    echo 'docs/benchmarks.md is written anew'
fi
