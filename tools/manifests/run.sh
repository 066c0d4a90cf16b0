#!/bin/bash
# Renders the Kubernetes manifests with the oldest and the newest kubectl that Debian has, and checks what comes out.
set -euo pipefail
cd "$(dirname "$0")"
. ../debian.sh
cache=${THINLY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/thinly}/manifests
mkdir -p "$cache"

# Out of Debian's packages, which are not installed.
fetch_kubectl() {
    local suite=$1 package=$2 into=$3 scratch
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    debian "$suite" deb "$scratch" download "$package"
    dpkg-deb --fsys-tarfile "$scratch/$package"_*.deb | tar --extract --directory "$scratch" ./usr/bin/kubectl
    mv "$scratch/usr/bin/kubectl" "$into.$$"
    mv "$into.$$" "$into"
    rm -rf "$scratch"
    trap - EXIT
}

old=$cache/kubectl-bookworm
new=$cache/kubectl-trixie
[ -x "$old" ] || fetch_kubectl bookworm kubernetes-client "$old"
[ -x "$new" ] || fetch_kubectl trixie kubectl "$new"
# Other tests want one too, of the age of the server that they start.
if [ "${1-}" = --kubectl ]; then
    echo "$old"
    exit
fi

# The schemas of Kubernetes and what reads them, for this very list of versions and this very Python.
python=$(readlink -f "$(command -v python3)")
venv=$cache/python-$({ cat requirements.txt; echo "$python"; "$python" --version; } | sha256sum | cut -c1-16)
if [ ! -e "$venv/whole" ]; then
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement requirements.txt
    touch "$venv/whole"
fi
export THINLY_KUBECTLS=$old:$new
export PYTHONDONTWRITEBYTECODE=1
exec "$venv/bin/python" -m unittest discover --start-directory . --pattern 'test_*.py' "$@"
