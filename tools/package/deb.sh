#!/bin/bash
# Makes the Debian package of the command: deb.sh THINLY OUT. The same tree gives the same bytes.
set -euo pipefail
thinly=$1 out=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

version=$("$thinly" --version | cut -d' ' -f2)
architecture=$(dpkg --print-architecture)
# The time in the package is that of the sources.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || stat -c %Y "$root/CHANGELOG.md")}
export SOURCE_DATE_EPOCH

put() { # MODE FROM TO
    install -D -m "$1" "$2" "$stage/$3"
}
put 755 "$thinly" usr/bin/thinly
for unit in "$root"/deploy/systemd/*.service; do
    put 644 "$unit" "lib/systemd/system/$(basename "$unit")"
done
put 644 "$root/deploy/debian/default" etc/default/thinly
for file in "$root"/deploy/debian/copyright "$root"/LICENSE-*; do
    put 644 "$file" "usr/share/doc/thinly/$(basename "$file")"
done
gzip -9n <"$root/CHANGELOG.md" >"$stage/changelog.gz"
put 644 "$stage/changelog.gz" usr/share/doc/thinly/changelog.gz
rm "$stage/changelog.gz"

install -d "$stage"/usr/share/man/man8 "$stage"/usr/share/{bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d}
"$thinly" man --out "$stage/usr/share/man/man8" >/dev/null
gzip -9n "$stage"/usr/share/man/man8/*
"$thinly" completions bash >"$stage/usr/share/bash-completion/completions/thinly"
"$thinly" completions zsh >"$stage/usr/share/zsh/vendor-completions/_thinly"
"$thinly" completions fish >"$stage/usr/share/fish/vendor_completions.d/thinly.fish"

size=$(du --summarize --apparent-size --block-size=1K "$stage" | cut -f1)
install -d "$stage/DEBIAN"
sed "s/@VERSION@/$version/; s/@ARCHITECTURE@/$architecture/; s/@SIZE@/$size/" \
    "$root/deploy/debian/control" >"$stage/DEBIAN/control"
echo /etc/default/thinly >"$stage/DEBIAN/conffiles"
for script in postinst postrm; do
    install -m 755 "$root/deploy/debian/$script" "$stage/DEBIAN/$script"
done
(cd "$stage" && find etc lib usr -type f -print0 | sort -z | xargs -0 md5sum) >"$stage/DEBIAN/md5sums"
chmod -R u=rwX,go=rX "$stage"
mkdir -p "$out"
dpkg-deb --root-owner-group -Zxz --build "$stage" "$out/thinly_${version}_$architecture.deb"
