#!/bin/bash
# `make crash`: every proof that nothing acknowledged is lost, no thin id leaks and no device stays frozen, one after the
# other, and a table of what they came to. Half an hour or more on two processors.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
log=$(mktemp -d "${TMPDIR:-/var/tmp}/thinly-crash.XXXXXX")
trap 'rm -rf "$log"' EXIT

title() { printf '\n\033[1m%s\033[0m\n' "$*"; }
failed=()
# Runs one proof; its output is shown when it fails, its lines of numbers are kept.
prove() {
    local name=$1
    shift
    title "$name"
    local start=$SECONDS
    if "$@" >"$log/$name" 2>&1; then
        printf '  passed in %d s\n' $((SECONDS - start))
    else
        failed+=("$name")
        sed '/^--- kernel log/,/^--- end of kernel log/d' "$log/$name" | tail -60
        printf '  \033[31mFAILED\033[0m after %d s\n' $((SECONDS - start))
    fi
    grep -hoE '(proof |enumeration:|power cuts:).*=.*' "$log/$name" | sed 's/^/  /' || true
}
# The sum of a number over all proofs: its name is followed by `=`.
sum() { grep -hoE '(proof |enumeration:|power cuts:).*=.*' "$log"/* | grep -oE "(^| )$1=[0-9]+" | cut -d= -f2 | paste -sd+ | bc; }

export CARGO_TERM_QUIET=true
prove enumeration env THINLY_ENUMERATION=full \
    cargo test --package thinly-engine --lib plan::enumeration -- --nocapture
prove journal cargo test --package thinly-engine --lib journal::
prove power-cuts "$here/../powercut/run.sh"
# shellcheck disable=SC2086 # PROGRAMS is a list of options.
prove kills-and-io-errors "$GUEST" run --log --timeout 2700 $PROGRAMS --cargo-tests thinly-tests -- \
    'THINLY_CRASH=full engine --nocapture --test-threads 3 kills:: io_errors:: reaping_many::'
prove resets "$here/resets.sh"
prove evacuation "$here/evacuation.sh"
for proof in chaos reboots; do
    # shellcheck disable=SC2086
    prove "driver-$proof" env THINLY_CRASH=full "$GUEST" test --package thinly-tests $PROGRAMS --timeout 900 \
        --show-output --filter "csi $proof::"
done

title "What it came to"
row() { printf '  %-28s %12s\n' "$1" "$(sum "$2" || true)"; }
row "states enumerated" states
row "power cuts replayed" replayed
row "pools opened after a cut" opened
row "kills survived" killed
row "hard resets survived" resets
row "windows of I/O errors" windows
row "operations acknowledged" acknowledged
row "operations lost" lost
row "thin ids leaked" leaked
row "devices left suspended" suspended
if [ ${#failed[@]} != 0 ]; then
    printf '\n\033[31mFAILED: %s\033[0m\n' "${failed[*]}"
    exit 1
fi
for what in lost leaked suspended; do
    [ "$(sum $what)" = 0 ] || { printf '\n\033[31m%s is not 0\033[0m\n' "$what"; exit 1; }
done
printf '\n\033[1;32mNothing lost, nothing leaked, nothing frozen.\033[0m\n'
