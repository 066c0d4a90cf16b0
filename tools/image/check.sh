#!/bin/bash
# What is in an image's root, given as a tar archive: the programs that are wanted, what they need, and nothing else.
set -euo pipefail
archive=$1
programs='./usr/bin/btrfs
./usr/bin/thinly
./usr/bin/thinly-csi
./usr/sbin/fsck.ext4
./usr/sbin/mkfs.btrfs
./usr/sbin/mkfs.ext4
./usr/sbin/mkfs.xfs
./usr/sbin/resize2fs
./usr/sbin/thin_repair
./usr/sbin/xfs_growfs'
most_mib=64

list=$(tar --list --verbose --numeric-owner --file "$archive")
found=$(awk '$1 ~ /^-/ && $6 ~ /bin\// { print $6 }' <<<"$list" | sort)
if [ "$found" != "$programs" ]; then
    echo 'the programs in the image are not those that are wanted (<):' >&2
    diff <(echo "$programs") <(echo "$found") >&2
    exit 1
fi
# Of the rest only what is named here, root's, and for nobody else to write; no program gives its caller more than he has.
odd=$(awk '
    $2 != "0/0" { print; next }
    $1 ~ /^d/ { if ($1 !~ /^dr[w-]xr-xr-x$/) print; next }
    $1 ~ /^l/ { if ($6 !~ "^./(s?bin|lib(64)?|usr/share/common-licenses/[^/]*)$") print; next }
    $6 ~ "^./usr/s?bin/" || $6 ~ "^./usr/lib(64)?/.*[.]so([.][0-9]+)*$" { if ($1 != "-rwxr-xr-x") print; next }
    $6 ~ "^./etc/(mke2fs[.]conf|os-release)$" ||
    $6 ~ "^./usr/share/(common-licenses/[^/]*|doc/[^/]*/copyright|doc/thinly/LICENSE-[A-Z]*)$" ||
    $6 ~ "^./var/lib/dpkg/status[.]d/[^/]*$" { if ($1 != "-rw-r--r--") print; next }
    { print }' <<<"$list")
if [ -n "$odd" ]; then
    printf 'the image holds what nobody asked for, or with odd rights:\n%s\n' "$odd" >&2
    exit 1
fi
for licence in e2fsprogs xfsprogs btrfs-progs thin-provisioning-tools libc6; do
    if ! grep -q " ./usr/share/doc/$licence/copyright$" <<<"$list"; then
        echo "the licence of $licence is not in the image" >&2
        exit 1
    fi
done
awk -v most="$most_mib" '
    $1 ~ /^-/ { files++; bytes += $3 }
    END {
        printf "the image holds %d files, %.1f MiB\n", files, bytes / 1048576
        if (bytes > most * 1048576) { print "more than " most " MiB: what has come in?"; exit 1 }
    }' <<<"$list"
