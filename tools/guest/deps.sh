#!/bin/bash
# Installs what the test bed needs, if anything is missing.
set -euo pipefail

PATH=$PATH:/usr/sbin:/sbin
# program:package
needed=(
    qemu-system-x86_64:qemu-system-x86
    mmdebstrap:mmdebstrap
    genext2fs:genext2fs
    mke2fs:e2fsprogs
    depmod:kmod
    xz:xz-utils
    setpriv:util-linux
    # What the native tests compare with: the tools that make filesystems, tables and metadata.
    cc:gcc
    sfdisk:fdisk
    mkfs.xfs:xfsprogs
    mkfs.btrfs:btrfs-progs
    mkfs.vfat:dosfstools
    mkfs.exfat:exfatprogs
    mkfs.ntfs:ntfs-3g
    mkfs.f2fs:f2fs-tools
    mksquashfs:squashfs-tools
    mkfs.erofs:erofs-utils
    xorriso:xorriso
    cryptsetup:cryptsetup-bin
    thin_restore:thin-provisioning-tools
    valgrind:valgrind
    # What checks the Kubernetes manifests.
    python3:python3
)
missing=()
for entry in "${needed[@]}"; do
    command -v "${entry%%:*}" >/dev/null || missing+=("${entry#*:}")
done
[ -e /usr/include/linux/dm-ioctl.h ] || missing+=(linux-libc-dev)
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing+=(debian-archive-keyring)
# A user who is not root makes the root file system in a user namespace.
if [ "$(id -u)" != 0 ]; then
    command -v newuidmap >/dev/null || missing+=(uidmap)
fi
[ ${#missing[@]} = 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
    echo "the test bed needs ${missing[*]}; without apt, install them by hand" >&2
    exit 1
fi
sudo=()
[ "$(id -u)" = 0 ] || sudo=(sudo)
echo "installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { "${sudo[@]}" apt-get update &&
    "${sudo[@]}" apt-get install --yes --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    exit 1
fi
