#!/bin/bash
# In the guest: installs the package as a user would, uses it, and removes it beneath a pool that is open.
set -euxo pipefail
dpkg --install /opt/thinly/files/thinly_*.deb
[ "$(command -v thinly)" = /usr/bin/thinly ]
thinly --version
grep -q '^ExecStart=/usr/bin/thinly serve' /lib/systemd/system/thinly.service

thinly pool create p0 /dev/vda
thinly volume create p0/web --size 1G
device=$(thinly volume activate p0/web --json | sed -n 's/.*"device": *"\([^"]*\)".*/\1/p')
mkfs.ext4 -q "$device"
mount "$device" /mnt
echo 'POOLS="p0"' >/etc/default/thinly
dpkg --remove thinly
echo kept >/mnt/file
[ ! -e /usr/bin/thinly ] && grep -q p0 /etc/default/thinly
dpkg --install --force-confold /opt/thinly/files/thinly_*.deb
grep -q p0 /etc/default/thinly
umount /mnt
thinly volume deactivate p0/web
thinly pool destroy p0 --yes
