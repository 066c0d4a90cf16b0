#!/bin/bash
# In the guest: makes a node of Kubernetes and the control plane of it, applies the manifests, and runs a command:
# node.sh COMMAND...
set -euo pipefail
files=/opt/thinly/files
. "$files/until_true.sh"
export NODE=/scratch/node PATH=$files/bin:/scratch/node/bin:$PATH
mkdir -p "$NODE/bin" /var/lib/kubelet /etc/cni/net.d
cd "$NODE"
tell() {
    local code=$?
    if [ "$code" != 0 ]; then
        tail --lines 20 ./*.log /var/log/pods/*/*/*.log >&2
    fi
}
trap tell EXIT

# In the background and a session of its own, with its words in a file.
begin() {
    setsid "$@" >>"$1.log" 2>&1 </dev/null &
}

# What systemd gives a real node: mounts that containers share, a resolver, an address.
mount --make-rshared /
mount --types tmpfs kubelet /var/lib/kubelet
touch /etc/resolv.conf
address=10.9.9.9
ip link set lo up
ip address add "$address/32" dev lo
modprobe overlay

# Kubelet waits for the configuration of a network that these pods do not use.
cat >/etc/cni/net.d/10-none.conf <<'CONFIG'
{"cniVersion": "0.4.0", "name": "none", "type": "none"}
CONFIG
cat >containerd.toml <<CONFIG
version = 2
root = "$NODE/containerd"
state = "/run/containerd"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/busybox:1"
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "/usr/bin/crun"
CONFIG
begin containerd --config containerd.toml
begin etcd --data-dir etcd --unsafe-no-fsync

token=$(tr -d - </proc/sys/kernel/random/uuid)
echo "$token,admin,1,system:masters" >tokens
cat >kubeconfig <<CONFIG
apiVersion: v1
kind: Config
clusters:
- {name: c, cluster: {server: "https://127.0.0.1:6443", insecure-skip-tls-verify: true}}
users:
- {name: u, user: {token: $token}}
contexts:
- {name: c, context: {cluster: c, user: u}}
current-context: c
CONFIG
export KUBECONFIG=$NODE/kubeconfig
begin kube-apiserver --etcd-servers http://127.0.0.1:2379 --bind-address 127.0.0.1 --secure-port 6443 \
    --advertise-address 127.0.0.1 --cert-dir apiserver --token-auth-file tokens --authorization-mode RBAC \
    --service-cluster-ip-range 10.0.0.0/24 --service-account-issuer https://thinly.test --allow-privileged \
    --service-account-key-file "$files/accounts.key" --service-account-signing-key-file "$files/accounts.key" \
    --disable-admission-plugins ServiceAccount --kubelet-preferred-address-types InternalIP
until_true ctr version
for image in "$files"/images/*.tar; do
    ctr --namespace k8s.io images import "$image" >/dev/null
done
until_true kubectl get --raw /readyz
# None that makes pods of Deployments: no package has the sidecars' programs, and the command does what they would.
begin kube-controller-manager --kubeconfig kubeconfig --leader-elect=false --bind-address 127.0.0.1 --port 0 \
    --cert-dir controllers \
    --controllers daemonset,persistentvolume-binder,pvc-protection,pv-protection,nodelifecycle,garbagecollector
begin kube-scheduler --kubeconfig kubeconfig --leader-elect=false --bind-address 127.0.0.1 --port 0 --cert-dir scheduler

cat >kubelet.yaml <<'CONFIG'
kind: KubeletConfiguration
apiVersion: kubelet.config.k8s.io/v1beta1
cgroupDriver: cgroupfs
enforceNodeAllocatable: []
failSwapOn: false
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
syncFrequency: 10s
CONFIG
# For whoever wants to see it come and go.
cat >bin/start-kubelet <<START
#!/bin/bash
setsid kubelet --config $NODE/kubelet.yaml --kubeconfig $KUBECONFIG --hostname-override n1 --node-ip $address \\
    --container-runtime remote --container-runtime-endpoint unix:///run/containerd/containerd.sock \\
    --root-dir /var/lib/kubelet --v 4 >>$NODE/kubelet.log 2>&1 </dev/null &
START
cat >bin/kill-kubelet <<'KILL'
#!/bin/bash
pkill --signal KILL --exact kubelet
KILL
chmod +x bin/*
start-kubelet

kubectl apply --filename "$files/crds.yaml" >/dev/null
kubectl wait --for condition=established --timeout 120s --filename "$files/crds.yaml" >/dev/null
kubectl apply --validate=false --filename "$files/manifests.yaml" >/dev/null
until_true kubectl get node n1
kubectl wait --for condition=Ready --timeout 300s node/n1 >/dev/null
echo "node n1 is ready after $SECONDS s"
"$@"
