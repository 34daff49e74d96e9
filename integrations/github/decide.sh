#!/bin/sh
# The job ends as pratique did. A refusal may be a warning only; what could not be told never is.
set -eu
if [ "$GATE_CODE" = 1 ] && [ "${GATE_WARN_ONLY:-}" = true ]; then
  echo "::warning::pratique refuses this image"
  exit 0
fi
case $GATE_CODE in
  0) ;;
  1) echo "::error::pratique refuses this image: see the summary of this job" ;;
  3) echo "::error::pratique could not tell whether this image may run" ;;
  *) echo "::error::pratique was called in a wrong way, or failed" ;;
esac
exit "$GATE_CODE"
