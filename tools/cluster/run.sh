#!/bin/bash
# A control plane of Kubernetes, alive as long as the command that it is given: run.sh COMMAND... finds two kubeconfigs in
# its environment, of an administrator and of the driver on a node, and the manifests applied.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/until_true.sh"
programs=$("$here/programs.sh")
kubectl=$("$here/../manifests/run.sh" --kubectl)
scratch=$(mktemp -d)
running=()
stop() {
    local code=$?
    if [ "$code" != 0 ]; then
        tail --lines 40 "$scratch"/*.log >&2
    fi
    kill "${running[@]}" 2>/dev/null || true
    wait
    rm -rf "$scratch"
}
trap stop EXIT

# In the background, with its words in a file.
begin() {
    "$@" >"$scratch/$(basename "$1").log" 2>&1 </dev/null &
    running+=($!)
}

# Ports that nobody has at this moment.
ports() {
    python3 -c '
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in sockets: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))' "$1"
}

kubeconfig() {
    cat >"$scratch/$1.yaml" <<CONFIG
apiVersion: v1
kind: Config
clusters:
- {name: c, cluster: {server: "https://127.0.0.1:$api", certificate-authority: $scratch/ca.crt}}
users:
- {name: u, user: {token: $2}}
contexts:
- {name: c, context: {cluster: c, user: u}}
current-context: c
CONFIG
}

read -r api store peers controllers scheduler <<<"$(ports 5)"
token() { openssl rand -hex 16; }
admin=$(token)
node=$(token)
node_account=system:serviceaccount:thinly-system:thinly-node
cat >"$scratch/tokens" <<TOKENS
$admin,admin,1,"system:masters"
$node,$node_account,2,"system:serviceaccounts,system:serviceaccounts:thinly-system,system:authenticated"
TOKENS
openssl genrsa -out "$scratch/accounts.key" 2048 2>/dev/null

begin etcd --data-dir "$scratch/etcd" --listen-client-urls "http://127.0.0.1:$store" \
    --advertise-client-urls "http://127.0.0.1:$store" --listen-peer-urls "http://127.0.0.1:$peers" \
    --initial-advertise-peer-urls "http://127.0.0.1:$peers" --initial-cluster "default=http://127.0.0.1:$peers"
# Pods here are only scheduled, so that they need no service account.
begin "$programs/kube-apiserver" --etcd-servers "http://127.0.0.1:$store" --bind-address 127.0.0.1 --secure-port "$api" \
    --advertise-address 127.0.0.1 --cert-dir "$scratch/certificates" --token-auth-file "$scratch/tokens" --authorization-mode RBAC \
    --service-cluster-ip-range 10.0.0.0/24 --service-account-issuer https://thinly.test --allow-privileged \
    --service-account-key-file "$scratch/accounts.key" --service-account-signing-key-file "$scratch/accounts.key" \
    --disable-admission-plugins ServiceAccount
until_true test -s "$scratch/certificates/apiserver.crt"
# The server's own certificate, and behind it the one that signed it.
awk '/BEGIN/ { n++ } n == 2' "$scratch/certificates/apiserver.crt" >"$scratch/ca.crt"
kubeconfig admin "$admin"
kubeconfig node "$node"
export KUBECONFIG=$scratch/admin.yaml
until_true "$kubectl" get --raw /readyz
begin "$programs/kube-controller-manager" --kubeconfig "$KUBECONFIG" --controllers persistentvolume-binder --leader-elect=false \
    --secure-port "$controllers" --port 0 --bind-address 127.0.0.1 --cert-dir "$scratch/certificates"
begin "$programs/kube-scheduler" --kubeconfig "$KUBECONFIG" --leader-elect=false --secure-port "$scheduler" --port 0 \
    --bind-address 127.0.0.1 --cert-dir "$scratch/certificates"

"$kubectl" apply -f "$here/crds.yaml" >/dev/null
"$kubectl" wait --for condition=established --timeout 60s --filename "$here/crds.yaml" >/dev/null
# Every overlay goes in. This server is older than some fields: it drops what it does not know.
for overlay in single-node microshift per-node; do
    "$kubectl" apply --validate=false --kustomize "$here/../../deploy/kubernetes/overlays/$overlay" >"$scratch/applied-$overlay"
    echo "overlay $overlay: $(wc -l <"$scratch/applied-$overlay") objects applied"
done
unset KUBECONFIG
THINLY_ADMIN_KUBECONFIG=$scratch/admin.yaml THINLY_NODE_KUBECONFIG=$scratch/node.yaml "$@"
