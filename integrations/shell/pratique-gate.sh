#!/bin/sh
# A gate for any build server: scans one target, keeps reports for people and machines, ends with pratique's own exit code.
#
#   pratique-gate.sh TARGET [option of `pratique scan`...]
#
#   GATE_OUTPUT     folder of the reports (default: pratique-report)
#   GATE_BASELINE   a saved JSON report, or a target: only what it does not have is refused. A file that is not there yet
#                   means that there is no baseline yet: then everything counts.
#   GATE_WARN_ONLY  "true": a refusal (1) ends with 0. What could not be told (3) and bad usage (2) never do.
#
# Every option of `pratique scan` may also come from the environment: PRATIQUE_FAIL_ON=high,kev, PRATIQUE_POLICY=strict, ...
# Exit codes: 0 allowed, 1 refused, 2 bad usage, 3 could not tell.
set -eu

if [ $# -lt 1 ]; then
  echo "usage: pratique-gate.sh TARGET [option of pratique scan...]" >&2
  exit 2
fi
output=${GATE_OUTPUT:-pratique-report}
baseline=${GATE_BASELINE:-}
case $baseline in
  *.json)
    if [ ! -e "$baseline" ]; then
      echo "pratique-gate: there is no baseline $baseline yet: everything counts" >&2
      baseline=
    fi
    ;;
esac
if [ -n "$baseline" ]; then
  set -- "$@" --baseline "$baseline"
fi

mkdir -p "$output"
code=0
pratique scan "$@" \
  -o table \
  -o "json=$output/report.json" \
  -o "sarif=$output/report.sarif" \
  -o "junit=$output/junit.xml" \
  -o "html=$output/report.html" \
  -o "markdown=$output/summary.md" || code=$?

if [ "$code" = 1 ] && [ "${GATE_WARN_ONLY:-}" = true ]; then
  echo "pratique-gate: refused, and only warned of (GATE_WARN_ONLY)" >&2
  code=0
fi
exit "$code"
