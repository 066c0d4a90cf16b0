#!/bin/bash
# The Debian package: the same bytes whenever it is made, and what it promises once it is installed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$here/deb.sh" "$THINLY" "$scratch/files"
"$here/deb.sh" "$THINLY" "$scratch/again"
cmp "$scratch"/files/*.deb "$scratch"/again/*.deb
cp "$here/inside.sh" "$scratch/files"
dpkg-deb --extract "$scratch"/again/*.deb "$scratch/root"
share=$scratch/root/usr/share
for page in thinly thinly-pool-create thinly-serve thinly-pool-open; do
    zcat "$share/man/man8/$page.8.gz" | grep '^\.TH' >/dev/null
done
if [ -e "$share/man/man8/thinly-receive-step.8.gz" ]; then
    echo 'a command that only the program calls has a page' >&2
    exit 1
fi
bash -n "$share/bash-completion/completions/thinly"
grep -q '^#compdef thinly' "$share/zsh/vendor-completions/_thinly"
grep -q 'complete -c thinly' "$share/fish/vendor_completions.d/thinly.fish"
if command -v systemd-analyze >/dev/null; then
    # It looks for what the units start, which is not installed here.
    units=(thinly.service thinly-pool@p0.service thinly-volume@p0-web.service)
    for unit in "${units[@]}"; do
        shipped=$(sed 's/@.*\.service/@.service/' <<<"$unit")
        sed "s|=/usr/bin/|=$scratch/root/usr/bin/|" "$scratch/root/lib/systemd/system/$shipped" >"$scratch/$unit"
    done
    systemd-analyze verify --man=no "${units[@]/#/$scratch/}" 2>"$scratch/verify" || cat "$scratch/verify"
    if grep -i thinly "$scratch/verify"; then exit 1; fi
else
    echo 'systemd-analyze is not installed: the units were not verified' >&2
fi
"$GUEST" run --log --timeout 120 --disks 1G --files "$scratch/files" -- 'bash /opt/thinly/files/inside.sh'
