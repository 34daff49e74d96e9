#!/bin/sh
# Builds the example image and scans it: no container engine, no database, no network.
set -eu
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 examples/shop/build.py "$folder/shop.tar"
cd "$folder"
echo '$ pratique scan shop.tar --offline'
pratique scan shop.tar --offline --cache-dir "$folder/cache"
echo
echo '$ pratique scan shop.tar --offline --fail-on kev --quiet --format json >report.json'
code=0
pratique scan shop.tar --offline --cache-dir "$folder/cache" --fail-on kev --quiet --format json >report.json || code=$?
echo "exit code $code: the image holds what is known to be exploited, so it is refused"
test "$code" = 1
