#!/bin/bash
# The steps of the demo, where the kernel is. Every claim that it prints was checked just before: a failed check ends it.
set -euo pipefail
phase=$1
shift
pool=${DEMO_POOL:?}
state=${DEMO_STATE:?}
mkdir -p "$state"
export LC_ALL=C

now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }
title() { printf '\n\033[1m%s\033[0m\n' "$*"; }
# Runs a command of thinly, shows it and how long it took.
run() {
    local start
    start=$(now_ms)
    printf '  $ thinly %s\n' "$*"
    thinly "$@" >"$state/out" 2>"$state/err" || {
        cat "$state/out" "$state/err" >&2
        exit 1
    }
    printf '    %d ms\n' "$(($(now_ms) - start))"
}
ok() { printf '    \033[32mok\033[0m %s\n' "$*"; }
fail() {
    printf '    \033[31mFAILED\033[0m %s\n' "$*"
    exit 1
}
# The sum over every file below a directory: names and contents.
sum_of() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1); }
same() { [ "$(sum_of "$1")" = "$(cat "$state/sum")" ] || fail "the files in $1 differ from the originals"; }
# Every file that the writer had synced when the snapshot was asked for, whole.
has_written() {
    local last=$2 number
    for ((number = 1; number <= last; number++)); do
        [ "$(cat "$1/log/$number" 2>/dev/null)" = "entry $number" ] || fail "synced file $number is missing in $1"
    done
}
no_device_hangs() {
    if thinly --json dm list | grep -q '"suspended": *true'; then fail "a device is suspended"; fi
}
unmount() { for at in "$@"; do mountpoint -q "$state/$at" && umount "$state/$at"; done; true; }

before() {
    mkdir -p "$state"/{files,copy,back}
    title "1. A pool on two disks"
    run pool create "$pool" "$@"
    title "2. A volume with a filesystem and real files"
    run volume create "$pool/files" --size 4G
    run volume activate "$pool/files"
    mkfs.ext4 -q -E nodiscard "/dev/thinly/$pool/files"
    mount "/dev/thinly/$pool/files" "$state/files"
    mkdir "$state/files/tree" "$state/files/log"
    # Small files of every kind: checksums are slow by emulation, and eight hundred of them say as much as all.
    (cd /usr && find share -type f -size -100k | sort | head -800) >"$state/list"
    tar -C /usr -cf - -T "$state/list" | tar -C "$state/files/tree" -xf -
    sync -f "$state/files"
    sum_of "$state/files/tree" >"$state/sum"
    find "$state/files/tree" -type f | wc -l >"$state/count"
    ok "$(cat "$state/count") files, $(du -sh "$state/files/tree" | cut -f1), checksum $(cut -c1-12 "$state/sum")"

    title "3. A snapshot while the volume is being written"
    (
        number=0
        while [ ! -e "$state/stop" ]; do
            number=$((number + 1))
            echo "entry $number" >"$state/files/log/$number"
            sync "$state/files/log/$number"
            echo "$number" >"$state/synced.new" && mv "$state/synced.new" "$state/synced"
        done
    ) &
    writer=$!
    while [ "$(cat "$state/synced" 2>/dev/null || echo 0)" -lt 5 ]; do sleep 0.1; done
    cat "$state/synced" >"$state/synced-before"
    run snapshot create "$pool/files" before
    sleep 0.3
    touch "$state/stop"
    wait "$writer"
    [ "$(cat "$state/synced")" -gt "$(cat "$state/synced-before")" ] || fail "the writer stopped"
    ok "$(cat "$state/synced-before") files were synced before it, $(cat "$state/synced") after: the writer never noticed"

    title "4. A clone of it, larger than its source"
    run volume create "$pool/copy" --from "$pool/before" --size 6G
    run volume activate "$pool/copy"
    mount "/dev/thinly/$pool/copy" "$state/copy"
    resize2fs "/dev/thinly/$pool/copy" >/dev/null 2>&1
    same "$state/copy/tree"
    has_written "$state/copy" "$(cat "$state/synced-before")"
    ok "all $(cat "$state/count") files are the same, everything synced before the snapshot is there, 6 GiB to use"

    title "5. Back to the snapshot after an accident"
    rm -rf "$state/files/tree"
    sync -f "$state/files"
    unmount files
    run volume deactivate "$pool/files"
    run snapshot rollback "$pool/files" --to before
    run volume activate "$pool/files"
    mount "/dev/thinly/$pool/files" "$state/files"
    same "$state/files/tree"
    ok "the deleted tree is back, file for file"

    title "6. kill -9 in the middle of changes"
    killed
    sync -f "$state/files" "$state/copy"
    names >"$state/names"
    sync -f "$state"
}

