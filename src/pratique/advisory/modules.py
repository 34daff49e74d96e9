"""A notice's title in, the module streams it is about out: "Important: nodejs:18 security update" -> "nodejs:18".

Notices of AlmaLinux, Rocky Linux and Oracle name a module's stream nowhere else, and each stream numbers its versions apart.
"""

from __future__ import annotations

import re

# A few notices of other packages have a version there ("kernel:4.18.0"); only packages whose version says ".module" are asked.
_STREAM = re.compile(r"(?<![\w.+-])([A-Za-z0-9][\w.+-]*:[\w.+-]+)")
_MARK = ".module"
# The longest title names four.
_MOST = 8


def names(name: str, fixes: str, title: str) -> tuple[str, ...]:
    """Return the names under which a package is looked up: with its stream ("nodejs:18/npm") if the fixes are of a module.

    `fixes` is whatever holds the versions; `title` is without a leading severity word.
    """
    if _MARK not in fixes:
        return (name,)
    return tuple(f"{stream}/{name}" for stream in dict.fromkeys(_STREAM.findall(title)[:_MOST])) or (name,)
