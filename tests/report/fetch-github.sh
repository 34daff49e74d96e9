#!/bin/sh
# Fetches what GitHub publishes of its API for tests/report/test_github.py: the OpenAPI description and the dependency submission toolkit.
# usage: fetch-github.sh FOLDER    (kept there: a second call fetches nothing)
set -eu
folder=$1
mkdir -p "$folder"
cd "$folder"
if [ ! -s api.github.com.json ]; then
  # 30 MB packed, of which one file of 13 MB is needed.
  packed=$(npm pack @octokit/openapi@23 --silent)
  tar -xzOf "$packed" package/generated/api.github.com.json >api.github.com.json.new
  rm -f "$packed"
  mv api.github.com.json.new api.github.com.json
fi
if [ ! -s node_modules/@github/dependency-submission-toolkit/package.json ]; then
  npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$folder" @github/dependency-submission-toolkit@2
fi