# The names of all volumes and snapshots, sorted.
names() { { thinly --json volume list "$pool" && thinly --json snapshot list "$pool"; } | grep -o '"name": *"[^"]*"' | cut -d'"' -f4 | sort; }

# Creates and snapshots until it is killed, again and again; what was answered must be there afterwards.
killed() {
    : >"$state/answered"
    local round number loop start once kills=0 missing
    start=$(now_ms)
    thinly snapshot create "$pool/files" s0 >/dev/null
    once=$(($(now_ms) - start))
    for ((round = 1; round <= 4; round++)); do
        (
            for ((number = 1; number <= 20; number++)); do
                thinly volume create "$pool/k$round-$number" --size 1G && echo "k$round-$number" >>"$state/answered"
                thinly snapshot create "$pool/files" "s$round-$number" && echo "s$round-$number" >>"$state/answered"
            done
        ) >/dev/null 2>&1 &
        loop=$!
        disown "$loop"
        sleep "$(printf '%d.%03d' $((once * (2 + RANDOM % 4) / 1000)) $((RANDOM % 1000)))"
        kill -9 "$loop"
        if pkill -9 -x thinly; then kills=$((kills + 1)); fi
    done
    sleep 0.5
    run pool show "$pool"
    names >"$state/listed"
    missing=$(sort -u "$state/answered" | comm -23 - "$state/listed" | wc -l)
    [ "$missing" = 0 ] || fail "$missing acknowledged volumes or snapshots are gone"
    [ -s "$state/answered" ] || fail "nothing was answered before a kill: this proves nothing"
    no_device_hangs
    echo still-writes >"$state/files/log/after-kill" && sync "$state/files/log/after-kill"
    ok "$kills processes killed; all $(wc -l <"$state/answered") acknowledged changes are there, no device hangs"
}

after() {
    title "7. After the restart"
    run pool open "$pool"
    [ "$(names)" = "$(cat "$state/names")" ] || fail "the volumes are not the same as before"
    run volume activate "$pool/files"
    run volume activate "$pool/copy"
    mkdir -p "$state"/{files,copy}
    mount "/dev/thinly/$pool/files" "$state/files"
    mount "/dev/thinly/$pool/copy" "$state/copy"
    same "$state/files/tree"
    same "$state/copy/tree"
    unmount files copy
    e2fsck -fn "/dev/thinly/$pool/files" >/dev/null 2>&1 || fail "e2fsck finds errors in files"
    e2fsck -fn "/dev/thinly/$pool/copy" >/dev/null 2>&1 || fail "e2fsck finds errors in copy"
    ok "$(wc -l <"$state/names") volumes and snapshots, every file as it was, both filesystems clean"

    title "8. Deleting, and what everything costs"
    while read -r name; do
        case $name in
            k*) thinly volume delete "$pool/$name" >/dev/null ;;
            s*) thinly snapshot delete "$pool/$name" >/dev/null ;;
        esac
    done <"$state/names"
    run volume deactivate "$pool/copy"
    thinly volume list "$pool" | sed 's/^/    /'
    thinly snapshot list "$pool" | sed 's/^/    /'
    thinly pool list | sed 's/^/    /'

    title "9. The metadata, as thin_check sees it"
    run volume deactivate "$pool/files"
    run pool close "$pool"
    rm -f "$state/metadata"
    run pool copy-metadata "$pool" "$state/metadata"
    if command -v thin_check >/dev/null; then
        thin_check -q "$state/metadata" || fail "thin_check finds errors"
        ok "thin_check is clean"
    else
        ok "thin_check is not installed here: not checked"
    fi
    clean
}

csi() {
    title "8. The same for a cluster: thinly-csi, called by gRPC as kubelet and the sidecars do"
    thinly-csi-demo "$@"
    printf '\n\033[1;32mEverything above was checked: files by checksum, volumes by name, filesystems by e2fsck.\033[0m\n'
}

close() {
    unmount files copy
    for name in files copy; do run volume deactivate "$pool/$name"; done
    run pool close "$pool"
}

clean() {
    unmount files copy 2>/dev/null
    if thinly pool show "$pool" >/dev/null 2>&1; then
        for name in files copy; do thinly volume deactivate "$pool/$name" >/dev/null 2>&1 || true; done
        thinly pool destroy "$pool" --yes >/dev/null
    fi
}

"$phase" "$@"
