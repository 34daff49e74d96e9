"""pratique inspects container images, says whether they may run and why, and enforces that one decision everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pratique._version import __version__

if TYPE_CHECKING:
    from pratique.api import open_database, scan

__all__ = ["__version__", "open_database", "scan"]


def __getattr__(name: str) -> Any:
    """Import the library's functions when they are asked for, so that `pratique --version` imports none of it."""
    if name in ("open_database", "scan"):
        import pratique.api  # noqa: PLC0415 - the point of this function

        return getattr(pratique.api, name)
    raise AttributeError(f"module 'pratique' has no attribute {name!r}")
