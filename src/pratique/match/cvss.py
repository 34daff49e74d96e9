"""CVSS vectors in, base scores out: versions 2.0, 3.0, 3.1 and 4.0.

https://www.first.org/cvss/v2/guide, https://www.first.org/cvss/v3.1/specification-document,
https://www.first.org/cvss/v4.0/specification-document
"""

from __future__ import annotations

import math

from pratique.model.errors import ParseError

MAX_VECTOR = 400  # characters; a full version 4 vector with every optional metric has about 200

_V3_IMPACT = {"N": 0.0, "L": 0.22, "H": 0.56}
_V3 = {
    "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
    "AC": {"L": 0.77, "H": 0.44},
    "UI": {"N": 0.85, "R": 0.62},
    "C": _V3_IMPACT,
    "I": _V3_IMPACT,
    "A": _V3_IMPACT,
}
_V3_PRIVILEGES = {"U": {"N": 0.85, "L": 0.62, "H": 0.27}, "C": {"N": 0.85, "L": 0.68, "H": 0.5}}
_V2_IMPACT = {"N": 0.0, "P": 0.275, "C": 0.66}
_V2 = {
    "AV": {"L": 0.395, "A": 0.646, "N": 1.0},
    "AC": {"H": 0.35, "M": 0.61, "L": 0.71},
    "Au": {"M": 0.45, "S": 0.56, "N": 0.704},
    "C": _V2_IMPACT,
    "I": _V2_IMPACT,
    "A": _V2_IMPACT,
}


def score(vector: str) -> tuple[str, float]:
    """Return the version and the base score of a vector. Raises ParseError for anything that is no complete base vector."""
    if len(vector) > MAX_VECTOR:
        raise ParseError("a CVSS vector that is too long")
    first, _, rest = vector.partition("/")
    try:
        if first == "CVSS:4.0":
            from pratique.match.cvss4 import base_score  # noqa: PLC0415 - its tables are only loaded when a vector needs them

            return "4.0", base_score(_metrics(rest))
        if first in ("CVSS:3.0", "CVSS:3.1"):
            return first[5:], _version3(_metrics(rest), first[5:])
        return "2.0", _version2(_metrics(vector.strip("()")))
    except KeyError as error:
        raise ParseError(f"not a complete CVSS vector: {vector!r} ({error})") from None


def _metrics(text: str) -> dict[str, str]:
    metrics: dict[str, str] = {}
    for part in text.split("/"):
        key, colon, value = part.partition(":")
        if not colon or key in metrics:
            raise ParseError(f"damaged CVSS metric {part!r}")
        metrics[key] = value
    return metrics


def _version3(metrics: dict[str, str], version: str) -> float:
    value = {name: weights[metrics[name]] for name, weights in _V3.items()}
    changed = {"U": False, "C": True}[metrics["S"]]
    privileges = _V3_PRIVILEGES[metrics["S"]][metrics["PR"]]
    base = 1 - (1 - value["C"]) * (1 - value["I"]) * (1 - value["A"])
    impact = 7.52 * (base - 0.029) - 3.25 * (base - 0.02) ** 15 if changed else 6.42 * base
    if impact <= 0:
        return 0.0
    exploitability = 8.22 * value["AV"] * value["AC"] * privileges * value["UI"]
    total = min((1.08 if changed else 1.0) * (impact + exploitability), 10)
    return _round_up(total) if version == "3.1" else math.ceil(round(total * 10, 9)) / 10


def _round_up(value: float) -> float:
    """Round up to one decimal as appendix A of version 3.1 defines it, free of floating-point surprises."""
    scaled = round(value * 100_000)
    return scaled / 100_000 if scaled % 10_000 == 0 else (scaled // 10_000 + 1) / 10


def _version2(metrics: dict[str, str]) -> float:
    value = {name: weights[metrics[name]] for name, weights in _V2.items()}
    impact = 10.41 * (1 - (1 - value["C"]) * (1 - value["I"]) * (1 - value["A"]))
    exploitability = 20 * value["AV"] * value["AC"] * value["Au"]
    total = (0.6 * impact + 0.4 * exploitability - 1.5) * (1.176 if impact else 0)
    return max(0.0, math.floor(total * 10 + 0.5) / 10)
