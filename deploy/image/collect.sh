#!/bin/sh
# Runs in the base image: copies the programs that thinly and thinly-csi start into a directory, with the shared
# libraries that they need, the licences, and the package database's word on them for those who look for known holes.
# The rest of the base stays behind.
set -eu
target=$1
PATH=/usr/sbin:/usr/bin:/sbin:/bin

# Those that csi/src/host/filesystem names, and thin_repair, which `thinly pool repair` starts.
programs='mkfs.ext4 fsck.ext4 resize2fs mkfs.xfs xfs_growfs mkfs.btrfs btrfs thin_repair'
# mkfs.ext4 takes its defaults from the first; a scanner asks the second what the packages belong to.
others='/etc/mke2fs.conf /etc/os-release'

# Some have been in /sbin or /usr/sbin, as the release goes; without links both are one.
for link in bin sbin lib lib64; do
    if [ -h "/$link" ]; then
        mkdir -p "$target/$(readlink "/$link")"
        cp -P "/$link" "$target/$link"
    fi
done

packages=$target/var/lib/dpkg/status.d
mkdir -p "$packages"
note_package() { # FILE, with all links followed
    owner=$(dpkg-query --search "$1" 2>/dev/null || dpkg-query --search "${1#/usr}")
    package=${owner%%:*}
    [ ! -e "$packages/$package" ] || return 0
    dpkg-query --status "$package" >"$packages/$package"
    install -D -m 644 "/usr/share/doc/$package/copyright" "$target/usr/share/doc/$package/copyright"
}

put() { # MODE FILE: under its own name, whatever it is a link to
    directory=$(readlink -f "$(dirname "$2")")
    install -D -m "$1" "$2" "$target$directory/$(basename "$2")"
    note_package "$(readlink -f "$2")"
}

libraries=$(mktemp)
for program in $programs; do
    path=$(command -v "$program")
    put 755 "$path"
    ldd "$path" >>"$libraries"
done
sed -n 's/^[^/]*\(\/[^ ]*\) (0x.*/\1/p' "$libraries" | sort -u >"$libraries.paths"
if grep 'not found' "$libraries" >&2 || [ ! -s "$libraries.paths" ]; then exit 1; fi
while read -r library; do
    put 755 "$library"
done <"$libraries.paths"
for file in $others; do
    put 644 "$file"
done
mkdir -p "$target/usr/share"
cp -a /usr/share/common-licenses "$target/usr/share"

# Where a pod's mounts go: they cannot be made in a root that is read-only.
mkdir -p "$target/dev" "$target/proc" "$target/sys" "$target/run/thinly" "$target/etc/thinly" \
    "$target/var/lib/kubelet"
