#!/bin/bash
# The part of resets.sh that runs in the guest.
set -euo pipefail
answers=/scratch/answers
sum_of_keeper() { dd if=/dev/thinly/r/keeper bs=1M count=8 iflag=direct status=none | md5sum; }
fail() {
    echo "FAILED: $*" >&2
    exit 1
}

prepare() {
    thinly pool create r /dev/vda >/dev/null
    thinly volume create r/keeper --size 64M >/dev/null
    thinly volume activate r/keeper >/dev/null
    dd if=/dev/urandom of=/dev/thinly/r/keeper bs=1M count=8 oflag=direct status=none
    sum_of_keeper >/scratch/sum
    : >"$answers"
    sync -f /scratch
}

# `+ name` once it was answered that it is there, `? name` before its deletion is asked for, `- name` after that.
note() { echo "$*" >>"$answers" && sync "$answers"; }

work() {
    local round=$1 number
    for ((number = 1; ; number++)); do
        local name=$round-$number
        thinly volume create "r/v$name" --size 64M && note "+ v$name"
        thinly snapshot create r/keeper "s$name" && note "+ s$name"
        thinly volume create "r/c$name" --from "r/s$name" && note "+ c$name"
        note "? s$name" && thinly snapshot delete "r/s$name" && note "- s$name"
    done
}

names() { { thinly --json volume list r && thinly --json snapshot list r; } | grep -o '"name": *"[^"]*"' | cut -d'"' -f4 | sort; }

check() {
    thinly pool open r >/dev/null
    names >/scratch/names
    # The last word on each name counts; what was being deleted may be there or not.
    awk '{ last[$2] = $1 } END { for (n in last) if (last[n] == "+") print n }' "$answers" | sort >/scratch/there
    awk '{ last[$2] = $1 } END { for (n in last) if (last[n] == "-") print n }' "$answers" | sort >/scratch/gone
    [ -s /scratch/there ] || fail "nothing was answered: this proves nothing"
    [ -z "$(comm -23 /scratch/there /scratch/names)" ] || fail "lost: $(comm -23 /scratch/there /scratch/names)"
    [ -z "$(comm -12 /scratch/gone /scratch/names)" ] || fail "back: $(comm -12 /scratch/gone /scratch/names)"
    if thinly --json dm list | grep -q '"suspended": *true'; then fail "a device is suspended"; fi
    thinly --json pool show r | tr -d ' \n' >/scratch/show
    grep -q '"tombstones":\[\]' /scratch/show && grep -q '"orphans":\[\]' /scratch/show || fail "unnamed ids: $(cat /scratch/show)"
    thinly volume activate r/keeper >/dev/null
    [ "$(sum_of_keeper)" = "$(cat /scratch/sum)" ] || fail "the keeper's bytes have changed"
}

count() { grep -c '^[+-]' "$answers"; }

"$@"
