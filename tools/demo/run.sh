#!/bin/bash
# `make demo`: the main job on a real dm-thin kernel. In the guest by default, which is hard-reset half-way; with
# HOST=1 on this machine's own kernel, on sparse files behind loop devices, where closing the pool stands in for the reset.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if [ "${HOST:-}" = 1 ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "HOST=1 makes devices on this machine: run it as root" >&2
        exit 77
    fi
    modprobe -q dm_thin_pool || true
    if ! grep -q device-mapper /proc/misc; then
        echo "this kernel has no device-mapper; leave out HOST=1 to use the guest" >&2
        exit 10
    fi
    PATH="$(dirname "$THINLY"):$PATH"
    dir=$(mktemp -d)
    loops=()
    cleanup() {
        bash "$here/inside.sh" clean || true
        for loop in "${loops[@]}"; do losetup --detach "$loop"; done
        rm -rf "$dir"
    }
    trap cleanup EXIT
    for disk in one two three; do
        truncate -s 8G "$dir/$disk"
        loops+=("$(losetup --find --show "$dir/$disk")")
    done
    export DEMO_STATE="$dir/state" DEMO_POOL="demo-$$"
    bash "$here/inside.sh" before "${loops[0]}" "${loops[1]}"
    bash "$here/inside.sh" close
    bash "$here/inside.sh" after
    PATH="$(dirname "$CSI_DEMO"):$PATH" bash "$here/inside.sh" csi "${loops[2]}"
    exit 0
fi

printf 'Booting the guest (its own kernel, three fresh disks of 8 GiB)...\n'
start=$EPOCHREALTIME
guest=$("$GUEST" up --disks '8G 8G 8G' --bin "$THINLY" --bin "$THINLY_CSI" --bin "$CSI_DEMO" --files "$here")
trap '"$GUEST" down --dir "$guest" >/dev/null 2>&1 || true' EXIT
printf '  booted in %.1f s\n' "$(bc <<<"${EPOCHREALTIME/,/.} - ${start/,/.}" 2>/dev/null || echo 0)"
inside() {
    "$GUEST" exec --dir "$guest" --log --timeout 300 \
        -- "DEMO_STATE=/scratch/demo DEMO_POOL=demo bash /opt/thinly/files/inside.sh $*"
}
inside before /dev/vda /dev/vdb
printf '\n\033[1m Power off, power on: the guest is reset in the middle of everything\033[0m\n'
"$GUEST" reboot --dir "$guest" >/dev/null
inside after
inside csi /dev/vdc
