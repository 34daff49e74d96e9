#!/bin/sh
# Installs the pratique that this action was taken with: whoever pins the action's commit pins the program and, by their hashes,
# all that it needs.
set -eu
source=$(cd "$GITHUB_ACTION_PATH/../.." && pwd)
venv=$RUNNER_TEMP/pratique
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "::error::pratique needs Python 3.11 or later: add actions/setup-python before this action"
  exit 2
}
python3 -m venv "$venv"
for list in runtime build; do
  "$venv/bin/python" -m pip install -q --disable-pip-version-check --require-hashes -r "$source/requirements/$list.txt"
done
"$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation "$source"
echo "$venv/bin" >>"$GITHUB_PATH"
echo "day=$(date -u +%F)" >>"$GITHUB_OUTPUT"
