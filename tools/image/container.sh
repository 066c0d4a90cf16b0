#!/bin/bash
# In the guest, by the name of thinly-csi: runs the driver from its image, in a container with the mounts and the
# privileges of a pod of a DaemonSet. The arguments are the driver's. Whoever starts this has the container's process
# by the socket that it serves; this one ends with it, and as it ended.
set -euo pipefail
image=/opt/thinly/files
work=/scratch/image

# Once for all containers: the image's root, and mounts that containers can share, which systemd gives a real host.
if [ ! -e "$work/rootfs" ]; then
    mkdir -p "$work"
    exec 9>"$work/lock"
    flock 9
    if [ ! -e "$work/rootfs" ]; then
        mkdir "$work/unpacked"
        tar --extract --numeric-owner --same-permissions --file "$image/rootfs.tar" --directory "$work/unpacked"
        mount --make-rshared /
        mv "$work/unpacked" "$work/rootfs"
    fi
    exec 9>&-
fi

# The places that the arguments name are a pod's volumes.
arguments=("$@")
while [ $# -gt 0 ]; do
    case $1 in
    --endpoint) endpoint=${2#unix://} ;;
    --config) config=$2 ;;
    --kubelet-dir) kubelet=$2 ;;
    --admin-socket) admin=$2 ;;
    esac
    shift
done
sockets=${endpoint%/*} admin=${admin%/*}
name=thinly-$$-$RANDOM
bundle=$work/$name
# As kubelet makes hostPath volumes of the type DirectoryOrCreate.
mkdir -p /run/thinly "$admin" "$bundle"
install -d -m 700 "$sockets"

# Into REPLY, without a process for each word: they are slow under emulation.
words() {
    local separator='' one text
    REPLY=
    for one; do
        text=${one//\\/\\\\}
        REPLY+="$separator\"${text//\"/\\\"}\""
        separator=,
    done
}
mounts='{"destination": "/proc", "type": "proc", "source": "proc"}'
volume() { # PATH OPTION...: the host's, at the same place
    local path
    words "$1"
    path=$REPLY
    words rbind "${@:2}"
    mounts+=", {\"destination\": $path, \"source\": $path, \"type\": \"bind\", \"options\": [$REPLY]}"
}
volume /dev rprivate
volume /sys rprivate
volume /run/thinly rprivate
volume "$kubelet" rshared
volume "$sockets" rprivate
volume "$admin" rprivate
volume "$config" rprivate ro
words /usr/bin/thinly-csi "${arguments[@]}"
command=$REPLY
words PATH=/usr/sbin:/usr/bin "RUST_LOG=${RUST_LOG:-info}"
environment=$REPLY
words CAP_{CHOWN,DAC_OVERRIDE,DAC_READ_SEARCH,FOWNER,FSETID,KILL,SETGID,SETUID,SETPCAP,LINUX_IMMUTABLE} \
    CAP_{NET_BIND_SERVICE,NET_BROADCAST,NET_ADMIN,NET_RAW,IPC_LOCK,IPC_OWNER,SYS_MODULE,SYS_RAWIO,SYS_CHROOT} \
    CAP_{SYS_PTRACE,SYS_PACCT,SYS_ADMIN,SYS_BOOT,SYS_NICE,SYS_RESOURCE,SYS_TIME,SYS_TTY_CONFIG,MKNOD,LEASE} \
    CAP_{AUDIT_WRITE,AUDIT_CONTROL,SETFCAP,MAC_OVERRIDE,MAC_ADMIN,SYSLOG,WAKE_ALARM,BLOCK_SUSPEND,AUDIT_READ}
all=$REPLY
printf '%s\n' >"$bundle/config.json" "{
\"ociVersion\": \"1.0.2\",
\"hostname\": \"node\",
\"root\": {\"path\": \"$work/rootfs\", \"readonly\": true},
\"mounts\": [$mounts],
\"process\": {
  \"cwd\": \"/\", \"user\": {\"uid\": 0, \"gid\": 0}, \"terminal\": false, \"noNewPrivileges\": false,
  \"args\": [$command], \"env\": [$environment],
  \"capabilities\": {\"bounding\": [$all], \"effective\": [$all], \"permitted\": [$all], \"inheritable\": [$all]}},
\"linux\": {
  \"namespaces\": [{\"type\": \"pid\"}, {\"type\": \"mount\"}, {\"type\": \"ipc\"}, {\"type\": \"uts\"}],
  \"rootfsPropagation\": \"rshared\", \"cgroupsPath\": \"/thinly/$name\",
  \"resources\": {\"devices\": [{\"allow\": true, \"access\": \"rwm\"}]}}}"
exec crun --cgroup-manager=cgroupfs run --bundle "$bundle" "$name"
