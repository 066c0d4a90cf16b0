#!/bin/bash
# The part of evacuation.sh that runs in the guest.
set -euo pipefail
mkdir -p /scratch/fio
cd /scratch/fio
fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# Each block is written once, durably, with a checksum and its place in it. fio keeps how far it had come when the trigger came,
# and a later run with that state reads all that was answered until then.
line="--name=w --filename=/dev/thinly/e/web --rw=randwrite --bs=4k --size=384m --direct=1 --sync=dsync --ioengine=libaio --iodepth=16
    --randseed=7 --verify=crc32c --verify_fatal=1 --verify_dump=0 --group_reporting --allow_file_create=0"

interrupted() {
    thinly pool create e /dev/vda /dev/vdb /dev/vdc --raw --data-size 1000M >/dev/null
    thinly volume create e/web --size 512M >/dev/null
    thinly volume activate e/web >/dev/null
    # shellcheck disable=SC2086
    { fio $line --do_verify=0 --verify_state_save=1 --trigger-file=/scratch/fio/now \
        --trigger='touch /scratch/fio/saved' >fio.log 2>&1 </dev/null; touch written; } &
    until thinly --json volume list e >list && grep -q '"mapped_bytes": *[1-9]' list; do sleep 0.2; done
    { thinly pool evacuate e /dev/vdb >evacuate.log 2>&1 </dev/null; touch evacuated; } &
    # Some extents have moved: then is the moment.
    local before
    before=$(used_by vdb)
    while [ "$(used_by vdb)" -gt $((before * 9 / 10)) ]; do
        [ ! -e evacuated ] || fail "the evacuation was over too soon: $(cat evacuate.log)"
        sleep 0.1
    done
    touch now
    while [ ! -e saved ]; do
        [ ! -e written ] || fail "fio was over too soon: $(cat fio.log)"
        sleep 0.1
    done
    sync -f /scratch
}

# What a disk carries of the pool's data, in sectors; as the kernel has it, not as Thinly says.
used_by() {
    local number
    number=$(cat "/sys/block/$1/dev")
    dmsetup table | awk -v disk="$number" '/^thinly-.*data: / && $5 == disk { sum += $3 } END { print sum + 0 }'
}

verify() {
    # shellcheck disable=SC2086
    fio $line --verify_only --verify_state_load=1 --verify_state_save=0 >verify.log 2>&1 || fail "$(cat verify.log)"
    if grep -q 'verify: bad\|verify failed' verify.log; then fail "$(cat verify.log)"; fi
    grep -oE 'read: IOPS.*' verify.log
}

after() {
    thinly pool open e >/dev/null
    [ "$(used_by vdb)" -gt 0 ] || fail "it was over before the cut: this proves nothing"
    thinly volume activate e/web >/dev/null
    verify
    thinly pool evacuate e /dev/vdb >/dev/null
    verify
    thinly --json dm list >list
    if grep -q '"suspended": *true' list; then fail "a device is suspended"; fi
    thinly --json pool show e | tr -d ' \n' >show
    grep -q '"tombstones":\[\]' show && grep -q '"orphans":\[\]' show || fail "unnamed ids: $(cat show)"
    thinly volume deactivate e/web >/dev/null
    thinly pool close e >/dev/null
    thinly pool check e
}

# How many blocks fio had been told of.
written() { grep -oE 'issued rwts: total=[0-9]+' verify.log | grep -oE '[0-9]+$'; }

"$@"
