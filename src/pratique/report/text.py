"""Any text in, text that is safe and short enough to show out. What an image says never reaches a terminal raw."""

from __future__ import annotations

import re

# C0 and C1 controls, DEL, and the marks that reorder or hide text (bidirectional controls, zero-width characters, separators)
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]")


def safe(text: str) -> str:
    """Show control and invisible characters as escapes instead of sending them."""
    return (
        _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
        if not text.isascii() or not (text.isprintable())
        else text
    )


def cut(text: str, width: int) -> str:
    """Shorten to `width` characters, with an ellipsis in the place of what is left out."""
    return text if len(text) <= width else text[: width - 1] + "…"
