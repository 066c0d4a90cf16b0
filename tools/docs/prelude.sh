# Before the blocks of a page.
set -euo pipefail
block() { printf -- '-- %s\n' "$1"; }
skipped() { printf -- '-- %s: not run: %s\n' "$1" "$2"; }
# Where a page names a disk that the guest calls otherwise.
ln -s /dev/vda /dev/nvme1n1
ln -s /dev/vdb /dev/nvme2n1
ln -s /dev/vdc /dev/sdd
# The other machine of a page is this one.
ssh() { shift; "$@"; }
[ -e target/debian ] && dpkg --install target/debian/thinly_*.deb >/dev/null
