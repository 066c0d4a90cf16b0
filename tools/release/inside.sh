#!/bin/bash
# In the guest: a pool with one of everything that a release writes to disks. What it holds is what
# tests/tests/engine/old_pools.rs expects of it: a pool of a release is never made again.
set -euo pipefail
fill() { # VOLUME BYTE COUNT SEEK, in MiB
    dd if=/dev/zero bs=1M count="$3" status=none | tr '\0' "$2" |
        dd of="/dev/thinly/old/$1" bs=1M seek="$4" iflag=fullblock oflag=direct status=none
}
thinly pool create old /dev/vda /dev/vdb --raw --block-size 64KiB --data-size 64M
thinly pool set old --auto-extend-at 80 --auto-extend-by 20% --reserve 16M
for volume in web db gone; do
    thinly volume create "old/$volume" --size 64M
    thinly volume activate "old/$volume"
done
fill web w 4 0
fill db d 4 8
fill gone g 2 0
thinly snapshot create old/web web-monday
fill web W 2 0
thinly snapshot group --name both old web=web-both db=db-both
thinly volume create old/copy --from old/web-monday --size 128M
thinly volume activate old/copy
fill copy c 1 64
thinly volume deactivate old/gone
thinly volume delete old/gone
thinly volume deactivate old/copy
thinly volume rename old/copy copied
thinly volume create old/blank --size 1G
thinly send old/web-monday | thinly receive old/came
for volume in web db; do thinly volume deactivate "old/$volume"; done
thinly adopt old/db --node n1 --claim shop/data --storage-class local >/dev/null
thinly volume list old
thinly snapshot list old
thinly pool close old
