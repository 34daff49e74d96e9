"""Words and vectors in, one severity out: a distributor's word goes before a generic score, the newest CVSS before older ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from pratique.match.cvss import score
from pratique.model.errors import ParseError
from pratique.model.finding import Cvss, Severity

# What distributors and databases write; what is not here says nothing (Debian's "not yet assigned", "unknown", "none").
_WORDS = {
    "critical": Severity.CRITICAL,
    "high": Severity.HIGH,
    "important": Severity.HIGH,
    "moderate": Severity.MEDIUM,
    "medium": Severity.MEDIUM,
    "low": Severity.LOW,
    "negligible": Severity.NEGLIGIBLE,
    "unimportant": Severity.NEGLIGIBLE,
    "minimal": Severity.NEGLIGIBLE,
}


def vendor_severity(word: str) -> Severity:
    """Read a severity word of any source; UNKNOWN where it says nothing."""
    return _WORDS.get(word.strip("* ").lower(), Severity.UNKNOWN)


@lru_cache(maxsize=4096)
def rated(vector: str) -> tuple[str, float] | None:
    """Return (CVSS version, base score) of a vector; None where it is none."""
    try:
        return score(vector)
    except ParseError:
        return None


def from_score(version: str, value: float) -> Severity:
    """Map a score to its qualitative rating: CVSS v3.1 section 5, v4.0 section 6, and NVD's ranges for v2."""
    if version == "2.0":
        return Severity.HIGH if value >= 7 else Severity.MEDIUM if value >= 4 else Severity.LOW
    if value >= 9:
        return Severity.CRITICAL
    if value >= 7:
        return Severity.HIGH
    if value >= 4:
        return Severity.MEDIUM
    return Severity.LOW if value > 0 else Severity.NEGLIGIBLE


def weigh(*tiers: Iterable[str], vectors: Sequence[Cvss]) -> Severity:
    """Choose: the worst word of the first tier in which one says something, else the worst score of the newest CVSS version."""
    for words in tiers:
        severity = max((vendor_severity(word) for word in words), default=Severity.UNKNOWN)
        if severity is not Severity.UNKNOWN:
            return severity
    newest = max((vector.version for vector in vectors), default="")
    scores = (from_score(vector.version, vector.score) for vector in vectors if vector.version == newest)
    return max(scores, default=Severity.UNKNOWN)
