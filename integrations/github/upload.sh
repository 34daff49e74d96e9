#!/bin/sh
# Hands a SARIF file to code scanning: https://docs.github.com/rest/code-scanning/code-scanning#upload-an-analysis-as-sarif-data
set -eu
packed=$(mktemp)
trap 'rm -f "$packed"' EXIT
gzip -nc "$GATE_SARIF" | base64 | tr -d '\n' >"$packed"
gh api --method POST "repos/$GITHUB_REPOSITORY/code-scanning/sarifs" \
  -f "commit_sha=$GITHUB_SHA" -f "ref=$GITHUB_REF" -F "sarif=@$packed" -f tool_name=pratique --silent
