#!/bin/bash
# Runs every fuzz target, or those named, for FUZZ_SECONDS each. Needs no nightly compiler: the
# coverage that libFuzzer steers by is a pass of LLVM that a stable compiler runs as well.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
seconds=${FUZZ_SECONDS:-20}
host=$(rustc -vV | sed -n 's/^host: //p')
# A build directory of its own: these flags fit nothing else.
target=${CARGO_TARGET_DIR:-$here/../target}/fuzz
targets=("$@")
if [ ${#targets[@]} = 0 ]; then
    for file in "$here"/fuzz_targets/*.rs; do
        targets+=("$(basename "$file" .rs)")
    done
fi

if ! command -v c++ >/dev/null; then
    command -v apt-get >/dev/null || { echo "libFuzzer needs a C++ compiler" >&2; exit 1; }
    sudo=()
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    echo "installing g++, for libFuzzer" >&2
    "${sudo[@]}" apt-get install --yes --no-install-recommends g++ >/dev/null </dev/null
fi
cover=-Cllvm-args=-sanitizer-coverage
CARGO_TARGET_DIR=$target CARGO_BUILD_TARGET=$host \
    RUSTFLAGS="-Cpasses=sancov-module $cover-level=4 $cover-inline-8bit-counters $cover-pc-table \
$cover-trace-compares --cfg fuzzing" \
    cargo build --quiet --release --locked --manifest-path "$here/Cargo.toml"

broken=()
total=0
for name in "${targets[@]}"; do
    # What a run finds on its way stays out of the tree; a crash is printed with its place.
    grown=$target/corpus/$name
    crashes=$target/crashes/$name
    log=$target/$name.log
    mkdir -p "$grown" "$crashes"
    if "$target/$host/release/$name" -max_total_time="$seconds" -timeout=25 -rss_limit_mb=2048 \
        -use_value_profile=1 -max_len=16384 -print_final_stats=1 -artifact_prefix="$crashes/" \
        "$grown" "$here/corpus/$name" >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        covered=$(sed -n 's/.*\bcov: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
        printf '%-16s %10d executions, %5d edges\n' "$name" "$runs" "$covered"
        total=$((total + runs))
    else
        broken+=("$name")
        printf '%-16s BROKEN, see %s\n' "$name" "$log"
        grep -E "panicked at|ERROR: libFuzzer|Test unit written" -A 1 "$log" | head -n 12
    fi
done
if [ ${#broken[@]} != 0 ]; then
    echo "fuzz: ${broken[*]} broke a promise; the inputs are in $target/crashes"
    exit 1
fi
echo "fuzz: ${#targets[@]} targets, $total executions, nothing found"
