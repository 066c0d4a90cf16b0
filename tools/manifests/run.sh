#!/bin/bash
# Renders the Kubernetes manifests with the oldest and the newest kubectl that Debian has, and checks what comes out.
set -euo pipefail
cd "$(dirname "$0")"
cache=${THINLY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/thinly}/manifests
mkdir -p "$cache"

# Out of Debian's packages, which are not installed. With lists of its own: this machine may have others.
fetch_kubectl() {
    local suite=$1 package=$2 into=$3 scratch
    if ! command -v apt-get >/dev/null; then
        echo "kubectl of Debian $suite is needed at $into; without apt, put it there by hand" >&2
        exit 1
    fi
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    # apt reads and writes here as a user of its own.
    chmod 755 "$scratch"
    mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $suite main" \
        >"$scratch/sources"
    local options=(
        -o Dir::Etc::SourceList="$scratch/sources" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State::Lists="$scratch/lists" -o Dir::State::Status=/dev/null -o Dir::Cache="$scratch/cache"
        -o APT::Sandbox::User="$(id -un)" -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    )
    (cd "$scratch" && apt-get "${options[@]}" update && apt-get "${options[@]}" download "$package") \
        >"$scratch/log" 2>&1 </dev/null || {
        cat "$scratch/log" >&2
        exit 1
    }
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
