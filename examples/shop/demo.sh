#!/bin/sh
# Builds the example image, scans it, asks why, and lets a rule decide: no container engine, no database, no network.
set -eu
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 examples/shop/build.py "$folder/shop.tar"
cd "$folder"
export XDG_CACHE_HOME="$folder/cache"

run() {
  printf '\n$ %s\n' "$*"
  "$@"
}

run pratique scan shop.tar --offline --severity critical
run pratique explain shop.tar CVE-2021-44906 --offline
code=0
run pratique scan shop.tar --offline --fail-on kev --severity low || code=$?
printf '\nexit code %s: the image holds what is known to be exploited, so the rule refuses it\n' "$code"
test "$code" = 1
