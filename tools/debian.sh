# To be sourced: what Debian has, whatever this machine's own lists say.

# Runs apt-get in a directory of its own, with lists of one suite: debian SUITE deb|deb-src DIRECTORY ARGUMENT...
debian() {
    local suite=$1 kind=$2 scratch=$3
    shift 3
    if ! command -v apt-get >/dev/null; then
        echo "this takes packages of Debian $suite, and so apt-get" >&2
        return 1
    fi
    # apt reads and writes here as a user of its own.
    chmod 755 "$scratch"
    mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial"
    echo "$kind [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $suite main" \
        >"$scratch/sources"
    local options=(
        -o Dir::Etc::SourceList="$scratch/sources" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State::Lists="$scratch/lists" -o Dir::State::Status=/dev/null -o Dir::Cache="$scratch/cache"
        -o APT::Sandbox::User="$(id -un)" -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    )
    (cd "$scratch" && apt-get "${options[@]}" update && apt-get "${options[@]}" "$@") \
        >"$scratch/log" 2>&1 </dev/null || {
        cat "$scratch/log" >&2
        return 1
    }
}
