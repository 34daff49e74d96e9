#!/bin/sh
# Build kube-apiserver, and kubelet, from Debian's own source package, once, into a cache: build-apiserver.sh [CACHE [PROGRAM...]]
#
# Prints the paths of the programs; kube-apiserver alone unless others are named. Debian 12 is the last release that ships their
# source (1.20); they are compiled with Debian 13's Go, without modules, from what the package vendors. About 35 MB are fetched; it
# takes 3 to 6 minutes of two cores. Needs Debian 13 and root (for apt-get install). Exit codes: 0 all are there, 3 not all can be
# built here.
set -eu

cache=${1:-/var/cache/pratique-tests}
version='1.20.5+really1.20.2-1.1+deb12u1'
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- kube-apiserver
missing=
for what in "$@"; do
    if [ -x "$cache/$what-1.20" ]; then echo "$cache/$what-1.20"; else missing="$missing $what"; fi
done
[ -z "$missing" ] && exit 0

give_up() { echo "build-apiserver: $1" >&2; exit 3; }

command -v apt-get >/dev/null || give_up "no apt-get: this is not Debian"
work=$(mktemp -d "${TMPDIR:-/var/tmp}/kube-apiserver.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$cache" "$work/lists/partial" "$work/sources" "$work/go/src/k8s.io/kubernetes"

go=/usr/lib/go-1.24/bin/go
[ -x "$go" ] || apt-get -o Acquire::Retries=3 install -y --no-install-recommends golang-1.24-go >&2 || give_up "Go 1.24 cannot be installed"

# Its JSON library asks the runtime for maps as Go had them before 1.18; Debian has the version that does not.
(cd "$work" && apt-get -o Acquire::Retries=3 download golang-github-modern-go-reflect2-dev >&2 && dpkg-deb -x golang-github-modern-go-reflect2-dev_*.deb new) \
    || give_up "reflect2 cannot be fetched"

# A list of sources of its own: the machine's stays as it is.
cat >"$work/sources/bookworm.sources" <<SOURCES
Types: deb-src
URIs: ${DEBIAN_MIRROR:-http://deb.debian.org/debian}
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.pgp
SOURCES
cat >"$work/apt.conf" <<CONF
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$work/sources";
Dir::State::lists "$work/lists";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT::Sandbox::User "root";
Acquire::Retries "3";
CONF
APT_CONFIG=$work/apt.conf
export APT_CONFIG
apt-get update >&2 || give_up "Debian's list of sources cannot be fetched"
(cd "$work" && apt-get source --download-only "kubernetes=$version" >&2) || give_up "the source package cannot be fetched"

source=$work/go/src/k8s.io/kubernetes
tar xzf "$work"/kubernetes_*.orig.tar.gz --strip-components=1 -C "$source"
library=vendor/github.com/modern-go/reflect2
rm -f "$source/$library"/*.go "$source/$library"/*.s
cp "$work/new/usr/share/gocode/src/${library#vendor/}"/*.go "$work/new/usr/share/gocode/src/${library#vendor/}"/*.s "$source/$library/"
cd "$source"
# openapi-gen looks for go itself.
PATH=${go%/go}:$PATH
GOPATH=$work/go GO111MODULE=off CGO_ENABLED=0 GOFLAGS=-trimpath GOCACHE=$work/gocache GOTOOLCHAIN=local
export PATH GOPATH GO111MODULE CGO_ENABLED GOFLAGS GOCACHE GOTOOLCHAIN

# The OpenAPI of its types is the one generated file that the source package leaves out.
"$go" build -o "$work/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen >&2 || give_up "openapi-gen does not build"
packages=$(
    grep -rl --include='*.go' '+k8s:openapi-gen=' cmd pkg plugin staging/src/k8s.io \
        | grep -Ev '^staging/src/k8s.io/(code-generator|sample-[^/]*)/|/generated/|_test\.go$|/testdata/|/vendor/' \
        | xargs -n1 dirname | sort -u \
        | sed -e 's,^staging/src/,k8s.io/kubernetes/vendor/,' -e '/^k8s.io/!s,^,k8s.io/kubernetes/,' \
        | paste -sd, -
)
"$work/openapi-gen" -i "$packages" -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi \
    --go-header-file hack/boilerplate/boilerplate.generatego.txt --output-base "$work/go/src" -r /dev/null >&2 \
    || give_up "the OpenAPI cannot be generated"

# checklinkname: its old golang.org/x packages reach into the runtime as Go 1.23 and later no longer allow by themselves.
for what in $missing; do
    "$go" build -ldflags "-s -w -checklinkname=0 -X k8s.io/component-base/version.gitVersion=v1.20.2 \
-X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=20" \
        -o "$work/$what" "./cmd/$what" >&2 || give_up "$what does not build"
    mv "$work/$what" "$cache/$what-1.20.$$"
    mv "$cache/$what-1.20.$$" "$cache/$what-1.20"
    echo "$cache/$what-1.20"
done
