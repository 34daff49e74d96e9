#!/bin/sh
# Scans, writes the job's summary and the step's outputs. Ends with 0 so that reports are uploaded; decide.sh has the last word.
set -eu
output=$GATE_OUTPUT

set -- "$GATE_TARGET"
while IFS= read -r argument; do
  if [ -n "$argument" ]; then
    set -- "$@" "$argument"
  fi
done <<LIST
${GATE_ARGS:-}
LIST

code=0
GATE_WARN_ONLY='' sh "$GITHUB_ACTION_PATH/../shell/pratique-gate.sh" "$@" || code=$?
case $code in
  0) decision=allowed ;;
  1) decision=refused ;;
  3) decision=unknown ;;
  *) decision=failed ;;
esac
printf 'decision=%s\nexit-code=%s\n' "$decision" "$code" >>"$GITHUB_OUTPUT"
if [ ! -s "$output/report.json" ]; then
  exit 0
fi

comment=$output/summary.md
if [ -n "${GATE_BASELINE:-}" ] && { [ -e "$GATE_BASELINE" ] || [ "${GATE_BASELINE%.json}" = "$GATE_BASELINE" ]; }; then
  # What changed, and why, is more use on a pull request than all there is. 1 is the refusal that is known already.
  changes=0
  pratique diff "$GATE_BASELINE" "$output/report.json" --quiet -o "markdown=$output/changes.md" || changes=$?
  if [ "$changes" -le 1 ]; then
    comment=$output/changes.md
  fi
fi
cat "$comment" >>"$GITHUB_STEP_SUMMARY"
printf 'json=%s\nsarif=%s\nmarkdown=%s\n' "$output/report.json" "$output/report.sarif" "$comment" >>"$GITHUB_OUTPUT"
