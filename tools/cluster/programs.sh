#!/bin/bash
# Kubernetes itself, from the last sources of it that Debian has whole, for tests: API server, controllers, scheduler,
# kubelet, and what stands in the place of node-driver-registrar. The first time this takes some minutes. Prints the directory.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../debian.sh"
key=$(cat "$0" "$here/registrar.go" | sha256sum | cut -c1-16)
cache=${THINLY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/thinly}/cluster-$key
programs=(kube-apiserver kube-controller-manager kube-scheduler kubelet registrar)

missing=()
command -v go >/dev/null || missing+=(golang-go)
command -v etcd >/dev/null || missing+=(etcd-server)
command -v openssl >/dev/null || missing+=(openssl)
if [ ${#missing[@]} -gt 0 ]; then
    echo "installing ${missing[*]}" >&2
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}" >&2
    # Debian starts it as a service; the tests start their own.
    $sudo systemctl disable --now etcd >/dev/null 2>&1 || true
fi
if [ -e "$cache/whole" ]; then
    echo "$cache"
    exit
fi

scratch=$(mktemp -d)
trap 'chmod -R u+w "$scratch"; rm -rf "$scratch"' EXIT
echo "building Kubernetes from Debian's sources" >&2
debian bookworm deb-src "$scratch" source --download-only kubernetes
mkdir -p "$scratch/go/src/k8s.io/kubernetes" "$cache"
tar --extract --gzip --strip-components 1 --directory "$scratch/go/src/k8s.io/kubernetes" --file "$scratch"/kubernetes_*.orig.tar.gz
# Its own copy of this module reads maps in a way that Go has given up since, and crashes.
debian bookworm deb "$scratch" download golang-github-modern-go-reflect2-dev
dpkg-deb --extract "$scratch"/golang-github-modern-go-reflect2-dev_*.deb "$scratch/reflect2"
module=github.com/modern-go/reflect2
rm -r "$scratch/go/src/k8s.io/kubernetes/vendor/$module"
cp -r "$scratch/reflect2/usr/share/gocode/src/$module" "$scratch/go/src/k8s.io/kubernetes/vendor/$module"
cd "$scratch/go/src/k8s.io/kubernetes"
export GOPATH=$scratch/go GOCACHE=$scratch/go-cache GO111MODULE=off CGO_ENABLED=0

# The one file that is made and not kept there: what the API server tells of its own types.
go build -o "$scratch/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
types=$(grep --recursive --files-with-matches --include='*.go' --exclude='*_test.go' \
    --exclude-dir={code-generator,sample-apiserver,_examples} '+k8s:openapi-gen=' pkg vendor/k8s.io/*/ cmd plugin \
    | xargs --max-args 1 dirname | sort --unique | sed 's|^|k8s.io/kubernetes/|' | paste --serial --delimiters ,)
"$scratch/openapi-gen" --logtostderr --input-dirs "$types" --output-package k8s.io/kubernetes/pkg/generated/openapi \
    --output-file-base zz_generated.openapi --go-header-file vendor/k8s.io/code-generator/hack/boilerplate.go.txt \
    --report-filename "$scratch/violations" 2>"$scratch/openapi.log" || {
    cat "$scratch/openapi.log" >&2
    exit 1
}
# From 1.26 on kubelet names the authority "localhost" when it calls a driver. Before, it named the socket's path, which is
# none, and which HTTP/2 libraries that look refuse: https://github.com/kubernetes/kubernetes/pull/112597
sed -i '/return grpc.Dial(/,/^}/ s|string(addr),|string(addr), grpc.WithAuthority("localhost"),|' pkg/volume/csi/csi_client.go
grep --quiet WithAuthority pkg/volume/csi/csi_client.go
mkdir cmd/registrar
cp "$here/registrar.go" cmd/registrar/main.go
for program in "${programs[@]}"; do
    go build -o "$cache/$program" "./cmd/$program"
done
touch "$cache/whole"
echo "$cache"
