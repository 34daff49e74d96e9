"""What a look at the machine found, and the colours that it has."""

from __future__ import annotations

from typing import Literal

import msgspec

Colour = Literal["green", "amber", "red"]
WORST = {"green": 0, "amber": 1, "red": 2}


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """One look. `check` names it (`engine.version`); green holds, amber is to be seen to, red lets somebody round the gate.

    `mend` says what to do, "" where nothing is to be done.
    """

    check: str
    colour: Colour
    found: str
    mend: str = ""


def green(check: str, found: str) -> Checked:
    """Return what holds."""
    return Checked(check=check, colour="green", found=found)


def amber(check: str, found: str, mend: str) -> Checked:
    """Return what should be seen to."""
    return Checked(check=check, colour="amber", found=found, mend=mend)


def red(check: str, found: str, mend: str) -> Checked:
    """Return what lets somebody round the gate, or keeps it from deciding."""
    return Checked(check=check, colour="red", found=found, mend=mend)
