"""Answers of a gate in, numbers for a monitoring system out: how many, which, and how fast.

The format is Prometheus' text: https://prometheus.io/docs/instrumenting/exposition_formats/. No name of a user, pod or namespace
is in it, so that what it says grows with nothing that anybody sends.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping

from pratique.enforce.serving import Answer, Asked

PATH = "/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Seconds: within a relay, with a look-up, and up to the half second at which a review is denied for being late.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5)
_ALLOWED, _DENIED = b'"allowed": true', b'"denied": true'
_HELP = {
    "pratique_gate_reviews_total": (
        "counter",
        "Reviews answered, by webhook and answer; failed is what was late or could not be decided.",
    ),
    "pratique_gate_review_seconds": ("histogram", "Time that an answer took, by webhook."),
    "pratique_gate_certificate_expires_timestamp_seconds": ("gauge", "When the certificate that is served ends."),
}


class Meter:
    """Counts what one gate or relay answers."""

    def __init__(self, paths: Mapping[str, str], expires: Callable[[], float]) -> None:
        """`paths` names the webhooks by their paths; `expires` tells when the certificate ends, in seconds since 1970."""
        self._paths = paths
        self._expires = expires
        self._answers: Counter[tuple[str, str]] = Counter({
            (name, answer): 0 for name in paths.values() for answer in ("allowed", "denied", "no_opinion", "refused", "failed")
        })  # fmt: skip
        self._buckets = {name: [0] * (len(BOUNDS) + 1) for name in paths.values()}
        self._sums = dict.fromkeys(paths.values(), 0.0)

    def answered(self, asked: Asked, answer: Answer, began: float) -> None:
        """Count an answer to what came at `began` (`time.monotonic`)."""
        name = self._paths.get(asked.target.partition("?")[0])
        if name is None or asked.method != "POST":
            return
        took = time.monotonic() - began
        self._sums[name] += took
        self._buckets[name][sum(took > bound for bound in BOUNDS)] += 1
        self._answers[name, _kind(name, answer)] += 1

    def failed(self, asked: Asked) -> None:
        """Count what was late, or could not be decided, and so was denied."""
        name = self._paths.get(asked.target.partition("?")[0])
        if name is not None:
            self._answers[name, "failed"] += 1

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> bytes:
        """Return all numbers; `gauges` are further ones, by name, with what they are."""
        lines = list(_head("pratique_gate_reviews_total", *_HELP["pratique_gate_reviews_total"]))
        for (name, answer), count in sorted(self._answers.items()):
            lines.append(f'pratique_gate_reviews_total{{webhook="{name}",answer="{answer}"}} {count}')
        lines += _head("pratique_gate_review_seconds", *_HELP["pratique_gate_review_seconds"])
        for name, counts in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip((*map(str, BOUNDS), "+Inf"), counts, strict=True):
                total += count
                lines.append(f'pratique_gate_review_seconds_bucket{{webhook="{name}",le="{bound}"}} {total}')
            lines.append(f'pratique_gate_review_seconds_sum{{webhook="{name}"}} {self._sums[name]:.6f}')
            lines.append(f'pratique_gate_review_seconds_count{{webhook="{name}"}} {total}')
        ends = "pratique_gate_certificate_expires_timestamp_seconds"
        lines += [*_head(ends, *_HELP[ends]), f"{ends} {self._expires():.0f}"]
        for name, (what, value) in sorted(gauges.items()):
            lines += [*_head(name, "gauge", what), f"{name} {value:.10g}"]
        return ("\n".join(lines) + "\n").encode()


def _head(name: str, kind: str, what: str) -> tuple[str, str]:
    return f"# HELP {name} {what}", f"# TYPE {name} {kind}"


def _kind(name: str, answer: Answer) -> str:
    if answer.status != 200:
        return "refused"
    if _ALLOWED in answer.body:
        return "allowed"
    return "denied" if name == "admit" or _DENIED in answer.body else "no_opinion"
