#!/bin/sh
# Build server-cel, once, into a cache: build-server-cel.sh [CACHE]
#
# It evaluates our manifests with the expression library and the types that API servers use, from Debian 13's own packages of Go
# sources (Kubernetes 0.32, cel-go 0.18), which are unpacked and not installed: about 12 MB are fetched, and compiling takes half a
# minute of two cores. Prints the program's path. Needs Debian 13, and root where Go 1.24 is missing. Exit code 3: it cannot be
# built here.
set -eu

cache=${1:-/var/cache/pratique-tests}
here=$(cd "$(dirname "$0")" && pwd)
# Another source is another program.
mark=$(cat "$here/server-cel/main.go" "$0" | sha256sum | cut -c1-16)
if [ -x "$cache/server-cel" ] && [ "$(cat "$cache/server-cel.mark" 2>/dev/null)" = "$mark" ]; then
    echo "$cache/server-cel"
    exit 0
fi

give_up() { echo "build-server-cel: $1" >&2; exit 3; }

command -v apt-get >/dev/null || give_up "no apt-get: this is not Debian"
work=$(mktemp -d "${TMPDIR:-/var/tmp}/server-cel.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$cache" "$work/sources"

go=/usr/lib/go-1.24/bin/go
[ -x "$go" ] || apt-get install -y --no-install-recommends golang-1.24-go >&2 || give_up "Go 1.24 cannot be installed"

cd "$work/sources"
apt-get download >&2 \
    golang-github-google-cel-go-dev golang-github-antlr-antlr4-dev golang-github-stoewer-go-strcase-dev \
    golang-github-golang-protobuf-1-5-dev golang-google-protobuf-dev golang-google-genproto-dev golang-golang-x-exp-dev \
    golang-golang-x-text-dev golang-golang-x-net-dev golang-k8s-api-dev golang-k8s-apimachinery-dev golang-k8s-utils-dev \
    golang-k8s-klog-dev golang-k8s-sigs-yaml-dev golang-k8s-sigs-json-dev golang-k8s-sigs-randfill-dev \
    golang-k8s-sigs-structured-merge-diff-dev golang-k8s-kube-openapi-dev golang-github-gogo-protobuf-dev \
    golang-github-google-gofuzz-dev golang-github-go-logr-logr-dev golang-github-json-iterator-go-dev \
    golang-github-modern-go-concurrent-dev golang-github-modern-go-reflect2-dev golang-gopkg-inf.v0-dev \
    golang-github-fxamacker-cbor-dev golang-github-x448-float16-dev golang-github-google-gnostic-models-dev \
    golang-gopkg-yaml.v3-dev golang-github-spf13-pflag-dev golang-github-davecgh-go-spew-dev \
    golang-github-google-go-cmp-dev golang-github-google-uuid-dev golang-github-munnerz-goautoneg-dev \
    || give_up "Debian's packages of sources cannot be fetched"
for package in *.deb; do dpkg-deb -x "$package" "$work/tree"; done

GOPATH=$work/tree/usr/share/gocode GO111MODULE=off CGO_ENABLED=0 GOFLAGS=-trimpath GOCACHE=$work/gocache GOTOOLCHAIN=local
export GOPATH GO111MODULE CGO_ENABLED GOFLAGS GOCACHE GOTOOLCHAIN
(cd "$here/server-cel" && "$go" build -ldflags "-s -w" -o "$work/server-cel" .) >&2 || give_up "it does not build"
mv "$work/server-cel" "$cache/server-cel.$$"
mv "$cache/server-cel.$$" "$cache/server-cel"
echo "$mark" >"$cache/server-cel.mark"
echo "$cache/server-cel"
