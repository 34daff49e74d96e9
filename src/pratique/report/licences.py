"""What packages say of their licence in, SPDX identifiers and expressions out, or the words as they are.

https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/; the list of identifiers is data beside this module.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

LIST_VERSION = "3.28"
MAX_EXPRESSION = 2000  # characters; the longest in Debian's copyright files have a few hundred
_IDS = Path(__file__).with_name("spdx-ids.txt")
_TOKEN = re.compile(r"[()]|[^\s()]+")
_REFERENCE = re.compile(r"LicenseRef-[A-Za-z0-9.-]+")
_OPERATORS = ("AND", "OR")


class _Known(NamedTuple):
    licences: dict[str, str]
    exceptions: dict[str, str]


@cache
def _known() -> _Known:
    lines = [line for line in _IDS.read_text("utf-8").splitlines() if not line.startswith("#")]
    return _Known(
        {line.lower(): line for line in lines if not line.startswith("+")},
        {line[1:].lower(): line[1:] for line in lines if line.startswith("+")},
    )


def licence_id(text: str) -> str:
    """Return the SPDX identifier in its own spelling, "" where the text is none."""
    return _known().licences.get(text.strip().lower(), "")


@lru_cache(maxsize=2048)
def expression(text: str) -> str:
    """Return an SPDX expression in its own spelling, "" where the text is none. A single identifier is one, too."""
    if len(text) > MAX_EXPRESSION:
        return ""
    out: list[str] = []
    open_ones, operand_next, exception_next = 0, True, False
    for part in _TOKEN.findall(text):
        word = part.upper()
        if exception_next:
            spelled = _known().exceptions.get(part.lower(), "")
            exception_next = False
        elif part == "(":
            spelled = part if operand_next else ""
            open_ones += 1
        elif part == ")":
            spelled = part if not operand_next and open_ones else ""
            open_ones -= 1
        elif operand_next:
            spelled, operand_next = _operand(part), False
        elif word == "WITH":
            spelled = word if out[-1] != ")" else ""
            exception_next = True
        else:
            spelled, operand_next = (word, True) if word in _OPERATORS else ("", True)
        if not spelled:
            return ""
        out.append(spelled)
    if open_ones or operand_next or exception_next:
        return ""
    return " ".join(out).replace("( ", "(").replace(" )", ")")


def _operand(text: str) -> str:
    known = licence_id(text)
    if known:
        return known
    if text.endswith("+"):
        older = licence_id(text[:-1])
        return f"{older}+" if older else ""
    return text if _REFERENCE.fullmatch(text) else ""


def reference(text: str) -> str:
    """Return a LicenseRef- for words that are no SPDX expression."""
    return "LicenseRef-" + (re.sub(r"[^A-Za-z0-9.-]+", "-", text.strip()).strip("-")[:80] or "unnamed")


def joined(licences: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Return one expression for all that a package states, and the words behind each LicenseRef- in it.

    A package that states several states all of them. "" where it states none.
    """
    words: dict[str, str] = {}
    parts = []
    for text in licences:
        spelled = expression(text)
        if not spelled and text.strip():
            spelled = reference(text)
            if words.setdefault(spelled, text) != text:
                from pratique.report.document import digest  # noqa: PLC0415 - two texts with one name are rare

                spelled = f"{spelled}-{digest(text)[:8]}"
                words[spelled] = text
        for name in _REFERENCE.findall(spelled):
            words.setdefault(name, name)
        if spelled:
            parts.append(f"({spelled})" if " OR " in spelled and len(licences) > 1 else spelled)
    return " AND ".join(dict.fromkeys(parts)), words
