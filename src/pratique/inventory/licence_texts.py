"""The words of a copyright file in, the licences whose own text stands in it out.

Only texts that are one licence and no other are told, by sentences that each copy of them has: who changed a word of the rest has
the same licence still. Texts and names: https://spdx.org/licenses/.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_TEXT = 256 << 10  # bytes that are looked at; licences stand at the beginning, and texts of this length are lists of holders

_BROKEN = re.compile(r"(?<=[a-z])-\n\s*(?=[a-z])")  # words that were parted at a line's end
_BLANKS = re.compile(r"[\s*>#|/\"'`]+")  # what stands before lines, and quotes, which are written in many ways


class _Text(NamedTuple):
    """A licence, sentences that its text has, and some that tell it from its kin, which it has not."""

    name: str
    has: tuple[str, ...]
    lacks: tuple[str, ...] = ()


_BSD = "redistribution and use in source and binary forms"
_BINARY = "in the documentation and or other materials provided with the distribution"
_NAMES = "endorse or promote products derived from this software without specific prior written permission"
_ISC = (
    "permission to use, copy, modify, and or distribute this software for any purpose with or without fee is hereby granted, "
    "provided that the above copyright notice and this permission notice appear in all copies"
)
_POSTGRES = (
    "permission to use, copy, modify, and distribute this software and its documentation for any purpose, without fee, and "
    "without a written agreement is hereby granted"
)
_TEXTS = (
    _Text("MIT", ("permission is hereby granted, free of charge, to any person obtaining a copy",
                  "the rights to use, copy, modify, merge, publish, distribute, sublicense",
                  "shall be included in all copies or substantial portions"), ("except as contained in this notice",)),
    _Text("X11", ("permission is hereby granted, free of charge, to any person obtaining a copy",
                  "shall be included in all copies or substantial portions", "except as contained in this notice",
                  "x consortium")),
    _Text("BSD-4-Clause", (_BSD, _BINARY, "all advertising materials mentioning features or use of this software",
                           "endorse or promote products")),
    _Text("BSD-3-Clause", (_BSD, _BINARY, _NAMES), ("all advertising materials",)),
    _Text("BSD-2-Clause", (_BSD, _BINARY), ("endorse or promote", "all advertising materials", "neither the name")),
    _Text("ISC", (_ISC,)),
    _Text("Zlib", ("the origin of this software must not be misrepresented",
                   "altered source versions must be plainly marked as such",
                   "this notice may not be removed or altered from any source distribution")),
    _Text("BSL-1.0", ("boost software license - version 1.0",)),
    _Text("Apache-2.0", ("apache license, version 2.0",)),
    _Text("MPL-2.0", ("mozilla public license, v. 2.0",)),
    _Text("Unlicense", ("this is free and unencumbered software released into the public domain",)),
    _Text("PostgreSQL", (_POSTGRES,)),
    _Text("OFL-1.1", ("sil open font license version 1.1",)),
)  # fmt: skip
# A notice names the licence with its version, and says whether later ones may be taken.
_GNU = re.compile(
    r"gnu (?P<kind>lesser |library |affero )?general public license,?(?: as)?(?: published by the free software foundation[;,]?)?"
    r"(?: either)?,? (?:version|v) ?(?P<version>[123](?:\.[01])?)(?P<later>[^.]{0,40}(?:any later version|or later))?"
)
_KINDS = {"lesser ": "LGPL", "library ": "LGPL", "affero ": "AGPL", None: "GPL"}


def told(data: bytes) -> list[str]:
    """Return SPDX identifiers, in the order of the table; none where no text is known."""
    words = _BLANKS.sub(" ", _BROKEN.sub("", data[:MAX_TEXT].decode("utf-8", "replace").lower()))
    found = [
        text.name for text in _TEXTS if all(part in words for part in text.has) and not any(part in words for part in text.lacks)
    ]
    for notice in _GNU.finditer(words):
        version = notice["version"] if "." in notice["version"] else f"{notice['version']}.0"
        found.append(f"{_KINDS[notice['kind']]}-{version}-{'or-later' if notice['later'] else 'only'}")
    return list(dict.fromkeys(found))
