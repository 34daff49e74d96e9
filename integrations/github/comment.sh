#!/bin/sh
# Keeps one comment a job on a pull request: the first run writes it, later ones write it again. Nothing to do elsewhere.
set -eu
number=${GITHUB_REF#refs/pull/}
number=${number%%/*}
case $GITHUB_REF in
  refs/pull/*) ;;
  *)
    echo "not a pull request: no comment"
    exit 0
    ;;
esac
job=$(printf '%s' "${GITHUB_WORKFLOW:-}-${GITHUB_JOB:-}" | tr -cd 'A-Za-z0-9_-')
mark="<!-- pratique $job -->"
body=$(mktemp)
trap 'rm -f "$body"' EXIT
{
  printf '%s\n' "$mark"
  cat "$GATE_MARKDOWN"
} >"$body"

comments=repos/$GITHUB_REPOSITORY/issues/$number/comments
known=$(gh api --paginate "$comments" --jq ".[] | select(.user.type == \"Bot\" and (.body | startswith(\"$mark\"))) | .id" | head -n 1)
if [ -n "$known" ]; then
  gh api --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$known" -F "body=@$body" --silent
else
  gh api --method POST "$comments" -F "body=@$body" --silent
fi
