"""Any text in, text that is safe and short enough to show out. What an image says never reaches a terminal raw."""

from __future__ import annotations

import re
import unicodedata

# C0 and C1 controls, DEL, and the marks that reorder or hide text (bidirectional controls, zero-width characters, separators,
# variation selectors, tags)
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
_COMBINING = re.compile(r"[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{3,}")  # no language stacks three


def safe(text: str) -> str:
    """Show control and invisible characters as escapes instead of sending them."""
    if text.isascii() and text.isprintable():
        return text
    return _COMBINING.sub(_escape, _UNSAFE.sub(_escape, text))


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def columns(text: str) -> int:
    """Count the columns of a terminal that a text takes: East Asian wide characters take two."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def cut(text: str, width: int) -> str:
    """Shorten to `width` columns, with an ellipsis in the place of what is left out."""
    if columns(text) <= width:
        return text
    if text.isascii():
        return text[: width - 1] + "…"
    kept, room = "", width - 1
    for letter in text:
        room -= columns(letter)
        if room < 0:
            break
        kept += letter
    return kept + "…"


def pad(text: str, width: int) -> str:
    """Shorten to `width` columns or fill up with spaces."""
    text = cut(text, width)
    return text + " " * (width - columns(text))


def plural(count: int, one: str, many: str = "") -> str:
    """Write "1 layer", "2 layers"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
