#!/bin/bash
# Tries the alert rules on made-up series, and parses what the dashboard asks for, by Prometheus' own promtool.
set -euo pipefail
cd "$(dirname "$0")/../../deploy/monitoring"

# Out of Debian's package, which is not installed: that would start a server on this machine.
fetch_promtool() {
    local into=$1 scratch
    if ! command -v apt-get >/dev/null; then
        echo "promtool is needed (it comes with Prometheus); without apt, install it by hand" >&2
        exit 1
    fi
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    # apt reads and writes here as a user of its own.
    chmod 755 "$scratch"
    local sudo=()
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    # A machine whose package lists were thrown away gets them again.
    (cd "$scratch" && { apt-get download prometheus ||
        { "${sudo[@]}" apt-get update && apt-get download prometheus; }; }) >"$scratch/log" 2>&1 </dev/null || {
        cat "$scratch/log" >&2
        exit 1
    }
    dpkg-deb --fsys-tarfile "$scratch"/prometheus_*.deb | tar --extract --directory "$scratch" ./usr/bin/promtool
    mkdir -p "$into"
    mv "$scratch/usr/bin/promtool" "$into/promtool.$$"
    mv "$into/promtool.$$" "$into/promtool"
}

# The expressions of the dashboard, with something for its variables, as rules that promtool can parse.
dashboard_rules() {
    echo 'groups: [{name: dashboard, rules: ['
    sed -n 's/^ *"expr": "\(.*\)",\{0,1\}$/\1/p' thinly-dashboard.json |
        sed "s/\\\\\"/\"/g; s/'/''/g; s/\\\$instance/.*/g; s/\\\$pool/.*/g; s/\\\$__rate_interval/5m/g" |
        sed "s/.*/{record: 'panel:expression', labels: {panel: '#'}, expr: '&'},/" | awk '{ sub("#", NR); print }'
    echo ']}]'
}

promtool=$(command -v promtool || true)
if [ -z "$promtool" ]; then
    cache=${THINLY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/thinly}
    promtool=$cache/promtool
    [ -x "$promtool" ] || fetch_promtool "$cache"
fi
"$promtool" check rules thinly-rules.yaml
"$promtool" test rules thinly-rules-test.yaml
rules=$(mktemp --suffix=.yaml)
trap 'rm -f "$rules"' EXIT
dashboard_rules >"$rules"
asked=$(grep -c '"expr"' thinly-dashboard.json)
found=$("$promtool" check rules "$rules" | tee /dev/stderr | sed -n 's/.*SUCCESS: \([0-9]*\) rules.*/\1/p')
if [ "$found" != "$asked" ]; then
    echo "the dashboard has $asked expressions and ${found:-none} could be parsed" >&2
    exit 1
fi
