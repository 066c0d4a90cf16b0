# To be sourced: waits, for five minutes at most, until a command succeeds. until_true COMMAND...
until_true() {
    local tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -gt 600 ]; then
            echo "it did not come up: $*" >&2
            exit 1
        fi
        sleep 0.5
    done
}
